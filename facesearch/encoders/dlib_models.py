"""dlib's detectors, landmark predictor and embedding network behind one lock.

What was measured with dlib-bin 20.0.1: only HOG detection releases the interpreter's lock (GIL);
landmarks, alignment, embedding, CNN detection and loading hold it, so threads cannot overlap them anyway.
None of the objects may be used by two threads at once. So one lock guards all of them, and HOG detection,
the one that can run side by side, works on a copy of the detector, made in 1.4 ms and given up afterwards
along with the scratch memory of its last photo (60 MB at two megapixels).
"""

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.model_files import CNN_DETECTOR, EMBEDDING, LANDMARKS, model_file
from facesearch.errors import Unavailable
from facesearch.records import Box, Detection

CROP_SIZE_PX = 150

_PADDING = 0.25  # of the face's size on each side, as compute_face_descriptor crops


class DlibModels:
    """Lives as long as its encoder; loads each model at its first use. Any thread may call it.

    Images are uint8 of shape (height, width, 3), RGB, C-contiguous; they may be read-only.

    Every method raises Unavailable where dlib or a model file cannot be used.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Any] = {}

    def find_by_hog(self, pixels: NDArray[np.uint8], doublings: int) -> list[Detection]:
        """Return the faces in pixels of `pixels`, after doubling its size some times."""
        with self._lock:
            detector, state = self._hog()
        own = detector.__new__(detector)
        own.__setstate__(state)
        rectangles, scores, _ = own.run(pixels, doublings, 0.0)
        return [Detection(_box(r), float(s)) for r, s in zip(rectangles, scores, strict=True)]

    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int) -> list[Detection]:
        """Return the faces in pixels of `pixels`, after doubling its size some times."""
        with self._lock:
            found = self._cnn()(pixels, doublings)
            return [Detection(_box(face.rect), float(face.confidence)) for face in found]

    def align(self, pixels: NDArray[np.uint8], box: Box) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """Find a face's landmarks and cut it out by them.

        Returns:
            Five landmarks, float64 of shape (5, 2), x and y in pixels of the photo; and the crop that
            compute_face_descriptor would look at, uint8 of shape (150, 150, 3).
        """
        with self._lock:
            shape = self._shape(pixels, box)
            crop = self._dlib().get_face_chip(pixels, shape, size=CROP_SIZE_PX, padding=_PADDING)
        return _points(shape), crop

    def landmarks(self, pixels: NDArray[np.uint8], box: Box) -> NDArray[np.float64]:
        """Return a face's landmarks as `align` does."""
        with self._lock:
            return _points(self._shape(pixels, box))

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 of shape (n, 128) for crops of shape (n, 150, 150, 3).

        One face at a time: dlib takes as long for eight at once (0.8 s), and would hold the interpreter's
        lock throughout, while every other thread of the process waits.
        """
        vectors = []
        for crop in crops:
            with self._lock:
                vectors.append(self._network().compute_face_descriptor(np.ascontiguousarray(crop), 1))
        return np.array(vectors, dtype=np.float32).reshape(len(crops), 128)

    def load_hog(self) -> None:
        """Load the HOG detector; 0.3 s."""
        with self._lock:
            self._hog()

    def load_cnn(self) -> None:
        """Load the CNN detector."""
        with self._lock:
            self._cnn()

    def load_landmarks(self) -> None:
        """Load what `align` needs."""
        with self._lock:
            self._landmarks()

    def load(self) -> None:
        """Load the embedding network."""
        with self._lock:
            self._network()

    def _dlib(self) -> Any:
        try:
            return import_module("dlib")
        except ImportError:
            raise Unavailable("The face library dlib is not installed or cannot be loaded.") from None

    def _shape(self, pixels: NDArray[np.uint8], box: Box) -> Any:
        rectangle = self._dlib().rectangle(box.left, box.top, box.right, box.bottom)
        return self._landmarks()(pixels, rectangle)

    def _hog(self) -> tuple[Any, Any]:
        """The detector's class and its state, of which copies are made.

        The state is taken once: each time that dlib gives it, as for `copy.copy`, it loses 150 KB for good.
        """

        def load() -> tuple[Any, Any]:
            detector = self._dlib().get_frontal_face_detector()
            return type(detector), detector.__getstate__()

        kept: tuple[Any, Any] = self._once("hog", load)
        return kept

    def _cnn(self) -> Any:
        return self._from_file(CNN_DETECTOR, lambda: self._dlib().cnn_face_detection_model_v1)

    def _landmarks(self) -> Any:
        return self._from_file(LANDMARKS, lambda: self._dlib().shape_predictor)

    def _network(self) -> Any:
        return self._from_file(EMBEDDING, lambda: self._dlib().face_recognition_model_v1)

    def _from_file(self, name: str, kind: Callable[[], Callable[[str], Any]]) -> Any:
        def load() -> Any:
            path = model_file(name)
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


def _points(shape: Any) -> NDArray[np.float64]:
    return np.array([(point.x, point.y) for point in shape.parts()], np.float64)
