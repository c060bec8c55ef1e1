"""Reading the shared matrix: a mapped file, and what was published in it at one moment."""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.search.layout import (
    FACE,
    PAGE_BYTES,
    PUBLISHED_AT,
    Damaged,
    Header,
    Layout,
    Missing,
    decode_count,
    record_type,
    row_checksums,
    seal_of,
)
from facesearch.search.scan import Rows

_WORD_TRIES = 3


class MappedFile:
    """One file, mapped read-only; lives until the last array or snapshot that refers to it is dropped.

    Its rows below the published number never change or move; growth shows in a later mapping only.
    Any thread may read it. A forked child may too, and a spawned one maps the file itself.

    Raises:
        Missing, Damaged: there is no file, or not one of this format.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing("there is none yet") from None
        try:
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
        finally:
            os.close(descriptor)
        self._word = np.ndarray((), "<u8", self._map, PUBLISHED_AT)
        names = record_type(self.header.dimension).names or ()
        self.columns = {name: self.layout.column(self._map, name, blocks) for name in names}

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
        copy = np.zeros(part.stop - part.start, record_type(self.header.dimension))
        for name, column in self.columns.items():
            copy[name] = column[block, part]
        return copy

    def verify_rows(self, block: int, part: slice) -> None:
        """Compare rows of one block with their checksums.

        Raises:
            Damaged: one does not match.
        """
        records = self.records(block, part)
        if not np.array_equal(row_checksums(records), records["crc"]):
            raise Damaged("a row's checksum does not match")

    def verify_seal(self, block: int) -> None:
        """Compare a full block with its seal.

        Raises:
            Damaged: it does not match.
        """
        at = self.layout.file_bytes(0) + block * self.layout.block_bytes
        if self.seal(block) != int.from_bytes(self._map[at : at + 4], "little"):
            raise Damaged("a block's checksum does not match")

    def seal(self, block: int) -> int:
        """The seal that belongs to a block as it stands."""
        at = self.layout.file_bytes(0) + block * self.layout.block_bytes
        with memoryview(self._map) as whole, whole[at : at + self.layout.block_bytes] as part:
            return seal_of(part)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The first `count` rows of a file, their checksums confirmed.

    Immutable: what it holds stays readable and the same as long as it lives, whatever is appended or
    put in the file's place. Any thread may read it. Only a file that another program cuts short or
    overwrites while it is mapped breaks this.
    """

    file: MappedFile
    count: int = 0
    faces: int = 0
    last_number: int = 0

    @property
    def database_id(self) -> str:
        """The UUID of the database that the rows come from."""
        return self.file.header.database_id

    def extended(self, file: MappedFile, count: int) -> "Snapshot":
        """Return a snapshot of the same file with rows up to `count`, the new ones confirmed.

        Raises:
            Damaged: rows and checksums differ.
        """
        faces = self.faces
        for block, part in file.spans(self.count, count):
            if part == slice(0, file.layout.block_rows):
                file.verify_seal(block)
            else:
                file.verify_rows(block, part)
            faces += int(np.count_nonzero(file.columns["kind"][block, part] == FACE))
        block, at = divmod(count - 1, file.layout.block_rows)
        return Snapshot(file, count, faces, int(file.columns["number"][block, at]))

    def rows(self, first: int, last: int) -> Iterator[Rows]:
        """Yield the rows first to last, the latter excluded, block by block and without a copy."""
        columns = self.file.columns
        for block, part in self.file.spans(first, min(last, self.count)):
            yield Rows(
                columns["vector"][block, part],
                columns["square"][block, part],
                columns["face_id"][block, part],
                columns["kind"][block, part] == FACE,
            )

    def last_face(self) -> np.void | None:
        """Return the newest face's row as a packed record, None where there is no face."""
        for block, part in reversed(list(self.file.spans(0, self.count))):
            found = np.flatnonzero(self.file.columns["kind"][block, part] == FACE)
            if len(found):
                at = int(found[-1])
                row: np.void = self.file.records(block, slice(at, at + 1))[0]
                return row
        return None
