"""The exact scan: the same ids in the same order as distances in float64 over all rows.

Three stages, each of which drops only rows that provably lie beyond the limit: products of 8-bit codes
where the file has them, float32 over whole vectors, and float64 distances in difference form, which
decide. The limit is the tolerance, then the k-th nearest row met so far. Where codes rule out too
little, because the limit is wide or the rows have no structure, a product of whole vectors takes their
place. Whatever the number of rows, the temporary arrays stay at a few megabytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import Encoder
from facesearch.search.products import CodeProducts, load_kernel
from facesearch.search.topk import TopK

_EXACT_NUMBERS = 1 << 16  # float64 numbers in one temporary array of `exact_distances`: 512 KiB
_PROBES_AT_ONCE = 64  # their float32 scores for a block of 16,384 rows take 4 MiB
_SAFE_NORM = 1e18  # below it no float32 product or sum of the first pass can overflow
_UNIT_32 = 2.0**-24
_UNIT_64 = 2.0**-53
_UNDERFLOW = 2.0**-124
_FEW = 32  # where not even one row in so many may be found, these are measured and the rest is not read
_LOOSE = 12  # where more than one row in so many passes the codes, a product of whole vectors is cheaper
_REST = 8  # for so many blocks; then the codes are tried again, and rest twice as long if they must
_STACKED_NUMBERS = 8192  # below what OpenBLAS takes for worth a second thread
_AT_FIRST = 64  # rows that are measured before the limit is looked at again


class Rows(NamedTuple):
    """Consecutive rows of the gallery.

    Args:
        vectors: float32 (n, d).
        squares: float32 (n,), each vector's squared norm, computed in float64 and rounded.
        face_ids: int64 (n,).
        counts: bool (n,), whether the row is a face that may be found.
        codes: int8 (at least n, c), C-contiguous, None where there is no first stage.
        halves: int32 (n,), as `Encoder.encode_rows` returns them.
    """

    vectors: NDArray[np.float32]
    squares: NDArray[np.float32]
    face_ids: NDArray[np.int64]
    counts: NDArray[np.bool_]
    codes: NDArray[np.int8] | None = None
    halves: NDArray[np.int32] | None = None


@dataclass(slots=True)
class _Probe:
    """What one probe of one search has come to.

    `rest` counts the blocks for which the codes are not tried, `loose` how long that was the last time.
    """

    single: NDArray[np.float32]
    exact: NDArray[np.float64]
    square: float
    norm: float
    heap: TopK
    rest: int = 0
    loose: int = _REST // 2


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


def scan(
    blocks: Iterable[Rows],
    probes: NDArray[np.float32],
    k: int,
    tolerance: float,
    encoder: Encoder | None = None,
) -> list[list[tuple[float, int]]]:
    """Return for each probe its k nearest rows within the tolerance as (distance, id), nearest first.

    Reads its arguments only: any number of threads may scan the same rows.

    Args:
        blocks: the gallery in pieces of some thousand rows.
        probes: float32 (m, d).
        encoder: what made the rows' codes.
    """
    wide = probes.astype(np.float64)
    with np.errstate(all="ignore"):  # infinities and NaN in a row or probe are met below
        squares = np.einsum("ij,ij->i", wide, wide)
        states = [
            _Probe(single, exact, float(square), math.sqrt(square), TopK(k, tolerance))
            for single, exact, square in zip(probes, wide, squares, strict=True)
        ]
        scans = [
            _Scan(states[first : first + _PROBES_AT_ONCE], encoder)
            for first in range(0, len(states), _PROBES_AT_ONCE)
        ]
        for rows in blocks:
            found = np.count_nonzero(rows.counts)
            if found * _FEW < len(rows.counts):
                places = np.flatnonzero(rows.counts)
                for state in states if found else ():
                    _measure_all(rows, places, state)
                continue
            for part in scans:
                part.block(rows)
    return [state.heap.sorted() for state in states]


class _Scan:
    """Some probes on their way through the blocks."""

    def __init__(self, states: Sequence[_Probe], encoder: Encoder | None) -> None:
        self._states = states
        self._encoder = encoder if load_kernel()[0] is not None else None
        self._products: dict[tuple[int, ...], CodeProducts] = {}
        if encoder is not None:
            self._codes, halves, errors = encoder.encode(np.stack([state.single for state in states]))
            self._halves = [int(half) for half in halves]
            self._errors = [float(error) for error in errors]
            for state, error in zip(states, self._errors, strict=True):
                state.rest = 0 if error < math.inf else -1

    def block(self, rows: Rows) -> None:
        """Put a block before the heaps."""
        codes = rows.codes if self._encoder is not None else None
        tried = [at for at, state in enumerate(self._states) if codes is not None and state.rest == 0]
        others = [state for at, state in enumerate(self._states) if at not in set(tried)]
        if tried:
            self._by_codes(rows, tried)
        if others:
            _by_products(rows, others)
            for state in others:
                state.rest = max(state.rest - 1, min(state.rest, 0))

    def _by_codes(self, rows: Rows, tried: Sequence[int]) -> None:
        assert rows.codes is not None
        assert rows.halves is not None
        products = self._products.get(tuple(tried))
        if products is None:
            if len(self._products) > 8:
                self._products.clear()
            products = self._products[tuple(tried)] = CodeProducts(self._codes[list(tried)])
        scores = products.of(rows.codes, len(rows.counts))
        np.subtract(scores, rows.halves[:, np.newaxis], out=scores)
        bounds = np.array([self._bound(at) for at in tried], np.int32)
        if len(tried) == 1:
            places = np.flatnonzero(scores[:, 0] >= bounds[0])
            parts = [places]
        else:
            places, probes = np.divmod(np.flatnonzero(scores >= bounds), len(tried))
            places = places[np.argsort(probes, kind="stable")]
            parts = np.split(places, np.cumsum(np.bincount(probes, minlength=len(tried)))[:-1])
        for column, (at, part) in enumerate(zip(tried, parts, strict=True)):
            if len(part):
                self._offer(rows, scores[:, column], part, at)

    def _bound(self, at: int) -> int:
        assert self._encoder is not None
        limit = self._states[at].heap.limit
        return self._encoder.bound(self._halves[at], self._errors[at], limit)

    def _offer(self, rows: Rows, scores: NDArray[np.int32], places: NDArray[np.intp], at: int) -> None:
        """Measure the rows that passed, the likeliest first."""
        state = self._states[at]
        places = places[rows.counts[places]]
        passed = scores[places]
        many = len(scores) // _LOOSE
        if len(places) > max(many, _AT_FIRST):
            # the best of them tighten the limit, perhaps enough
            best = np.argpartition(passed, len(passed) - many // 4 - 1)[-(many // 4 + 1) :]
            _measure_all(rows, places[best], state)
            kept = passed >= self._bound(at)
            kept[best] = False
            places, passed = places[kept], passed[kept]
            if len(places) > many:
                counts = np.zeros_like(rows.counts)
                counts[places] = True
                state.rest = state.loose = 2 * state.loose
                _by_products(rows._replace(counts=counts), [state])
                return
        order = np.argsort(passed)[::-1]
        places, passed = places[order], passed[order]
        first, size = 0, _AT_FIRST
        while first < len(places):
            _measure(rows, places[first : first + size], state)
            first, size = first + size, min(2 * size, _EXACT_NUMBERS // 32)
            if first < len(places):
                end = len(places) - int(np.searchsorted(passed[::-1], self._bound(at)))
                places, passed = places[:end], passed[:end]


def _measure_all(rows: Rows, places: NDArray[np.intp], state: _Probe) -> None:
    size = max(16, 4 * _EXACT_NUMBERS // rows.vectors.shape[1])
    for first in range(0, len(places), size):
        _measure(rows, places[first : first + size], state)


def _measure(rows: Rows, places: NDArray[np.intp], state: _Probe) -> None:
    """Put some rows before the probe's heap: float32 drops what is clearly too far, float64 decides.

    A float32 sum of d squared differences errs by less than (d + 8) 2^-23 of itself, however it is
    ordered, and by underflow.
    """
    vectors = rows.vectors[places]
    limit = state.heap.limit
    dimension = vectors.shape[1]
    square = limit * limit * (1 + (dimension + 8) * 2.0**-22) + (dimension + 8) * _UNDERFLOW
    if square < _SAFE_NORM:
        difference = vectors - state.single
        near = np.flatnonzero(~(np.einsum("ij,ij->i", difference, difference) > square))
        if len(near) < len(places):
            vectors, places = vectors[near], places[near]
    size = max(16, _EXACT_NUMBERS // dimension)
    for first in range(0, len(places), size):
        part = slice(first, first + size)
        state.heap.push_many(exact_distances(vectors[part], state.exact), rows.face_ids[places[part]])


def _by_products(rows: Rows, states: Sequence[_Probe]) -> None:
    """Put a block before the heaps by products of whole vectors."""
    doubled = 2 * np.stack([state.single for state in states])
    reach = float(rows.squares.max())  # NaN where any is
    scores = _products(doubled, rows.vectors)
    scores -= rows.squares
    for state, score in zip(states, scores, strict=True):
        _offer(rows, score, reach, state)


def _products(probes: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 (probes, rows) of inner products, rounded in any order."""
    if len(probes) == 1:
        # a stack of small products stays in this thread: of one large product the BLAS would make a part
        # for each core, and where these are busy, waiting for the last takes many times as long
        size = max(1, _STACKED_NUMBERS // vectors.shape[1])
        stacked = len(vectors) // size * size
        products = np.empty((1, len(vectors)), np.float32)
        parts = vectors[:stacked].reshape(-1, size, vectors.shape[1])
        np.matmul(parts, probes[0], out=products[0, :stacked].reshape(-1, size))
        np.einsum("ij,j->i", vectors[stacked:], probes[0], out=products[0, stacked:])
        return products
    return probes @ vectors.T


def _threshold(reach: float, dimension: int, probe: _Probe) -> np.float32:
    """The first-pass score below which no row can enter the probe's heap.

    A row's score stands for 2 x.q - |x|^2 = |q|^2 - |x - q|^2, so a row within the limit L has a true
    score of at least |q|^2 - L^2. With u = 2^-24, g = n u / (1 - n u), X the greatest norm of the block
    and |q| the probe's, the computed score differs from the true one by at most
        g(d) 2 X |q|        the product, in any order of summation, fused or not
        u (1 + u) X^2       the rounding of |x|^2 to float32
        u |score|           the subtraction, where |score| <= (1 + g(d)) 2 X |q| + (1 + u) X^2
    and underflow to zero or below the normal range; together at most g(d + 4) (2 X |q| + X^2) plus
    (d + 4) (1 + X + |q|) 2^-124. What float64 rounds, here and in the exact distance that is compared
    with L, is covered by (4 d + 64) 2^-53 of the squares. Source of g: Higham, Accuracy and Stability
    of Numerical Algorithms, 2nd edition, section 3.1.

    Returns:
        The bound, or minus infinity where rows or probe are not finite or so large that float32 could
        overflow: then every row is worth its exact distance.
    """
    limit = probe.heap.limit
    square = reach * (1 + 2.0**-22) + _UNDERFLOW
    norm = math.sqrt(square) if square >= 0 else math.nan
    if not (norm < _SAFE_NORM and probe.norm < _SAFE_NORM and limit < _SAFE_NORM):
        return np.float32(-math.inf)
    terms = (dimension + 4) * _UNIT_32
    margin = terms / (1 - terms) * (2 * norm * probe.norm + square)
    margin += (dimension + 4) * (1 + norm + probe.norm) * _UNDERFLOW
    margin += (4 * dimension + 64) * _UNIT_64 * (probe.square + limit * limit + square)
    bound = np.float32(probe.square - limit * limit - margin)
    return np.float32(np.nextafter(bound, np.float32(-math.inf)))


def _offer(rows: Rows, score: NDArray[np.float32], reach: float, state: _Probe) -> None:
    """Put the rows of a block that the first pass cannot rule out before the probe's heap."""
    dimension = rows.vectors.shape[1]
    bound = _threshold(reach, dimension, state)
    if score.max() < bound:
        return
    candidates = np.flatnonzero(~(score < bound) & rows.counts)
    at_once = max(16, _EXACT_NUMBERS // dimension)
    if len(candidates) > 64:
        # the likeliest first: they tighten the limit, and spare most of the others
        at_once = min(at_once, max(64, len(candidates) // 8))
        if len(candidates) > 4 * at_once:
            best = np.argpartition(-score[candidates], at_once)[:at_once]
            _measure(rows, candidates[best], state)
            kept = ~(score[candidates] < _threshold(reach, dimension, state))
            kept[best] = False
            candidates = candidates[kept]
        candidates = candidates[np.argsort(-score[candidates])]
    for first in range(0, len(candidates), at_once):
        chosen = candidates[first : first + at_once]
        if first:
            chosen = chosen[~(score[chosen] < _threshold(reach, dimension, state))]
        if len(chosen):
            _measure(rows, chosen, state)
