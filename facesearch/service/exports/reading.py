"""Reading an exported collection that nobody vouches for, entry by entry, within limits."""

import hashlib
import io
import re
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from facesearch.config import LimitSettings
from facesearch.errors import BrokenArchive, Invalid, TooLarge, Unavailable
from facesearch.records import CopiedFace, CopiedPerson, Crop, Embedding
from facesearch.service.exports.format import (
    CROP_BYTES_A_MEMBER,
    CROP_SUFFIXES,
    CROPS,
    CROPS_A_MEMBER,
    FACES,
    LONGEST_LINE,
    MANIFEST,
    PEOPLE,
    VECTORS,
    Manifest,
    face_of,
    person_of,
)
from facesearch.service.intake.zip_directory import Member, read_directory

_MOST_MEMBERS = 100_000
_MANIFEST_BYTES = 32 * 1024**2
_CROP_BYTES = 16 * 1024**2 - 1  # what a database takes
_TAR_OVERHEAD = CROPS_A_MEMBER * 1024 + 2 * tarfile.RECORDSIZE
_HEADER_BYTES = 4096
_CHUNK_BYTES = 1024**2
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_MEDIA_TYPES = {suffix: media_type for media_type, suffix in CROP_SUFFIXES.items()}
_MAGIC = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/png": re.compile(rb"\x89PNG\r\n"),
}
_CROP_NAME = re.compile(r"([1-9][0-9]{0,18})\.([a-z]+)")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error)


class ExportedFace(NamedTuple):
    """A face of the file, with the file's own ids."""

    face: CopiedFace
    embedding: Embedding
    crop: Crop | None


def is_exported_collection(file: BinaryIO, limits: LimitSettings) -> bool:
    """Whether a file is one, as far as the names of its members tell."""
    try:
        return {member.path for member in _members(file, limits)} >= {MANIFEST, PEOPLE, FACES, VECTORS}
    except (Invalid, OSError):
        return False


class CollectionFile:
    """An exported collection. Lives as long as one import, and belongs to its thread.

    Each pass over its people or faces checks what it reads: sizes, digests and every value. Nothing of it is
    executed, and none of its names is a path that is opened. Memory grows with the number of people alone.

    Args:
        file: seekable; stays the caller's.
        limits: how many times larger than the file its members may be.

    Raises:
        Invalid: it is no exported collection, is damaged, or of a newer version.
    """

    def __init__(self, file: BinaryIO, limits: LimitSettings) -> None:
        try:
            members = _members(file, limits)
            self._sizes = {member.path: member.size for member in members}
            if any(member.method not in _METHODS for member in members):
                raise Invalid("The file is packed in a way that an export is not.")
            if self._sizes.get(MANIFEST, _MANIFEST_BYTES) >= _MANIFEST_BYTES:
                raise Invalid("The file is no exported collection.")
            self._zip = zipfile.ZipFile(file)
            if sorted(self._zip.namelist()) != sorted(member.path for member in members):
                raise zipfile.BadZipFile
            self.manifest = Manifest.parse(self._zip.read(MANIFEST))
        except (*_DAMAGED, UnicodeDecodeError):
            raise BrokenArchive("The file is damaged.") from None
        except OSError:
            raise Unavailable("The file cannot be read right now.") from None
        except Invalid as error:
            raise _told("The manifest cannot be used", error) from None
        self._check_members()

    def check(self) -> None:
        """Read all of it.

        Raises:
            Invalid: something in it cannot be used; the message says what.
        """
        covers: dict[int, int] = {}
        known = set()
        for person in self.people():
            known.add(person.id)
            if person.cover_face is not None:
                covers[person.cover_face] = person.id
        for one in self.faces():
            stored = one.face.stored
            if stored.person_id is not None and stored.person_id not in known:
                raise Invalid(f"Face {stored.id} is of a person that the file does not hold.")
            if covers.pop(stored.id, stored.person_id) != stored.person_id:
                raise Invalid(f"Face {stored.id} stands for a person that it is not of.")
        if covers:
            raise Invalid(f"Face {min(covers)} stands for a person, and the file does not hold it.")

    def people(self) -> Iterator[CopiedPerson]:
        """Yield the people by rising id."""
        last, names = 0, set()
        for number, line in self._lines(PEOPLE, self.manifest.people):
            try:
                person = person_of(line)
                if person.id <= last:
                    raise Invalid("its id does not rise")
                if person.name in names:
                    raise Invalid("there is a person of this name")
            except Invalid as error:
                raise _wrong(PEOPLE, number, error) from None
            last = person.id
            names.add(person.name)
            yield person

    def faces(self) -> Iterator[ExportedFace]:
        """Yield the faces by rising id."""
        vectors, crops = self._vectors(), self._crops()
        crop = next(crops, None)
        last = 0
        for number, line in self._lines(FACES, self.manifest.faces):
            try:
                face = face_of(line, self.manifest.model_id or "", self.manifest.dimension or 0)
                if face.stored.id <= last:
                    raise Invalid("its id does not rise")
            except Invalid as error:
                raise _wrong(FACES, number, error) from None
            last = face.stored.id
            if crop is not None and crop[0] == last:
                yield ExportedFace(face, next(vectors), crop[1])
                crop = next(crops, None)
            else:
                yield ExportedFace(face, next(vectors), None)
        if crop is not None:
            raise Invalid(f"There is a crop of face {crop[0]}, and no such face, or it is not in its order.")
        next(vectors, None)  # their digest is compared after the last one

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def _check_members(self) -> None:
        told = self.manifest.members
        self._crop_members = [name for name in told if name not in (PEOPLE, FACES, VECTORS)]
        wanted = {PEOPLE, FACES, VECTORS, *map(CROPS.format, range(len(self._crop_members)))}
        if set(told) != wanted or self._sizes.keys() != wanted | {MANIFEST}:
            raise Invalid("The file does not hold the members that its manifest names, and no others.")
        for name, info in told.items():
            if self._sizes[name] != info.bytes:
                raise Invalid(f"{name} has {self._sizes[name]} bytes, and its manifest says {info.bytes}.")
        self._crop_members.sort()
        for name in self._crop_members:
            if told[name].bytes > CROP_BYTES_A_MEMBER + _CROP_BYTES + _TAR_OVERHEAD:
                raise TooLarge(f"{name} is larger than an export makes it.")

    def _lines(self, name: str, count: int) -> Iterator[tuple[int, bytes]]:
        number = 0
        with self._member(name) as member, io.BufferedReader(member, _CHUNK_BYTES) as lines:
            while line := lines.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise _wrong(name, number, Invalid("it is too long"))
                if number > count:
                    raise Invalid(f"{name} has more lines than its manifest says.")
                yield number, line
        if number != count:
            raise Invalid(f"{name} has {number} lines, and its manifest says {count}.")

    def _vectors(self) -> Iterator[NDArray[np.float32]]:
        shape = (self.manifest.faces, self.manifest.dimension or 0)
        with self._member(VECTORS) as member, io.BufferedReader(member, _CHUNK_BYTES) as rows:
            _check_header(cast(BinaryIO, rows), shape)
            row_bytes = 4 * shape[1]
            some = max(1, _CHUNK_BYTES // max(1, row_bytes))
            for start in range(0, shape[0], some):
                count = min(some, shape[0] - start)
                data = rows.read(count * row_bytes)
                if len(data) < count * row_bytes:
                    raise Invalid(f"{VECTORS} is cut short.")
                vectors = np.frombuffer(data, "<f4").reshape(count, shape[1]).astype(np.float32, copy=False)
                if not np.isfinite(vectors).all():
                    raise Invalid(f"{VECTORS} holds a number that is not finite.")
                yield from vectors
            if rows.read(1):
                raise Invalid(f"{VECTORS} is longer than its shape.")

    def _crops(self) -> Iterator[tuple[int, Crop]]:
        count = last = 0
        for name in self._crop_members:
            with self._member(name) as member:
                for face_id, crop in _crops_of(cast(BinaryIO, member), name):
                    if face_id <= last:
                        raise Invalid(f"{name} holds a crop of face {face_id} that is not in its order.")
                    count, last = count + 1, face_id
                    yield face_id, crop
        if count != self.manifest.crops:
            raise Invalid(f"There are {count} crops, and the manifest says {self.manifest.crops}.")

    def _opened(self, name: str) -> IO[bytes]:
        try:
            return self._zip.open(name)
        except UnicodeDecodeError:  # its name, before it
            raise zipfile.BadZipFile from None

    @contextmanager
    def _member(self, name: str) -> Iterator["_Checked"]:
        """Open a member; what a full reading came to is compared with the manifest."""
        try:
            with self._opened(name) as opened:
                member = _Checked(cast(BinaryIO, opened), self.manifest.members[name].bytes)
                yield member
                member.finish()
        except _DAMAGED:
            raise BrokenArchive(f"{name} is damaged.") from None
        except OSError:
            raise Unavailable("The file cannot be read right now.") from None
        if member.digest.hexdigest() != self.manifest.members[name].sha256.lower():
            raise BrokenArchive(f"{name} is damaged: its SHA-256 is not that of the manifest.")


def _members(file: BinaryIO, limits: LimitSettings) -> list[Member]:
    """The zip's directory, of any size: bounds on bytes are for clients, not for who owns the database."""
    wide = {"zip_bytes": 2**63, "zip_expanded_bytes": 2**63, "zip_entries": _MOST_MEMBERS}
    return read_directory(file, limits.model_copy(update=wide))


class _Checked(io.RawIOBase):
    """A member that is being read, with the digest of what was. Lives as long as that."""

    def __init__(self, member: BinaryIO, most: int) -> None:
        self._member = member
        self._left = most
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._member.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.digest.update(data)
        return data

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def finish(self) -> None:
        """Read the rest, and past the last byte, where the zip's own checksum is looked at."""
        while self.read(_CHUNK_BYTES):
            pass
        self._member.read(1)


def _check_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """Read numpy's head of an array of numbers; one of objects, which would be unpickled, is refused."""
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError
        told, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER_BYTES)
    except (ValueError, EOFError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError):
        raise Invalid(f"{VECTORS} does not begin as an array of numbers.") from None
    if dtype.str != "<f4" or fortran or told != shape:
        raise Invalid(f"{VECTORS} is no array of {shape[0]} x {shape[1]} little-endian float32.")


def _crops_of(member: BinaryIO, name: str) -> Iterator[tuple[int, Crop]]:
    try:
        with tarfile.open(fileobj=member, mode="r|", errorlevel=2) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or it would remember all
                found = _CROP_NAME.fullmatch(info.name)
                if not info.isreg() or found is None or found[2] not in _MEDIA_TYPES:
                    raise Invalid(f"{name} holds something that is no crop.")
                if info.size > _CROP_BYTES:
                    raise TooLarge(f"{name} holds a crop that is too large.")
                opened = archive.extractfile(info)
                data = opened.read() if opened else b""
                crop = Crop(_MEDIA_TYPES[found[2]], data)
                if len(data) != info.size or not _MAGIC[crop.media_type].match(data):
                    raise Invalid(f"The crop of face {found[1]} is no picture of its kind.")
                yield int(found[1]), crop
    except (tarfile.TarError, ValueError, RecursionError):
        raise Invalid(f"{name} is damaged.") from None


def _wrong(name: str, number: int, error: Invalid) -> Invalid:
    return Invalid(f"Line {number} of {name} cannot be used: {error.message}.")


def _told(what: str, error: Invalid) -> Invalid:
    """An error of the manifest as a sentence; what is one already is left alone."""
    return error if error.message.endswith(".") else Invalid(f"{what}: {error.message}.")
