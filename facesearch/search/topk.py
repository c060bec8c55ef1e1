"""The k nearest of what was offered: a bounded min-heap whose root is the worst that is kept."""

import heapq
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_ONE_BY_ONE = 8


class TopK:
    """Keeps the k smallest (distance, id) pairs; lives for one probe of one search, in one thread.

    Python's heap has its smallest element at the root, so pairs are kept negated: the root is the
    greatest distance and, among equal ones, the greatest id. Nothing is dropped for being worse than
    the root before k pairs are held.

    Args:
        k: how many pairs are kept at most; at least 1.
        tolerance: pairs with a greater distance are not taken; NaN distances never are.
    """

    __slots__ = ("_heap", "_k", "_tolerance")

    def __init__(self, k: int, tolerance: float = math.inf) -> None:
        self._k = k
        self._tolerance = tolerance
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Whether k pairs are held, so that the worst of them bounds what may still enter."""
        return len(self._heap) == self._k

    @property
    def limit(self) -> float:
        """The greatest distance that may still enter; a pair at this very distance may, by its id."""
        return min(self._tolerance, -self._heap[0][0]) if self.is_full else self._tolerance

    def push(self, distance: float, face_id: int) -> bool:
        """Offer one pair; return whether it was taken. Where it was not, no worse one would be now."""
        if not distance <= self._tolerance:
            return False
        pair = (-distance, -face_id)
        if len(self._heap) < self._k:
            heapq.heappush(self._heap, pair)
            return True
        return heapq.heappushpop(self._heap, pair) != pair

    def push_many(
        self, distances: NDArray[np.float64], face_ids: NDArray[np.int64], persons: object = None
    ) -> None:
        """Offer pairs; whose faces they are does not matter."""
        near = np.flatnonzero(distances <= self.limit)  # NaN is not
        if len(near) == 0:
            return
        distances, face_ids = distances[near], face_ids[near]
        order = np.lexsort((face_ids, distances))[: self._k]
        if len(order) <= _ONE_BY_ONE:
            for at in order:
                if not self.push(float(distances[at]), int(face_ids[at])):
                    break
            return
        # two sorted runs are one sort's easiest case, and a sorted list is a heap
        order = order[::-1]
        pairs = zip((-distances[order]).tolist(), (-face_ids[order]).tolist(), strict=True)
        self._heap = sorted([*self._heap, *pairs])[-self._k :]

    def merge(self, pairs: Iterable[tuple[float, int]]) -> None:
        """Offer the sorted pairs of another heap, such as that of another slice."""
        for distance, face_id in pairs:
            if not self.push(distance, face_id):
                break

    def sorted(self) -> list[tuple[float, int]]:
        """The pairs that are held, nearest first, ties by lower id."""
        return [(-distance, -face_id) for distance, face_id in sorted(self._heap, reverse=True)]
