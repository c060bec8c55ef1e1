"""Finds the faces of a photo: which detector looks, at which size, and which of its faces are kept."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.centerface import CenterFace
from facesearch.encoders.engines import Engine
from facesearch.encoders.landmark_detector import LandmarkDetector
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_session import open_file
from facesearch.encoders.tiled_pyramid import SHRINK
from facesearch.encoders.yunet import YuNet
from facesearch.errors import InvalidParameter, Unavailable
from facesearch.interfaces import Image
from facesearch.records import Box, Detection, Landmarks, PhotoInfo, Wanted

# dlib's CNN detector ends the process on pictures a few pixels thin; no detector finds a face in one.
_LEAST_SIDE_PX = 16

_LANDMARK_DETECTORS: Mapping[str, type[LandmarkDetector]] = {"centerface": CenterFace, "yunet": YuNet}


class _Detector(Protocol):
    """What looks at pixels of a bounded size."""

    @property
    def smallest_face_px(self) -> int: ...

    @property
    def most_pixels(self) -> int: ...

    def find(self, pixels: NDArray[np.uint8], doublings: int, min_face_px: int) -> list[Detection]: ...


@dataclass(frozen=True)
class _EngineDetector:
    """HOG or CNN of an engine."""

    engine: Engine
    name: str

    @property
    def smallest_face_px(self) -> int:
        return self.engine.smallest_face_px(self.name)

    @property
    def most_pixels(self) -> int:
        return self.engine.most_pixels(self.name)

    def find(self, pixels: NDArray[np.uint8], doublings: int, min_face_px: int) -> list[Detection]:
        return self.engine.find(self.name, pixels, doublings, min_face_px)


class FaceFinder:
    """Lives as long as its encoders, which share it; any thread may call it.

    Detectors are opened at their first use.
    In a photo of more than `detect_pixels` faces are looked for in a reduced copy. Doubling stops before a
    picture gets too large for its detector, and where only faces smaller than `min_face_px` would be gained.
    Detectors with landmarks see small faces as they are: they double only where the request says so.

    Args:
        settings: detector, upsampling and the size for detection.
        engine: what runs HOG and CNN.
        store: where the files of the other detectors are.
    """

    def __init__(self, settings: EncoderSettings, engine: Engine, store: ModelStore) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._opening = threading.Lock()
        self._opened: dict[str, LandmarkDetector] = {}

    def detect(self, image: Image, wanted: Wanted) -> list[Detection]:
        """Return the faces of a photo from left to right, in pixels of the full upright photo.

        Where only the largest face is wanted, `look_twice` is on and the request says nothing of doubling,
        the photo is looked at without doubling first, which finds faces of about 80 pixels and more for
        a quarter of the time; it is doubled only where nothing was found.

        Raises:
            InvalidParameter: the request wants a detector that is not installed.
            Unavailable: the configured detector cannot be used.
        """
        detector = self._detector(wanted.detector)
        least_px = self._settings.min_face_px if wanted.min_face_px is None else wanted.min_face_px
        # A level more than needed: one face is seen at several, and only the surest of its boxes is reported.
        spared_px = least_px / SHRINK
        pixels, scale = image.reduced(self._pixels_needed(image.info, detector, spared_px))
        doublings = self._doublings(wanted, detector, pixels, round(spared_px / scale))
        found: list[Detection] = []
        for times in self._looks(wanted, doublings):
            found = [
                detection
                for detection in _find(detector, pixels, scale, times, int(spared_px))
                if min(detection.box.width, detection.box.height) >= least_px
            ]
            if found:
                break
        largest = sorted(found, key=lambda d: -d.box.area)[: wanted.max_faces or self._settings.max_faces]
        return sorted(largest, key=lambda d: (d.box.left, d.box.top))

    def load(self) -> None:
        """Load the configured detector.

        Raises:
            Unavailable, InvalidConfig: it cannot be used.
        """
        if self._settings.detector in _LANDMARK_DETECTORS:
            self._landmark_detector(self._settings.detector).load()
        else:
            self._engine.load_detector(self._settings.detector)

    def _detector(self, wanted: str | None) -> _Detector:
        name = wanted or self._settings.detector
        if name not in _LANDMARK_DETECTORS:
            return _EngineDetector(self._engine, name)
        try:
            return self._landmark_detector(name)
        except Unavailable as error:
            if name == self._settings.detector:
                raise
            raise InvalidParameter(error.message) from None

    def _landmark_detector(self, family: str) -> LandmarkDetector:
        with self._opening:
            if family not in self._opened:
                _, file = self._store.detector_of(family)
                opener = partial(
                    open_file, threads=self._settings.threads, execution=self._settings.execution
                )
                self._opened[family] = _LANDMARK_DETECTORS[family](file, opener)
            return self._opened[family]

    def _pixels_needed(self, photo: PhotoInfo, detector: _Detector, spared_px: float) -> int:
        """How many pixels detection looks at: levels that only hold faces below `spared_px` are left out.

        They are left out whole, so that the others are those of the full photo.
        """
        pixels = min(self._settings.detect_pixels, detector.most_pixels)
        larger = max(1.0, spared_px / detector.smallest_face_px)
        levels = int(math.log(larger, SHRINK))
        if levels:
            pixels = min(pixels, int(photo.width * photo.height / SHRINK ** (2 * levels)))
        return max(1, pixels)

    def _doublings(
        self, wanted: Wanted, detector: _Detector, pixels: NDArray[np.uint8], spared_px: int
    ) -> int:
        """How often to double `pixels`, in which no face below `spared_px` is looked for."""
        usual = self._settings.upsample if isinstance(detector, _EngineDetector) else 0
        doublings = usual if wanted.upsample is None else wanted.upsample
        smallest_px, most = detector.smallest_face_px, detector.most_pixels
        area = pixels.shape[0] * pixels.shape[1]
        while doublings and (spared_px << doublings - 1 >= smallest_px or area << 2 * doublings > most):
            doublings -= 1
        return doublings

    def _looks(self, wanted: Wanted, doublings: int) -> Sequence[int]:
        """How often to double at each look; one is taken only where the one before it found nothing."""
        cheaply = wanted.only_largest and self._settings.look_twice and wanted.upsample is None
        return (0, doublings) if cheaply and doublings else (doublings,)


def _find(
    detector: _Detector, pixels: NDArray[np.uint8], scale: float, doublings: int, spared_px: int
) -> list[Detection]:
    """Return faces in pixels of the full photo; those below `spared_px` may be missing."""
    if min(pixels.shape[:2]) << doublings < _LEAST_SIDE_PX:
        return []
    found = detector.find(pixels, doublings, int(spared_px / scale))
    return [
        replace(face, box=_enlarged(face.box, scale), landmarks=_moved(face.landmarks, scale))
        for face in found
    ]


def _enlarged(box: Box, scale: float) -> Box:
    """Return a box of the reduced photo in pixels of the full one; the same box for a scale of 1."""
    return Box(
        top=round(box.top * scale),
        right=round((box.right + 1) * scale) - 1,
        bottom=round((box.bottom + 1) * scale) - 1,
        left=round(box.left * scale),
    )


def _moved(landmarks: Landmarks | None, scale: float) -> Landmarks | None:
    """Return landmarks of the reduced photo in pixels of the full one, whose middles have whole numbers."""
    if landmarks is None or scale == 1:
        return landmarks
    return tuple(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in landmarks)
