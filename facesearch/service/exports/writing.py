"""Writing a collection into one file, as docs/export.md describes it, piece by piece."""

import hashlib
import io
import os
import secrets
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from facesearch.errors import Conflict, Invalid
from facesearch.interfaces import CollectionStore, TransferStore
from facesearch.records import Collection, Crop
from facesearch.service.exports.format import (
    CROP_BYTES_A_MEMBER,
    CROP_SUFFIXES,
    CROPS,
    CROPS_A_MEMBER,
    FACES,
    MANIFEST,
    PEOPLE,
    VECTORS,
    Manifest,
    MemberInfo,
    face_line,
    person_line,
)

Progress = Callable[[str, int, int], None]
"""Called with the name of a member, how many entries of it are done, and how many there are."""


def export_collection(
    collections: CollectionStore,
    transfers: TransferStore,
    name: str,
    file: BinaryIO,
    progress: Progress = lambda *_: None,
) -> Manifest:
    """Write a collection into an empty file, as it is at one moment; return what the file tells of it.

    The database is read in one transaction of its own, some hundred faces at a time, in which it shows
    nothing that is committed later. Memory does not grow with the collection.

    Args:
        file: seekable, open for writing.

    Raises:
        CollectionNotFound, DatabaseUnavailable
        Conflict: what is stored is damaged.
        OSError: the file cannot be written.
    """
    with transfers.one_moment():
        collection = collections.counted(name)
        return _Writer(collection, transfers, file, progress).write()


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Open a file beside `path`, for its owner alone, which takes that name once all is on the disk.

    Raises:
        Invalid: there is a file of that name, and it is not to be replaced.
        OSError: it cannot be written; nothing is left behind.
    """
    if path.is_dir() or (path.exists() and not replace):
        raise Invalid(f"{path.name} is there already.")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Writer:
    """Lives as long as one export, and belongs to its thread."""

    def __init__(
        self, collection: Collection, transfers: TransferStore, file: BinaryIO, progress: Progress
    ) -> None:
        self._collection = collection
        self._transfers = transfers
        self._zip = zipfile.ZipFile(file, "w", allowZip64=True)
        self._progress = progress
        self._now = datetime.now(UTC)
        self._members: dict[str, MemberInfo] = {}

    def write(self) -> Manifest:
        with self._zip:
            people = self._people()
            faces, dimension = self._faces()
            self._vectors(faces, dimension)
            crops = self._crops()
            # Last, for it tells the others' digests.
            manifest = Manifest(
                self._collection.name,
                self._collection.model_id,
                dimension,
                people,
                faces,
                crops,
                self._now.isoformat(),
                self._members,
            )
            self._zip.writestr(self._info(MANIFEST, zipfile.ZIP_DEFLATED), manifest.as_json())
        return manifest

    def _people(self) -> int:
        count = 0
        with self._member(PEOPLE, zipfile.ZIP_DEFLATED) as member:
            for count, person in enumerate(self._transfers.people(self._collection.number), 1):
                member.write(person_line(person))
                self._progress(PEOPLE, count, self._collection.people)
        return count

    def _faces(self) -> tuple[int, int | None]:
        """Write the faces; return their number and the dimension of their vectors."""
        count, dimension = 0, None
        with self._member(FACES, zipfile.ZIP_DEFLATED) as member:
            for count, face in enumerate(self._transfers.faces(self._collection.number), 1):
                dimension = dimension or face.stored.dimension
                member.write(face_line(face))
                self._progress(FACES, count, self._collection.faces)
        return count, dimension

    def _vectors(self, faces: int, dimension: int | None) -> None:
        done, shape = 0, (faces, dimension or 0)
        with self._member(VECTORS, zipfile.ZIP_STORED) as member:
            head = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, head)
            for vectors in self._transfers.vectors(self._collection.number):
                if vectors.shape[1:] != shape[1:]:
                    raise Conflict("The collection holds vectors of different lengths.")
                member.write(vectors.astype("<f4", copy=False).tobytes())
                done += len(vectors)
                self._progress(VECTORS, done, faces)
        if done != faces:
            raise Conflict("The collection's faces and vectors are not as many.")

    def _crops(self) -> int:
        """Write the crops into a few archives: a zip's directory of a million would not fit into memory."""
        crops = self._transfers.crops(self._collection.number)
        done = number = 0
        while (first := next(crops, None)) is not None:
            with self._member(CROPS.format(number), zipfile.ZIP_STORED) as member:
                done += self._crops_of_one(member, chain([first], crops), done)
            number += 1
        return done

    def _crops_of_one(self, member: "_Hashed", crops: Iterator[tuple[int, Crop]], before: int) -> int:
        written = size = 0
        with tarfile.open(fileobj=cast(BinaryIO, member), mode="w|", format=tarfile.USTAR_FORMAT) as archive:
            for face_id, crop in crops:
                if crop.media_type not in CROP_SUFFIXES:
                    raise Conflict(f"The crop of face {face_id} is of an unknown kind.")
                info = tarfile.TarInfo(f"{face_id}.{CROP_SUFFIXES[crop.media_type]}")
                info.size, info.mode, info.mtime = len(crop.data), 0o600, int(self._now.timestamp())
                archive.addfile(info, io.BytesIO(crop.data))
                archive.members.clear()  # type: ignore[attr-defined]  # or it would remember all
                written, size = written + 1, size + len(crop.data)
                self._progress(CROPS.partition("/")[0], before + written, self._collection.faces)
                if written == CROPS_A_MEMBER or size >= CROP_BYTES_A_MEMBER:
                    break
        return written

    @contextmanager
    def _member(self, name: str, packed: int) -> Iterator["_Hashed"]:
        with self._zip.open(self._info(name, packed), "w", force_zip64=True) as member:
            hashed = _Hashed(cast(BinaryIO, member))
            yield hashed
        self._members[name] = MemberInfo(hashed.bytes, hashed.digest.hexdigest())

    def _info(self, name: str, packed: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self._now.timetuple()[:6])
        info.compress_type, info.external_attr = packed, 0o600 << 16
        return info


class _Hashed:
    """A member that is being written, with the digest of what was. Lives as long as that."""

    def __init__(self, member: BinaryIO) -> None:
        self._member = member
        self.bytes = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        self.digest.update(data)
        return self._member.write(data)
