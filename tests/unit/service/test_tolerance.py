from dataclasses import replace

import pytest

from facesearch.errors import InvalidParameter
from facesearch.records import AutoTolerance, Calibration, LeastSimilarity, WantedTolerance
from facesearch.service.tolerance import check_tolerance, distance_of_pairs, tolerance_of
from tests.fakes import FakeEncoder
from tests.unit.service.parts import CALIBRATION


def encoder(calibration: Calibration | None = CALIBRATION) -> FakeEncoder:
    made = FakeEncoder()
    made.calibration = calibration
    return made


@pytest.mark.parametrize(
    ("wanted", "distance"),
    [
        (None, FakeEncoder.tolerance),
        (0.0, 0.0),
        (0.7, 0.7),
        (LeastSimilarity(100.0), 0.0),
        (LeastSimilarity(80.0), 0.2),
        (LeastSimilarity(25.0), 0.65),
    ],
)
def test_a_distance_is_taken_as_it_is_and_a_similarity_turned_into_one(
    wanted: WantedTolerance, distance: float
) -> None:
    assert tolerance_of(encoder(), wanted) == pytest.approx(distance)
    assert distance_of_pairs(encoder(), wanted) == pytest.approx(distance)


def test_no_similarity_is_a_larger_distance_than_a_search_takes() -> None:
    far = replace(CALIBRATION, similarity=((0.0, 100.0), (8.0, 0.0)))
    assert tolerance_of(encoder(far), LeastSimilarity(1.0)) == 2.0


def test_a_pair_is_a_gallery_of_one_face() -> None:
    within = tolerance_of(encoder(), AutoTolerance(0.001))
    assert callable(within)
    assert distance_of_pairs(encoder(), AutoTolerance(0.001)) == within(1).tolerance == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("wanted", "parameter"),
    [
        (3.0, "tolerance"),
        (float("nan"), "tolerance"),
        (AutoTolerance(0.9), "false_alarm_rate"),
        (LeastSimilarity(0.0), "min_similarity"),
    ],
)
def test_what_is_out_of_range_is_named(wanted: WantedTolerance, parameter: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_tolerance(wanted)
    assert refused.value.parameters == (parameter,)


@pytest.mark.parametrize("calibration", [None, replace(CALIBRATION, rates=CALIBRATION.rates[:1])])
def test_too_few_rates_are_no_calibration(calibration: Calibration | None) -> None:
    with pytest.raises(InvalidParameter, match=r"^tolerance=auto needs a calibration, and fake-colours has"):
        tolerance_of(encoder(calibration), AutoTolerance())


@pytest.mark.parametrize("calibration", [None, replace(CALIBRATION, similarity=())])
def test_without_corners_no_similarity_can_be_asked_for(calibration: Calibration | None) -> None:
    with pytest.raises(InvalidParameter, match=r"^min_similarity needs a calibration, and fake-colours has"):
        tolerance_of(encoder(calibration), LeastSimilarity(80.0))
    assert tolerance_of(encoder(calibration), 0.5) == 0.5
