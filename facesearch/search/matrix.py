"""The shared matrix: one file per host and model that every process maps, and one at a time appends to.

The file is a log of the database's changes in the order of their numbers. Rows are written beyond the
published number first; one aligned 8-byte store then publishes them. A process that is killed at any
moment leaves rows that are not published, and the next writer puts the same ones there again. After a
power cut, when pages reach the disk in any order, the checksums tell.

A file that cannot be used is replaced by an empty one under the same name; whoever has the older one
mapped goes on reading it, and finds the newer at its next look.
"""

import mmap
import os
import threading
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.search.layout import (
    BLOCK_ROWS,
    BLOCKS_AT,
    PUBLISHED_AT,
    Damaged,
    Header,
    Layout,
    Missing,
    encode_count,
    record_type,
    row_checksums,
)
from facesearch.search.snapshot import MappedFile, Snapshot

_GROWTH = 8  # a file that is full grows by this part of its size, and by one block at least
_NEW = ".new"


class SharedMatrix:
    """One host's copy of a model's vectors; lives as long as its process.

    Any thread may call it. `reset` and `append` are for the holder of the lock that all processes of
    the host agree on. Not to be carried over a fork: a child makes its own.
    """

    def __init__(self, path: Path, model_id: str, dimension: int, block_rows: int = BLOCK_ROWS) -> None:
        self.path = path
        self.model_id = model_id
        self.dimension = dimension
        self._block_rows = block_rows
        self._mutex = threading.Lock()
        self._latest: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return what is published now. Each row's checksum is confirmed once per process.

        Raises:
            Missing, Damaged: there is no file that can be used.
            OSError: it cannot be read.
        """
        with self._mutex:
            latest = self._latest
            try:
                status = os.stat(self.path)
            except FileNotFoundError:
                raise Missing("there is none yet") from None
            if latest is None or latest.file.identity != (status.st_dev, status.st_ino):
                latest = Snapshot(self._open())
            file = latest.file
            count = file.published()
            if count < latest.count or file.is_cut(count):
                raise Damaged("it was cut short")
            if count > latest.count:
                latest = latest.extended(self._grown(file, count), count)
            self._latest = latest
            return latest

    def release(self) -> None:
        """Let go of the mapping; snapshots that are in use keep theirs."""
        with self._mutex:
            self._latest = None

    def reset(self, database_id: str) -> None:
        """Put an empty file in the place of what is there.

        Raises:
            OSError: it cannot be written.
        """
        for stale in self.path.parent.glob(f"{self.path.name}.*{_NEW}"):
            stale.unlink(missing_ok=True)
        generation = uuid.uuid4().hex
        header = Header(self.model_id, self.dimension, database_id, generation, self._block_rows)
        fresh = self.path.with_name(f"{self.path.name}.{generation}{_NEW}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, header.to_bytes(), 0)
            _write(descriptor, encode_count(0, generation).to_bytes(8, "little"), PUBLISHED_AT)
            os.ftruncate(descriptor, Layout.of(header).file_bytes(1))
        finally:
            os.close(descriptor)
        fresh.rename(self.path)

    def append(self, records: NDArray[np.void]) -> None:
        """Write rows after the published ones, then publish them all at once.

        Args:
            records: packed records as `make_records` returns them.

        Raises:
            Damaged: the file was changed by another program meanwhile.
            OSError: they cannot be written; then none of them is published.
        """
        start = self.snapshot()
        count = start.count + len(records)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            file = self._with_room(descriptor, start.file, count)
            done = 0
            for block, part in file.spans(start.count, count):
                size = part.stop - part.start
                _write_rows(descriptor, file, block, part.start, records[done : done + size])
                done += size
                if part.stop == file.layout.block_rows:
                    _seal(descriptor, file, block, part.start)
            _publish(descriptor, encode_count(count, file.header.generation))
        finally:
            os.close(descriptor)

    def _open(self) -> MappedFile:
        file = MappedFile(self.path)
        if file.header.model_id != self.model_id or file.header.dimension != self.dimension:
            raise Damaged("it holds another model's vectors")
        return file

    def _grown(self, file: MappedFile, count: int) -> MappedFile:
        """Return a mapping of the same file that reaches so many rows."""
        if count <= file.capacity:
            return file
        longer = self._open()
        if longer.header != file.header:
            raise Damaged("another file was put in its place")  # at the next look it is opened
        if longer.capacity < count:
            raise Damaged("it was cut short")
        return longer

    def _with_room(self, descriptor: int, file: MappedFile, count: int) -> MappedFile:
        size = os.fstat(descriptor).st_size
        needed = file.layout.file_bytes(count)
        if size < needed:
            blocks = file.layout.blocks_in(size)
            grown = file.layout.file_bytes((blocks + blocks // _GROWTH) * file.layout.block_rows)
            os.ftruncate(descriptor, max(needed, grown))
        return self._grown(file, count)


def make_records(
    numbers: list[int], face_ids: list[int], kind: int, vectors: NDArray[np.float32]
) -> NDArray[np.void]:
    """Return packed records with their squared norms and checksums.

    Args:
        vectors: float32 (n, dimension).
    """
    records = np.zeros(len(numbers), record_type(vectors.shape[1]))
    records["number"] = numbers
    records["face_id"] = face_ids
    records["kind"] = kind
    records["vector"] = vectors
    with np.errstate(all="ignore"):  # a norm beyond float32 becomes infinite, and the scan expects it
        wide = vectors.astype(np.float64)
        records["square"] = (wide * wide).sum(axis=1)
    records["crc"] = row_checksums(records)
    return records


def _write_rows(descriptor: int, file: MappedFile, block: int, first: int, records: NDArray[np.void]) -> None:
    """Write the columns with `pwrite`: a full disk is then an error and no signal."""
    base = BLOCKS_AT + block * file.layout.block_bytes
    for name, offset in file.layout.offsets.items():
        column = np.ascontiguousarray(records[name])
        _write(descriptor, column.tobytes(), base + offset + first * records.dtype[name].itemsize)


def _seal(descriptor: int, file: MappedFile, block: int, fresh_from: int) -> None:
    """Seal a full block, after a look at the rows that were there before: a seal must not bless damage."""
    file.verify_rows(block, slice(0, fresh_from))
    seal = file.seal(block).to_bytes(4, "little")
    _write(descriptor, seal, BLOCKS_AT + block * file.layout.block_bytes)


def _publish(descriptor: int, word: int) -> None:
    with mmap.mmap(descriptor, BLOCKS_AT, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as head:
        place = np.ndarray((), "<u8", head, PUBLISHED_AT)
        place[()] = word  # one aligned store: a reader sees the old number or the new one
        del place  # the mapping cannot be closed while an array refers to it


def _write(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
