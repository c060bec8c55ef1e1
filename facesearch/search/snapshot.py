"""Reading the shared matrix: what was published in a file of it at one moment."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.records import FaceFilter
from facesearch.search.codes import Codes
from facesearch.search.layout import (
    FACE,
    MARKER,
    REMOVED,
)
from facesearch.search.mapped_file import MappedFile, gathered
from facesearch.search.masks import FilterMasks
from facesearch.search.measure import Rows

_ONE_BY_ONE = 64


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

    def count_of(self, only: FaceFilter | None, of_people: bool) -> int:
        """How many faces satisfy a filter, and have a person where that is wanted."""
        wanted = self.counts if only is None else self.wanted(only)
        if not of_people:
            return int(np.count_nonzero(wanted))
        counted, at = 0, 0
        for block, part in self.file.spans(0, self.count):
            persons = self.file.columns["person"][block, part]
            counted += int(np.count_nonzero(wanted[at : at + len(persons)] & (persons != 0)))
            at += len(persons)
        return counted

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
