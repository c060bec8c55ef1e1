from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facesearch.config import QualitySettings
from facesearch.errors import FaceRefused
from facesearch.records import NO_BOX, Face, Quality
from facesearch.service.refusal import check_quality, reasons_against

QUALITY = Quality(
    size_px=80, score=0.5, sharpness=100.0, brightness=120.0, roll_deg=-10.0, yaw_deg=20.0, pitch_deg=-30.0
)


def face(quality: Quality | None) -> Face:
    return Face(NO_BOX, np.zeros(3, np.float32), quality)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"min_size_px": 81}, "its size is 80, below 81 pixels"),
        ({"min_score": 0.51}, "its detector's score is 0.5, below 0.51"),
        ({"min_sharpness": 101}, "its sharpness is 100, below 101"),
        ({"min_brightness": 121}, "its brightness is 120, below 121"),
        ({"max_brightness": 119}, "its brightness is 120, above 119"),
        ({"max_roll_deg": 9}, "its roll is 10, above 9 degrees"),
        ({"max_yaw_deg": 19}, "its yaw is 20, above 19 degrees"),
        ({"max_pitch_deg": 29}, "its pitch is 30, above 29 degrees"),
    ],
)
def test_each_limit_has_its_reason(limits: dict[str, Any], reason: str) -> None:
    assert reasons_against(QUALITY, QualitySettings(**limits)) == [reason]
    with pytest.raises(FaceRefused) as caught:
        check_quality(face(QUALITY), QualitySettings(**limits))
    assert caught.value.message == f"The face was refused: {reason}."


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {
            "min_size_px": 80,
            "min_score": 0.5,
            "min_sharpness": 100,
            "min_brightness": 120,
            "max_brightness": 120,
            "max_roll_deg": 10,
            "max_yaw_deg": 20,
            "max_pitch_deg": 30,
        },
    ],
)
def test_a_face_on_its_limits_is_taken(limits: dict[str, Any]) -> None:
    check_quality(face(QUALITY), QualitySettings(**limits))


def test_all_reasons_are_told() -> None:
    limits = QualitySettings(min_size_px=100, max_yaw_deg=10)
    with pytest.raises(FaceRefused, match=r"size is 80, below 100 pixels; its yaw is 20, above 10 degrees\."):
        check_quality(face(QUALITY), limits)


@pytest.mark.parametrize("name", ["roll_deg", "yaw_deg", "pitch_deg"])
def test_a_head_may_be_turned_to_either_side(name: str) -> None:
    limits = QualitySettings(**{f"max_{name}": 35})
    for angle, reasons in ((36.0, 1), (-36.0, 1), (34.0, 0), (-34.0, 0)):
        turned: dict[str, Any] = {name: angle}
        assert len(reasons_against(replace(QUALITY, **turned), limits)) == reasons


def test_a_face_without_a_record_is_taken() -> None:
    check_quality(face(None), QualitySettings(min_size_px=5000))
