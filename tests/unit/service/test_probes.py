import numpy as np
import pytest

from facesearch.service.probes import mean_of


def vectors(*rows: tuple[float, ...]) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    return [np.array(row, np.float32) for row in rows]


def test_a_mean_points_between_its_vectors_and_is_as_long_as_they_are_on_average() -> None:
    mean = mean_of(vectors((3.0, 0.0), (0.0, 1.0)))
    assert np.linalg.norm(mean) == pytest.approx(2.0)
    assert mean[0] / mean[1] == pytest.approx(3.0)
    assert mean.dtype == np.float32


def test_the_mean_of_one_vector_is_that_vector() -> None:
    (only,) = vectors((0.1, -0.2, 0.3))
    assert mean_of([only]) == pytest.approx(only)


def test_vectors_that_cancel_each_other_out_have_a_finite_mean() -> None:
    assert mean_of(vectors((1.0, 0.0), (-1.0, 0.0))).tolist() == [0.0, 0.0]
