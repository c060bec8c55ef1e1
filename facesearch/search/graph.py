"""The graph of the approximate index: a saved usearch file that all processes of a host map.

    0     what usearch saves: a Hierarchical Navigable Small World graph over 8-bit codes of the vectors
    then  a text (JSON) that says whose graph it is
    end   magic, version, length of the text, checksum of all before the magic

Source of the algorithm: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search
using Hierarchical Navigable Small World graphs, 2018. A key is the change number under which a face was
added, so that a graph outlives the matrix it was built from: a tidied copy has the same numbers. A file
is never changed; a longer one is written beside it and takes its name.
"""

import json
import mmap
import os
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import InvalidConfig
from facesearch.search.layout import Damaged, Missing
from facesearch.search.snapshot import Snapshot, gathered

CONNECTIVITY = 16
"""Links of a node; twice as many on the ground level."""

_EXPANSION_ADD = 128
_TAIL = np.dtype([("magic", "S8"), ("version", "<u4"), ("length", "<u4"), ("crc", "<u4")])
_MAGIC = b"\x89graph\r\n"
_VERSION = 1
_NEW = ".new"
_LANDMARKS = 256
_SAMPLE = 5_000
_LEVELS = 127
_HEADROOM = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Quantiser:
    """Turns vectors into 8-bit codes whose distances, times `step`, are close to theirs; immutable.

    Args:
        centre: float64 (d,), what is taken from each vector.
        step: the length that 1 in a code stands for.
    """

    centre: NDArray[np.float64]
    step: float

    @classmethod
    def fit(cls, vectors: NDArray[np.float32]) -> "Quantiser":
        """Fit to a sample, float32 (n, d). Medians, so that a few vectors of another size move nothing."""
        wide = vectors[np.isfinite(vectors).all(axis=1)].astype(np.float64)
        if not len(wide):
            return cls(np.zeros(vectors.shape[1]), 1.0)
        centre = np.median(wide, axis=0)
        reach = float(np.median(np.abs(wide - centre).max(axis=1)))
        return cls(centre, _HEADROOM * reach / _LEVELS or 1.0)

    def encode(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Return codes int8 (n, d), and for each vector whether it lies within what codes can say."""
        with np.errstate(all="ignore"):
            scaled = np.rint((vectors.astype(np.float64) - self.centre) / self.step)
            fits: NDArray[np.bool_] = np.all(np.abs(scaled) <= _LEVELS, axis=1)
        scaled[~fits] = 0
        return scaled.astype(np.int8), fits


@dataclass(frozen=True, slots=True)
class About:
    """What a graph's file says of itself.

    Args:
        nodes: how many faces are in the graph.
        last_number: the change number up to which every face is in the graph or in `odd`.
        odd: change numbers of faces that codes cannot tell, and that are not in the graph.
        landmarks: change number and checksum of the vector of each of the last faces of the graph.
    """

    model_id: str
    dimension: int
    database_id: str
    nodes: int
    last_number: int
    centre: list[float]
    step: float
    odd: list[int]
    landmarks: list[tuple[int, int]]

    @property
    def quantiser(self) -> Quantiser:
        """What made the codes of the graph."""
        return Quantiser(np.array(self.centre), self.step)


class GraphFile:
    """One finished graph, mapped read-only, its checksum confirmed; lives until it is dropped.

    Any thread may search it; usearch lets one at a time.

    Raises:
        Missing, Damaged: there is no file, or not a whole one of this model.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, model_id: str, dimension: int) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing("there is none yet") from None
        try:
            self.identity = _identity(os.fstat(descriptor))
            self._size = os.fstat(descriptor).st_size
            if self._size < _TAIL.itemsize:
                raise Damaged("it was cut short")
            self._map = mmap.mmap(descriptor, self._size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self.about, saved = self._read()
        if (self.about.model_id, self.about.dimension) != (model_id, dimension):
            raise Damaged("it is another model's")
        self.quantiser = self.about.quantiser
        self.saved = memoryview(self._map)[:saved]
        self._index = new_index(dimension)
        try:
            self._index.view(self.saved)
        except (RuntimeError, ValueError) as error:
            raise Damaged(f"usearch cannot read it: {error}") from None
        if len(self._index) != self.about.nodes:
            raise Damaged("it holds another number of faces than it says")

    def is_cut(self) -> bool:
        """Whether the file has become shorter: touching what is gone would end the process."""
        return self._map.size() < self._size

    def nearest(self, code: NDArray[np.int8], asked: int) -> tuple[NDArray[np.int64], float]:
        """Return change numbers of about the nearest `asked` faces, and about how far the last one is."""
        found = self._index.search(code, asked, threads=1)
        reach = float(np.sqrt(max(found.distances[-1], 0))) if len(found.keys) else np.inf
        return found.keys.astype(np.int64), reach * self.quantiser.step

    def is_of(self, snapshot: Snapshot, numbers: NDArray[np.int64]) -> bool:
        """Whether the graph was built from the history that these rows come from.

        A database that was restored and went on has other faces from some number on. So it is enough
        that the matrix still has some of the graph's last faces, and the same.

        Args:
            numbers: the change numbers of all rows of the snapshot.
        """
        about = self.about
        if about.database_id != snapshot.database_id or about.last_number > snapshot.last_number:
            return False
        told = np.array(about.landmarks, np.int64).reshape(-1, 2)
        places = np.minimum(np.searchsorted(numbers, told[:, 0]), len(numbers) - 1)
        here = numbers[places] == told[:, 0]
        vectors = snapshot.picked("vector", places[here])
        return bool(here.any()) and [_check_of(vector) for vector in vectors] == told[here, 1].tolist()

    def _read(self) -> tuple[About, int]:
        end = self._size - _TAIL.itemsize
        tail = np.frombuffer(self._map[end:], _TAIL)[0]
        if tail["magic"] != _MAGIC or tail["version"] != _VERSION or tail["length"] > end:
            raise Damaged("it does not end as such a file does")
        with memoryview(self._map) as whole, whole[:end] as checked:
            if zlib.crc32(checked) != tail["crc"]:
                raise Damaged("its checksum does not match")
        saved = end - int(tail["length"])
        try:
            return About(**json.loads(self._map[saved:end])), saved
        except (TypeError, ValueError):
            raise Damaged("its text is not of this format") from None


class GraphBuilder:
    """A graph in this process's memory that takes faces; lives as long as one build, in one thread.

    Args:
        sample: float32 (n, dimension), what the codes of a new graph are fitted to.
        start: the graph to go on from, which `sample` then says nothing about.
    """

    def __init__(self, model_id: str, sample: NDArray[np.float32], start: GraphFile | None) -> None:
        self._model_id = model_id
        self._dimension = sample.shape[1]
        self._quantiser = start.quantiser if start else Quantiser.fit(sample)
        self._odd = list(start.about.odd) if start else []
        self._landmarks = list(start.about.landmarks) if start else []
        self._index = new_index(self._dimension)
        if start:
            self._index.load(start.saved)

    @property
    def nodes(self) -> int:
        """How many faces are in the graph."""
        return len(self._index)

    def add(self, numbers: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take faces whose change numbers, in order, are above those that were taken before."""
        codes, fits = self._quantiser.encode(vectors)
        self._odd += numbers[~fits].tolist()
        if fits.any():
            self._index.add(numbers[fits].astype(np.uint64), codes[fits], threads=1)
        last = zip(numbers[-_LANDMARKS:].tolist(), vectors[-_LANDMARKS:], strict=True)
        self._landmarks += [(number, _check_of(vector)) for number, vector in last]
        del self._landmarks[:-_LANDMARKS]

    def publish(self, path: Path, database_id: str, last_number: int) -> None:
        """Put the graph as it is now in the place of what is there.

        Raises:
            OSError, RuntimeError: it cannot be written; then what is there stays.
        """
        about = About(
            self._model_id,
            self._dimension,
            database_id,
            self.nodes,
            last_number,
            self._quantiser.centre.tolist(),
            self._quantiser.step,
            self._odd,
            self._landmarks,
        )
        for stale in path.parent.glob(f"{path.name}.*{_NEW}"):
            stale.unlink(missing_ok=True)
        fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_NEW}")
        try:
            fresh.touch(0o600, exist_ok=False)
            self._index.save(fresh)
            _finish(fresh, about)
            fresh.rename(path)
        finally:
            fresh.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file that has this name now, None where there is none."""
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        return None


def new_index(dimension: int) -> Any:
    """Return an empty usearch index for 8-bit codes.

    Raises:
        InvalidConfig: usearch is not installed.
    """
    try:
        from usearch.index import Index  # noqa: PLC0415  # only who wants a graph has it
    except ImportError:
        raise InvalidConfig(
            "search.index is hnsw, which needs usearch: pip install -r requirements-hnsw.txt."
        ) from None
    return Index(
        ndim=dimension,
        metric="l2sq",
        dtype="i8",
        connectivity=CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=1,  # a search keeps as many candidates as it is asked for
        enable_key_lookups=False,  # 16 bytes a face in every process, for nothing that is asked here
    )


def sample_of(snapshot: Snapshot) -> NDArray[np.float32]:
    """Some vectors of the gallery, spread evenly: float32 (n, d)."""
    faces = np.flatnonzero(snapshot.counts)
    chosen = np.linspace(0, len(faces) - 1, min(len(faces), _SAMPLE)).astype(np.int64)
    return snapshot.picked("vector", faces[chosen])


def numbers_of(snapshot: Snapshot) -> NDArray[np.int64]:
    """The change numbers of all rows, in order."""
    return gathered(snapshot.file, "number", 0, snapshot.count)


def _finish(file: Path, about: About) -> None:
    """Put text and tail behind what usearch saved, and see it to the disk."""
    text = json.dumps(
        {name: getattr(about, name) for name in About.__dataclass_fields__}, separators=(",", ":")
    ).encode()
    with file.open("r+b") as target:
        with mmap.mmap(target.fileno(), 0, access=mmap.ACCESS_READ) as saved:
            crc = zlib.crc32(text, zlib.crc32(saved))
        tail = np.array((_MAGIC, _VERSION, len(text), crc), _TAIL)
        target.seek(0, os.SEEK_END)
        target.write(text + tail.tobytes())
        target.flush()
        os.fsync(target.fileno())


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _check_of(vector: NDArray[np.float32]) -> int:
    return zlib.crc32(np.ascontiguousarray(vector, "<f4").tobytes())
