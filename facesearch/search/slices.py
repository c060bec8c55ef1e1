"""A search in slices: what a pool's process does with its part of the rows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import Unavailable
from facesearch.search.layout import Damaged
from facesearch.search.mapped_file import MappedFile
from facesearch.search.snapshot import Snapshot
from facesearch.search.sought import Found, Query

_mapped: dict[str, MappedFile] = {}
"""The files that this process has mapped for slices, in the order in which they were last asked for.

One per collection and model: a newer one takes its place, and those that were deleted go when another comes.
"""
_MOST_MAPPED = 32


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows first to last, the latter excluded, of one file, and what to look for; picklable.

    `generation` is that of the file whose rows the asking process has confirmed; `wanted` has a bit per
    row, as `numpy.packbits` makes them, that tells whether it may be found. `query` has no rows of its own.
    """

    path: Path
    generation: str
    first: int
    last: int
    query: Query
    wanted: NDArray[np.uint8]


def scan_slice(wanted: Slice) -> Found:
    """Scan one slice. Runs in any process of the host that can read the file.

    Raises:
        Unavailable: the file has been replaced or cut since it was confirmed.
    """
    file = _mapping(wanted)
    if file.header.generation != wanted.generation or file.is_cut(wanted.last):
        raise Unavailable("The search index was replaced meanwhile.")
    wanted_rows = np.unpackbits(wanted.wanted, count=wanted.last - wanted.first).view(bool)
    rows = Snapshot(file, wanted.last, wanted_rows).rows(wanted.first, wanted.last, wanted_rows)
    return wanted.query.sought(rows, file.encoder)


def _mapping(wanted: Slice) -> MappedFile:
    key = str(wanted.path)
    file = _mapped.get(key)
    if file is None or file.header.generation != wanted.generation or file.capacity < wanted.last:
        try:
            file = MappedFile(wanted.path)
        except (Damaged, OSError):
            raise Unavailable("The search index was replaced meanwhile.") from None
        for other in [path for path in list(_mapped) if not Path(path).exists()]:
            _mapped.pop(other, None)
    _mapped.pop(key, None)
    _mapped[key] = file
    for oldest in list(_mapped)[:-_MOST_MAPPED]:
        _mapped.pop(oldest, None)
    return file
