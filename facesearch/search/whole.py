"""The stage that reads whole vectors: float32 products with a bound on all that rounding can do."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesearch.search.measure import EXACT_NUMBERS, SAFE_NORM, SCORES, UNDERFLOW, Probe, Rows, measure

_UNIT_32 = 2.0**-24
_UNIT_64 = 2.0**-53
_STACKED_NUMBERS = 8192  # below what OpenBLAS takes for worth a second thread
_PART = 4  # of SCORES: the scores then stay in a processor's own cache


def by_products(block: Rows, states: Sequence[Probe]) -> None:
    """Put a block before the heaps by products of whole vectors."""
    doubled = 2 * np.stack([state.single for state in states])
    for rows in block.pieces(SCORES // len(states) // _PART):
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


def _threshold(reach: float, dimension: int, probe: Probe) -> np.float32:
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
    square = reach * (1 + 2.0**-22) + UNDERFLOW
    norm = math.sqrt(square) if square >= 0 else math.nan
    if not (norm < SAFE_NORM and probe.norm < SAFE_NORM and limit < SAFE_NORM):
        return np.float32(-math.inf)
    terms = (dimension + 4) * _UNIT_32
    margin = terms / (1 - terms) * (2 * norm * probe.norm + square)
    margin += (dimension + 4) * (1 + norm + probe.norm) * UNDERFLOW
    margin += (4 * dimension + 64) * _UNIT_64 * (probe.square + limit * limit + square)
    bound = np.float32(probe.square - limit * limit - margin)
    return np.float32(np.nextafter(bound, np.float32(-math.inf)))


def _offer(rows: Rows, score: NDArray[np.float32], reach: float, state: Probe) -> None:
    """Put the rows of a block that the first pass cannot rule out before the probe's heap."""
    dimension = rows.vectors.shape[1]
    bound = _threshold(reach, dimension, state)
    if score.max() < bound:
        return
    candidates = np.flatnonzero(~(score < bound) & rows.counts)
    at_once = max(16, EXACT_NUMBERS // dimension)
    if len(candidates) > 64:
        # the likeliest first: they tighten the limit, and spare most of the others
        at_once = min(at_once, max(64, len(candidates) // 8))
        if len(candidates) > 4 * at_once:
            best = np.argpartition(-score[candidates], at_once)[:at_once]
            measure(rows, candidates[best], state)
            kept = ~(score[candidates] < _threshold(reach, dimension, state))
            kept[best] = False
            candidates = candidates[kept]
        candidates = candidates[np.argsort(-score[candidates])]
    for first in range(0, len(candidates), at_once):
        chosen = candidates[first : first + at_once]
        if first:
            chosen = chosen[~(score[chosen] < _threshold(reach, dimension, state))]
        if len(chosen):
            measure(rows, chosen, state)
