"""The graph of a host and model: opened, built and made longer on the side, while searches go on."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import Unavailable
from facesearch.search.following import face_numbers
from facesearch.search.graph import (
    GraphBuilder,
    GraphFile,
    Standing,
    identity_of,
    numbers_of,
    sample_of,
)
from facesearch.search.layout import Damaged, Missing
from facesearch.search.locking import exclusive_lock
from facesearch.search.matrix import SharedMatrix
from facesearch.search.snapshot import Snapshot

_SHORT_PART = 32  # a graph is made longer when so large a part of its rows came after it
_SHORT_ROWS = 10_000  # and at least so many
_WORN_PART = 4  # and built anew when so large a part of its faces has gone
_ROWS_AT_ONCE = 256  # between two looks at whether to stop
_STEP = 100_000  # faces after which a build publishes first; then whenever it has grown by half
_PAUSE_S = 1.0
_LOCK_WAIT_S = 1.0  # between two looks at whether to stop
_PAUSE_AFTER_FAILURE_S = 60.0
_NICENESS = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A graph, and where its faces are in one file of the matrix; immutable.

    Args:
        generation: the file's.
        numbers: change numbers of the rows that the graph covers, which are the file's first.
        odd: places of the covered rows that are not in the graph.
    """

    graph: GraphFile
    generation: str
    numbers: NDArray[np.int64]
    odd: NDArray[np.int64]

    @classmethod
    def of(cls, graph: GraphFile, snapshot: Snapshot) -> "View":
        """Lay a graph over the rows.

        Args:
            snapshot: taken after the graph was opened, so that it has every row that the graph has.

        Raises:
            Damaged: the graph was built from another history.
        """
        numbers = numbers_of(snapshot)
        if not graph.is_of(snapshot, numbers):
            raise Damaged("it was built from another history")
        numbers = numbers[: np.searchsorted(numbers, graph.about.last_number, "right")].copy()
        odd = np.flatnonzero(np.isin(numbers, graph.about.odd))
        return cls(graph, snapshot.file.header.generation, numbers, odd)

    def covers(self, snapshot: Snapshot) -> bool:
        """Whether the places are those of this snapshot's file."""
        return snapshot.file.header.generation == self.generation

    def is_short(self, snapshot: Snapshot) -> bool:
        """Whether scanning the rows that came after the graph takes too long."""
        covered = len(self.numbers)
        return snapshot.count - covered > max(_SHORT_ROWS, covered // _SHORT_PART)

    def is_worn(self, snapshot: Snapshot) -> bool:
        """Whether so many of the graph's faces have gone that a new graph is better."""
        nodes = self.graph.about.nodes
        here = int(np.count_nonzero(snapshot.counts[: len(self.numbers)])) - len(self.odd)
        return nodes - here > nodes // _WORN_PART

    def places(self, snapshot: Snapshot, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of those change numbers whose face is in the gallery."""
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        places = places[self.numbers[places] == numbers]
        return present(snapshot, places)


def present(snapshot: Snapshot, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of the places that hold a face of the gallery."""
    places = places[places < snapshot.count]
    return places[snapshot.counts[places]]


class GraphTender:
    """Sees to it that there is a graph beside the matrix; lives as long as its process.

    Any thread may read `view` and call `look`; one thread of one process of the host builds, while the
    others go on with the graph that is there. Building stops soon after `close`, or when the main
    thread has ended; what was published stays, and the next build goes on from there.

    Args:
        graph_from: from how many faces on there is one.
        on_the_side: whether a thread of its own builds, or `look` itself.
    """

    def __init__(self, matrix: SharedMatrix, graph_from: int, on_the_side: bool) -> None:
        self.view: View | None = None
        self._matrix = matrix
        self._path = matrix.graph_path
        self._lock_path = self._path.with_name(f"{self._path.name}.lock")
        self._graph_from = graph_from
        self._on_the_side = on_the_side
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._rests_until = 0.0
        self._closed = threading.Event()

    def for_matrix(self, matrix: SharedMatrix) -> "GraphTender":
        """Return a tender of the same kind for another matrix."""
        return GraphTender(matrix, self._graph_from, self._on_the_side)

    def look(self, snapshot: Snapshot) -> None:
        """Where the graph is not as it should be for these rows, do something about it."""
        view = self.view
        if snapshot.faces < self._graph_from:
            self.view = None
            return
        if (
            view is not None
            and view.covers(snapshot)
            and not view.is_short(snapshot)
            and view.graph.identity == identity_of(self._path)
        ):
            return
        if not self._on_the_side:
            self._tend()
            return
        with self._mutex:
            is_busy = self._thread is not None and self._thread.is_alive()
            if not (is_busy or self._closed.is_set() or time.monotonic() < self._rests_until):
                self._rests_until = time.monotonic() + _PAUSE_S
                self._thread = threading.Thread(target=self._tend_gently, name="graph")
                self._thread.start()

    def close(self) -> None:
        """Stop building, and let go of the graph."""
        with self._mutex:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self.view = None

    def _tend_gently(self) -> None:
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        self._tend()

    def _tend(self) -> None:
        try:
            view = self._found()
            if view is None or view.is_short(self._rows()):
                with exclusive_lock(self._lock_path, 0.0):
                    self._build()
        except (Unavailable, Damaged):
            pass  # another process builds it, or one of the two files is being replaced
        except (OSError, RuntimeError, MemoryError) as error:
            self._rests_until = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            reason = getattr(error, "strerror", None) or error
            _log.error("The graph of model %s cannot be built: %s.", self._matrix.model_id, reason)

    def _found(self) -> View | None:
        """Take the graph that is there, if it can be used."""
        try:
            self.view = self._laid()
        except Damaged:
            self.view = None  # said by whoever builds it anew
        return self.view

    def _laid(self) -> View:
        """Return the graph that is there, laid over the matrix that is there.

        Raises:
            Missing, Damaged: there is none that can be used.
        """
        held = self.view
        if held is None or held.graph.identity != identity_of(self._path) or held.graph.is_cut():
            graph = GraphFile(self._path, self._matrix.model_id, self._matrix.dimension)
            return View.of(graph, self._rows())
        rows = self._rows()
        return held if held.covers(rows) else View.of(held.graph, rows)

    def _rows(self) -> Snapshot:
        """What is published now.

        Raises:
            Unavailable: the matrix is damaged; the next catch-up mends it.
        """
        try:
            return self._matrix.snapshot()
        except Damaged:
            raise Unavailable from None

    def _build(self) -> None:
        """Build the graph or make it longer; only for the holder of the lock."""
        start = self._worth_going_on_from()
        rows = self._rows()
        builder = GraphBuilder(self._matrix.model_id, sample_of(rows), start.graph if start else None)
        at = len(start.numbers) if start else 0
        served = len(self.view.numbers) if self.view else 0
        published = builder.nodes
        while at < rows.count:
            self._expect_matrix()
            if self._must_stop():
                return
            last = min(at + _ROWS_AT_ONCE, rows.count)
            places = at + np.flatnonzero(rows.counts[at:last])
            if len(places):
                builder.add(rows.picked("number", places), rows.picked("vector", places))
            at = last
            has_grown = builder.nodes - published >= max(_STEP, published // 2)
            if at == rows.count or (has_grown and at > served):
                last_number = int(rows.picked("number", np.array([at - 1]))[0])
                standing = partial(self._standing, rows.database_id, last_number)
                while not builder.publish(self._path, rows.database_id, last_number, standing):
                    self._expect_matrix()
                published = builder.nodes
                self.view = self._laid()

    def _must_stop(self) -> bool:
        return self._closed.is_set() or not threading.main_thread().is_alive()

    def _expect_matrix(self) -> None:
        """Raise Unavailable where the matrix is deleted: nobody needs its graph, which is deleted next."""
        if not self._matrix.path.exists():
            raise Unavailable

    @contextmanager
    def _standing(self, database_id: str, last_number: int) -> Iterator[Standing]:
        """Keep everybody from writing to the matrix, and tell what it holds.

        Raises:
            Unavailable: it does not reach as far as the graph, being built anew; or this index is closed.
        """
        with self._matrix_lock():
            rows = self._rows()
            if rows.database_id != database_id or rows.last_number < last_number:
                raise Unavailable
            yield Standing(rows.file.header.generation, face_numbers(rows))

    @contextmanager
    def _matrix_lock(self) -> Iterator[None]:
        """Wait as long as it takes: what was built is worth more than a rebuild of the matrix takes."""
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(exclusive_lock(self._matrix.lock_path, _LOCK_WAIT_S))
                    break
                except Unavailable:
                    if self._must_stop():
                        raise
            yield

    def _worth_going_on_from(self) -> View | None:
        model_id = self._matrix.model_id
        try:
            view = self.view = self._laid()
        except Missing:
            _log.info("The graph of model %s is made.", model_id)
            return None
        except Damaged as damage:
            _log.warning("The graph of model %s is built anew: %s.", model_id, damage)
            self._path.unlink(missing_ok=True)
            self.view = None
            return None
        if view.is_worn(self._rows()):
            _log.info("The graph of model %s is built anew: many of its faces have gone.", model_id)
            return None
        return view
