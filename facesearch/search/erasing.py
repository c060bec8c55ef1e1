"""Overwriting rows of the matrix whose faces are removed, under the eyes of whoever reads it."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.search.layout import ERASED, ERASING_AT, Damaged
from facesearch.search.mapped_file import MappedFile
from facesearch.search.snapshot import Snapshot
from facesearch.search.writing import runs, write_at

_KEPT = ("number", "face_id", "kind")


def erase_rows(path: Path, snapshot: Snapshot, places: NDArray[np.int64]) -> None:
    """Overwrite all of some rows but their numbers and ids, and see it to the disk.

    Only for the holder of the matrix's lock. A vector becomes NaN: to a search that reads an older snapshot
    the face is then too far away, at whatever moment it looks. A row gets its new kind first, after which
    its check counts no more, and a full block a mark, which says that the rows' checks count and not its
    seal. So a process that is killed at any moment leaves a file that is whole, and whoever erases the same
    rows again mends the seals.

    Args:
        places: ascending.

    Raises:
        Damaged: the file was changed by another program meanwhile.
        OSError: it cannot be written.
    """
    file, size = snapshot.file, snapshot.file.layout.block_rows
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != file.identity or file.is_cut(snapshot.count):
            raise Damaged("another file was put in its place")
        for block in np.unique(places // size).tolist():
            rows = places[places // size == block] - block * size
            if (block + 1) * size <= snapshot.count:
                _erase_in_full(descriptor, file, block, rows)
            else:
                _erase(descriptor, file, block, rows)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _erase_in_full(descriptor: int, file: MappedFile, block: int, rows: NDArray[np.int64]) -> None:
    """Erase rows of a block that has a seal, which must not bless damage."""
    file.verify_seal(block)
    at = file.layout.file_bytes(0) + block * file.layout.block_bytes
    write_at(descriptor, (1).to_bytes(4, "little"), at + ERASING_AT)
    _erase(descriptor, file, block, rows)
    write_at(descriptor, file.seal(block).to_bytes(4, "little"), at)
    write_at(descriptor, bytes(4), at + ERASING_AT)


def _erase(descriptor: int, file: MappedFile, block: int, rows: NDArray[np.int64]) -> None:
    base = file.layout.file_bytes(0) + block * file.layout.block_bytes
    names = ["kind", *(name for name in file.layout.offsets if name not in _KEPT)]
    for first, count in runs(rows):
        for name in names:
            kind = file.layout.record[name]
            blank = np.zeros(count, kind)
            if name == "kind":
                blank[:] = ERASED
            elif name == "vector":
                blank[:] = np.nan
            write_at(descriptor, blank.tobytes(), base + file.layout.offsets[name] + first * kind.itemsize)
