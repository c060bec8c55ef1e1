"""Reading photos out of a zip that nobody vouches for, entry by entry, within limits."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from facesearch.config import LimitSettings
from facesearch.errors import BrokenArchive, BrokenImage, Invalid, NotAnArchive, TooLarge

_END_SIGNATURE = b"PK\x05\x06"
_END_SIZE = 22
_LONGEST_COMMENT = 65_535
# A directory entry is 46 bytes and its name; far more than this per entry is not a folder of photos.
_DIRECTORY_BYTES_PER_ENTRY = 1024

_SYSTEM_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db"})
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"}
)
_ARCHIVE_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ")
_TAR_MAGIC = slice(257, 262)


class Entry:
    """One file of an archive. Belongs to the thread that reads the archive."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: LimitSettings) -> None:
        self._archive = archive
        self._info = info
        self._limits = limits
        self.path = _decoded_name(info)

    @property
    def claims_to_be_an_image(self) -> bool:
        """Whether the file's suffix is one of an image."""
        return PurePosixPath(self.path).suffix.lower() in IMAGE_SUFFIXES

    @property
    def reason_to_skip(self) -> str | None:
        """Why this file is not worth reading, where its name already says so."""
        parts = PurePosixPath(self.path).parts
        name = parts[-1].lower() if parts else ""
        if "__MACOSX" in parts or name in _SYSTEM_NAMES or name.startswith("._"):
            return "A file that an operating system left there."
        return None

    def read(self) -> bytes:
        """Return the file's bytes.

        Raises:
            Invalid: the file is encrypted, damaged, over a limit or packed in an unknown way.
        """
        if self._info.flag_bits & 0x1:
            raise Invalid("The file is encrypted.")
        if self._info.file_size > self._limits.photo_bytes:
            raise TooLarge(f"The file is over the limit of {self._limits.photo_bytes} bytes.")
        try:
            with self._archive.open(self._info) as file:
                # zipfile stops at the declared size, which was checked above, and compares the CRC.
                return file.read()
        except NotImplementedError:
            raise Invalid("The file is packed in a way that is not supported.") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, MemoryError):
            raise BrokenImage("The file is damaged inside the archive.") from None


class PhotoArchive:
    """A zip of photos; lives as long as one request, and belongs to its thread."""

    def __init__(self, file: BinaryIO, limits: LimitSettings) -> None:
        """Open an archive, and refuse it whole where it is over a limit.

        Raises:
            NotAnArchive: by its bytes it is no zip, or it is empty.
            BrokenArchive: it is a zip, damaged or cut short.
            TooLarge: more bytes or entries than the limits allow.
        """
        _check_directory(file, limits)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error, EOFError):
            raise BrokenArchive from None
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > limits.zip_entries:
            raise TooLarge(f"The archive has more than {limits.zip_entries} entries.")
        if sum(info.file_size for info in infos) > limits.zip_expanded_bytes:
            raise TooLarge(f"The archive expands to more than {limits.zip_expanded_bytes} bytes.")
        self._entries = [Entry(self._zip, info, limits) for info in infos]

    @property
    def only_top_folder(self) -> str | None:
        """The folder that all photos lie in, directly or deeper; None where there are several or none."""
        tops = {entry.path.partition("/")[::2] for entry in self._entries if not entry.reason_to_skip}
        folders = {top for top, _ in tops}
        if len(folders) == 1 and all(rest for _, rest in tops):
            return folders.pop()
        return None

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Let go of the archive; the file itself stays open, it is the caller's."""
        self._zip.close()


def is_archive(data: bytes) -> bool:
    """Whether bytes begin like an archive of a common kind."""
    return data.startswith(_ARCHIVE_MAGIC) or data[_TAR_MAGIC] == b"ustar"


def _check_directory(file: BinaryIO, limits: LimitSettings) -> None:
    """Bound the directory before zipfile takes it into memory whole."""
    file.seek(0)
    head = file.read(4)
    size = file.seek(0, 2)
    if size > limits.zip_bytes:
        raise TooLarge(f"The archive is over the limit of {limits.zip_bytes} bytes.")
    if not head.startswith(b"PK"):
        raise NotAnArchive
    file.seek(max(0, size - _END_SIZE - _LONGEST_COMMENT))
    tail = file.read()
    end = tail.rfind(_END_SIGNATURE)
    if end < 0 or len(tail) - end < _END_SIZE:
        raise BrokenArchive("The zip archive is cut short: its directory is missing.")
    directory_bytes = struct.unpack_from("<I", tail, end + 12)[0]
    if directory_bytes == 0xFFFFFFFF:  # ZIP64 keeps the true number elsewhere; it cannot exceed the file.
        directory_bytes = size
    if directory_bytes > limits.zip_entries * _DIRECTORY_BYTES_PER_ENTRY:
        raise TooLarge(f"The archive has more than {limits.zip_entries} entries.")


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """A name without the UTF-8 flag is UTF-8 where it can be: many programs forget to set the flag."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename
