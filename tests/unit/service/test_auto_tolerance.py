import math
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.records import Calibration, RatePoint
from facesearch.service.auto_tolerance import expected_alarms, tolerance_for
from facesearch.service.tolerance import HIGHEST_RATE, LOWEST_RATE

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


@pytest.mark.parametrize("faces", [1, 100, 1_000_000])
@pytest.mark.parametrize("rate", [1e-1, 1e-2, 3e-3, 1e-4, 1e-5, 1e-7])
def test_of_normal_squares_the_exact_rate_of_false_alarms_is_expected(rate: float, faces: int) -> None:
    expected = expected_alarms(MEASURED, exact(rate), faces)
    assert expected is not None
    assert expected.false_match_rate == pytest.approx(rate, rel=1e-6)
    assert expected.false_alarm_rate == pytest.approx(1 - (1 - rate) ** faces, rel=1e-6)
    assert (expected.faces, expected.tolerance) == (faces, exact(rate))


def test_what_is_expected_is_marked_where_nothing_was_measured() -> None:
    nearest, farthest = MEASURED.rates[-1].tolerance, MEASURED.rates[0].tolerance
    for tolerance, extrapolated in (
        (nearest, False),
        (farthest, False),
        (math.nextafter(nearest, 0), True),
        (math.nextafter(farthest, 2), True),
    ):
        expected = expected_alarms(MEASURED, tolerance, 1)
        assert expected is not None
        assert expected.extrapolated == extrapolated


@given(rate=st.floats(0.0001, 0.3), faces=st.integers(100, 10**7))
def test_what_is_expected_is_what_a_fitting_tolerance_was_chosen_for(rate: float, faces: int) -> None:
    expected = expected_alarms(MEASURED, tolerance_for(MEASURED, rate, faces).tolerance, faces)
    assert expected is not None
    assert expected.false_alarm_rate == pytest.approx(rate, rel=1e-5)


def test_every_distance_lets_everybody_through_and_none_nobody() -> None:
    for tolerance, alarms in ((100.0, 1.0), (0.0, 0.0)):
        expected = expected_alarms(MEASURED, tolerance, 1_000)
        assert expected is not None
        assert expected.false_alarm_rate == pytest.approx(alarms, abs=1e-6)
    nobody = expected_alarms(MEASURED, 100.0, 0)
    assert nobody is not None
    assert nobody.false_alarm_rate == 0.0


def test_of_two_rates_with_one_tolerance_the_larger_is_expected() -> None:
    points = (RatePoint(1e-2, 0.5, 1_000, 0.9), RatePoint(1e-3, 0.5, 1_000, 0.9))
    level = Calibration(points, MEASURED.similarity, 1, 1, 1, 1, "")
    for tolerance in (0.4, 0.5, 0.6):
        expected = expected_alarms(level, tolerance, 1)
        assert expected is not None
        assert expected.false_match_rate == 1e-2


@pytest.mark.parametrize("known", [None, calibration(), calibration(1e-2)])
def test_too_few_rates_tell_nothing(known: Calibration | None) -> None:
    assert expected_alarms(known, 0.5, 10) is None


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
