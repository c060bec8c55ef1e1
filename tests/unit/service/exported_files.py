"""A collection to be exported, and files that are almost what an export is."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from facesearch.databases import open_collection_store, open_transfer_store
from facesearch.interfaces import ImageDatabase
from facesearch.records import Box, CopiedPerson, Crop, Face, Location, NewFace, PhotoInfo, Quality
from facesearch.service.exports.writing import export_collection

MODEL = "dlib-resnet-v1-mirror"
DIMENSION = 128
LONG_AGO = datetime(1999, 12, 31, 23, 59, 59, 123_456, tzinfo=UTC)
JPEG, WEBP = b"\xff\xd8\xff jpeg", b"RIFF\x00\x00\x00\x00WEBP"

Change = Callable[[dict[str, bytes]], None]


def fill(database: ImageDatabase, name: str = "team") -> list[int]:
    """Make a collection with people and faces of all kinds; return the faces' ids."""
    collections, transfers = open_collection_store(database), open_transfer_store(database)
    number = collections.add(name, MODEL, DIMENSION).number
    kept = CopiedPerson(1, "Zoë 王 😀", kept=True, cover_face=None, created_at=LONG_AGO)
    (zoe, _) = transfers.add_people(number, [kept, CopiedPerson(2, "Nobody's", True, None, None)])
    random = np.random.default_rng(7)

    def face(n: int, **fields: Any) -> NewFace:
        vector = random.normal(size=DIMENSION).astype(np.float32)
        crop = Crop(*(("image/jpeg", JPEG + bytes([n])) if n % 2 else ("image/webp", WEBP)))
        box, quality = Box(-3, 60 + n, 70, 5), Quality(60, 0.1 + n, 12.5, 99.0, -1.5, 0.25, 1e-9)
        values: dict[str, Any] = {
            "person_name": f"Person {n % 3}",
            "version": f"{n:04}",
            "photo": PhotoInfo(f"p{n}.jpg", 640, 480, "1999-12-31T23:59:59", Location(51.5, -0.1)),
            "face": Face(box, vector, quality, crop if n % 3 else None),
            "photo_sha256": hashlib.sha256(bytes([n])).digest(),
            "photo_bytes": 1_000 + n,
            "added_at": LONG_AGO,
        }
        return NewFace(**(values | fields))

    faces = [face(n) for n in range(20)]
    faces += [
        face(20, person_name="", person_id=zoe, external_id="é-1", metadata={"a": "ü", "n": 2.5, "b": True}),
        face(21, person_name="", person_id=zoe, metadata={"n": 7}),
        face(22, person_name="", photo=PhotoInfo("", 0, 0), photo_sha256=None, photo_bytes=None),
    ]
    ids = collections.faces(number).add_faces(faces, MODEL)
    transfers.set_covers(number, {zoe: ids[21]})
    return ids


def exported(database: ImageDatabase, name: str = "team") -> bytes:
    """The collection as a file's bytes."""
    file = io.BytesIO()
    export_collection(open_collection_store(database), open_transfer_store(database), name, file)
    return file.getvalue()


def rewritten(data: bytes, change: Change, *, resealed: bool = True) -> bytes:
    """The file with some members changed, and a manifest that tells of them as they are now, if so wanted."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if resealed:
        manifest = json.loads(members["manifest.json"])
        manifest["members"] = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
            if name != "manifest.json"
        }
        members["manifest.json"] = json.dumps(manifest).encode()
    return zipped(members)


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def in_manifest(**fields: Any) -> Change:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | fields).encode()

    return change


def in_line(member: str, number: int, **fields: Any) -> Change:
    """Set fields of the object in one line."""

    def change(members: dict[str, bytes]) -> None:
        lines = members[member].splitlines()
        lines[number] = json.dumps(json.loads(lines[number]) | fields).encode()
        members[member] = b"\n".join(lines) + b"\n"

    return change


def line(member: str, number: int, text: bytes | None) -> Change:
    """Replace a line, or leave it out."""

    def change(members: dict[str, bytes]) -> None:
        lines = members[member].splitlines()
        lines[number : number + 1] = [] if text is None else [text]
        members[member] = b"".join(one + b"\n" for one in lines)

    return change


def vectors(make: Callable[[Any], Any]) -> Change:
    """Replace the array of vectors by what is made of it."""

    def change(members: dict[str, bytes]) -> None:
        file = io.BytesIO()
        np.save(file, make(np.load(io.BytesIO(members["vectors.npy"]))), allow_pickle=True)
        members["vectors.npy"] = file.getvalue()

    return change


def crops(*entries: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Change:
    """Replace the crops, and how many the manifest says there are."""

    def change(members: dict[str, bytes]) -> None:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, data in entries:
                info = tarfile.TarInfo(name)
                info.type, info.size, info.linkname = kind, len(data), "/etc/passwd"
                archive.addfile(info, io.BytesIO(data))
        members["crops/00000.tar"] = file.getvalue()
        in_manifest(crops=len(entries))(members)

    return change
