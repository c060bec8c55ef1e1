"""AGTEncoder: the faces and vectors of ageitgey's face_recognition, without importing it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.engines import Engine, make_engine
from facesearch.encoders.kinds import KINDS, kind_of
from facesearch.encoders.quality import quality_of
from facesearch.encoders.tiled_pyramid import SHRINK
from facesearch.interfaces import ANY_FACE, Image, ImageEncoder
from facesearch.records import AlignedFace, Box, Detection, PhotoInfo, Wanted

DIMENSION = 128
TOLERANCE = 0.6

# dlib's CNN detector ends the process on pictures a few pixels thin; no detector finds a face in one.
_LEAST_SIDE_PX = 16


class AGTEncoder(ImageEncoder):
    """face_recognition's default steps: HOG or CNN detection, five landmarks, dlib's ResNet, no jitter.

    Lives as long as its process; loads its models at the first call (0.5 s). Any thread may call it. Not
    to be carried over a fork once it has been used; a child builds its own.

    With `plain` vectors, `look_twice` off, no `min_face_px` and a photo of at most `detect_pixels`, boxes
    and vectors are those of `face_recognition.face_encodings(photo)`. In a larger photo faces are looked
    for in a reduced copy, and aligned on the full pixels. Doubling stops before a picture gets too large
    for its detector, and where only faces smaller than `min_face_px` would be gained.

    Args:
        settings: engine, kind, detector, upsampling and the size for detection.
        directory: where the ONNX engine keeps the graphs that it builds.

    Raises:
        Unavailable: the ONNX engine is asked for, and no model files are installed.
    """

    def __init__(self, settings: EncoderSettings, directory: Path) -> None:
        self._settings = settings
        self._kind = KINDS[settings.kind]
        self._engine: Engine = make_engine(settings.engine, directory)

    @property
    def model_id(self) -> str:
        return self._kind.model_id

    @property
    def dimension(self) -> int:
        return DIMENSION

    @property
    def tolerance(self) -> float:
        return TOLERANCE

    def for_model(self, model_id: str) -> "AGTEncoder":
        other = object.__new__(AGTEncoder)
        other._settings, other._engine, other._kind = self._settings, self._engine, kind_of(model_id)
        return other

    def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
        """Return the faces of a photo from left to right, boxes in pixels of the full upright photo.

        Where only the largest face is wanted, `look_twice` is on and the request says nothing of doubling,
        the photo is looked at without doubling first, which finds faces of about 80 pixels and more for
        a quarter of the time; it is doubled only where nothing was found.
        """
        detector = wanted.detector or self._settings.detector
        least_px = self._settings.min_face_px if wanted.min_face_px is None else wanted.min_face_px
        # A level more than needed: one face is seen at several, and only the surest of its boxes is reported.
        spared_px = least_px / SHRINK
        pixels, scale = image.reduced(self._pixels_needed(image.info, detector, spared_px))
        doublings = self._doublings(wanted, detector, pixels, round(spared_px / scale))
        found: list[Detection] = []
        for times in self._looks(wanted, doublings):
            found = [
                detection
                for detection in self._find(detector, pixels, scale, times, int(spared_px))
                if min(detection.box.width, detection.box.height) >= least_px
            ]
            if found:
                break
        largest = sorted(found, key=lambda d: -d.box.area)[: wanted.max_faces or self._settings.max_faces]
        return sorted(largest, key=lambda d: (d.box.left, d.box.top))

    def align(self, image: Image, detections: Sequence[Detection]) -> list[AlignedFace]:
        faces = []
        for detection in detections:
            landmarks, crop = self._engine.dlib.align(image.pixels, detection.box)
            quality = quality_of(detection.box, detection.score, landmarks, crop)
            faces.append(AlignedFace(detection.box, crop, quality))
        return faces

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not len(crops):
            return np.empty((0, DIMENSION), np.float32)
        return self._kind.embed(self._engine.embed, crops)

    def ping(self) -> None:
        self._engine.load(self._settings.detector)

    def _pixels_needed(self, photo: PhotoInfo, detector: str, spared_px: float) -> int:
        """How many pixels detection looks at: levels that only hold faces below `spared_px` are left out.

        They are left out whole, so that the others are those of the full photo.
        """
        pixels = min(self._settings.detect_pixels, self._engine.most_pixels(detector))
        larger = max(1.0, spared_px / self._engine.smallest_face_px(detector))
        levels = int(math.log(larger, SHRINK))
        if levels:
            pixels = min(pixels, int(photo.width * photo.height / SHRINK ** (2 * levels)))
        return max(1, pixels)

    def _doublings(self, wanted: Wanted, detector: str, pixels: NDArray[np.uint8], spared_px: int) -> int:
        """How often to double `pixels`, in which no face below `spared_px` is looked for."""
        doublings = self._settings.upsample if wanted.upsample is None else wanted.upsample
        smallest_px, most = self._engine.smallest_face_px(detector), self._engine.most_pixels(detector)
        area = pixels.shape[0] * pixels.shape[1]
        while doublings and (spared_px << doublings - 1 >= smallest_px or area << 2 * doublings > most):
            doublings -= 1
        return doublings

    def _looks(self, wanted: Wanted, doublings: int) -> Sequence[int]:
        """How often to double at each look; one is taken only where the one before it found nothing."""
        cheaply = wanted.only_largest and self._settings.look_twice and wanted.upsample is None
        return (0, doublings) if cheaply and doublings else (doublings,)

    def _find(
        self, detector: str, pixels: NDArray[np.uint8], scale: float, doublings: int, spared_px: int
    ) -> list[Detection]:
        """Return faces in pixels of the full photo; those below `spared_px` may be missing."""
        if min(pixels.shape[:2]) << doublings < _LEAST_SIDE_PX:
            return []
        found = self._engine.find(detector, pixels, doublings, int(spared_px / scale))
        return [replace(detection, box=_enlarged(detection.box, scale)) for detection in found]


def _enlarged(box: Box, scale: float) -> Box:
    """Return a box of the reduced photo in pixels of the full one; the same box for a scale of 1."""
    return Box(
        top=round(box.top * scale),
        right=round((box.right + 1) * scale) - 1,
        bottom=round((box.bottom + 1) * scale) - 1,
        left=round(box.left * scale),
    )
