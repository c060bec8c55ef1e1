"""A short benchmark of one installation, with the parts that the service is made of."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from facesearch import __version__
from facesearch.bootstrap.host_checks import memory_bytes
from facesearch.bootstrap.models import TEST_PHOTOS
from facesearch.bootstrap.scratch import scratch_models
from facesearch.bootstrap.service import INDEX
from facesearch.config import LimitSettings, Settings
from facesearch.databases import open_image_database
from facesearch.encoders import encoder_of_model, make_encoder
from facesearch.errors import FacesearchError, Unavailable
from facesearch.images import AGTImage
from facesearch.interfaces import FaceIndex, ImageEncoder
from facesearch.records import PhotoFile
from facesearch.search import ExactIndex, HNSWIndex
from facesearch.search.synthetic import fill, vectors
from facesearch.service import EncodePhotos
from facesearch.workers import InlinePool, ProcessPool

_ROUNDS = 3
_SEARCHES = 20
_K = 10
_PHOTOS_A_TASK = 4
_PACKAGES = ("numpy", "onnxruntime", "dlib-bin", "SQLAlchemy", "usearch")


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of the benchmark, None where there was nothing to measure.

    Args:
        name: its key.
        value: in `unit`.
        unit: such as `ms`.
        note: what was measured, in words.
    """

    name: str
    value: float | None
    unit: str
    note: str


class Bench:
    """Measures this installation. Lives for one command, and belongs to its thread.

    Nothing of the gallery is changed: searches read the copy as it lies there, and what is made for the
    synthetic gallery lies in a temporary folder.

    Args:
        faces: how many the synthetic gallery has.
        photos: how many photos the pool encodes.
    """

    def __init__(self, settings: Settings, faces: int = 100_000, photos: int = 64) -> None:
        self._settings = settings
        self._faces = faces
        self._photos = photos

    def machine(self) -> dict[str, str]:
        """What the figures hold for: the host, and versions."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        encoder = self._settings.encoder
        return {
            "processor": _processor(),
            "cores": str(cores),
            "memory": f"{memory_bytes() / 1024**3:.1f} GiB",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "facesearch": __version__,
            "python": sys.version.split()[0],
            **{name: found for name in _PACKAGES if (found := _version(name))},
            "encoder": f"{encoder.model}, {encoder.detector}, upsample {encoder.upsample}",
        }

    def figures(self) -> Iterator[Measured]:
        """Yield each figure as soon as it is measured.

        Raises:
            Unavailable: a model or the test photos are missing.
        """
        photos = _test_photos()
        # Before the encoder: the driver must be loaded before its libraries.
        model_id = self._gallery_model()
        with scratch_models(self._settings) as models:
            chosen = self._settings.encoder
            if model_id is None:
                encoder = make_encoder(chosen, models)
            else:
                encoder = encoder_of_model(model_id, chosen, models)
            yield self._encode(encoder, photos)
            yield self._search_gallery(encoder)
            yield self._search_synthetic(encoder)
            yield self._bulk(photos, models)

    def _encode(self, encoder: ImageEncoder, photos: list[PhotoFile]) -> Measured:
        encoder.ping()
        spent = []
        for photo in photos * _ROUNDS:
            started = perf_counter()
            encoder.encode(AGTImage.open(photo.data, photo.file_name, LimitSettings()))
            spent.append((perf_counter() - started) * 1000)
        note = f"one photo at a time, decoded and encoded: median of {len(spent)}"
        return Measured("encode", median(spent), "ms", note)

    def _search_gallery(self, encoder: ImageEncoder) -> Measured:
        settings = self._settings.search
        kind = HNSWIndex if settings.index == "hnsw" else ExactIndex
        index = kind(
            self._settings.data_dir / INDEX,
            encoder.model_id,
            encoder.dimension,
            InlinePool(),
            1 << 62,
            settings.threads_from,
        )
        with closing(index):
            faces = index.count()
            if not faces:
                return Measured("search_gallery", None, "ms", "the gallery has no copy to search yet")
            return _search(index, encoder, "search_gallery", f"this gallery, {faces:,} faces")

    def _search_synthetic(self, encoder: ImageEncoder) -> Measured:
        with tempfile.TemporaryDirectory(prefix="facesearch-") as folder:
            index = ExactIndex(
                Path(folder),
                encoder.model_id,
                encoder.dimension,
                InlinePool(),
                1 << 62,
                self._settings.search.threads_from,
            )
            with closing(index):
                fill(index, self._faces, encoder.dimension)
                return _search(index, encoder, "search_synthetic", f"{self._faces:,} made-up faces")

    def _bulk(self, photos: list[PhotoFile], models: Path) -> Measured:
        open_image = partial(AGTImage.open, limits=LimitSettings())
        task = EncodePhotos(open_image, make_encoder, (self._settings.encoder, models))
        workers = self._settings.workers
        pool = ProcessPool(
            workers.processes,
            workers.processes_per_host,
            workers.task_timeout_s,
            models / "slots",
            workers.memory_bytes,
        )
        many = [photos[number % len(photos)] for number in range(self._photos)]
        groups = [many[first : first + _PHOTOS_A_TASK] for first in range(0, len(many), _PHOTOS_A_TASK)]
        with closing(pool):
            for outcome in pool.map(task, groups[: pool.processes]):  # children start, and load their models
                outcome.unwrap()
            started = perf_counter()
            for outcome in pool.map(task, groups):
                outcome.unwrap()
            spent = perf_counter() - started
            note = f"{len(many)} photos by {pool.processes} processes of the pool, nothing stored"
            return Measured("bulk", len(many) / spent, "photos/s", note)

    def _gallery_model(self) -> str | None:
        try:
            with closing(open_image_database(self._settings, read_only=True)) as database:
                return database.gallery_model()
        except FacesearchError:
            return None  # what can be measured without the database is measured


def _search(index: FaceIndex, encoder: ImageEncoder, name: str, what: str) -> Measured:
    probes = vectors(_SEARCHES + 1, encoder.dimension, seed=1)
    index.search(probes[:1], _K, encoder.tolerance)
    spent = []
    for probe in probes[1:]:
        started = perf_counter()
        index.search(probe[np.newaxis], _K, encoder.tolerance)
        spent.append((perf_counter() - started) * 1000)
    return Measured(name, median(spent), "ms", f"one face in {what}: median of {len(spent)}")


def _test_photos() -> list[PhotoFile]:
    files = [PhotoFile(file.name, file.read_bytes()) for file in sorted(TEST_PHOTOS.glob("*.jpg"))]
    if not files:
        raise Unavailable("The test photos are missing: test_images/ belongs beside the package.")
    return files


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
