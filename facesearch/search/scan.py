"""The exact scan: the same ids in the same order as distances in float64 over all rows.

A first pass takes scores from a float32 matrix product and drops rows that provably lie beyond the
limit; float64 distances in difference form decide about the rest. Whatever the number of rows, the
temporary arrays stay at a few megabytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.search.topk import TopK

_EXACT_NUMBERS = 1 << 16  # float64 numbers in one temporary array of `exact_distances`: 512 KiB
_PROBES_AT_ONCE = 64  # their float32 scores for a block of 4,096 rows take 1 MiB
_SAFE_NORM = 1e18  # below it no float32 product or sum of the first pass can overflow
_UNIT_32 = 2.0**-24
_UNIT_64 = 2.0**-53
_UNDERFLOW = 2.0**-124


class Rows(NamedTuple):
    """Consecutive rows of the gallery.

    Args:
        vectors: float32 (n, d).
        squares: float32 (n,), each vector's squared norm, computed in float64 and rounded.
        face_ids: int64 (n,).
        counts: bool (n,), whether the row is a face that may be found.
    """

    vectors: NDArray[np.float32]
    squares: NDArray[np.float32]
    face_ids: NDArray[np.int64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Probe:
    exact: NDArray[np.float64]
    square: float
    norm: float
    heap: TopK


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
    blocks: Iterable[Rows], probes: NDArray[np.float32], k: int, tolerance: float
) -> list[list[tuple[float, int]]]:
    """Return for each probe its k nearest rows within the tolerance as (distance, id), nearest first.

    Reads its arguments only, and leaves the interpreter's lock during the products: any number of
    threads may scan the same rows.

    Args:
        blocks: the gallery in pieces of a few thousand rows.
        probes: float32 (m, d).
    """
    wide = probes.astype(np.float64)
    with np.errstate(all="ignore"):  # infinities and NaN in a row or probe are met below
        squares = (wide * wide).sum(axis=1)
        states = [
            _Probe(exact, float(square), math.sqrt(square), TopK(k, tolerance))
            for exact, square in zip(wide, squares, strict=True)
        ]
        doubled = 2 * probes
        for rows in blocks:
            if len(rows.vectors):
                _scan_block(rows, doubled, states)
    return [state.heap.sorted() for state in states]


def _scan_block(rows: Rows, doubled: NDArray[np.float32], states: Sequence[_Probe]) -> None:
    reach = float(rows.squares.max())  # NaN where any is
    for first in range(0, len(states), _PROBES_AT_ONCE):
        scores = _products(doubled[first : first + _PROBES_AT_ONCE], rows.vectors)
        scores -= rows.squares
        for state, score in zip(states[first : first + _PROBES_AT_ONCE], scores, strict=True):
            _offer(rows, score, reach, state)


def _products(probes: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 (probes, rows) of inner products, rounded in any order."""
    if len(probes) == 1:
        # as fast as one thread of the BLAS, which would spread a call of 0.1 ms over threads of its own:
        # where the cores are busy, waiting for these takes twenty times as long as the product
        product: NDArray[np.float32] = np.einsum("ij,j->i", vectors, probes[0])[np.newaxis]
        return product
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


def _offer(rows: Rows, score: NDArray[np.float32], reach: float, probe: _Probe) -> None:
    """Put the rows of a block that the first pass cannot rule out before the probe's heap."""
    dimension = rows.vectors.shape[1]
    bound = _threshold(reach, dimension, probe)
    if score.max() < bound:
        return
    candidates = np.flatnonzero(~(score < bound) & rows.counts)
    at_once = max(16, _EXACT_NUMBERS // dimension)
    if len(candidates) > 64:
        # the likeliest first: they tighten the limit, and spare most of the others
        candidates = candidates[np.argsort(-score[candidates])]
        at_once = min(at_once, max(64, len(candidates) // 8))
    for first in range(0, len(candidates), at_once):
        chosen = candidates[first : first + at_once]
        if first:
            chosen = chosen[~(score[chosen] < _threshold(reach, dimension, probe))]
        if len(chosen):
            probe.heap.push_many(exact_distances(rows.vectors[chosen], probe.exact), rows.face_ids[chosen])
