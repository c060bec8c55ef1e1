from collections.abc import Callable
from pathlib import Path

import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders import mmod_detector
from facesearch.encoders.mmod_detector import MmodDetector
from facesearch.records import Box, Detection
from tests.unit.encoders.models import DETECTOR, photo

Detect = Callable[[NDArray[np.uint8], int], list[Detection]]


@pytest.fixture(scope="module")
def detector(graphs: Path) -> MmodDetector:
    return MmodDetector(DETECTOR, graphs)


@pytest.fixture(scope="module")
def dlib_detect() -> Detect:
    model = dlib.cnn_face_detection_model_v1(str(DETECTOR))

    def detect(pixels: NDArray[np.uint8], upsample: int) -> list[Detection]:
        found = []
        for face in model(pixels, upsample):
            r = face.rect
            found.append(Detection(Box(r.top(), r.right(), r.bottom(), r.left()), face.confidence))
        return found

    return detect


def group() -> NDArray[np.uint8]:
    """A face of about 100 pixels and two of about 40, the second mirrored and cut by the edge."""
    large, small = photo()[:230, 60:290], photo(150)
    canvas = np.full((230, 480, 3), 90, np.uint8)
    canvas[:, :230] = large
    canvas[: small.shape[0], 230 : 230 + small.shape[1]] = small
    canvas[: small.shape[0], 380:] = small[:, :-101:-1]
    return canvas


def shared(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left) + 1
    height = min(a.bottom, b.bottom) - max(a.top, b.top) + 1
    inner = max(width, 0) * max(height, 0)
    return inner / (a.area + b.area - inner)


@pytest.mark.parametrize(("upsample", "faces"), [(0, 1), (1, 2)])
def test_faces_boxes_and_scores_are_dlibs(
    detector: MmodDetector, dlib_detect: Detect, upsample: int, faces: int
) -> None:
    expected = dlib_detect(group(), upsample)
    found = detector.detect(group(), upsample)
    assert len(expected) >= faces
    assert [face.box for face in found] == [face.box for face in expected]
    assert [face.score for face in found] == pytest.approx([face.score for face in expected], abs=1e-5)


def test_strips_give_the_scores_of_one_pass(detector: MmodDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    detector.load()
    plane = np.random.default_rng(1).normal(size=(3, 701, 200)).astype(np.float32)
    expected = detector._scores(plane)
    assert expected.shape == (85, 22)
    for strip_pixels in (1, 40_000, 80_000):
        monkeypatch.setattr(mmod_detector, "_STRIP_PIXELS", strip_pixels)
        assert np.abs(detector._scores(plane) - expected).max() < 1e-5


def test_a_higher_threshold_finds_only_the_surest(detector: MmodDetector) -> None:
    surest = detector.detect(group(), upsample=1)[0]
    found = detector.detect(group(), upsample=1, threshold=surest.score - 1e-4)
    assert [face.box for face in found] == [surest.box]


def test_a_minimum_size_leaves_smaller_faces_out_and_keeps_the_larger(detector: MmodDetector) -> None:
    every = detector.detect(group(), upsample=1)
    largest = max(every, key=lambda face: face.box.area)
    assert min(face.box.width for face in every) < 0.8 * largest.box.width
    found = detector.detect(group(), upsample=1, min_size_px=largest.box.width - 2)
    assert len(found) == 1
    assert shared(found[0].box, largest.box) >= 0.7
    assert found[0].box.width >= largest.box.width - 2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 400), (400, 1), (6, 6), (12, 30)])
def test_tiny_photos_have_no_faces(detector: MmodDetector, height: int, width: int) -> None:
    assert detector.detect(np.zeros((height, width, 3), np.uint8)) == []


def test_read_only_and_strided_pixels_are_accepted(detector: MmodDetector) -> None:
    pixels = photo(160)
    expected = detector.detect(np.ascontiguousarray(pixels[:, ::-1]), upsample=1)
    pixels.setflags(write=False)
    assert detector.detect(pixels[:, ::-1], upsample=1) == expected
    assert len(expected) == 1
