"""The approximate index: a graph over the shared matrix, for galleries too large to scan.

The matrix stays what is true of faces; the graph only proposes some. Those that were removed are dropped,
the others are measured in float64, and faces that came after the graph was built are scanned. So every
distance is right and no removed face is found; what a graph may do is miss a face.
"""

import logging
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.interfaces import FaceIndex, ImageDatabase, WorkerPool
from facesearch.records import FaceFilter, Match, PersonMatch
from facesearch.search.codes import FIT_FROM
from facesearch.search.exact import NEVER, ExactIndex
from facesearch.search.graph import new_index
from facesearch.search.layout import BLOCK_ROWS
from facesearch.search.measure import exact_distances
from facesearch.search.people import PersonTopK
from facesearch.search.snapshot import Snapshot
from facesearch.search.sought import FACES, PEOPLE, POOLED, Found, Query
from facesearch.search.tending import GraphTender, View, present
from facesearch.search.topk import TopK

EXPANSION = 512
"""How many faces a graph is asked for at least: more take longer and miss less."""
GRAPH_FROM = 500_000
"""Fewer faces are scanned: a scan is as quick, and exact."""

_SCANNED_PER_ASKED = 400  # rows that are scanned while a graph finds one face more
_FEW = 20  # a filter that names fewer than one face in so many is a scan's work
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
        query = self._exact.checked(embeddings, k, tolerance)
        snapshot = self._exact.readable()
        if snapshot is None or not len(query.probes):
            return [[] for _ in query.probes]
        found = self._found(snapshot, query, only)
        return [[Match(face_id, distance) for distance, face_id in pairs] for pairs in found]

    def search_people(
        self,
        embeddings: NDArray[np.float32],
        k: int,
        tolerance: float,
        only: FaceFilter | None = None,
        *,
        pooled: bool = False,
    ) -> list[list[PersonMatch]]:
        """Return about the k nearest persons; each with exactly how many of its faces are within."""
        query = self._exact.checked(embeddings, k, tolerance)._replace(kind=POOLED if pooled else PEOPLE)
        snapshot = self._exact.readable()
        if snapshot is None or not len(query.probes):
            return [[]] if pooled else [[] for _ in query.probes]
        return self._exact.counted(snapshot, query, only, self._found(snapshot, query, only))

    def keep_only(self, galleries: Mapping[int, str | None]) -> None:
        self._exact.keep_only(galleries)

    def count(self, only: FaceFilter | None = None, *, of_people: bool = False) -> int:
        """See FaceIndex; as of the last catch-up."""
        return self._exact.count(only, of_people=of_people)

    def extent(self) -> tuple[int, int]:
        return self._exact.extent()

    def has_copy(self) -> bool:
        return self._exact.has_copy()

    def ping(self) -> None:
        """Raise where the copy cannot be read or written; the graph may be missing."""
        self._exact.ping()

    def close(self) -> None:
        """Stop building, which takes a few seconds where a graph is just being written; release all."""
        self._tender.close()
        self._exact.close()

    def _found(self, snapshot: Snapshot, query: Query, only: FaceFilter | None) -> Found:
        view = self._tender.view
        if view is None or not self._is_for_graph(snapshot, view, only):
            return self._exact.found(snapshot, query, only)
        codes, fits = view.graph.quantiser.encode(query.probes)
        search = _GraphSearch(snapshot, view, self._expansion, query, only)
        pairs = zip(query.probes, codes, fits, strict=True)
        heaps = [search.nearest(probe, code) if fit else None for probe, code, fit in pairs]
        near = np.array([heap is not None for heap in heaps], bool)
        if query.kind == POOLED:
            if not near.all():
                return self._exact.found(snapshot, query, only)
            return query.merged([*([heap] for heap in heaps if heap is not None), search.newer(query)])
        proposed = query._replace(probes=query.probes[near])
        others = query._replace(probes=query.probes[~near])
        graph = [heap for heap in heaps if heap is not None]
        found = iter(proposed.merged([graph, search.newer(proposed)]) if graph else [])
        exact = iter(self._exact.found(snapshot, others, only) if len(others.probes) else [])
        return [next(found if is_near else exact) for is_near in near]

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
        self, snapshot: Snapshot, view: View, expansion: int, query: Query, only: FaceFilter | None
    ) -> None:
        self._snapshot = snapshot
        self._view = view
        self._query = query
        self._only = only
        nodes, k = view.graph.about.nodes, query.k
        # the order of codes is not quite that of distances, and a graph misses most where it ends
        self._enough = k + max(k // 2, _SPARE)
        self._least = max(expansion, 2 * k)
        self._most = min(max(expansion, nodes // _SCANNED_PER_ASKED), nodes - 1)
        # how far a code may be from its vector, twice
        self._blur = view.graph.quantiser.step * float(np.sqrt(len(view.graph.quantiser.centre)))

    def nearest(self, probe: NDArray[np.float32], code: NDArray[np.int8]) -> list[Any] | None:
        """Return the nearest of the graph's rows, or None where a scan finds them sooner.

        Args:
            probe: float32 (d,).
            code: int8 (d,), the probe's.
        """
        asked = self._least
        while asked <= self._most:
            numbers, reach = self._view.graph.nearest(code, asked)
            places = self._wanted(self._view.places(self._snapshot, numbers))
            told_apart = self._told_apart(places)
            if told_apart >= self._enough or reach > self._query.tolerance + self._blur:
                return self._measured(probe, places)
            asked = max(2 * asked, 2 * asked * self._enough // max(told_apart, 1))
        return None

    def newer(self, query: Query) -> Found:
        """Scan the rows that came after the graph was built."""
        snapshot = self._snapshot
        first = len(self._view.numbers)
        if first >= snapshot.count:
            return query.sought((), snapshot.file.encoder)
        wanted = snapshot.let_through(np.arange(first, snapshot.count), self._only)
        return query.sought(snapshot.rows(first, snapshot.count, wanted), snapshot.file.encoder)

    def _told_apart(self, places: NDArray[np.int64]) -> int:
        """How many faces, or people, the places are of."""
        if self._query.kind == FACES:
            return len(places)
        persons = np.unique(self._snapshot.picked("person", places))
        return int(np.count_nonzero(persons))

    def _measured(self, probe: NDArray[np.float32], places: NDArray[np.int64]) -> list[Any]:
        odd = self._wanted(present(self._snapshot, self._view.odd))
        places = np.concatenate([places, odd])
        heap = (TopK if self._query.kind == FACES else PersonTopK)(self._query.k, self._query.tolerance)
        picked = self._snapshot.picked
        with np.errstate(all="ignore"):  # an odd row may hold infinities and NaN
            distances = exact_distances(picked("vector", places), probe.astype(np.float64))
        heap.push_many(distances, picked("face_id", places), picked("person", places))
        return heap.sorted()

    def _wanted(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keep what the filter lets through."""
        return places if self._only is None else places[self._snapshot.let_through(places, self._only)]
