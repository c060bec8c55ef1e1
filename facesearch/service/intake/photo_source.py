"""What an import takes its photos from: an archive or a folder, read file by file within limits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from facesearch.errors import Invalid
from facesearch.service.intake.names import readable_path
from facesearch.service.intake.people_list import PeopleList

LONGEST_PATH = 1024

# A list may name files that are not there, but not mostly.
PEOPLE_PER_ENTRY = 2
PEOPLE_FILE = "people.csv"
_SYSTEM_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db"})
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"}
)
_ARCHIVE_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ")
_TAR_MAGIC = slice(257, 262)


def is_archive(data: bytes) -> bool:
    """Whether bytes begin like an archive of a common kind."""
    return data.startswith(_ARCHIVE_MAGIC) or data[_TAR_MAGIC] == b"ustar"


class Entry(ABC):
    """One file of a source. Belongs to the thread that reads the source.

    Attributes:
        path: where it lies in the source, as `readable_path` spells it, and shortened where it is too
            long; for reports, for people.csv and for names, never to open anything.
    """

    __slots__ = ("_path_is_bad", "path")

    def __init__(self, path: str) -> None:
        readable = readable_path(path)
        self._path_is_bad: str | None = None
        if not readable:
            readable, self._path_is_bad = "(no name)", "The file has no name."
        elif len(readable) > LONGEST_PATH:
            readable = readable[: LONGEST_PATH - 1] + "…"
            self._path_is_bad = f"The file's path has more than {LONGEST_PATH} characters."
        self.path = readable

    @property
    def claims_to_be_an_image(self) -> bool:
        """Whether the file's suffix is one of an image."""
        return PurePosixPath(self.path).suffix.lower() in IMAGE_SUFFIXES

    @property
    def reason_to_skip(self) -> str | None:
        """Why this file is not worth reading, where that is known without reading it."""
        parts = self.path.split("/")
        name = parts[-1].lower()
        if "__MACOSX" in parts or name in _SYSTEM_NAMES or name.startswith("._"):
            return "A file that an operating system left there."
        return self._reason_to_skip()

    def read(self) -> bytes:
        """Return the file's bytes.

        Raises:
            Invalid: the file is empty, over a limit, damaged, encrypted or packed in an unknown way.
            Unavailable: it cannot be read right now.
        """
        if self._path_is_bad:
            raise Invalid(self._path_is_bad)
        return self._read()

    @abstractmethod
    def _reason_to_skip(self) -> str | None:
        """Why this is no file of its own."""

    @abstractmethod
    def _read(self) -> bytes:
        """See `read`."""

    @abstractmethod
    def read_list(self, most_bytes: int) -> bytes:
        """Return the bytes of a file that is no photo, within a limit of its own; raises as `read`."""


class PhotoSource:
    """Files in an order that is the same whenever the same source is opened.

    people.csv is not one of them. Lives as long as one import or request, and belongs to its thread.

    Args:
        entries: all files, people.csv among them where there is one.
        most_people: the most rows that people.csv may have.

    Raises:
        Invalid: people.csv cannot be used, with the reason.
    """

    def __init__(self, entries: Sequence[Entry], most_people: int) -> None:
        self.only_top_folder = _only_top_folder(entries)
        """The folder that all photos lie in, directly or deeper; None where there are several or none."""
        self.people: PeopleList | None = None
        """What people.csv says, None where there is none."""
        lists = _people_files(entries, self.only_top_folder)
        if len(lists) > 1:
            raise Invalid(f"There are {len(lists)} files that are called {PEOPLE_FILE}.")
        for entry in lists:
            folder = entry.path.rpartition("/")[0]
            self.people = PeopleList.parse(_read_list(entry), most_people, folder)
        self._entries = [entry for entry in entries if entry not in lists]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the source; entries are not read afterwards."""
        self._entries = []


def _only_top_folder(entries: Sequence[Entry]) -> str | None:
    tops = {
        entry.path.partition("/")[::2]
        for entry in entries
        if not entry.reason_to_skip and entry.path.lower() != PEOPLE_FILE
    }
    folders = {top for top, _ in tops}
    if len(folders) == 1 and all(rest for _, rest in tops):
        return folders.pop()
    return None


def _people_files(entries: Sequence[Entry], only_top_folder: str | None) -> list[Entry]:
    """The list at the root; where there is none, that of the only top folder."""
    for folder in ("", only_top_folder and f"{only_top_folder}/"):
        if folder is not None:
            found = [e for e in entries if e.path.startswith(folder) and _is_list(e.path[len(folder) :])]
            if found:
                return found
    return []


def _is_list(name: str) -> bool:
    return name.lower() == PEOPLE_FILE


def _read_list(entry: Entry) -> bytes:
    if reason := entry.reason_to_skip:
        raise Invalid(f"{PEOPLE_FILE} cannot be used: {reason}")
    try:
        return entry.read_list(PeopleList.MOST_BYTES)
    except Invalid as error:
        raise type(error)(f"{PEOPLE_FILE} cannot be used: {error.message}") from None
