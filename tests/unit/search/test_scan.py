import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.search import measure, whole
from facesearch.search.measure import Probe, Rows, exact_distances
from facesearch.search.scan import scan
from facesearch.search.topk import TopK


def blocks(vectors: NDArray[np.float32], size: int = 4096) -> Iterator[Rows]:
    with np.errstate(over="ignore"):
        squares = (vectors.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    for first in range(0, len(vectors), size):
        part = slice(first, min(first + size, len(vectors)))
        ids = np.arange(part.start + 1, part.stop + 1)
        yield Rows(vectors[part], squares[part], ids, np.ones(len(ids), bool))


def oracle(
    vectors: NDArray[np.float32], probe: NDArray[np.float32], k: int, tolerance: float
) -> list[tuple[float, int]]:
    distances = np.sqrt(((vectors.astype(np.float64) - probe.astype(np.float64)) ** 2).sum(axis=1))
    order = np.lexsort((np.arange(len(vectors)), distances))
    return [(float(distances[at]), int(at) + 1) for at in order if distances[at] <= tolerance][:k]


@pytest.mark.parametrize("dimension", [1, 2, 7, 8, 9, 127, 128, 129, 512, 1024])
def test_any_dimension_is_answered_as_a_scan_in_float64(dimension: int) -> None:
    random = np.random.default_rng(dimension)
    vectors = random.standard_normal((1500, dimension)).astype(np.float32)
    probes = random.standard_normal((3, dimension)).astype(np.float32)
    found = scan(blocks(vectors, 700), probes, 20, 1e9)
    assert found == [oracle(vectors, probe, 20, 1e9) for probe in probes]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0])
def test_rows_closer_together_than_float32_can_tell_are_ordered(offset: float, scale: float) -> None:
    random = np.random.default_rng(5)
    steps = random.integers(-8, 9, (6000, 128)) * 2.0**-20
    vectors = (scale * (offset + steps)).astype(np.float32)
    probe = vectors[17:18]
    assert scan(blocks(vectors), probe, 1000, 1e9) == [oracle(vectors, probe[0], 1000, 1e9)]


def test_the_first_pass_rules_out_nearly_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def counted(vectors: NDArray[np.float32], probe: NDArray[np.float64]) -> NDArray[np.float64]:
        looked_at.append(len(vectors))
        return exact_distances(vectors, probe)

    monkeypatch.setattr(measure, "exact_distances", counted)
    random = np.random.default_rng(6)
    vectors = (0.1 * random.standard_normal((40_960, 128))).astype(np.float32)
    scan(blocks(vectors), vectors[:1], 5, 2.0)
    assert sum(looked_at) < len(vectors) // 20


def test_rows_that_do_not_count_are_never_found() -> None:
    vectors = np.random.default_rng(7).standard_normal((500, 8)).astype(np.float32)
    (rows,) = blocks(vectors)
    counts = np.arange(500) % 20 == 3
    found = scan([rows._replace(counts=counts)], vectors[:2], 1000, 99.0)
    for pairs, probe in zip(found, vectors[:2], strict=True):
        assert pairs == [pair for pair in oracle(vectors, probe, 500, 99.0) if counts[pair[1] - 1]]


def test_no_score_of_a_row_within_the_limit_lies_below_the_threshold() -> None:
    """The margin, at its edge: rows at the limit's very distance, of all sizes, scored in float32."""
    random = np.random.default_rng(8)
    for _ in range(300):
        dimension = int(random.integers(1, 300))
        size, spread = 10.0 ** random.uniform(-8, 8, 2)
        vectors = (size + spread * random.standard_normal((50, dimension))).astype(np.float32)
        probe = (size + spread * random.standard_normal(dimension)).astype(np.float32)
        (rows,) = blocks(vectors)
        twice = np.repeat(2 * probe[np.newaxis], random.integers(1, 3), axis=0)
        scores = whole._products(twice, vectors)[0] - rows.squares
        wide = probe.astype(np.float64)
        square = float((wide * wide).sum())
        for score, distance in zip(scores, exact_distances(vectors, wide), strict=True):
            state = Probe(probe, wide, square, math.sqrt(square), TopK(1, float(distance)), None)
            assert score >= whole._threshold(float(rows.squares.max()), dimension, state)


def test_memory_stays_small_whatever_is_asked() -> None:
    vectors = np.zeros((32_768, 128), np.float32)  # all at one distance: nothing can be ruled out
    gallery = list(blocks(vectors))
    probes = np.ones((128, 128), np.float32)
    tracemalloc.start()
    scan(gallery, probes[:1], 1000, 100.0)
    scan(gallery[:1], probes, 5, 100.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_row_has_one_distance_whatever_stands_beside_it() -> None:
    vectors = np.random.default_rng(9).standard_normal((1000, 128)).astype(np.float32)
    probe = vectors[3].astype(np.float64)
    whole = exact_distances(vectors, probe)
    for first, last in ((0, 1), (5, 7), (100, 999)):
        assert np.array_equal(exact_distances(vectors[first:last], probe), whole[first:last])
    chosen = np.array([999, 0, 500])
    assert np.array_equal(exact_distances(vectors[chosen], probe), whole[chosen])
