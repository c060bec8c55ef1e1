from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dlib
import numpy as np
import pytest

from facesearch.encoders.dlib_models import DlibModels
from facesearch.records import Box
from tests.unit.encoders.models import LANDMARKS, RESNET, photo


@pytest.fixture(scope="module")
def models() -> DlibModels:
    return DlibModels()


def test_crops_are_what_compute_face_descriptor_looks_at(models: DlibModels) -> None:
    pixels = photo()
    pixels.setflags(write=False)
    box = models.find_by_hog(pixels, 0)[0].box
    model = dlib.face_recognition_model_v1(str(RESNET))
    rectangle = dlib.rectangle(box.left, box.top, box.right, box.bottom)
    landmarks = dlib.shape_predictor(str(LANDMARKS))(pixels, rectangle)
    expected = np.array(model.compute_face_descriptor(pixels, landmarks))
    points, crop = models.align(pixels, box)
    assert points.tolist() == [[point.x, point.y] for point in landmarks.parts()]
    assert crop.dtype == np.uint8
    assert crop.shape == (150, 150, 3)
    assert np.array_equal(np.array(model.compute_face_descriptor(crop)), expected)
    assert np.array_equal(models.embed(crop[None])[0], expected.astype(np.float32))


@pytest.mark.parametrize("box", [Box(-40, 90, 60, -30), Box(350, 360, 450, 260), Box(900, 999, 999, 900)])
def test_boxes_past_the_edge_are_aligned(models: DlibModels, box: Box) -> None:
    points, crop = models.align(photo(), box)
    assert points.shape == (5, 2)
    assert crop.shape == (150, 150, 3)


def test_a_crop_is_no_part_of_the_photo(models: DlibModels) -> None:
    pixels = photo()
    before = pixels.copy()
    crop = models.align(pixels, models.find_by_hog(pixels, 0)[0].box)[1]
    crop[:] = 0
    assert np.array_equal(pixels, before)


def test_mirrored_views_are_embedded(models: DlibModels) -> None:
    crops = photo()[None, :150, :150]
    assert np.array_equal(models.embed(crops[:, :, ::-1]), models.embed(crops[:, :, ::-1].copy()))


def test_no_crops_give_no_vectors(models: DlibModels) -> None:
    assert models.embed(np.empty((0, 150, 150, 3), np.uint8)).shape == (0, 128)


def test_threads_find_the_same_faces_at_once(models: DlibModels) -> None:
    pixels = [photo(), photo(300), photo(), photo(300)]
    expected = [models.find_by_hog(one, 1) for one in pixels]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda one: models.find_by_hog(one, 1), pixels)) == expected


def test_detecting_again_and_again_takes_no_more_memory(models: DlibModels) -> None:
    def resident_kib() -> int:
        (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS:")]
        return int(line.split()[1])

    pixels = np.zeros((90, 90, 3), np.uint8)
    models.find_by_hog(pixels, 0)
    before = resident_kib()
    for _ in range(200):
        models.find_by_hog(pixels, 0)
    assert resident_kib() - before < 10_000
