from pathlib import Path

import dlib
import numpy as np
import pytest

from facesearch.encoders.alignment import FaceAligner, mirrored
from facesearch.errors import InvalidConfig
from facesearch.records import Box
from tests.unit.encoders.models import LANDMARKS, RESNET, photo


def face_box() -> Box:
    (face,) = dlib.get_frontal_face_detector()(photo(), 0)
    return Box(face.top(), face.right(), face.bottom(), face.left())


def test_crops_are_what_compute_face_descriptor_looks_at() -> None:
    box = face_box()
    pixels = photo()
    pixels.setflags(write=False)
    model = dlib.face_recognition_model_v1(str(RESNET))
    rectangle = dlib.rectangle(box.left, box.top, box.right, box.bottom)
    landmarks = dlib.shape_predictor(str(LANDMARKS))(pixels, rectangle)
    expected = np.array(model.compute_face_descriptor(pixels, landmarks))
    (crop,) = FaceAligner(LANDMARKS).crop(pixels, [box])
    assert np.array_equal(np.array(model.compute_face_descriptor(crop)), expected)


def test_boxes_past_the_edge_and_no_boxes_are_cropped() -> None:
    aligner = FaceAligner(LANDMARKS)
    crops = aligner.crop(photo(), [Box(-40, 90, 60, -30), Box(350, 360, 450, 260)])
    assert crops.shape == (2, 150, 150, 3)
    assert aligner.crop(photo(), []).shape == (0, 150, 150, 3)


def test_mirroring_exchanges_left_and_right() -> None:
    crops = FaceAligner(LANDMARKS).crop(photo(), [face_box()])
    assert np.array_equal(mirrored(crops)[0, :, 0], crops[0, :, -1])
    assert np.array_equal(mirrored(mirrored(crops)), crops)


def test_a_missing_model_is_refused_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"none\.dat cannot be read") as caught:
        FaceAligner(tmp_path / "none.dat").load()
    assert str(tmp_path) not in caught.value.message
