import pytest

from facesearch.records import Box, Detection
from facesearch.service.reencoding.known_photos import found_again, overlap


def square(left: int, side: int = 10) -> Box:
    return Box(0, left + side - 1, side - 1, left)


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        (square(0), square(0), 1.0),
        (square(0), square(5), 50 / 150),
        (square(0), square(10), 0.0),
        (square(0), square(-100), 0.0),
        (square(0), square(0, 5), 0.25),
    ],
)
def test_the_overlap_is_a_share_of_both(one: Box, other: Box, share: float) -> None:
    assert overlap(one, other) == overlap(other, one) == share


def test_each_detection_is_one_face() -> None:
    near, far = Detection(square(1), 5.0), Detection(square(40), 4.0)
    boxes = [square(2), square(0), square(4), square(80)]
    assert found_again(boxes, [far, near]) == [
        near,
        Detection(square(0), 0.0),
        Detection(square(4), 0.0),
        Detection(square(80), 0.0),
    ]
    assert found_again([square(0)], []) == [Detection(square(0), 0.0)]
