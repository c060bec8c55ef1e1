"""dlib's detectors, landmark predictor and embedding network behind one lock.

What was measured with dlib-bin 20.0.1: only HOG detection releases the interpreter's lock (GIL);
landmarks, embedding, CNN detection and loading hold it, so threads cannot overlap them anyway. None of the
objects may be used by two threads at once. So one lock guards all of them, and HOG detection, the one
that can run side by side, works on a copy of the detector, made in 1.4 ms and given up afterwards along
with the scratch memory of its last photo (60 MB at two megapixels).
"""

import copy
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.model_files import CNN_DETECTOR, EMBEDDING, LANDMARKS, model_file
from facesearch.errors import Unavailable
from facesearch.records import Box

Found = list[tuple[Box, float]]


class DlibModels:
    """Lives as long as its encoder; loads each model at its first use. Any thread may call it.

    Images are uint8 of shape (height, width, 3), RGB, C-contiguous; they may be read-only.

    Args:
        detector: which of the two detectors `find` uses.

    Every method raises Unavailable where dlib or a model file cannot be used.
    """

    def __init__(self, detector: Literal["hog", "cnn"]) -> None:
        self._detector = detector
        self._lock = threading.Lock()
        self._loaded: dict[str, Any] = {}

    def find(self, pixels: NDArray[np.uint8], doublings: int) -> Found:
        """Return boxes and scores of faces, in pixels of `pixels`, after doubling its size some times."""
        if self._detector == "cnn":
            with self._lock:
                found = self._cnn()(pixels, doublings)
                return [(_box(face.rect), float(face.confidence)) for face in found]
        with self._lock:
            own = copy.copy(self._hog())
        rectangles, scores, _ = own.run(pixels, doublings, 0.0)
        return [(_box(rectangle), float(score)) for rectangle, score in zip(rectangles, scores, strict=True)]

    def embed(self, pixels: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """Return one face's embedding, float32 of shape (128,).

        One face at a time: dlib takes as long for eight at once (0.8 s), and would hold the interpreter's
        lock throughout, while every other thread of the process waits.
        """
        with self._lock:
            rectangle = self._dlib().rectangle(box.left, box.top, box.right, box.bottom)
            landmarks = self._landmarks()(pixels, rectangle)
            values = self._network().compute_face_descriptor(pixels, landmarks, 1)
        return np.array(values, dtype=np.float32)

    def load(self) -> None:
        """Load everything that `find` and `embed` need; 0.5 s, most of it for the HOG detector."""
        with self._lock:
            self._cnn() if self._detector == "cnn" else self._hog()
            self._landmarks()
            self._network()

    def _dlib(self) -> Any:
        try:
            return import_module("dlib")
        except ImportError:
            raise Unavailable("The face library dlib is not installed or cannot be loaded.") from None

    def _hog(self) -> Any:
        return self._once("hog", lambda: self._dlib().get_frontal_face_detector())

    def _cnn(self) -> Any:
        return self._from_file(CNN_DETECTOR, lambda: self._dlib().cnn_face_detection_model_v1)

    def _landmarks(self) -> Any:
        return self._from_file(LANDMARKS, lambda: self._dlib().shape_predictor)

    def _network(self) -> Any:
        return self._from_file(EMBEDDING, lambda: self._dlib().face_recognition_model_v1)

    def _from_file(self, name: str, kind: Callable[[], Callable[[str], Any]]) -> Any:
        def load() -> Any:
            path: Path = model_file(name)
            try:
                return kind()(str(path))
            except RuntimeError:
                raise Unavailable(f"The face model {name} cannot be loaded.") from None

        return self._once(name, load)

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load()
        return self._loaded[name]


def _box(rectangle: Any) -> Box:
    return Box(rectangle.top(), rectangle.right(), rectangle.bottom(), rectangle.left())
