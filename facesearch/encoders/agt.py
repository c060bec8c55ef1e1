"""AGTEncoder: the faces and vectors of ageitgey's face_recognition, without importing it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.dlib_models import DlibModels
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import Box, Detection

MODEL_ID = "dlib-resnet-v1-plain"
DIMENSION = 128
TOLERANCE = 0.6

# What a detector may be given after doubling. Measured peaks: HOG 11 bytes a pixel, 350 MB and 4 s here;
# CNN 1000 bytes a pixel, 1 GB and 8 s here.
_MOST_PIXELS = {"hog": 32_000_000, "cnn": 1_000_000}

# dlib's CNN detector ends the process on pictures a few pixels thin; no detector finds a face in one
_LEAST_SIDE = 16


class AGTEncoder(ImageEncoder):
    """face_recognition's default steps: HOG or CNN detection, five landmarks, dlib's ResNet, no jitter.

    Lives as long as its process; loads dlib and its models at the first call (0.5 s). Any thread may call
    it; HOG detection runs side by side, the other steps one after the other. Not to be carried over a
    fork once it has been used; a child builds its own.

    A photo of at most `detect_pixels` gives the boxes and vectors of
    `face_recognition.face_encodings(photo)`. On a larger one faces are looked for in a reduced copy, and
    aligned on the full pixels. Doubling stops before a picture gets too large for its detector, at
    32 megapixels for HOG and one for CNN.

    Args:
        settings: detector, upsampling and the size for detection.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings
        self._models = DlibModels(settings.detector)

    @property
    def model_id(self) -> str:
        return MODEL_ID

    @property
    def dimension(self) -> int:
        return DIMENSION

    @property
    def tolerance(self) -> float:
        return TOLERANCE

    def detect(self, image: Image) -> list[Detection]:
        most = _MOST_PIXELS[self._settings.detector]
        pixels, scale = image.reduced(min(self._settings.detect_pixels, most))
        height, width = pixels.shape[:2]
        doublings = self._settings.upsample
        while doublings and (width * height << 2 * doublings) > most:
            doublings -= 1
        if min(width, height) << doublings < _LEAST_SIDE:
            return []
        found = [
            Detection(_enlarged(box, scale), score) for box, score in self._models.find(pixels, doublings)
        ]
        return sorted(found, key=lambda detection: (detection.box.left, detection.box.top))

    def embed(self, image: Image, detections: Sequence[Detection]) -> NDArray[np.float32]:
        embeddings = np.empty((len(detections), DIMENSION), dtype=np.float32)
        for row, detection in enumerate(detections):
            embeddings[row] = self._models.embed(image.pixels, detection.box)
        return embeddings

    def ping(self) -> None:
        self._models.load()


def _enlarged(box: Box, scale: float) -> Box:
    """Return a box of the reduced photo in pixels of the full one; the same box for a scale of 1."""
    return Box(
        top=round(box.top * scale),
        right=round((box.right + 1) * scale) - 1,
        bottom=round((box.bottom + 1) * scale) - 1,
        left=round(box.left * scale),
    )
