"""The exact scan: the same ids in the same order as distances in float64 over all rows.

Each stage drops only rows that provably lie beyond the limit: products of the first 64 of their 8-bit
codes and then of all, where the file has codes, float32 over whole vectors, and float64 distances in
difference form, which decide. The limit is the tolerance, then the k-th nearest row met so far. Where
codes rule out too little a product of whole vectors takes their place. Whatever the number of rows, the
temporary arrays stay at a few megabytes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from facesearch.search.coded import Coded
from facesearch.search.codes import Encoder
from facesearch.search.measure import Heap, Probe, Rows, measure_all
from facesearch.search.products import load_kernel
from facesearch.search.topk import TopK
from facesearch.search.whole import by_products

_PROBES_AT_ONCE = 64
_AT_FIRST = 4096
_FEW = 32  # where not even one row in so many may be found, these are measured and the rest is not read


def scan(
    blocks: Iterable[Rows],
    probes: NDArray[np.float32],
    k: int,
    tolerance: float,
    encoder: Encoder | None = None,
) -> list[list[tuple[float, int]]]:
    """Return for each probe its k nearest rows within the tolerance as (distance, id), nearest first.

    Args:
        blocks, probes, encoder: as for `scan_into`.
    """
    heaps = [TopK(k, tolerance) for _ in probes]
    scan_into(blocks, probes, heaps, encoder)
    return [heap.sorted() for heap in heaps]


def scan_into(
    blocks: Iterable[Rows],
    probes: NDArray[np.float32],
    heaps: Sequence[Heap],
    encoder: Encoder | None = None,
) -> None:
    """Put all rows that may enter before the heap of each probe.

    Reads its other arguments only: any number of threads may scan the same rows.

    Args:
        blocks: the gallery in pieces of some thousand rows.
        probes: float32 (m, d).
        heaps: one for each probe; several probes may share one.
        encoder: what made the rows' codes.
    """
    wide = probes.astype(np.float64)
    if load_kernel()[0] is None:
        encoder = None
    with np.errstate(all="ignore"):  # infinities and NaN in a row or probe are met below
        squares = np.einsum("ij,ij->i", wide, wide)
        states = [
            Probe(
                single,
                exact,
                float(square),
                math.sqrt(square),
                heap,
                encoder.encode_probe(single) if encoder else None,
            )
            for single, exact, square, heap in zip(probes, wide, squares, heaps, strict=True)
        ]
        scans = [
            _Scan(states[first : first + _PROBES_AT_ONCE]) for first in range(0, len(states), _PROBES_AT_ONCE)
        ]
        for rows in _beginning_small(blocks):
            found = np.count_nonzero(rows.counts)
            if found * _FEW < len(rows.counts):
                places = np.flatnonzero(rows.counts)
                for state in states if found else ():
                    measure_all(rows, places, state)
                continue
            for part in scans:
                part.block(rows)


def _beginning_small(blocks: Iterable[Rows]) -> Iterator[Rows]:
    """Yield the first few rows on their own: they give the heaps a limit for the rest of their block."""
    for at, rows in enumerate(blocks):
        yield from rows.pieces(_AT_FIRST, 1) if at == 0 else (rows,)


class _Scan:
    """Some probes on their way through the blocks."""

    def __init__(self, states: Sequence[Probe]) -> None:
        self._states = states
        narrow = [state for state in states if state.code and len(state.code.first) == 1]
        wide = [[state] for state in states if state.code and len(state.code.first) > 1]
        self._coded = [Coded(group) for group in [narrow, *wide] if group]
        self._others = [state for state in states if state.code is None]

    def block(self, rows: Rows) -> None:
        """Put a block before the heaps."""
        others = self._others if rows.codes else self._states
        for coded in self._coded if rows.codes else ():
            coded.block(rows)
        if others:
            by_products(rows, others)
