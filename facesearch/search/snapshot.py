"""Reading the shared matrix: a mapped file, and what was published in it at one moment."""

import mmap
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.records import FaceFilter
from facesearch.search.codes import Codes, Encoder
from facesearch.search.layout import (
    BLOCKS_AT,
    ERASED,
    ERASING_AT,
    FACE,
    MARKER,
    PAGE_BYTES,
    PUBLISHED_AT,
    REMOVED,
    Damaged,
    Header,
    Layout,
    Missing,
    decode_count,
    row_checks,
    seal_of,
)
from facesearch.search.masks import FilterMasks
from facesearch.search.measure import Rows

_WORD_TRIES = 3
_SEAL_TRIES = 3  # rows may be erased while a block is read
_ONE_BY_ONE = 64


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


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The first `count` rows of a file, their checks confirmed.

    Immutable: what it holds stays readable and the same as long as it lives, whatever is appended or
    put in the file's place, but for faces that are removed: their vectors turn into NaN, which lies near
    nothing. Any thread may read it. Only a file that another program cuts short or overwrites while it is
    mapped breaks this.

    `counts` tells for each row whether it is a face of the gallery: its face's last row, and no removal.
    `highest_id` is that of any row.
    """

    file: MappedFile
    count: int
    counts: NDArray[np.bool_]
    faces: int = 0
    last_number: int = 0
    highest_id: int = 0
    masks: FilterMasks = field(default_factory=FilterMasks)

    @classmethod
    def of_none(cls, file: MappedFile) -> "Snapshot":
        """The snapshot of no row."""
        return cls(file, 0, np.zeros(0, bool))

    @property
    def database_id(self) -> str:
        """The UUID of the database that the rows come from."""
        return self.file.header.database_id

    def extended(self, file: MappedFile, count: int) -> "Snapshot":
        """Return a snapshot of the same file with rows up to `count`, the new ones confirmed.

        Raises:
            Damaged: rows and checks differ.
        """
        for block, part in file.spans(self.count, count):
            if part == slice(0, file.layout.block_rows):
                file.verify_seal(block)
            else:
                file.verify_rows(block, part)
        # Block by block: whole columns of a million rows would stay with the process as free memory.
        counts = np.concatenate([self.counts, np.zeros(count - self.count, bool)])
        highest, in_order, done = self.highest_id, True, self.count
        for block, part in file.spans(self.count, count):
            kinds, ids = file.columns["kind"][block, part], file.columns["face_id"][block, part]
            counts[done : done + len(kinds)] = kinds == FACE
            done += len(kinds)
            told = ids[kinds != MARKER]
            in_order &= not (np.diff(told, prepend=highest) <= 0).any() and not (kinds == REMOVED).any()
            highest = max(highest, int(told.max(initial=0)))
        if not in_order:
            _take_out(file, counts, self.count)
        block, at = divmod(count - 1, file.layout.block_rows)
        last_number = int(file.columns["number"][block, at])
        return Snapshot(file, count, counts, int(np.count_nonzero(counts)), last_number, highest)

    def rows(self, first: int, last: int, wanted: NDArray[np.bool_] | None = None) -> Iterator[Rows]:
        """Yield the rows first to last, the latter excluded, block by block and without a copy.

        Args:
            wanted: for each of these rows whether it may be found; by default as `counts` says.
        """
        columns = self.file.columns
        counts = self.counts[first:last] if wanted is None else wanted
        at = 0
        for block, part in self.file.spans(first, min(last, self.count)):
            size = part.stop - part.start
            codes = None
            if self.file.encoder is not None:
                codes = Codes(
                    columns["code"][block, part.start :],
                    columns["half"][block, part],
                    columns["rest"][block, part.start :],
                    columns["whole_half"][block, part],
                )
            yield Rows(
                columns["vector"][block, part],
                columns["square"][block, part],
                columns["face_id"][block, part],
                counts[at : at + size],
                codes,
                columns["person"][block, part],
            )
            at += size

    def wanted(self, only: FaceFilter) -> NDArray[np.bool_]:
        """Return for each row whether it is a face of the gallery that satisfies the filter; read-only."""
        named = self.named(only)
        if not only.without:
            return named
        wanted = named.copy()
        wanted[self.places_of(_array_of(only.without))] = False
        return wanted

    def named(self, only: FaceFilter) -> NDArray[np.bool_]:
        """The same, `only.without` being left aside; worked out once for a filter that is used again."""
        if only.face_ids is None and only.persons is None:
            return self.counts
        mask = self.masks.get(only)
        if mask is None:
            mask = self.counts
            for name, values in (("face_id", only.face_ids), ("person", only.persons)):
                if values is not None:
                    mask = mask & np.isin(gathered(self.file, name, 0, self.count), _array_of(values))
            mask.flags.writeable = False
            self.masks.keep(only, mask)
        return mask

    def let_through(self, places: NDArray[np.int64], only: FaceFilter | None) -> NDArray[np.bool_]:
        """Return for each place what `wanted` says of it, without a mask of all rows for `only.without`."""
        if only is None:
            return self.counts[places]
        through = self.named(only)[places]
        if only.without:
            through &= ~np.isin(self.picked("face_id", places), _array_of(only.without))
        return through

    def places_of(self, face_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of all rows of some faces, in order, those that count no more among them."""
        if len(face_ids) > _ONE_BY_ONE:
            return np.flatnonzero(np.isin(gathered(self.file, "face_id", 0, self.count), face_ids))
        found = [np.zeros(0, np.int64)]
        for block, part in self.file.spans(0, self.count):
            column = self.file.columns["face_id"][block, part]
            first = block * self.file.layout.block_rows
            found += [first + np.flatnonzero(column == face_id) for face_id in face_ids]
        return np.sort(np.concatenate(found))

    def newest_rows(self, removals: int) -> NDArray[np.void]:
        """Return packed records: the newest face of the gallery, and the last removals after it."""
        at = _last(self.counts)
        if at >= 0 and self.picked("kind", np.array([at])) != FACE:  # erased, and no removal told of it yet
            at = _last(self.counts & (gathered(self.file, "kind", 0, self.count) == FACE))
        kinds = gathered(self.file, "kind", max(at, 0), self.count)
        chosen = max(at, 0) + np.flatnonzero(kinds == REMOVED)[-removals:]
        if at >= 0:
            chosen = np.concatenate([[at], chosen])
        return self.records(chosen)

    def records(self, places: NDArray[np.int64]) -> NDArray[np.void]:
        """Copy some rows into packed records."""
        size = self.file.layout.block_rows
        copy = np.zeros(len(places), self.file.layout.record)
        for name, column in self.file.columns.items():
            copy[name] = column[places // size, places % size]
        return copy

    def picked(self, name: str, places: NDArray[np.int64]) -> NDArray[Any]:
        """Copy some rows of one column."""
        size = self.file.layout.block_rows
        column: NDArray[Any] = self.file.columns[name][places // size, places % size]
        return column


def gathered(file: MappedFile, name: str, first: int, last: int) -> NDArray[Any]:
    """Copy one column of the rows first to last, the latter excluded, into one array."""
    column = file.columns[name]
    parts = [column[block, part] for block, part in file.spans(first, last)]
    return np.concatenate([column[0, :0], *parts])


def _last(counts: NDArray[np.bool_]) -> int:
    """The last place that counts, -1 where there is none."""
    return len(counts) - 1 - int(np.argmax(counts[::-1])) if counts.any() else -1


def _array_of(values: Collection[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return values if isinstance(values, np.ndarray) else np.fromiter(values, np.int64, len(values))


def _take_out(file: MappedFile, counts: NDArray[np.bool_], old: int) -> None:
    """Take rows out of `counts` whose face has a later row; those from `old` on are new."""
    ids, kinds = gathered(file, "face_id", old, len(counts)), gathered(file, "kind", old, len(counts))
    told = np.flatnonzero(kinds != MARKER)
    if len(told) <= _ONE_BY_ONE:
        for place in told:
            for block, part in file.spans(0, old + int(place)):
                first = block * file.layout.block_rows
                same = np.flatnonzero(file.columns["face_id"][block, part] == ids[place])
                counts[first + same] = False
        return
    every = np.concatenate([gathered(file, "face_id", 0, old), ids])
    every_kind = np.concatenate([gathered(file, "kind", 0, old), kinds])
    places = np.flatnonzero(every_kind != MARKER)
    order = places[np.argsort(every[places], kind="stable")]
    counts[order[:-1][every[order[:-1]] == every[order[1:]]]] = False
