"""people.csv: who is in each photo of an import, as the importer says it."""

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from facesearch.errors import Invalid, TooLarge
from facesearch.service.intake.names import LONGEST_NAME, name_in, readable, readable_path

_DELIMITERS = ",;\t"
_PATH, _PERSON, _EXTERNAL_ID = "path", "person", "external_id"
_COLUMNS = {_PATH: _PATH, _PERSON: _PERSON, "person_name": _PERSON, _EXTERNAL_ID: _EXTERNAL_ID}
_MOST_COLUMNS = 64
_LONGEST_LINE = 128 * 1024
_LONGEST_PATH = 1024
_LONGEST_EXTERNAL_ID = 255
_METADATA_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Person:
    """What the list says of one photo; `person` is None where the photo's path shall name them.

    `metadata` maps the list's further columns to this photo's cells, without the empty ones.
    """

    person: str | None
    external_id: str | None
    metadata: Mapping[str, str]


class PeopleList:
    """Lives as long as the source that it lay in. Immutable; any thread may read it."""

    MOST_BYTES = 32 * 1024**2

    def __init__(self, columns: "_Columns", rows: Mapping[str, str], folder: str) -> None:
        self._columns = columns
        self._rows = rows
        self._folder = f"{folder}/" if folder else ""

    @classmethod
    def parse(cls, data: bytes, most_rows: int, folder: str = "") -> "PeopleList":
        """Read a list whole, and refuse it whole for one wrong row: a wrong name would not be noticed.

        The first line names the columns, in any order and case: `path`, and perhaps `person` and
        `external_id`; what others hold becomes metadata. Comma, semicolon or tab stands between cells,
        quotes may stand around them. The text is UTF-8, or UTF-16 that begins with its mark.

        Args:
            most_rows: more are refused.
            folder: where the list lies; its paths begin there, or at the root.

        Raises:
            Invalid: it cannot be used; the message names the line.
            TooLarge: more bytes, rows or columns than a list may have.
        """
        if len(data) > cls.MOST_BYTES:
            raise TooLarge(f"people.csv is over the limit of {cls.MOST_BYTES} bytes.")
        try:
            lines = _lines(data)
            columns = _Columns(next(lines, (1, []))[1])
            return cls(columns, _rows(lines, columns, most_rows), folder)
        except UnicodeDecodeError:
            raise _not_text(data) from None

    def of(self, path: str) -> Person | None:
        """Return what the list says of a file by its path in the source, None where it says nothing."""
        key = self._key(path)
        return None if key is None else self._columns.person(json.loads(self._rows[key]))

    def unused(self, paths: Iterable[str]) -> list[str]:
        """Return the paths of the list, in its order, that are none of these paths of files."""
        used = {self._key(path) for path in paths}
        return [path for path in self._rows if path not in used]

    def __len__(self) -> int:
        return len(self._rows)

    def _key(self, path: str) -> str | None:
        from_root = readable_path(path)
        below = from_root.removeprefix(self._folder)
        if below in self._rows:
            return below
        return from_root if from_root in self._rows else None


class _Columns:
    """Which cell of a row is what."""

    def __init__(self, cells: Sequence[str]) -> None:
        names = [_name(cell) for cell in cells]
        if _PATH not in names:
            raise Invalid('The first line of people.csv names no column "path".')
        if len(names) > _MOST_COLUMNS:
            raise TooLarge(f"people.csv has more than {_MOST_COLUMNS} columns.")
        if any(len(name) > LONGEST_NAME for name in names):
            raise _wrong(1, f"a column's name has more than {LONGEST_NAME} characters")
        if several := {name for name in names if name and names.count(name) > 1}:
            raise Invalid(f'people.csv has several columns "{min(several)}".')
        self._names = names

    def person(self, cells: Sequence[str]) -> Person:
        told = {name: cell for name, cell in zip(self._names, cells, strict=True) if cell}
        told.pop(_PATH, None)
        return Person(name_in(told.pop(_PERSON, "")) or None, told.pop(_EXTERNAL_ID, None), told)

    def checked(self, line: int, cells: Sequence[str]) -> tuple[str, list[str]]:
        """Return a row's path and its other cells, as they are kept."""
        names = self._names + [""] * (len(cells) - len(self._names))
        kept = [_shown(cell) for cell in cells] + [""] * (len(names) - len(cells))
        if any(cell for cell, name in zip(kept, names, strict=True) if not name):
            raise _wrong(line, "it has a cell where no column has a name")
        del kept[len(self._names) :]
        at = names.index(_PATH)
        path = readable_path(cells[at].strip()) if at < len(cells) else ""
        kept[at] = ""
        if not path:
            raise _wrong(line, "it has no path")
        person = self.person(kept)
        metadata = json.dumps(dict(person.metadata), ensure_ascii=False).encode()
        for what, size, most in (
            ("path", len(path), _LONGEST_PATH),
            ("person's name", len(person.person or ""), LONGEST_NAME),
            ("external_id", len(person.external_id or ""), _LONGEST_EXTERNAL_ID),
        ):
            if size > most:
                raise _wrong(line, f"its {what} has more than {most} characters")
        if len(metadata) > _METADATA_BYTES:
            raise _wrong(line, f"its further columns hold more than {_METADATA_BYTES} bytes")
        return path, kept


def _rows(lines: Iterable[tuple[int, list[str]]], columns: _Columns, most_rows: int) -> dict[str, str]:
    """Rows by their paths. Each is one string of JSON: many small cells would take much memory."""
    rows: dict[str, str] = {}
    for number, (line, cells) in enumerate(lines):
        if number == most_rows:
            raise TooLarge(f"people.csv has more than {most_rows} rows.")
        path, kept = columns.checked(line, cells)
        row = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
        if rows.setdefault(path, row) != row:
            raise _wrong(line, "an earlier line says something else of the same path")
    return rows


def _lines(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, with the line's number; the first names the columns."""
    text = io.TextIOWrapper(io.BytesIO(data), _encoding(data), newline="")
    first, skipped = text.readline(_LONGEST_LINE), 0
    if first.strip().lower() in {f"sep={delimiter.strip()}" for delimiter in _DELIMITERS}:
        first, skipped = text.readline(_LONGEST_LINE), 1  # a spreadsheet's own note, which its header follows
    delimiter = next((d for d in _DELIMITERS if _PATH in _split(first, d)), _DELIMITERS[0])
    text.seek(0)
    for _ in range(skipped):
        text.readline(_LONGEST_LINE)
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise _wrong(line, "its quotes do not match, or a cell is too long") from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [
            _name(cell) for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        ]
    except csv.Error:
        return []


def _encoding(data: bytes) -> str:
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _not_text(data: bytes) -> Invalid:
    """Another code page is not guessed: half of the names would be wrong, and none would look so."""
    try:
        data.decode(_encoding(data))
        where = ""
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f": see line {line}"
    return Invalid(f"people.csv is not text in UTF-8{where}. A spreadsheet saves it so as CSV UTF-8.")


def _name(cell: str) -> str:
    name = _shown(cell)
    return _COLUMNS.get(name.casefold().replace(" ", "_").replace("-", "_"), name)


def _shown(cell: str) -> str:
    return " ".join(readable(" ".join(cell.split())).split())


def _wrong(line: int, reason: str) -> Invalid:
    return Invalid(f"Line {line} of people.csv cannot be used: {reason}.")
