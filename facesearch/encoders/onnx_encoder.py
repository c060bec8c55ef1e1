"""ONNXEncoder: recognition networks of the ArcFace family, each as its card describes it."""

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.alignment import cut_out, similarity, three_points
from facesearch.encoders.cards import ModelCard
from facesearch.encoders.engines import make_engine
from facesearch.encoders.finder import FaceFinder
from facesearch.encoders.kinds import kind_of, kinds_of
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_cache import open_cached
from facesearch.encoders.onnx_embedder import OnnxEmbedder
from facesearch.encoders.onnx_session import open_file
from facesearch.encoders.quality import EyesAndNose, quality_of
from facesearch.errors import InvalidConfig, Unavailable
from facesearch.interfaces import ANY_FACE, Image, ImageEncoder
from facesearch.records import AlignedFace, Calibration, Detection, ModelOrigin, Wanted


class ONNXEncoder(ImageEncoder):
    """Any detector, alignment to the card's template, and the card's network.

    Lives as long as its process; loads its models at the first call. Any thread may call it. Not to be
    carried over a fork once it has been used; a child builds its own. What its card says is read once.

    A detector's own landmarks are brought to the template. HOG and CNN find boxes only; dlib then gives the
    corners of the eyes and the nose base.

    Args:
        settings: model, kind, detector, upsampling, the size for detection, and where ONNX Runtime runs.
        directory: the data folder's `models`.

    Raises:
        Unavailable: the model is not installed.
        InvalidConfig: it is no recognition network.
    """

    def __init__(self, settings: EncoderSettings, directory: Path) -> None:
        store = ModelStore(directory)
        card = store.installed().get(settings.model) or store.weights(settings.model)[0]
        if card.input is None or card.output is None or card.family == "dlib":
            raise InvalidConfig(f"The encoder's model {card.id} is no recognition network for ONNX Runtime.")
        self._settings = settings
        self._card = card
        self._width, self._height = card.input.width, card.input.height
        self._dimension = card.output.dimension
        self._kinds = kinds_of(card, card.output)
        self._kind = self._kinds[settings.kind]
        self._template = np.array(card.template, np.float64)
        self._three_points = three_points(self._template)
        self._engine = make_engine(settings.engine, directory)
        self._finder = FaceFinder(settings, self._engine, store)
        self._embedder = OnnxEmbedder(card, session_opener(settings, store, directory, card))

    @property
    def model_id(self) -> str:
        return self._kind.model_id

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def tolerance(self) -> float:
        return self._card.space(self._kind.name).tolerance

    @property
    def calibration(self) -> Calibration | None:
        return self._card.space(self._kind.name).calibration

    @property
    def origin(self) -> ModelOrigin:
        return self._card.origin(self._kind.name)

    def for_model(self, model_id: str) -> "ONNXEncoder":
        other = copy(self)
        other._kind = kind_of(model_id, self._kinds)
        return other

    def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
        return self._finder.detect(image, wanted)

    def align(self, image: Image, detections: Sequence[Detection]) -> list[AlignedFace]:
        return [self._aligned(image.pixels, detection) for detection in detections]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not len(crops):
            return np.empty((0, self._dimension), np.float32)
        return self._kind.embed(self._embedder.embed, crops)

    def ping(self) -> None:
        self._finder.load()
        if self._settings.detector in ("hog", "cnn"):
            self._engine.dlib.load_landmarks()
        self._embedder.load()

    def _aligned(self, pixels: NDArray[np.uint8], face: Detection) -> AlignedFace:
        if face.landmarks is None:
            found = self._engine.dlib.landmarks(pixels, face.box)
            points = EyesAndNose.of_dlib(found)
            middles = np.stack([found[2:4].mean(axis=0), found[:2].mean(axis=0), found[4]])
            transform = similarity(middles, self._three_points)
        else:
            points = EyesAndNose.of_landmarks(face.landmarks)
            transform = similarity(np.array(face.landmarks, np.float64), self._template)
        crop = cut_out(pixels, transform, self._width, self._height)
        return AlignedFace(face.box, crop, quality_of(face.box, face.score, points, crop))


def session_opener(
    settings: EncoderSettings, store: ModelStore, directory: Path, card: ModelCard
) -> Callable[[], Any]:
    """Return what opens a network's session, its file verified.

    On the CPU the graph is kept as this processor runs it best, and its weights are mapped: all processes of
    the host share them.
    """

    def opened() -> Any:
        installed, file = store.weights(card.id)
        if installed.sha256 != card.sha256 or card.sha256 is None:
            raise Unavailable(f"The model {card.id} was replaced; start the service anew.")
        if settings.execution == "cpu":
            return open_cached(directory, card.id, card.sha256, file.read_bytes, settings.threads)
        return open_file(file, settings.threads, settings.execution)

    return opened
