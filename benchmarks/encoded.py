"""Vectors of the labelled photos by each encoder and detector, made once and kept for the next run."""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import hashlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import make_encoder
from facesearch.encoders.cards import RECOGNITION
from facesearch.encoders.model_store import ModelStore
from facesearch.errors import NoFaceFound
from facesearch.images import AGTImage
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import AlignedFace, Detection, Wanted

KINDS = ("plain", "mirror")
LARGEST = Wanted(only_largest=True)
TIMED_PHOTOS = 40


@dataclass(frozen=True)
class Combination:
    """One recognition network behind one detector; `models` is the folder that both are installed in."""

    model: str
    detector: str
    models: Path

    @property
    def name(self) -> str:
        return f"{self.model}-{self.detector}"

    def settings(self, kind: str = "mirror") -> dict[str, object]:
        """The service's settings of the encoder; the CNN detector looks at photos as they are."""
        chosen: dict[str, object] = {"model": self.model, "detector": self.detector, "kind": kind}
        return chosen | ({"upsample": 0} if self.detector == "cnn" else {})


@dataclass(frozen=True)
class Encoded:
    """Vectors of photos' largest faces: found bool (n,), plain and mirror float32 (n, dimension), by row.

    Rows of photos without a face are infinite.
    """

    rows: dict[str, int]
    found: NDArray[np.bool_]
    kinds: dict[str, NDArray[np.float32]]

    def of(self, kind: str, paths: Sequence[str]) -> NDArray[np.float64]:
        return self.kinds[kind][[self.rows[path] for path in paths]].astype(np.float64)

    def missed(self, paths: Sequence[str]) -> int:
        return sum(not self.found[self.rows[path]] for path in paths)


@dataclass(frozen=True)
class Cost:
    """On one thread, medians in ms by kind: a photo from file to vectors, and a face from box to vector.

    `memory_mib` is what a process holds that has encoded a photo, Python and mapped files included.
    """

    photo_ms: dict[str, float]
    face_ms: dict[str, float]
    memory_mib: float


def combinations(folder: Path, models: Sequence[str], detectors: Sequence[str]) -> list[Combination]:
    """Install the tests' weights where they are missing, and return what can be run.

    Args:
        folder: a data folder's `models`; whatever else is installed there takes part.
        models, detectors: which of them; none means all.
    """
    # Not at import: the processes whose memory is measured need no pytest.
    from tests.weights import centerface_file, mobilefacenet_file

    store = ModelStore(folder)
    for name, file in (("centerface", centerface_file), ("mobilefacenet", mobilefacenet_file)):
        if name not in store.installed():
            store.add(file(), store.card(name))
    recognition = [i for i, card in store.installed().items() if card.family in RECOGNITION]
    families = [card.family for card in store.installed().values()]
    finders = ["hog", *(name for name in ("centerface", "yunet") if name in families)]
    return [
        Combination(model, detector, folder)
        for model in models or ["dlib", *(i for i in recognition if i != "dlib")]
        for detector in detectors or finders
    ]


def encoded(
    combination: Combination, photos: Path, paths: Sequence[str], enrolling: bool, cache: Path, processes: int
) -> Encoded:
    """Return the vectors of the largest face of each photo, out of the cache where they lie there.

    Args:
        photos: the folder that `paths` are relative to.
        enrolling: look as enrolment does, and not as a search.
    """
    key = hashlib.sha256("\n".join([*paths, _digest(combination)]).encode()).hexdigest()[:16]
    file = cache / f"{combination.name}-{'enrol' if enrolling else 'search'}-{key}.npz"
    if not file.exists():
        look = _Look(combination, photos, enrolling)
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            vectors = pool.map(look, paths, chunksize=16)
        (dimension,) = {vector.shape[1] for vector in vectors if vector is not None}
        nothing = np.full((2, dimension), np.inf, np.float32)
        stacked = np.stack([nothing if vector is None else vector for vector in vectors])
        fresh = file.with_suffix(".new.npz")
        np.savez(fresh, vectors=stacked)
        fresh.replace(file)
    vectors = np.load(file)["vectors"]
    rows = {path: row for row, path in enumerate(paths)}
    return Encoded(rows, np.isfinite(vectors[:, 0, 0]), {k: vectors[:, i] for i, k in enumerate(KINDS)})


def cost(combination: Combination, photos: Path, paths: Sequence[str]) -> Cost:
    """Measure in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_cost, (combination, [photos / path for path in paths[:TIMED_PHOTOS]]))


@dataclass(frozen=True)
class _Look:
    """Picklable: from a photo's path to its largest face's two vectors, or None."""

    combination: Combination
    photos: Path
    enrolling: bool

    def __call__(self, path: str) -> NDArray[np.float32] | None:
        encoder = _encoder(self.combination)
        try:
            crop = _largest(encoder, self.photos / path, self.enrolling).crop[None]
        except NoFaceFound:
            return None
        return np.stack([_of_kind(self.combination, kind).embed(crop)[0] for kind in KINDS])


def _largest(encoder: ImageEncoder, path: Path, enrolling: bool) -> AlignedFace:
    image = AGTImage.open(path.read_bytes(), path.name, LimitSettings())
    found = encoder.detect(image, LARGEST if enrolling else Wanted())
    if not found:
        raise NoFaceFound
    return encoder.align(image, [max(found, key=lambda face: face.box.area)])[0]


@lru_cache(maxsize=1)
def _encoder(combination: Combination) -> ImageEncoder:
    encoder = make_encoder(EncoderSettings.model_validate(combination.settings()), combination.models)
    encoder.ping()
    return encoder


@lru_cache(maxsize=2)
def _of_kind(combination: Combination, kind: str) -> ImageEncoder:
    card = ModelStore(combination.models).card(combination.model)
    return _encoder(combination).for_model(card.model_id("plain" if kind == "plain" else "mirror"))


def _digest(combination: Combination) -> str:
    """What the vectors depend on besides the code: the files' hashes."""
    store = ModelStore(combination.models)
    digests = [store.card(combination.model).sha256]
    if combination.detector in ("centerface", "yunet"):
        digests.append(store.detector_of(combination.detector)[0].sha256)
    return " ".join(map(str, digests))


def _cost(combination: Combination, paths: Sequence[Path]) -> Cost:
    photo_ms, face_ms = {}, {}
    _photo(_of_kind(combination, "mirror"), paths[0])
    memory_mib = _memory_mib()
    for kind in KINDS:
        encoder = _of_kind(combination, kind)
        whole, faces = [], []
        for path in paths:
            image = AGTImage.open(path.read_bytes(), path.name, LimitSettings())
            found = encoder.detect(image)[:1]
            whole.append(_ms(partial(_photo, encoder, path)))
            if found:
                faces.append(_ms(partial(_face, encoder, image, found)))
        photo_ms[kind], face_ms[kind] = statistics.median(whole), statistics.median(faces)
    return Cost(photo_ms, face_ms, memory_mib)


def _photo(encoder: ImageEncoder, path: Path) -> None:
    encoder.encode(AGTImage.open(path.read_bytes(), path.name, LimitSettings()))


def _face(encoder: ImageEncoder, image: Image, found: Sequence[Detection]) -> None:
    encoder.embed(np.stack([face.crop for face in encoder.align(image, found)]))


def _ms(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def _memory_mib() -> float:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
