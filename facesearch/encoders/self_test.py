"""Tries a model on the project's test photos before anybody relies on it.

A recognition network must bring the photos of one person nearer to each other than to anybody else's, with
the channels in the order that its card says. A detector must find the one face of each photo, its landmarks
where they belong, and none where there is none.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.agt import AGTEncoder
from facesearch.encoders.cards import ModelCard
from facesearch.encoders.engines import make_engine
from facesearch.encoders.finder import FaceFinder
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_embedder import OnnxEmbedder
from facesearch.encoders.onnx_encoder import ONNXEncoder
from facesearch.encoders.onnx_session import open_file
from facesearch.errors import Invalid
from facesearch.interfaces import ANY_FACE, Image, ImageEncoder
from facesearch.records import Detection, Wanted

# How much better the swapped order of channels must separate to be believed. In 5,000 draws of five photos
# like the test photos from 497 LFW faces, with MobileFaceNet, the right order was worse by more in 1.2 %, and
# in 0.04 % where its vectors were not longer either: networks give longer vectors to what looks like a face.
_CLEARLY_BETTER = 0.05
_AS_LONG = 0.99

_RUNS = 5


@dataclass(frozen=True)
class TestPhoto:
    """A photo of one person's face, or of none."""

    __test__ = False  # pytest collects classes of such names

    person: str | None
    image: Image


@dataclass(frozen=True)
class SelfTest:
    """What a model did: how long one face (or photo) took, and what was seen, in sentences."""

    dimension: int | None
    ms: float
    seen: tuple[str, ...]


def self_test(
    card: ModelCard, directory: Path, photos: Sequence[TestPhoto], settings: EncoderSettings
) -> SelfTest:
    """Try a model that is installed in a models folder.

    Args:
        card: of the model.
        directory: a models folder in which it is the only one of its family.
        photos: three or more of one person, some of others, some of nobody.
        settings: where ONNX Runtime runs, and on how many threads.

    Raises:
        Invalid: the model does not do what its card says; the message says what was seen.
        InvalidConfig: its network is not as the card says, or cannot be run.
    """
    test = _try_recognition if card.task == "recognition" else _try_detection
    return test(card, directory, photos, settings)


def _try_recognition(
    card: ModelCard, directory: Path, photos: Sequence[TestPhoto], settings: EncoderSettings
) -> SelfTest:
    wanted = _alone(settings, model=card.id, kind="plain", detector="hog")
    encoder: ImageEncoder
    if card.family == "dlib":
        encoder = AGTEncoder(wanted, directory)
        embed = encoder.embed
    else:
        encoder = ONNXEncoder(wanted, directory)
        _, file = ModelStore(directory).weights(card.id)
        embed = OnnxEmbedder(card, lambda: open_file(file, settings.threads, settings.execution)).embed
    people = [photo for photo in photos if photo.person is not None]
    crops = np.stack([_crop(encoder, photo.image) for photo in people])
    names = np.array([str(photo.person) for photo in people])
    right, swapped = (
        _Separation.of(embed(np.ascontiguousarray(some)), names, card) for some in (crops, crops[..., ::-1])
    )
    given, other = ("rgb", "bgr") if card.input and card.input.channels == "rgb" else ("bgr", "rgb")
    if right.farthest_same >= right.nearest_other:
        raise Invalid(
            f"{card.id} does not tell the people of the test photos apart: photos of one person are up to "
            f"{right.farthest_same:.2f} apart, photos of two people {right.nearest_other:.2f}."
        )
    if swapped.margin - right.margin > _CLEARLY_BETTER and swapped.length >= _AS_LONG * right.length:
        raise Invalid(
            f"The card of {card.id} has the channels in the wrong order: as {other} they separate people by "
            f"{swapped.margin:.2f}, as {given}, which it says, by {right.margin:.2f}."
        )
    return SelfTest(
        dimension=encoder.dimension,
        ms=_median_ms(lambda: embed(crops[:1])),
        seen=(
            f"one person at most {right.farthest_same:.2f} apart, two at least {right.nearest_other:.2f}",
            f"channels as {given} separate people by {right.margin:.2f}, as {other} by {swapped.margin:.2f}",
        ),
    )


def _alone(settings: EncoderSettings, **chosen: Any) -> EncoderSettings:
    """Where the networks run is the service's; how it looks for faces says nothing of a model."""
    return EncoderSettings(
        engine=settings.engine, execution=settings.execution, threads=settings.threads, **chosen
    )


def _crop(encoder: ImageEncoder, image: Image) -> NDArray[np.uint8]:
    faces, _ = encoder.look(image, Wanted(only_largest=True))
    if not faces:
        raise Invalid(f"No face was found in the test photo {image.info.file_name}.")
    return faces[0].crop


@dataclass(frozen=True)
class _Separation:
    """How far vectors of one length are from each other; `length` is that of the network's own."""

    farthest_same: float
    nearest_other: float
    margin: float
    length: float

    @classmethod
    def of(cls, vectors: NDArray[np.float32], names: NDArray[np.str_], card: ModelCard) -> "_Separation":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = card.output is None or card.output.metric == "cosine"
        scaled = vectors / (lengths if cosine else lengths.mean())
        first, second = np.triu_indices(len(names), k=1)
        distances = np.linalg.norm(scaled[first] - scaled[second], axis=1)
        same = names[first] == names[second]
        return cls(
            farthest_same=float(distances[same].max()),
            nearest_other=float(distances[~same].min()),
            margin=float(distances[~same].mean() - distances[same].mean()),
            length=float(lengths.mean()),
        )


def _try_detection(
    card: ModelCard, directory: Path, photos: Sequence[TestPhoto], settings: EncoderSettings
) -> SelfTest:
    finder = FaceFinder(
        _alone(settings, detector=card.family),
        make_engine("dlib", directory),
        ModelStore(directory),
    )
    sizes, scores = [], []
    for photo in photos:
        found = finder.detect(photo.image, ANY_FACE)
        expected = 0 if photo.person is None else 1
        if len(found) != expected:
            raise Invalid(
                f"{card.id} finds {len(found)} faces in the test photo {photo.image.info.file_name}, "
                f"which holds {expected or 'none'}."
            )
        for face in found:
            if not is_plausible(face):
                raise Invalid(f"{card.id} puts the landmarks of {photo.image.info.file_name} wrongly.")
            sizes.append(min(face.box.width, face.box.height))
            scores.append(face.score)
    return SelfTest(
        dimension=None,
        ms=_median_ms(lambda: finder.detect(photos[0].image, ANY_FACE)),
        seen=(
            f"finds the one face in each of {len(sizes)} photos, and none where there is none",
            f"faces of {min(sizes)} to {max(sizes)} px, scores of {min(scores):.2f} and more",
        ),
    )


def is_plausible(face: Detection) -> bool:
    """Say whether the landmarks are in the box, eyes above nose above mouth, each left one on the left."""
    if face.landmarks is None:
        return False
    box = face.box
    inside = all(box.left <= x <= box.right and box.top <= y <= box.bottom for x, y in face.landmarks)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    in_order = left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    upright = max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    return inside and in_order and upright


def _median_ms(run: Callable[[], object]) -> float:
    spent = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        run()
        spent.append((time.perf_counter() - started) * 1000)
    return median(spent)
