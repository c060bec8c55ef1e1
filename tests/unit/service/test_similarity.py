import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.encoders.cards import built_in_cards
from facesearch.records import Calibration
from facesearch.service.similarity import largest_distance, similarity_at
from tests.unit.service.parts import CALIBRATION

SPACES = [
    space.calibration
    for card in built_in_cards().values()
    for space in card.spaces.values()
    if space.calibration
]


@pytest.mark.parametrize(
    ("distance", "similarity"),
    [(0.0, 100.0), (0.1, 90.0), (0.2, 80.0), (0.25, 65.0), (0.3, 50.0), (0.65, 25.0), (1.0, 0.0), (9.0, 0.0)],
)
def test_similarity_is_linear_between_the_corners_and_level_beyond_them(
    distance: float, similarity: float
) -> None:
    assert similarity_at(CALIBRATION, distance) == pytest.approx(similarity)


@pytest.mark.parametrize("calibration", [None, replace(CALIBRATION, similarity=())])
def test_without_corners_there_is_no_similarity(calibration: Calibration | None) -> None:
    assert similarity_at(calibration, 0.1) is None


@pytest.mark.parametrize(
    ("similarity", "distance"),
    [(100.0, 0.0), (90.0, 0.1), (80.0, 0.2), (65.0, 0.25), (50.0, 0.3), (25.0, 0.65), (0.0, math.inf)],
)
def test_the_largest_distance_of_a_similarity_is_the_reverse(similarity: float, distance: float) -> None:
    assert largest_distance(CALIBRATION, similarity) == pytest.approx(distance)


def test_of_a_level_part_the_far_end_is_the_largest_distance() -> None:
    level = replace(CALIBRATION, similarity=((0.0, 100.0), (0.2, 80.0), (0.3, 80.0), (1.0, 10.0)))
    assert largest_distance(level, 80.0) == pytest.approx(0.3)
    assert largest_distance(level, 10.0) == math.inf
    assert largest_distance(replace(level, similarity=((0.1, 90.0), (1.0, 0.0))), 95.0) == 0.0


@pytest.mark.parametrize("calibration", SPACES)
def test_the_corners_of_a_card_come_back_exactly(calibration: Calibration) -> None:
    for distance, similarity in calibration.similarity:
        assert similarity_at(calibration, distance) == similarity
        if similarity:
            assert largest_distance(calibration, similarity) == distance


@pytest.mark.parametrize("calibration", SPACES)
def test_80_stands_for_one_pair_of_strangers_in_a_thousand(calibration: Calibration) -> None:
    (point,) = [rate for rate in calibration.rates if rate.false_match_rate == 1e-3]
    assert similarity_at(calibration, point.tolerance) == 80.0


@pytest.mark.parametrize("calibration", SPACES)
@given(first=st.floats(0, 3), second=st.floats(0, 3))
def test_what_is_farther_is_not_more_similar(calibration: Calibration, first: float, second: float) -> None:
    near, far = (similarity_at(calibration, distance) for distance in sorted((first, second)))
    assert near is not None
    assert far is not None
    assert 100 >= near >= far >= 0


@pytest.mark.parametrize("calibration", SPACES)
@given(similarity=st.floats(0.01, 100))
def test_just_beyond_the_largest_distance_a_face_is_less_similar(
    calibration: Calibration, similarity: float
) -> None:
    distance = largest_distance(calibration, similarity)
    within, beyond = similarity_at(calibration, distance), similarity_at(calibration, distance + 1e-9)
    assert within == pytest.approx(similarity, abs=1e-9)
    assert beyond is not None
    assert beyond < similarity + 1e-9
