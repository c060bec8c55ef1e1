"""Rows of the gallery, what a probe has come to among them, and the distances that decide."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import Codes, ProbeCode

EXACT_NUMBERS = 1 << 16
"""Float64 numbers in one temporary array of `exact_distances`: 512 KiB."""
SCORES = 1 << 20
"""Scores in one temporary array of a stage: 4 MiB."""
SAFE_NORM = 1e18
"""Below it no float32 product or sum of squares can overflow."""
UNDERFLOW = 2.0**-124


_NOBODY = np.zeros(1, np.int64)


class Heap(Protocol):
    """What keeps the nearest of the faces that it is offered."""

    @property
    def limit(self) -> float:
        """The greatest distance that may still enter."""

    def push_many(
        self, distances: NDArray[np.float64], face_ids: NDArray[np.int64], persons: NDArray[np.int64]
    ) -> None:
        """Offer faces."""

    def sorted(self) -> list[Any]:
        """What is kept, nearest first, ties by lower id of the face."""


class Rows(NamedTuple):
    """Consecutive rows of the gallery.

    Args:
        vectors: float32 (n, d).
        squares: float32 (n,), each vector's squared norm, computed in float64 and rounded.
        face_ids: int64 (n,).
        counts: bool (n,), whether the row is a face that may be found.
        codes: those of the rows, `first` and `rest` C-contiguous and perhaps longer, if there are any.
        persons: int64 (n,), whose faces they are, 0 for nobody; None where nobody asks.
    """

    vectors: NDArray[np.float32]
    squares: NDArray[np.float32]
    face_ids: NDArray[np.int64]
    counts: NDArray[np.bool_]
    codes: Codes | None = None
    persons: NDArray[np.int64] | None = None

    def pieces(self, size: int, times: int | None = None) -> Iterator["Rows"]:
        """Yield the rows in order, `size` at a time; after so many `times` all that are left."""
        count = len(self.counts)
        first = 0
        while first < count:
            last = count if times == 0 else min(first + size, count)
            yield self._part(first, last)
            first, times = last, None if times is None else times - 1

    def _part(self, first: int, last: int) -> "Rows":
        if (first, last) == (0, len(self.counts)):
            return self
        part, codes = slice(first, last), self.codes
        if codes is not None:
            codes = Codes(codes.first[first:], codes.half[part], codes.rest[first:], codes.whole_half[part])
        persons = None if self.persons is None else self.persons[part]
        return Rows(
            self.vectors[part], self.squares[part], self.face_ids[part], self.counts[part], codes, persons
        )


@dataclass(slots=True)
class Probe:
    """What one probe of one search has come to; `code` is None where it is compared by whole vectors."""

    single: NDArray[np.float32]
    exact: NDArray[np.float64]
    square: float
    norm: float
    heap: Heap
    code: ProbeCode | None


def exact_distances(vectors: NDArray[np.float32], probe: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sqrt(sum((x - q)^2)) of every row in float64.

    Args:
        vectors: float32 (n, d).
        probe: float64 (d,), holding float32 values.
    """
    difference = vectors.astype(np.float64)
    difference -= probe
    np.multiply(difference, difference, out=difference)
    total: NDArray[np.float64] = difference.sum(axis=1)
    return np.sqrt(total, out=total)


def measure_all(rows: Rows, places: NDArray[np.intp], state: Probe) -> None:
    """Put any number of rows before the probe's heap, some at a time."""
    size = max(16, 4 * EXACT_NUMBERS // rows.vectors.shape[1])
    for first in range(0, len(places), size):
        measure(rows, places[first : first + size], state)


def measure(rows: Rows, places: NDArray[np.intp], state: Probe) -> None:
    """Put some rows before the probe's heap: float32 drops what is clearly too far, float64 decides.

    A float32 sum of d squared differences errs by less than (d + 8) 2^-23 of itself, however it is
    ordered, and by underflow.
    """
    vectors = rows.vectors[places]
    limit = state.heap.limit
    dimension = vectors.shape[1]
    square = limit * limit * (1 + (dimension + 8) * 2.0**-22) + (dimension + 8) * UNDERFLOW
    if square < SAFE_NORM:
        difference = vectors - state.single
        near = np.flatnonzero(~(np.einsum("ij,ij->i", difference, difference) > square))
        if len(near) < len(places):
            vectors, places = vectors[near], places[near]
    size = max(16, EXACT_NUMBERS // dimension)
    for first in range(0, len(places), size):
        part = slice(first, first + size)
        distances, chosen = exact_distances(vectors[part], state.exact), places[part]
        persons = rows.persons[chosen] if rows.persons is not None else _NOBODY
        state.heap.push_many(distances, rows.face_ids[chosen], persons)
