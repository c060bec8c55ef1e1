"""The k nearest persons: each counts once, with the nearest of its faces."""

import math
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.search.mapped_file import gathered
from facesearch.search.measure import EXACT_NUMBERS, exact_distances
from facesearch.search.snapshot import Snapshot

_SPARE_ROWS = 65_536  # so many rows after those that are sorted, and an eighth of them, are looked through


class PersonTopK:
    """Keeps the nearest face of each of the k nearest persons; lives for one search, in one thread.

    Several probes of one person may share one: then it keeps the least distance to any of them.

    Args:
        k: how many persons are kept at most; at least 1.
        tolerance: faces with a greater distance are not taken; NaN distances never are.
    """

    __slots__ = ("_distances", "_face_ids", "_k", "_persons", "_tolerance")

    def __init__(self, k: int, tolerance: float = math.inf) -> None:
        self._k = k
        self._tolerance = tolerance
        self._distances = np.zeros(0)
        self._face_ids = np.zeros(0, np.int64)
        self._persons = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._distances)

    @property
    def limit(self) -> float:
        """The greatest distance that may still enter; a face at this very distance may, by its id."""
        if len(self) < self._k:
            return self._tolerance
        return min(self._tolerance, float(self._distances[-1]))

    def push_many(
        self, distances: NDArray[np.float64], face_ids: NDArray[np.int64], persons: NDArray[np.int64]
    ) -> None:
        """Offer faces; those of nobody, person 0, are not taken."""
        near = np.flatnonzero((distances <= self.limit) & (persons != 0))  # NaN is not
        if len(near) == 0:
            return
        distances = np.concatenate([self._distances, distances[near]])
        face_ids = np.concatenate([self._face_ids, face_ids[near]])
        persons = np.concatenate([self._persons, persons[near]])
        order = np.lexsort((face_ids, distances))
        _, firsts = np.unique(persons[order], return_index=True)
        kept = order[np.sort(firsts)[: self._k]]
        self._distances, self._face_ids, self._persons = distances[kept], face_ids[kept], persons[kept]

    def merge(self, found: Iterable[tuple[float, int, int]]) -> None:
        """Offer what another heap kept, such as that of another slice."""
        columns = list(zip(*found, strict=True))
        if columns:
            distances, face_ids, persons = columns
            self.push_many(np.array(distances), np.array(face_ids, np.int64), np.array(persons, np.int64))

    def sorted(self) -> list[tuple[float, int, int]]:
        """Distance, face and person of what is held, nearest first, ties by lower id of the face."""
        columns = (self._distances.tolist(), self._face_ids.tolist(), self._persons.tolist())
        return list(zip(*columns, strict=True))


class PersonRows:
    """Which rows of a file are whose; lives as long as its index, any thread may ask.

    The rows of a file are sorted by person once, which takes some tenths of a second for a million; those
    that came after are looked through until they are many.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._generation = ""
        self._sorted = 0
        self._order = np.zeros(0, np.uint32)
        self._persons = np.zeros(0, np.int64)
        self._starts = np.zeros(0, np.int64)

    def of(self, snapshot: Snapshot, persons: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Return the places of all rows of some persons, and for each row which of them it belongs to.

        Args:
            persons: different numbers of persons of the snapshot.
        """
        with self._mutex:
            behind = snapshot.count - self._sorted
            other = self._generation != snapshot.file.header.generation
            if other or behind > self._sorted // 8 + _SPARE_ROWS:
                self._sort(snapshot)
            order, known, starts, done = self._order, self._persons, self._starts, self._sorted
        ranks = np.argsort(persons)
        at = np.minimum(np.searchsorted(known, persons), max(len(known) - 1, 0))
        here = np.flatnonzero(known[at] == persons) if len(known) else np.zeros(0, np.intp)
        parts = [order[starts[at[one]] : starts[at[one] + 1]].astype(np.int64) for one in here]
        owners = [np.full(len(part), one) for one, part in zip(here, parts, strict=True)]
        if done < snapshot.count:
            newer = gathered(snapshot.file, "person", done, snapshot.count)
            places = np.flatnonzero(np.isin(newer, persons))
            parts.append(done + places)
            owners.append(ranks[np.searchsorted(persons[ranks], newer[places])])
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.intp)
        places, owner = np.concatenate(parts), np.concatenate(owners)
        within = places < snapshot.count  # a snapshot may be older than what was sorted
        return places[within], owner[within]

    def _sort(self, snapshot: Snapshot) -> None:
        persons = gathered(snapshot.file, "person", 0, snapshot.count)
        order = np.argsort(persons, kind="stable")
        self._order = order.astype(np.uint32)
        self._persons, starts = np.unique(persons[order], return_index=True)
        self._starts = np.append(starts, len(persons))
        self._sorted, self._generation = snapshot.count, snapshot.file.header.generation


def count_within(
    snapshot: Snapshot,
    places: NDArray[np.int64],
    owners: NDArray[np.intp],
    probes: NDArray[np.float32],
    tolerance: float,
    persons: int,
) -> list[int]:
    """Return how many of each person's rows lie within the tolerance of any of the probes.

    Args:
        places, owners: the rows, and which of the `persons` each belongs to.
        probes: float32 (m, d).
    """
    size = max(16, EXACT_NUMBERS // probes.shape[1])
    counts = np.zeros(persons, np.int64)
    for first in range(0, len(places), size):
        part = slice(first, first + size)
        vectors = snapshot.picked("vector", places[part])
        near = np.zeros(len(vectors), bool)
        with np.errstate(all="ignore"):  # a row or probe may hold infinities and NaN
            for probe in probes.astype(np.float64):
                near |= exact_distances(vectors, probe) <= tolerance
        counts += np.bincount(owners[part][near], minlength=persons)
    return counts.tolist()
