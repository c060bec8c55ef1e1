"""The stages that read codes: what they leave over is measured, the likeliest rows first."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import ALWAYS, FINE
from facesearch.search.measure import EXACT_NUMBERS, SCORES, Probe, Rows, measure, measure_all
from facesearch.search.products import CodeProducts
from facesearch.search.whole import by_products

_LOOSE = 12  # where more than one row in so many passes the codes, a product of whole vectors is cheaper
_DENSE = 4  # where more than one row in so many needs the second stage, all are read in order
_AT_FIRST = 64  # rows that are measured before the limit is looked at again
_GREATEST = 2**31 - 1


class Coded:
    """Probes whose codes are compared with a block's together: any of 8 bits, or one of more."""

    def __init__(self, states: Sequence[Probe]) -> None:
        self._states = states
        self._codes = [state.code for state in states if state.code]
        self._first = CodeProducts(np.concatenate([code.first for code in self._codes]))
        self._rest = [CodeProducts(code.rest) for code in self._codes]
        self._shift = self._codes[0].shift

    def block(self, rows: Rows) -> None:
        """Put a block before the heaps."""
        for piece in rows.pieces(SCORES // len(self._states)):
            self._piece(piece)

    def _piece(self, rows: Rows) -> None:
        assert rows.codes is not None
        products = self._first.of(rows.codes.first, len(rows.counts))
        limits = [state.heap.limit for state in self._states]
        bounds = [code.first_bound(limit) for code, limit in zip(self._codes, limits, strict=True)]
        if len(self._states) == 1:
            scores = _scores(products, rows.codes.half, self._shift)
            places = np.flatnonzero(scores >= bounds[0])
            parts, passed = [places], [scores[places]]
        else:
            np.subtract(products, rows.codes.half[:, np.newaxis], out=products)
            flat = np.flatnonzero(products >= np.array(bounds, np.int32))
            places, probes = np.divmod(flat, len(bounds))
            order = np.argsort(probes, kind="stable")
            cuts = np.cumsum(np.bincount(probes, minlength=len(bounds)))[:-1]
            parts = np.split(places[order], cuts)
            passed = np.split(products.ravel()[flat[order]], cuts)
        for at, part in enumerate(parts):
            if len(part):
                self._offer(rows, part, passed[at], at)

    def _offer(self, rows: Rows, places: NDArray[np.intp], passed: NDArray[np.int32], at: int) -> None:
        """Measure the rows that passed the first stage, unless there are so many that the second pays."""
        state, code = self._states[at], self._codes[at]
        if not rows.counts.all():
            found = rows.counts[places]
            places, passed = places[found], passed[found]
        if len(places) <= _AT_FIRST:
            measure(rows, places, state)
            return
        passed = self._whole_scores(rows, places, passed, at)
        kept = passed >= code.whole_bound(state.heap.limit)
        places, passed = places[kept], passed[kept]
        many = len(rows.counts) // _LOOSE
        if len(places) > max(many, _AT_FIRST):
            # the best of them tighten the limit, perhaps enough
            best = np.argpartition(passed, len(passed) - many // 4 - 1)[-(many // 4 + 1) :]
            measure_all(rows, places[best], state)
            kept = passed >= code.whole_bound(state.heap.limit)
            kept[best] = False
            places, passed = places[kept], passed[kept]
            if len(places) > many:
                counts = np.zeros_like(rows.counts)
                counts[places] = True
                by_products(rows._replace(counts=counts), [state])
                return
        order = np.argsort(passed)[::-1]
        places, passed = places[order], passed[order]
        first, size = 0, _AT_FIRST
        while first < len(places):
            measure(rows, places[first : first + size], state)
            first, size = first + size, min(2 * size, EXACT_NUMBERS // 32)
            if first < len(places):
                bound = code.whole_bound(state.heap.limit)
                end = len(places) - int(np.searchsorted(passed[::-1], bound))
                places, passed = places[:end], passed[:end]

    def _whole_scores(
        self, rows: Rows, places: NDArray[np.intp], passed: NDArray[np.int32], at: int
    ) -> NDArray[np.int32]:
        """Return the scores over all coordinates of rows whose scores in the first stage are `passed`."""
        assert rows.codes is not None
        half, whole_half = rows.codes.half[places], rows.codes.whole_half[places]
        always = (half == ALWAYS) | (whole_half == ALWAYS)
        if len(places) * _DENSE > len(rows.counts):
            products = self._rest[at].of(rows.codes.rest, len(rows.counts))[places]
        else:
            products = self._rest[at].of(rows.codes.rest[places], len(places))
        scores = _scores(products, whole_half, self._shift)
        scores += passed
        scores += half << self._shift
        scores[always] = _GREATEST
        return scores


def _scores(products: NDArray[np.int32], half: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """Return int32 (rows,): products with the columns of one probe less half squares, ALWAYS the greatest."""
    if products.shape[1] == 1:
        return products[:, 0] - half
    scores: NDArray[np.int32] = products[:, 0] * np.int32(FINE) + products[:, 1] - (half << shift)
    scores[half == ALWAYS] = _GREATEST
    return scores
