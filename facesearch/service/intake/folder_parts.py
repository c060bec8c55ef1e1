"""A folder as archives of a bounded size, for a service elsewhere."""

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from facesearch.errors import Invalid, StorageFull
from facesearch.records import FileReport
from facesearch.service.intake.naming import Naming
from facesearch.service.intake.photo_source import PEOPLE_FILE, Entry, PhotoSource, is_archive

_UNUSED = "people.csv names this file, but it is not there."
_NO_ROOM = "There is no room for an archive of photos in this machine's folder for temporary files."
_FIRST_COLUMNS = ("path", "person", "external_id")


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a folder's files, in order.

    Args:
        name: what to call its archive.
        file: a zip, open and without a name on the disk, for the receiver to close; None where it is empty.
        reports: those of files that do not go into it, by their position in the part.
    """

    name: str
    file: BinaryIO | None
    reports: Mapping[int, FileReport]


@dataclass
class FolderParts:
    """A folder's files as archives, each with a people.csv that names them as they are named in the whole.

    Iterating makes them one by one. Belongs to its thread, and reads the source while that is open.

    Args:
        source: the folder.
        name: what the archives are called after.
        most_files: of one archive.
        most_bytes: of the files of one archive; a larger file has an archive to itself.
    """

    source: PhotoSource
    name: str
    most_files: int
    most_bytes: int
    _unused: list[str] = field(init=False)

    def __post_init__(self) -> None:
        people = self.source.people
        self._unused = list(people.unused(entry.path for entry in self.source)) if people else []

    def __len__(self) -> int:
        """How many reports there will be, those of files that people.csv alone knows among them."""
        return len(self.source) + len(self._unused)

    def __iter__(self) -> Iterator[Part]:
        number, packing = 1, _Packing()
        try:
            for entry in self.source:
                packed = _packed(entry, self.source)
                if isinstance(packed, FileReport):
                    packing.leave_out(packed)
                    continue
                if not self._has_room(packing, packed):
                    yield packing.part(self._called(number))
                    number, packing = number + 1, _Packing()
                packing.add(packed)
            for path in self._unused:
                packing.leave_out(FileReport(path, "failed", reason=_UNUSED))
            if packing.people or packing.reports:
                yield packing.part(self._called(number))
        except OSError:
            raise StorageFull(_NO_ROOM) from None
        finally:
            packing.close()

    def _has_room(self, packing: "_Packing", photo: "_Photo") -> bool:
        if not packing.people:
            return True
        return (
            len(packing.people) < self.most_files
            and packing.bytes + len(photo.data) <= self.most_bytes
            # Two names on a disk may be one path in the spelling that is shown.
            and photo.path not in packing.people
        )

    def _called(self, number: int) -> str:
        return f"{self.name} (part {number}).zip"


class _Photo(NamedTuple):
    path: str
    data: bytes
    naming: Naming


class _Packing:
    """An archive that is being made. Lives until it is one."""

    def __init__(self) -> None:
        self.people: dict[str, Naming] = {}
        self.reports: dict[int, FileReport] = {}
        self.bytes = 0
        self._file: BinaryIO | None = None
        self._zip: zipfile.ZipFile | None = None

    def add(self, photo: _Photo) -> None:
        """Put a file into it."""
        if self._zip is None:
            # It has no name, so nothing is left of it however this process ends.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whom it is handed to
            self._zip = zipfile.ZipFile(self._file, "w")
        self._zip.writestr(zipfile.ZipInfo(photo.path), photo.data)
        self.people[photo.path] = photo.naming
        self.bytes += len(photo.data)

    def leave_out(self, report: FileReport) -> None:
        """Keep the report of a file that is not sent."""
        self.reports[len(self.people) + len(self.reports)] = report

    def part(self, name: str) -> Part:
        """Finish the archive and hand it over."""
        if self._zip is not None:
            self._zip.writestr(zipfile.ZipInfo(PEOPLE_FILE), _people_csv(self.people))
            self._zip.close()
        part = Part(name, self._file, self.reports)
        self._file = self._zip = None
        return part

    def close(self) -> None:
        """Give it up, unless it was handed over."""
        if self._zip is not None:
            with suppress(OSError, ValueError):
                self._zip.close()
        if self._file is not None:
            self._file.close()


def _packed(entry: Entry, source: PhotoSource) -> _Photo | FileReport:
    """Read a file, or say what becomes of it where that can be told from here."""
    if entry.reason_to_skip:
        return FileReport(entry.path, "skipped", reason=entry.reason_to_skip)
    try:
        data = entry.read()
        naming = Naming.in_source(entry.path, source)
    except Invalid as error:
        return FileReport(entry.path, "failed", reason=error.message)
    if is_archive(data):
        return FileReport(entry.path, "skipped", reason="An archive inside the archive.")
    # Cells of people.csv are read without the blanks around them.
    return _Photo(entry.path.strip() or "(no name)", data, naming)


def _people_csv(people: Mapping[str, Naming]) -> bytes:
    more = sorted({column for naming in people.values() for column in naming.metadata})
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*_FIRST_COLUMNS, *more])
    for path, naming in people.items():
        values = [naming.metadata.get(column, "") for column in more]
        lines.writerow([path, naming.person_name, naming.external_id or "", *values])
    return text.getvalue().encode()
