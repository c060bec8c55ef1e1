import math
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.errors import InvalidParameter
from facesearch.records import AutoTolerance, Calibration, RatePoint
from facesearch.service.auto_tolerance import tolerance_for
from facesearch.service.tolerance import HIGHEST_RATE, LOWEST_RATE, tolerance_of
from tests.fakes import FakeEncoder

STRANGERS = NormalDist(1.7, 0.2)  # squared distances


def exact(rate: float) -> float:
    return math.sqrt(STRANGERS.inv_cdf(rate))


def calibration(*rates: float) -> Calibration:
    """Of strangers whose squared distances are normal."""
    points = tuple(RatePoint(rate, exact(rate), 1_000_000, 0.9) for rate in rates)
    return Calibration(points, ((0.0, 100.0), (1.0, 0.0)), 1_000, 1_000_000, 100, 1_500, "Numbers.")


MEASURED = calibration(1e-2, 1e-3, 1e-4, 1e-5)


@pytest.mark.parametrize("gallery", [1, 10, 1_250, 100_000])
@pytest.mark.parametrize("rate", [0.0001, 0.01, 0.5])
def test_of_normal_squares_the_exact_tolerance_is_chosen(rate: float, gallery: int) -> None:
    each = 1 - (1 - rate) ** (1 / gallery)
    chosen = tolerance_for(MEASURED, rate, gallery)
    if each >= 1e-2:
        each = 1e-2
    assert chosen.false_match_rate == pytest.approx(each, rel=1e-6)
    assert chosen.tolerance == pytest.approx(exact(each), abs=1e-6)
    assert chosen.extrapolated == (each < 1e-5)
    assert 1 - (1 - chosen.false_match_rate) ** gallery <= rate * (1 + 1e-6)


def test_at_a_measured_rate_its_tolerance_is_chosen() -> None:
    points = (*calibration(1e-2, 1e-3).rates, RatePoint(1e-4, 0.3, 1_000_000, 0.5))
    bent = Calibration(points, MEASURED.similarity, 1, 1, 1, 1, "")
    for point in bent.rates:
        assert tolerance_for(bent, point.false_match_rate, 1).tolerance == pytest.approx(point.tolerance)
    steep = tolerance_for(bent, 1e-4, 10)
    assert steep.extrapolated
    assert steep.tolerance < 0.3


@pytest.mark.parametrize("rate", [0.0101, 0.012, 0.5])
def test_above_the_largest_measured_rate_its_tolerance_is_kept(rate: float) -> None:
    chosen = tolerance_for(MEASURED, rate, 1)
    assert (chosen.tolerance, chosen.extrapolated) == (MEASURED.rates[0].tolerance, False)


@pytest.mark.parametrize("rates", [(), (1e-2,)])
def test_too_few_rates_are_no_calibration(rates: tuple[float, ...]) -> None:
    encoder = FakeEncoder()
    encoder.calibration = calibration(*rates)
    with pytest.raises(InvalidParameter, match="needs a calibration"):
        tolerance_of(encoder, AutoTolerance())


def test_a_gallery_of_nobody_counts_as_one_face() -> None:
    assert tolerance_for(MEASURED, 0.001, 0) == tolerance_for(MEASURED, 0.001, 1)


def test_a_line_that_falls_below_zero_ends_there() -> None:
    points = (RatePoint(1e-2, 0.5, 10_000, 0.9), RatePoint(1e-3, 0.1, 10_000, 0.1))
    steep = Calibration(points, MEASURED.similarity, 1, 1, 1, 1, "")
    assert tolerance_for(steep, 0.0001, 1_000).tolerance == 0.0


@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=6, unique=True),
    st.floats(LOWEST_RATE, HIGHEST_RATE),
)
def test_a_larger_gallery_never_has_a_larger_tolerance(sizes: list[int], rate: float) -> None:
    chosen = [tolerance_for(MEASURED, rate, size).tolerance for size in sorted(sizes)]
    assert all(later <= earlier for earlier, later in pairwise(chosen))
