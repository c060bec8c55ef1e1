"""AGTEncoder: the faces and vectors of ageitgey's face_recognition, without importing it."""

import math
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.alignment import inverse, moved, similarity
from facesearch.encoders.cards import ARCFACE_TEMPLATE
from facesearch.encoders.engines import Engine, make_engine
from facesearch.encoders.finder import FaceFinder
from facesearch.encoders.kinds import KINDS, kind_of
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.quality import EyesAndNose, quality_of
from facesearch.interfaces import ANY_FACE, Image, ImageEncoder
from facesearch.records import AlignedFace, Box, Calibration, Detection, Landmarks, ModelOrigin, Wanted

DIMENSION = 128

# The box of HOG in pixels of ARCFACE_TEMPLATE: medians of 500 of LFW's faces that CenterFace found too. With
# it the vectors of 201 others are 0.03 from those of HOG's own boxes (median; 95 % are within 0.09).
_HOG_MIDDLE = np.array([(54.0, 69.5)])
_HOG_SIDE = 92.0


class AGTEncoder(ImageEncoder):
    """face_recognition's default steps: HOG or CNN detection, five landmarks, dlib's ResNet, no jitter.

    Lives as long as its process; loads its models at the first call (0.5 s). Any thread may call it. Not
    to be carried over a fork once it has been used; a child builds its own.

    With `plain` vectors, `look_twice` off, no `min_face_px` and a photo of at most `detect_pixels`, boxes
    and vectors are those of `face_recognition.face_encodings(photo)`. In a larger photo faces are looked
    for in a reduced copy, and aligned on the full pixels. Doubling stops before a picture gets too large
    for its detector, and where only faces smaller than `min_face_px` would be gained. The landmarks are
    dlib's, whatever detector found the face.

    Args:
        settings: engine, kind, detector, upsampling and the size for detection.
        directory: the data folder's `models`, where the ONNX engine keeps the graphs that it builds.

    Raises:
        Unavailable: the ONNX engine is asked for, and no model files are installed.
    """

    def __init__(self, settings: EncoderSettings, directory: Path) -> None:
        self._kind = KINDS[settings.kind]
        self._engine: Engine = make_engine(settings.engine, directory)
        store = ModelStore(directory)
        self._card = store.card("dlib")
        self._finder = FaceFinder(settings, self._engine, store)

    @property
    def model_id(self) -> str:
        return self._kind.model_id

    @property
    def dimension(self) -> int:
        return DIMENSION

    @property
    def tolerance(self) -> float:
        return self._card.space(self._kind.name).tolerance

    @property
    def calibration(self) -> Calibration | None:
        return self._card.space(self._kind.name).calibration

    @property
    def origin(self) -> ModelOrigin:
        return self._card.origin(self._kind.name)

    def for_model(self, model_id: str) -> "AGTEncoder":
        other = copy(self)
        other._kind = kind_of(model_id)
        return other

    def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
        return self._finder.detect(image, wanted)

    def align(self, image: Image, detections: Sequence[Detection]) -> list[AlignedFace]:
        faces = []
        for detection in detections:
            box = detection.box if detection.landmarks is None else _box_of(detection.landmarks)
            landmarks, crop = self._engine.dlib.align(image.pixels, box)
            quality = quality_of(detection.box, detection.score, EyesAndNose.of_dlib(landmarks), crop)
            faces.append(AlignedFace(detection.box, crop, quality))
        return faces

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not len(crops):
            return np.empty((0, DIMENSION), np.float32)
        return self._kind.embed(self._engine.embed, crops)

    def ping(self) -> None:
        self._finder.load()
        self._engine.load_embedding()


def _box_of(landmarks: Landmarks) -> Box:
    """Return the box that dlib's HOG detector would find, from which its landmark predictor starts."""
    back = inverse(similarity(np.array(landmarks, np.float64), np.array(ARCFACE_TEMPLATE)))
    x, y = moved(_HOG_MIDDLE, back)[0]
    half = _HOG_SIDE / 2 * math.hypot(back[0, 0], back[1, 0])
    return Box(top=round(y - half), right=round(x + half), bottom=round(y + half), left=round(x - half))
