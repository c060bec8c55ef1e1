"""Writing to a file that others have mapped."""

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def write_at(descriptor: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """Write all of the data at a place; a full disk is an error here, and a signal in a mapping.

    Raises:
        OSError: it cannot be written.
    """
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def runs(places: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first of each run of consecutive places, which ascend, and how many they are."""
    for run in np.split(places, np.flatnonzero(np.diff(places) != 1) + 1):
        if len(run):
            yield int(run[0]), len(run)
