"""Vectors of the labelled photos by each encoder and detector, made once and kept for the next run."""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import hashlib
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import make_encoder
from facesearch.encoders.cards import RECOGNITION
from facesearch.encoders.model_store import ModelStore
from facesearch.images import AGTImage
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import Box, Detection, Wanted

KINDS = ("plain", "mirror")
DLIB_DETECTORS = ("hog", "cnn")
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
    from tests.weights import centerface_file, mobilefacenet_file, sface_file, yunet_file

    store = ModelStore(folder)
    sface = store.card("sface").model_copy(
        update={"id": "sface-int8bq", "sha256": None, "bytes": None, "spaces": {}}
    )
    wanted = [
        (store.card("centerface"), centerface_file),
        (store.card("yunet"), yunet_file),
        (store.card("mobilefacenet"), mobilefacenet_file),
        (sface, sface_file),
    ]
    for card, file in wanted:
        if card.id not in store.installed():
            store.add(file(), card)
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
        enrolling: look as enrolment does, and not as a search; only HOG and CNN tell these apart.
    """
    name = f"{combination.name}-{'enrol' if enrolling else 'search'}"
    file = cache / f"{name}-{_key(paths, _digests(combination))}.npz"
    if not file.exists():
        faces = _detected(combination, photos, paths, enrolling, cache, processes)
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pairs = [(photos / path, face) for path, face in zip(paths, faces, strict=True)]
            vectors = pool.map(partial(_vectors, combination), pairs, chunksize=16)
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


def _detected(
    combination: Combination, photos: Path, paths: Sequence[str], enrolling: bool, cache: Path, processes: int
) -> list[Detection | None]:
    """Each photo's largest face, which all networks behind one detector share."""
    name = f"{combination.detector}-{'enrol' if enrolling else 'search'}"
    file = cache / f"{name}-{_key(paths, _digests(combination)[1:])}.json"
    if not file.exists():
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            looked = [photos / path for path in paths]
            faces = pool.map(partial(_largest, combination, enrolling), looked, chunksize=16)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps([face and asdict(face) for face in faces]))
        fresh.replace(file)
    return [_detection(values) for values in json.loads(file.read_text())]


def _detection(values: dict[str, Any] | None) -> Detection | None:
    if values is None:
        return None
    points = values["landmarks"]
    return Detection(Box(**values["box"]), values["score"], points and tuple((x, y) for x, y in points))


def _largest(combination: Combination, enrolling: bool, path: Path) -> Detection | None:
    found = _encoder(combination).detect(_opened(path), LARGEST if enrolling else Wanted())
    return max(found, key=lambda face: face.box.area, default=None)


def _vectors(combination: Combination, pair: tuple[Path, Detection | None]) -> NDArray[np.float32] | None:
    """The two vectors of a face."""
    path, face = pair
    if face is None:
        return None
    (aligned,) = _encoder(combination).align(_opened(path), [face])
    return np.stack([_of_kind(combination, kind).embed(aligned.crop[None])[0] for kind in KINDS])


def _opened(path: Path) -> Image:
    return AGTImage.open(path.read_bytes(), path.name, LimitSettings())


@lru_cache(maxsize=1)
def _encoder(combination: Combination) -> ImageEncoder:
    encoder = make_encoder(EncoderSettings.model_validate(combination.settings()), combination.models)
    encoder.ping()
    return encoder


@lru_cache(maxsize=2)
def _of_kind(combination: Combination, kind: str) -> ImageEncoder:
    card = ModelStore(combination.models).card(combination.model)
    return _encoder(combination).for_model(card.model_id("plain" if kind == "plain" else "mirror"))


def _digests(combination: Combination) -> list[str]:
    """What the vectors depend on besides the code: the hashes of the network's file and of the detector's."""
    store = ModelStore(combination.models)
    digests = [str(store.card(combination.model).sha256)]
    if combination.detector not in DLIB_DETECTORS:
        digests.append(str(store.detector_of(combination.detector)[0].sha256))
    return digests


def _key(paths: Sequence[str], digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([*paths, *digests]).encode()).hexdigest()[:16]


def _cost(combination: Combination, paths: Sequence[Path]) -> Cost:
    photo_ms, face_ms = {}, {}
    _photo(_of_kind(combination, "mirror"), paths[0])
    memory_mib = _memory_mib()
    for kind in KINDS:
        encoder = _of_kind(combination, kind)
        whole, faces = [], []
        for path in paths:
            image = _opened(path)
            found = encoder.detect(image)[:1]
            whole.append(_ms(partial(_photo, encoder, path)))
            if found:
                faces.append(_ms(partial(_face, encoder, image, found)))
        photo_ms[kind], face_ms[kind] = statistics.median(whole), statistics.median(faces)
    return Cost(photo_ms, face_ms, memory_mib)


def _photo(encoder: ImageEncoder, path: Path) -> None:
    encoder.encode(_opened(path))


def _face(encoder: ImageEncoder, image: Image, found: Sequence[Detection]) -> None:
    encoder.embed(np.stack([face.crop for face in encoder.align(image, found)]))


def _ms(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def _memory_mib() -> float:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
