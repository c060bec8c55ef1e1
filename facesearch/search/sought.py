"""What one search looks for, faces or persons, and how it looks through rows and joins what parts found."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import Encoder
from facesearch.search.measure import Heap, Rows
from facesearch.search.people import PersonTopK
from facesearch.search.scan import scan_into
from facesearch.search.topk import TopK

Found = list[list[Any]]
"""For each probe (distance, face) nearest first, or (distance, face, person) where persons were sought."""

FACES, PEOPLE, POOLED = "faces", "people", "pooled"


class Query(NamedTuple):
    """What one search looks for; picklable.

    Args:
        probes: float32 (m, d).
        kind: FACES; PEOPLE, each once; or POOLED: one list of people for all probes together.
    """

    probes: NDArray[np.float32]
    k: int
    tolerance: float
    kind: str = FACES

    def sought(self, rows: Iterable[Rows], encoder: Encoder | None) -> Found:
        """Look through rows; `encoder` made their codes."""
        heaps = self._heaps()
        shared = heaps * len(self.probes) if self.kind == POOLED else heaps
        scan_into(rows, self.probes, shared, encoder)
        return [heap.sorted() for heap in heaps]

    def merged(self, parts: Iterable[Found]) -> Found:
        """Join what was found in parts of the rows."""
        heaps: list[Any] = self._heaps()
        for part in parts:
            for heap, found in zip(heaps, part, strict=True):
                heap.merge(found)
        return [heap.sorted() for heap in heaps]

    def _heaps(self) -> "list[Heap]":
        if self.kind == POOLED:
            return [PersonTopK(self.k, self.tolerance)]
        make = TopK if self.kind == FACES else PersonTopK
        return [make(self.k, self.tolerance) for _ in self.probes]
