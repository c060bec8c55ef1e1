"""The shared matrix: one file per host and model that every process maps, and one at a time appends to.

The file is a log of the database's changes in the order of their numbers. Rows are written beyond the
published number first; one aligned 8-byte store then publishes them. A process that is killed at any
moment leaves rows that are not published, and the next writer puts the same ones there again. After a
power cut, when pages reach the disk in any order, the checksums tell.

A file that cannot be used is replaced by an empty one under the same name, and one that has many rows
without use, or has outgrown its codes, by a copy of its faces; whoever has the older one mapped
goes on reading it, and finds the newer at its next look.
"""

import mmap
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import FIRST, FIT_FROM, SAMPLE, Encoder, sample_places
from facesearch.search.erasing import erase_rows
from facesearch.search.graph_layout import NEW, drop_unfinished, erase_numbers
from facesearch.search.layout import (
    BLOCK_ROWS,
    BLOCKS_AT,
    FACE,
    MARKER,
    PUBLISHED_AT,
    REMOVED,
    Damaged,
    Header,
    Layout,
    Missing,
    encode_count,
    record_type,
    row_checks,
)
from facesearch.search.mapped_file import MappedFile, gathered
from facesearch.search.snapshot import Snapshot
from facesearch.search.writing import write_at

_GROWTH = 8  # a file that is full grows by this part of its size, and by one block at least
_REFIT_GROWTH = 4  # times as many faces as the codes were fitted for
_SPARE_ROWS = 16_384  # so many rows without use, and a quarter of the faces, are worth no copy
_KEPT_REMOVALS = 64
_COPIED_ROWS = 4096


class SharedMatrix:
    """One host's copy of a model's vectors; lives as long as its process.

    Any thread may call it. `reset`, `append` and `tidy` are for the holder of the lock that all
    processes of the host agree on. Not to be carried over a fork: a child makes its own.

    Args:
        fit_from: how many faces a file must have for codes.
    """

    def __init__(
        self,
        path: Path,
        model_id: str,
        dimension: int,
        block_rows: int = BLOCK_ROWS,
        fit_from: int = FIT_FROM,
    ) -> None:
        self.path = path
        self.lock_path = path.with_name(f"{path.name}.lock")
        self.graph_path = path.with_suffix(".graph")
        self.model_id = model_id
        self.dimension = dimension
        self._block_rows = block_rows
        self._fit_from = fit_from
        self._mutex = threading.Lock()
        self._latest: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return what is published now. Each row's check is confirmed once per process.

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
                latest = Snapshot.of_none(self._open())
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
        drop_unfinished(self.graph_path)
        self._make(database_id, None).rename(self.path)

    def tidy(self, coming: int = 0) -> bool:
        """Put a copy of the faces in the file's place where that is worth its while; return whether it was.

        The copy has no row without use, and codes fitted to the faces of now.

        Args:
            coming: how many rows are about to be appended; a build fits once, to a sample of its beginning.

        Raises:
            Damaged: the file was changed by another program meanwhile.
            OSError: it cannot be written; then the file stays as it is.
        """
        old = self.snapshot()
        encoder = old.file.encoder
        fit_from = min(max(self._fit_from, coming), max(self._fit_from, SAMPLE))
        outgrown = old.faces >= (_REFIT_GROWTH * encoder.fitted_on if encoder else fit_from)
        if old.count - old.faces <= old.faces // 4 + _SPARE_ROWS and not outgrown:
            return False
        if outgrown:
            places = np.flatnonzero(old.counts)[sample_places(old.faces)]
            encoder = Encoder.fit(old.records(places)["vector"], old.faces + coming)
            if encoder is None and old.file.encoder is None:
                return False
        fresh = self._make(old.database_id, encoder)
        copy = SharedMatrix(fresh, self.model_id, self.dimension)
        for records in _worth_keeping(old):
            copy.append(_with_codes(records, encoder))
        fresh.rename(self.path)
        return True

    def make_records(
        self,
        numbers: Sequence[int] | NDArray[np.int64],
        face_ids: Sequence[int] | NDArray[np.int64],
        kinds: int | Sequence[int] | NDArray[np.int64],
        vectors: NDArray[np.float32],
        persons: int | Sequence[int] | NDArray[np.int64] = 0,
    ) -> NDArray[np.void]:
        """Return packed records with squared norms, codes and checks, as the file has them.

        Args:
            vectors: float32 (n, dimension).
        """
        encoder = self.snapshot().file.encoder
        records = np.zeros(len(numbers), record_type(self.dimension, _code_bytes(encoder)))
        records["number"] = numbers
        records["face_id"] = face_ids
        records["kind"] = kinds
        records["person"] = persons
        records["vector"] = vectors
        with np.errstate(all="ignore"):  # a norm beyond float32 becomes infinite, and the scan expects it
            wide = vectors.astype(np.float64)
            records["square"] = np.einsum("ij,ij->i", wide, wide)
        return _completed(records, encoder)

    def append(self, records: NDArray[np.void]) -> None:
        """Write rows after the published ones, then publish them all at once.

        Args:
            records: packed records as `make_records` returned them for this very file.

        Raises:
            Damaged: the file was changed by another program meanwhile.
            OSError: they cannot be written; then none of them is published.
        """
        start = self.snapshot()
        count = start.count + len(records)
        if records.dtype != start.file.layout.record:
            raise Damaged("another file was put in its place")
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

    def erase(self, places: NDArray[np.int64]) -> None:
        """Overwrite all that rows tell of their faces, in this file and what was built on it.

        It is on the disk once this returns. To be called before it is published that the faces are gone:
        whoever finds that a removal is published may count on it.

        Args:
            places: ascending.

        Raises:
            Damaged: the file was changed by another program meanwhile.
            OSError: it cannot be written.
        """
        snapshot = self.snapshot()
        drop_unfinished(self.path)
        erase_numbers(self.graph_path, snapshot.picked("number", places))
        erase_rows(self.path, snapshot, places)

    def _make(self, database_id: str, encoder: Encoder | None) -> Path:
        """Make an empty file beside the file's place, and clear away what was left of others."""
        drop_unfinished(self.path)
        generation = uuid.uuid4().hex
        data = encoder.to_bytes() if encoder else b""
        codes = _code_bytes(encoder)
        header = Header(
            self.model_id, self.dimension, database_id, generation, self._block_rows, codes, len(data)
        )
        fresh = self.path.with_name(f"{self.path.name}.{generation}{NEW}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_at(descriptor, header.to_bytes(), 0)
            write_at(descriptor, encode_count(0, generation).to_bytes(8, "little"), PUBLISHED_AT)
            write_at(descriptor, data, BLOCKS_AT)
            os.ftruncate(descriptor, Layout.of(header).file_bytes(1))
        finally:
            os.close(descriptor)
        return fresh

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


def _code_bytes(encoder: Encoder | None) -> int:
    return FIRST + encoder.rest_bytes if encoder else 0


def _completed(records: NDArray[np.void], encoder: Encoder | None) -> NDArray[np.void]:
    """Set the codes of records that have room for them, and the checks."""
    if encoder:
        codes = encoder.encode_rows(np.ascontiguousarray(records["vector"]))
        records["code"], records["half"], records["rest"], records["whole_half"] = codes
    records["check"] = row_checks(records)
    return records


def _with_codes(records: NDArray[np.void], encoder: Encoder | None) -> NDArray[np.void]:
    """Return a copy of any file's records with the codes of this encoder."""
    bare = record_type(records["vector"].shape[1])
    whole = np.zeros(len(records), record_type(records["vector"].shape[1], _code_bytes(encoder)))
    for name in bare.names or ():
        whole[name] = records[name]
    return _completed(whole, encoder)


def _worth_keeping(old: Snapshot) -> Iterator[NDArray[np.void]]:
    """Yield the faces of the gallery, the last removals, and what tells the newest number."""
    kinds = gathered(old.file, "kind", 0, old.count)
    keep = old.counts & (kinds == FACE)
    keep[np.flatnonzero(kinds == REMOVED)[-_KEPT_REMOVALS:]] = True
    places = np.flatnonzero(keep)
    for first in range(0, len(places), _COPIED_ROWS):
        yield old.records(places[first : first + _COPIED_ROWS])
    if not keep[-1]:
        last = old.records(np.array([old.count - 1]))
        last["kind"], last["face_id"], last["person"] = MARKER, 0, 0
        last["vector"], last["square"] = 0, 0
        yield last


def _write_rows(descriptor: int, file: MappedFile, block: int, first: int, records: NDArray[np.void]) -> None:
    """Write the columns with `pwrite`: a full disk is then an error and no signal."""
    base = file.layout.file_bytes(0) + block * file.layout.block_bytes
    for name, offset in file.layout.offsets.items():
        column = np.ascontiguousarray(records[name])
        write_at(descriptor, column.tobytes(), base + offset + first * records.dtype[name].itemsize)


def _seal(descriptor: int, file: MappedFile, block: int, fresh_from: int) -> None:
    """Seal a full block, after a look at the rows that were there before: a seal must not bless damage."""
    file.verify_rows(block, slice(0, fresh_from))
    seal = file.seal(block).to_bytes(4, "little")
    write_at(descriptor, seal, file.layout.file_bytes(0) + block * file.layout.block_bytes)


def _publish(descriptor: int, word: int) -> None:
    with mmap.mmap(descriptor, BLOCKS_AT, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as head:
        place = np.ndarray((), "<u8", head, PUBLISHED_AT)
        place[()] = word  # one aligned store: a reader sees the old number or the new one
        del place  # the mapping cannot be closed while an array refers to it
