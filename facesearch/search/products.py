"""Inner products of 8-bit codes: the integers themselves, so that no rounding has to be bounded."""

import logging
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_MATRIX_UNITS = ("sapphireamx", "graniteamx")


class CodeProducts:
    """Products of some probes' codes with blocks of rows; lives as long as one search, in one thread.

    The kernels work on 4 columns at a time, or on 16 in a processor's matrix unit, used or not. So rows
    are taken together where there are few probes: a group of g rows of c codes is read as one row of
    g c, and each probe stands in g columns, one for each place in the group, with zeros elsewhere.

    Args:
        probes: int8 (m, c).
    """

    def __init__(self, probes: NDArray[np.int8]) -> None:
        self._probes = np.ascontiguousarray(probes)
        self._packed: dict[int, Any] = {}
        self._kernel, self._columns = load_kernel()

    def of(self, codes: NDArray[np.int8], rows: int) -> NDArray[np.int32]:
        """Return int32 (rows, m), which may be written to.

        Args:
            codes: int8 (at least `rows`, c), C-contiguous; what lies beyond `rows` may be read.
        """
        if self._kernel is None:
            return codes[:rows].astype(np.int32) @ self._probes.T.astype(np.int32)
        group = self._group(codes, rows)
        packed = self._packed.get(group)
        if packed is None:
            packed = self._packed[group] = self._kernel.dots_pack(self._spread(group))
        taken = -(-rows // group)
        whole = codes[: taken * group].reshape(taken, group * codes.shape[1])
        products = np.asarray(self._kernel.dots_packed(whole, packed))
        return products.reshape(taken * group, len(self._probes))[:rows]

    def _group(self, codes: NDArray[np.int8], rows: int) -> int:
        """How many rows are taken together: as many as fill the columns and lie in the array."""
        group = max(1, self._columns // len(self._probes))
        while group & (group - 1):
            group &= group - 1
        while -(-rows // group) * group > len(codes):
            group //= 2
        return group

    def _spread(self, group: int) -> NDArray[np.int8]:
        count, size = self._probes.shape
        columns = np.zeros((group, count, group, size), np.int8)
        for place in range(group):
            columns[place, :, place] = self._probes
        return columns.reshape(group * count, group * size)


@lru_cache(maxsize=1)
def load_kernel() -> tuple[Any, int]:
    """The library with products of 8-bit integers, and on how many columns it works at a time.

    None in its place where it is missing, miscalculates, or has no kernel for this processor: its
    portable one is slower than products of whole vectors.
    """
    try:
        import numkong  # noqa: PLC0415  # a service without it still answers
    except ImportError:
        _log.warning("numkong cannot be loaded; searches read whole vectors.")
        return None, 1
    kernels = {name for name, is_here in numkong.get_capabilities().items() if is_here}
    rows = (np.arange(64 * 64) * 37 % 255 - 127).astype(np.int8).reshape(64, 64)
    expected = rows.astype(np.int32) @ rows[:3].astype(np.int32).T
    found = np.asarray(numkong.dots_packed(rows, numkong.dots_pack(np.ascontiguousarray(rows[:3]))))
    if found.dtype != np.int32 or not np.array_equal(found, expected) or kernels <= {"serial"}:
        _log.warning("numkong is of no use on this processor; searches read whole vectors.")
        return None, 1
    return numkong, 16 if kernels & set(_MATRIX_UNITS) else 4
