"""The graph of the approximate index: a saved usearch file that all processes of a host map.

It is a Hierarchical Navigable Small World graph over 8-bit codes of the vectors. Source of the algorithm:
Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs, 2018. A key is the change number under which a face was added, so that a graph outlives
the matrix it was built from: a tidied copy has the same numbers. A longer graph is written beside the one
that is there and takes its name; in that one nothing is changed but codes of faces that are removed.
"""

import os
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import InvalidConfig
from facesearch.search.graph_layout import NEW, About, GraphMap, drop_unfinished, write_graph
from facesearch.search.layout import FACE, Damaged
from facesearch.search.mapped_file import gathered
from facesearch.search.snapshot import Snapshot

CONNECTIVITY = 16
"""Links of a node; twice as many on the ground level."""

_EXPANSION_ADD = 128
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


class Standing(NamedTuple):
    """What the matrix holds at a moment at which nobody writes to it.

    Args:
        generation: its file's.
        numbers: the change numbers of its faces, ascending.
    """

    generation: str
    numbers: NDArray[np.int64]


class GraphFile:
    """One finished graph, mapped read-only, its checks confirmed; lives until it is dropped.

    Any thread may search it; usearch lets one at a time.

    Raises:
        Missing, Damaged: there is no file, or not a whole one of this model.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, model_id: str, dimension: int) -> None:
        self._file = GraphMap(path)
        self._file.verify()
        self.about = self._file.about
        self.identity = self._file.identity
        self.saved = self._file.saved
        self.numbers = self._file.numbers
        if (self.about.model_id, self.about.dimension) != (model_id, dimension):
            raise Damaged("it is another model's")
        self.quantiser = Quantiser(np.array(self.about.centre), self.about.step)
        self._index = new_index(dimension)
        try:
            self._index.view(self.saved)
        except (RuntimeError, ValueError) as error:
            raise Damaged(f"usearch cannot read it: {error}") from None
        if len(self._index) != self.about.nodes:
            raise Damaged("it holds another number of faces than it says")

    def is_cut(self) -> bool:
        """Whether the file has become shorter: touching what is gone would end the process."""
        return self._file.is_cut()

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
        about, told = self.about, self.numbers
        if about.database_id != snapshot.database_id or about.last_number > snapshot.last_number:
            return False
        if not len(numbers):
            return False
        kinds = gathered(snapshot.file, "kind", 0, snapshot.count)
        places = np.minimum(np.searchsorted(numbers, told), len(numbers) - 1)
        here = (numbers[places] == told) & (kinds[places] == FACE) & ~self._file.erased()
        slots = np.flatnonzero(here)[-_LANDMARKS:]
        codes, vectors = self._file.codes[slots], snapshot.picked("vector", places[slots])
        # asked for once more behind what was read: another process may erase some meanwhile
        still = (snapshot.picked("kind", places[slots]) == FACE) & ~self._file.erased()[slots]
        same = (self.quantiser.encode(vectors)[0] == codes).all(axis=1)
        return bool(still.any() and same[still].all())


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
        self._numbers = [start.numbers.copy()] if start else []
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
            self._numbers.append(numbers[fits].astype(np.int64))

    def publish(
        self,
        path: Path,
        database_id: str,
        last_number: int,
        standing: Callable[[], AbstractContextManager[Standing]],
    ) -> bool:
        """Put the graph as it is now in the place of what is there.

        Args:
            standing: tells what the matrix holds, and keeps it so while the context lasts; the codes of
                other faces are erased.

        Returns:
            False where faces were removed meanwhile, so that it has to be written once more.

        Raises:
            OSError, RuntimeError: it cannot be written; then what is there stays.
        """
        with standing() as now:
            # begun in here, so that whoever removes a face later sees it, and deletes it
            drop_unfinished(path)
            fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex}{NEW}")
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                self._write(descriptor, database_id, last_number, now)
            finally:
                os.close(descriptor)
            try:
                fresh.rename(path)
            except FileNotFoundError:
                return False
        finally:
            fresh.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True

    def _write(self, descriptor: int, database_id: str, last_number: int, now: Standing) -> None:
        saved = self._index.save()
        numbers = np.concatenate([*self._numbers, np.zeros(0, np.int64)])
        about = About(
            self._model_id,
            self._dimension,
            database_id,
            self.nodes,
            len(saved),
            last_number,
            self._quantiser.centre.tolist(),
            self._quantiser.step,
            self._odd,
        )
        kept = np.isin(numbers, now.numbers, assume_unique=True)
        write_graph(descriptor, about, saved, numbers, kept, now.generation)


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


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
