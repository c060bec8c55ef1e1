"""AGTEncoder: the faces and vectors of ageitgey's face_recognition, without importing it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.engines import Engine, make_engine
from facesearch.encoders.kinds import KINDS, kind_of
from facesearch.encoders.quality import quality_of
from facesearch.interfaces import ANY_FACE, Image, ImageEncoder
from facesearch.records import AlignedFace, Box, Detection, Wanted

DIMENSION = 128
TOLERANCE = 0.6

# The smaller side of the smallest face that a detector finds in the pixels that it is given.
_DETECTOR_WINDOW_PX = 80

# dlib's CNN detector ends the process on pictures a few pixels thin; no detector finds a face in one.
_LEAST_SIDE_PX = 16


class AGTEncoder(ImageEncoder):
    """face_recognition's default steps: HOG or CNN detection, five landmarks, dlib's ResNet, no jitter.

    Lives as long as its process; loads its models at the first call (0.5 s). Any thread may call it. Not
    to be carried over a fork once it has been used; a child builds its own.

    With `plain` vectors, `look_twice` off and a photo of at most `detect_pixels`, boxes and vectors are
    those of `face_recognition.face_encodings(photo)`. In a larger photo faces are looked for in a
    reduced copy, and aligned on the full pixels. Doubling stops before a picture gets too large for
    its detector.

    Args:
        settings: engine, kind, detector, upsampling and the size for detection.
        directory: where the ONNX engine keeps the graphs that it builds.
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

        Where only the largest face is wanted and `look_twice` is on, the photo is looked at without
        doubling first, which finds faces of 80 pixels and more for a quarter of the time, and doubled
        only where nothing was found.
        """
        upsample = self._settings.upsample if wanted.upsample is None else wanted.upsample
        if wanted.only_largest and self._settings.look_twice and upsample and wanted.upsample is None:
            found = self._detect(image, wanted, 0)
            if found:
                return found
        return self._detect(image, wanted, upsample)

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

    def _detect(self, image: Image, wanted: Wanted, upsample: int) -> list[Detection]:
        detector = wanted.detector or self._settings.detector
        min_face_px = self._settings.min_face_px if wanted.min_face_px is None else wanted.min_face_px
        most = self._engine.most_pixels(detector)
        pixels, scale = image.reduced(min(self._wanted_pixels(image, min_face_px, upsample), most))
        height, width = pixels.shape[:2]
        while upsample and (width * height << 2 * upsample) > most:
            upsample -= 1
        if min(width, height) << upsample < _LEAST_SIDE_PX:
            return []
        found = [
            replace(detection, box=_enlarged(detection.box, scale))
            for detection in self._engine.find(detector, pixels, upsample)
        ]
        large = [d for d in found if min(d.box.width, d.box.height) >= min_face_px]
        max_faces = wanted.max_faces or self._settings.max_faces
        kept = sorted(large, key=lambda d: -d.box.area)[:max_faces]
        return sorted(kept, key=lambda detection: (detection.box.left, detection.box.top))

    def _wanted_pixels(self, image: Image, min_face_px: int, upsample: int) -> int:
        """How many pixels detection needs: no level is looked at that only holds smaller faces."""
        shrink = min_face_px * 2**upsample / _DETECTOR_WINDOW_PX
        if shrink <= 1:
            return self._settings.detect_pixels
        pixels = image.info.width * image.info.height / shrink**2
        return max(1, min(self._settings.detect_pixels, int(pixels)))


def _enlarged(box: Box, scale: float) -> Box:
    """Return a box of the reduced photo in pixels of the full one; the same box for a scale of 1."""
    return Box(
        top=round(box.top * scale),
        right=round((box.right + 1) * scale) - 1,
        bottom=round((box.bottom + 1) * scale) - 1,
        left=round(box.left * scale),
    )
