"""A file of the shared matrix, mapped for reading."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import Encoder
from facesearch.search.layout import (
    BLOCKS_AT,
    ERASED,
    ERASING_AT,
    PAGE_BYTES,
    PUBLISHED_AT,
    Damaged,
    Header,
    Layout,
    decode_count,
    opened,
    row_checks,
    seal_of,
)

_WORD_TRIES = 3
_SEAL_TRIES = 3  # rows may be erased while a block is read


class MappedFile:
    """One file, mapped read-only; lives until the last array or snapshot that refers to it is dropped.

    Its rows below the published number never move, nor change but for being erased; growth shows in a later
    mapping only.
    Any thread may read it. A forked child may too, and a spawned one maps the file itself.

    Raises:
        Missing, Damaged: there is no file, or not one of this format.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        with opened(path) as descriptor:
            status = os.fstat(descriptor)
            self.identity = (status.st_dev, status.st_ino)
            self.header = Header.from_bytes(os.pread(descriptor, PAGE_BYTES, 0))
            self.layout = Layout.of(self.header)
            blocks = self.layout.blocks_in(status.st_size)
            self.capacity = blocks * self.layout.block_rows
            if blocks == 0:
                raise Damaged("it was cut short")
            length = self.layout.file_bytes(self.capacity)
            self._map = mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ)
        self._word = np.ndarray((), "<u8", self._map, PUBLISHED_AT)
        names = self.layout.record.names or ()
        self.columns = {name: self.layout.column(self._map, name, blocks) for name in names}
        self.encoder = self._read_encoder()

    def published(self) -> int:
        """How many rows are published now.

        Raises:
            Damaged: the word contradicts its check.
        """
        for attempt in range(_WORD_TRIES):
            try:
                return decode_count(int(self._word), self.header.generation)
            except Damaged:
                if attempt == _WORD_TRIES - 1:
                    raise
        raise AssertionError

    def is_cut(self, rows: int) -> bool:
        """Whether the file has become too short for so many rows: touching them would end the process."""
        return self._map.size() < self.layout.file_bytes(rows)

    def spans(self, first: int, last: int) -> Iterator[tuple[int, slice]]:
        """Yield the blocks that hold rows first to last, the latter excluded, each with its part."""
        size = self.layout.block_rows
        for block in range(first // size, -(-last // size)):
            yield block, slice(max(first - block * size, 0), min(last - block * size, size))

    def records(self, block: int, part: slice) -> NDArray[np.void]:
        """Copy rows of one block into packed records."""
        copy = np.zeros(part.stop - part.start, self.layout.record)
        for name, column in self.columns.items():
            copy[name] = column[block, part]
        return copy

    def verify_rows(self, block: int, part: slice) -> None:
        """Compare rows of one block with their checks.

        Raises:
            Damaged: one does not match.
        """
        records = self.records(block, part)
        wrong = row_checks(records) != records["check"]
        # asked for behind the rest: a row that is erased meanwhile gets its new kind first
        if (wrong & (self.columns["kind"][block, part] != ERASED)).any():
            raise Damaged("a row's check does not match")

    def verify_seal(self, block: int) -> None:
        """Compare a full block with its seal.

        Raises:
            Damaged: it does not match.
        """
        at = self.layout.file_bytes(0) + block * self.layout.block_bytes
        for _ in range(_SEAL_TRIES):
            seal = self.seal(block)
            if seal == int.from_bytes(self._map[at : at + 4], "little"):
                return
            if self.is_being_erased(block):
                self.verify_rows(block, slice(0, self.layout.block_rows))
                return
        raise Damaged("a block's checksum does not match")

    def is_being_erased(self, block: int) -> bool:
        """Whether somebody erases rows of a full block now, or was killed while doing so."""
        at = self.layout.file_bytes(0) + block * self.layout.block_bytes + ERASING_AT
        return any(self._map[at : at + 4])

    def seal(self, block: int) -> int:
        """The seal that belongs to a block as it stands."""
        at = self.layout.file_bytes(0) + block * self.layout.block_bytes
        with memoryview(self._map) as whole, whole[at : at + self.layout.block_bytes] as part:
            return seal_of(part)

    def _read_encoder(self) -> Encoder | None:
        length = self.header.encoder_bytes
        if not length:
            return None
        try:
            return Encoder.from_bytes(self._map[BLOCKS_AT : BLOCKS_AT + length])
        except ValueError:
            raise Damaged("the encoder of its codes is not as it was written") from None


def gathered(file: MappedFile, name: str, first: int, last: int) -> NDArray[Any]:
    """Copy one column of the rows first to last, the latter excluded, into one array."""
    column = file.columns[name]
    parts = [column[block, part] for block, part in file.spans(first, last)]
    return np.concatenate([column[0, :0], *parts])
