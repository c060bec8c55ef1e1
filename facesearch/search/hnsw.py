"""The approximate index: a graph over the shared matrix, for galleries too large to scan.

The matrix stays what is true of faces; the graph only proposes some. Those that were removed are dropped,
the others are measured in float64, and faces that came after the graph was built are scanned. So every
distance is right and no removed face is found; what a graph may do is miss a face.
"""

import logging
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.interfaces import FaceIndex, ImageDatabase, WorkerPool
from facesearch.records import FaceFilter, Match
from facesearch.search.codes import FIT_FROM
from facesearch.search.exact import NEVER, ExactIndex
from facesearch.search.graph import new_index, picked
from facesearch.search.layout import BLOCK_ROWS
from facesearch.search.measure import exact_distances
from facesearch.search.scan import scan
from facesearch.search.snapshot import Snapshot
from facesearch.search.tending import GraphTender, View, present
from facesearch.search.topk import TopK

EXPANSION = 512
"""How many faces a graph is asked for at least: more take longer and miss less."""
GRAPH_FROM = 500_000
"""Fewer faces are scanned: a scan is as quick, and exact."""

_SCANNED_PER_ASKED = 400  # rows that are scanned while a graph finds one face more
_FEW = 20  # a filter that names fewer than one face in so many is a scan's work
_ONE_BY_ONE = 4096
_SPARE = 16

_log = logging.getLogger(__name__)


class HNSWIndex(FaceIndex):
    """Searches the vectors of one collection and model through a graph; lives as long as its process.

    Any thread may call it. Processes that share `directory` share the copy and the graph. Not to be
    carried over a fork. Where there is no graph yet, where it cannot be used, and where a scan takes no
    longer, answers are those of ExactIndex.

    Args:
        directory, pool, parallel_from, threads_from, threads, block_rows, fit_from, lock_wait_s: as for
            ExactIndex.
        expansion: how many faces the graph is asked for at least.
        graph_from: from how many faces on there is a graph.
        on_the_side: whether a thread of its own builds the graph, or `catch_up` itself.

    Raises:
        InvalidConfig: usearch is not installed.
    """

    def __init__(
        self,
        directory: Path,
        model_id: str,
        dimension: int,
        pool: WorkerPool,
        parallel_from: int,
        threads_from: int = NEVER,
        *,
        threads: int | None = None,
        block_rows: int = BLOCK_ROWS,
        fit_from: int = FIT_FROM,
        lock_wait_s: float = 30.0,
        expansion: int = EXPANSION,
        graph_from: int = GRAPH_FROM,
        on_the_side: bool = True,
    ) -> None:
        new_index(dimension)  # tells now what is missing
        self._exact = ExactIndex(
            directory,
            model_id,
            dimension,
            pool,
            parallel_from,
            threads_from,
            threads=threads,
            block_rows=block_rows,
            fit_from=fit_from,
            lock_wait_s=lock_wait_s,
        )
        self._expansion = expansion
        self._tender = GraphTender(self._exact.matrix, graph_from, on_the_side)

    def of(self, collection: int, model_id: str, dimension: int) -> "HNSWIndex":
        other = copy(self)
        other._exact = self._exact.of(collection, model_id, dimension)
        other._tender = self._tender.for_matrix(other._exact.matrix)
        return other

    def catch_up(self, database: ImageDatabase) -> None:
        """Take over every change that the database committed before this call, as ExactIndex does.

        A graph that is missing, too short or not of this gallery is then built on the side.
        """
        self._exact.catch_up(database)
        snapshot = self._exact.snapshot()
        if snapshot is not None:
            self._tender.look(snapshot)

    def search(
        self, embeddings: NDArray[np.float32], k: int, tolerance: float, only: FaceFilter | None = None
    ) -> list[list[Match]]:
        """Return for each probe about its k nearest faces with distance <= tolerance.

        Distances are exact, and so are order and ties among the faces that are returned. Errors are
        those of ExactIndex.
        """
        snapshot, view = self._exact.snapshot(), self._tender.view
        if snapshot is None or view is None or not self._is_for_graph(snapshot, view, only):
            return self._exact.search(embeddings, k, tolerance, only)
        self._exact.search(embeddings[:0], k, tolerance)  # raises where one of them is out of range
        probes = np.ascontiguousarray(embeddings, np.float32)
        codes, fits = view.graph.quantiser.encode(probes)
        search = _GraphSearch(snapshot, view, self._expansion, k, tolerance, only)
        heaps = [
            search.nearest(probe, code) if fit else None
            for probe, code, fit in zip(probes, codes, fits, strict=True)
        ]
        near = np.array([heap is not None for heap in heaps], bool)
        newer = iter(search.newer(probes[near]))
        exact = iter(self._exact.search(probes[~near], k, tolerance, only))
        answers = []
        for heap in heaps:
            if heap is None:
                answers.append(next(exact))
                continue
            heap.merge(next(newer))
            answers.append([Match(face_id, distance) for distance, face_id in heap.sorted()])
        return answers

    def count(self) -> int:
        """How many faces the copy held at the last catch-up."""
        return self._exact.count()

    def extent(self) -> tuple[int, int]:
        return self._exact.extent()

    def ping(self) -> None:
        """Raise where the copy cannot be read or written; the graph may be missing."""
        self._exact.ping()

    def close(self) -> None:
        """Stop building, which takes a few seconds where a graph is just being written; release all."""
        self._tender.close()
        self._exact.close()

    def _is_for_graph(self, snapshot: Snapshot, view: View, only: FaceFilter | None) -> bool:
        if not view.covers(snapshot) or snapshot.file.is_cut(snapshot.count):
            return False
        if view.graph.is_cut():
            _log.error("The graph was cut short by another program; searches are exact until it is built.")
            self._tender.view = None
            return False
        few = snapshot.faces // _FEW
        return only is None or only.face_ids is None or len(only.face_ids) >= few


class _GraphSearch:
    """One search through a graph; lives as long as the search, in one thread."""

    def __init__(
        self,
        snapshot: Snapshot,
        view: View,
        expansion: int,
        k: int,
        tolerance: float,
        only: FaceFilter | None,
    ) -> None:
        self._snapshot = snapshot
        self._view = view
        self._k = k
        self._tolerance = tolerance
        self._only = only
        nodes = view.graph.about.nodes
        # the order of codes is not quite that of distances, and a graph misses most where it ends
        self._enough = k + max(k // 2, _SPARE)
        self._least = max(expansion, 2 * k)
        self._most = min(max(expansion, nodes // _SCANNED_PER_ASKED), nodes - 1)
        # how far a code may be from its vector, twice
        self._blur = view.graph.quantiser.step * float(np.sqrt(len(view.graph.quantiser.centre)))

    def nearest(self, probe: NDArray[np.float32], code: NDArray[np.int8]) -> TopK | None:
        """Return the nearest of the graph's rows, or None where a scan finds them sooner.

        Args:
            probe: float32 (d,).
            code: int8 (d,), the probe's.
        """
        asked = self._least
        while asked <= self._most:
            numbers, reach = self._view.graph.nearest(code, asked)
            places = self._wanted(self._view.places(self._snapshot, numbers))
            if len(places) >= self._enough or reach > self._tolerance + self._blur:
                return self._measured(probe, places)
            asked = max(2 * asked, 2 * asked * self._enough // max(len(places), 1))
        return None

    def newer(self, probes: NDArray[np.float32]) -> list[list[tuple[float, int]]]:
        """Scan the rows that came after the graph was built; return as `scan` does."""
        snapshot = self._snapshot
        first = len(self._view.numbers)
        if first >= snapshot.count:
            return [[] for _ in probes]
        wanted = np.zeros(snapshot.count - first, bool)
        wanted[self._wanted(first + np.flatnonzero(snapshot.counts[first:])) - first] = True
        rows = snapshot.rows(first, snapshot.count, wanted)
        return scan(rows, probes, self._k, self._tolerance, snapshot.file.encoder)

    def _measured(self, probe: NDArray[np.float32], places: NDArray[np.int64]) -> TopK:
        odd = self._wanted(present(self._snapshot, self._view.odd))
        places = np.concatenate([places, odd])
        heap = TopK(self._k, self._tolerance)
        with np.errstate(all="ignore"):  # an odd row may hold infinities and NaN
            distances = exact_distances(picked(self._snapshot, "vector", places), probe.astype(np.float64))
        heap.push_many(distances, picked(self._snapshot, "face_id", places))
        return heap

    def _wanted(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keep what the filter lets through."""
        only = self._only
        if only is None:
            return places
        for name, values in (("face_id", only.face_ids), ("person", only.persons)):
            if values is None:
                continue
            column = picked(self._snapshot, name, places)
            if len(column) < _ONE_BY_ONE:
                kept = np.fromiter((value in values for value in column.tolist()), bool, len(column))
            else:
                kept = np.isin(column, np.fromiter(values, np.int64, len(values)))
            places = places[kept]
        return places
