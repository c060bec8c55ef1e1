import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch.config import LimitSettings
from facesearch.databases import open_collection_store, open_transfer_store
from facesearch.errors import (
    BrokenArchive,
    Conflict,
    DatabaseUnavailable,
    FacesearchError,
    Invalid,
    ModelMismatch,
)
from facesearch.interfaces import ImageDatabase
from facesearch.records import Collection
from facesearch.service.exports import restoring
from facesearch.service.exports.reading import CollectionFile, is_exported_collection
from facesearch.service.exports.restoring import Restoring
from tests.contracts.new_faces import new_face
from tests.unit.service.exported_files import (
    DIMENSION,
    JPEG,
    MODEL,
    Change,
    crops,
    exported,
    fill,
    in_line,
    in_manifest,
    line,
    rewritten,
    vectors,
    zipped,
)
from tests.unit.service.parts import SwitchedDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SwitchedDatabase]:
    database = SwitchedDatabase(tmp_path / "test.db")
    yield database
    database.close()


def dimension_of(model_id: str) -> int:
    if model_id != MODEL:
        raise ModelMismatch
    return DIMENSION


def restored(database: ImageDatabase, data: bytes, name: str = "copy", **parts: Any) -> Collection:
    file = CollectionFile(io.BytesIO(data), LimitSettings())
    stores = open_collection_store(database), open_transfer_store(database)
    return Restoring(file, *stores, **({"dimension_of": dimension_of} | parts)).into(name)


def content(database: ImageDatabase, name: str) -> Any:
    """All of a collection but its ids, in order."""
    transfers = open_transfer_store(database)
    number = open_collection_store(database).get(name).number
    faces = list(transfers.faces(number))
    places = {one.stored.id: place for place, one in enumerate(faces)}
    people = list(transfers.people(number))
    numbers = {one.id: place for place, one in enumerate(people)}
    return (
        [replace(one, id=numbers[one.id], cover_face=places.get(one.cover_face or 0)) for one in people],
        [
            replace(
                one,
                stored=replace(
                    one.stored,
                    id=places[one.stored.id],
                    person_id=None if one.stored.person_id is None else numbers[one.stored.person_id],
                ),
            )
            for one in faces
        ],
        np.concatenate(list(transfers.vectors(number))).tolist(),
        [(places[face_id], crop) for face_id, crop in transfers.crops(number)],
    )


def headed(text: str) -> Change:
    """Replace what numpy's file of the vectors says of itself."""
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    return lambda members: members.update({"vectors.npy": head + members["vectors.npy"][128:]})


def repacked(data: bytes, change: Callable[[zipfile.ZipInfo], None]) -> bytes:
    """The file with its members packed anew, each as its changed description says."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(file, "w") as after:
        for name in before.namelist():
            info = zipfile.ZipInfo(name)
            change(info)
            after.writestr(info, before.read(name))
    return file.getvalue()


def test_a_copy_is_the_collection_under_new_ids(database: SwitchedDatabase) -> None:
    ids = fill(database)
    data = exported(database)
    told: list[tuple[str, int, int]] = []
    copy = restored(database, data, progress=lambda *one: told.append(one))
    assert (copy.name, copy.model_id, copy.faces, copy.people) == ("copy", MODEL, 23, 5)
    assert content(database, "copy") == content(database, "team")
    faces = open_transfer_store(database).faces(copy.number)
    assert not {one.stored.id for one in faces} & set(ids)
    assert told[-1] == ("faces.jsonl", 23, 23)
    assert content(database, "copy")[0][0].cover_face == 21


def test_it_is_found_by_its_metadata_and_photos(database: SwitchedDatabase) -> None:
    fill(database)
    copy = restored(database, exported(database))
    view = open_collection_store(database).faces(copy.number)
    value = database.select("FACESEARCH_METADATA", ["name"], {"collection_number": copy.number})
    assert sorted(row["name"] for row in value) == [b"a", b"b", b"n", b"n"]
    [digest] = [one.photo_sha256 for one in open_transfer_store(database).faces(copy.number)][3:4]
    assert digest is not None
    assert list(view.faces_of_photos([digest])) == [digest]


def test_an_empty_collection_is_taken_too(database: SwitchedDatabase) -> None:
    data = exported(database, "default")
    assert restored(database, data).model_id is None
    fill(database)
    assert restored(database, exported(database), "default").faces == 23
    with pytest.raises(Conflict, match="not empty"):
        restored(database, exported(database), "default")


def test_vectors_of_an_unknown_model_are_refused(database: SwitchedDatabase) -> None:
    fill(database)
    data = exported(database)
    with pytest.raises(ModelMismatch):
        restored(database, rewritten(data, in_manifest(model_id="other")))
    with pytest.raises(ModelMismatch, match="127"):
        restored(database, data, dimension_of=lambda _: 127)
    open_collection_store(database).add("taken", "other", 3)
    with pytest.raises(ModelMismatch, match="taken"):
        restored(database, data, "taken")


@pytest.mark.parametrize(
    "change",
    [
        in_manifest(version=2),
        in_manifest(format="something"),
        in_manifest(faces=22),
        in_manifest(faces=24),
        in_manifest(faces=-1),
        in_manifest(people=4),
        in_manifest(people=6),
        in_manifest(crops=14),
        in_manifest(dimension=None),
        in_manifest(dimension="128"),
        in_manifest(model_id=None),
        in_manifest(collection=7),
        in_line("people.jsonl", 0, id=0),
        in_line("people.jsonl", 1, id=2**63),
        in_line("people.jsonl", 1, id=True),
        in_line("people.jsonl", 1, name="Zoë 王 😀"),
        in_line("people.jsonl", 1, name=""),
        in_line("people.jsonl", 1, name=" \t"),
        in_line("people.jsonl", 1, name="x" * 256),
        in_line("people.jsonl", 1, name="\ud800"),
        in_line("people.jsonl", 1, kept=1),
        in_line("people.jsonl", 1, cover_face=1),
        in_line("people.jsonl", 1, cover_face=2**40),
        in_line("people.jsonl", 1, created_at="yesterday"),
        in_line("people.jsonl", 1, created_at="2020-01-01T00:00:00"),
        in_line("faces.jsonl", 3, id=1),
        in_line("faces.jsonl", 3, person=2**40),
        in_line("faces.jsonl", 3, version=None),
        in_line("faces.jsonl", 3, external_id=5),
        in_line("faces.jsonl", 3, external_id="x" * 256),
        in_line("faces.jsonl", 3, metadata=[]),
        in_line("faces.jsonl", 3, metadata={"a": None}),
        in_line("faces.jsonl", 3, metadata={"a": ["b"]}),
        in_line("faces.jsonl", 3, metadata={"a": 2**64}),
        in_line("faces.jsonl", 3, metadata={"a": "\ud800"}),
        in_line("faces.jsonl", 3, metadata={"a" * 256: 1}),
        in_line("faces.jsonl", 3, metadata={"a": "x" * 17_000}),
        in_line("faces.jsonl", 3, metadata={"a": float("nan")}),
        in_line("faces.jsonl", 3, photo={}),
        in_line("faces.jsonl", 3, box={"top": 1}),
        in_line("faces.jsonl", 3, box={"top": 2**31, "right": 1, "bottom": 1, "left": 1}),
        in_line("faces.jsonl", 3, quality={"size_px": 5}),
        in_line("faces.jsonl", 3, added_at=5),
        line("faces.jsonl", 3, b"{}"),
        line("faces.jsonl", 3, b"[]"),
        line("faces.jsonl", 3, b"\xff"),
        line("faces.jsonl", 3, b"[" * 100_000),
        line("faces.jsonl", 3, b"9" * 5_000),
        line("faces.jsonl", 3, b" " * 600_000),
        line("faces.jsonl", 3, None),
        line("people.jsonl", 3, None),
        vectors(lambda all_of_them: all_of_them[:-1]),
        vectors(lambda all_of_them: all_of_them.astype(np.float64)),
        vectors(lambda all_of_them: all_of_them.astype(">f4")),
        vectors(lambda all_of_them: np.asfortranarray(all_of_them)),
        vectors(lambda all_of_them: all_of_them * np.inf),
        vectors(lambda all_of_them: all_of_them.astype(object)),
        vectors(lambda all_of_them: all_of_them.reshape(-1)),
        lambda members: members.update({"vectors.npy": members["vectors.npy"] + b"x"}),
        lambda members: members.update({"vectors.npy": members["vectors.npy"][:-1]}),
        lambda members: members.update({"vectors.npy": b"\x93NUMPY\x01\x00"}),
        lambda members: members.update({"vectors.npy": b""}),
        headed("(" * 4_000),
        headed("{" * 200),
        headed("{'descr': '|O', 'fortran_order': False, 'shape': (23, 128)}"),
        lambda members: members.update({"extra": b""}),
        lambda members: members.update({"crops/00002.tar": b""}),
        lambda members: members.update({"crops/00000.tar": b"no tar"}),
        lambda members: members.pop("people.jsonl") and None,
        crops(("2.jpg", b"no jpeg")),
        crops(("../2.jpg", JPEG)),
        crops(("2.exe", JPEG)),
        crops(("2.jpg", JPEG), ("1.jpg", JPEG)),
        crops(("99999.jpg", JPEG)),
        crops(("2.jpg", b""), kind=b"2"),
        crops(("2.jpg", b""), kind=b"5"),
    ],
)
def test_a_file_that_is_wrong_is_refused_before_anything_is_written(
    database: SwitchedDatabase, change: Change
) -> None:
    fill(database)
    data = rewritten(exported(database), change)
    before = database.newest_change()
    database.additions = len(database.added)  # another one would raise another error
    with pytest.raises(Invalid) as caught:
        restored(database, data)
    assert caught.value.message.endswith(".")
    assert [one.name for one in open_collection_store(database).collections(10).items] == ["default", "team"]
    assert database.newest_change() == before


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_that_is_packed_otherwise_is_refused(database: SwitchedDatabase, packed: int) -> None:
    fill(database)
    with pytest.raises(Invalid, match="packed"):
        restored(database, repacked(exported(database), lambda info: setattr(info, "compress_type", packed)))


@pytest.mark.parametrize("member", ["manifest.json", "faces.jsonl"])
def test_a_member_with_two_names_is_refused(database: SwitchedDatabase, member: str) -> None:
    """Programs differ in which one counts."""

    def rename(info: zipfile.ZipInfo) -> None:
        if info.filename == member:
            path = b"\x01" + zlib.crc32(b"other").to_bytes(4, "little") + member.encode()
            info.filename, info.extra = "other", struct.pack("<2H", 0x7075, len(path)) + path

    fill(database)
    with pytest.raises(Invalid):
        restored(database, repacked(exported(database), rename))


@pytest.mark.parametrize("only_before_it", [False, True])
def test_a_member_whose_name_is_no_text_is_refused(database: SwitchedDatabase, only_before_it: bool) -> None:
    fill(database)
    data = bytearray(repacked(exported(database), lambda info: None))
    at = data.index(b"faces.jsonl")
    data[at - 24 : at - 22] = (0x800).to_bytes(2, "little")  # the flags in its own head
    data[at] = 0xFF
    if not only_before_it:
        at = data.index(b"faces.jsonl")
        data[at - 38 : at - 36] = (0x800).to_bytes(2, "little")  # and in the directory
        data[at] = 0xFF
    with pytest.raises(Invalid):
        restored(database, bytes(data))


def test_a_changed_byte_is_noticed(database: SwitchedDatabase) -> None:
    fill(database)
    data = exported(database)

    def change(members: dict[str, bytes]) -> None:
        members["vectors.npy"] = members["vectors.npy"][:-1] + bytes([members["vectors.npy"][-1] ^ 1])

    with pytest.raises(BrokenArchive, match="SHA-256"):
        restored(database, rewritten(data, change, resealed=False))
    at = data.index(b"\x93NUMPY") + 5_000
    with pytest.raises(BrokenArchive):
        restored(database, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(Invalid):
            restored(database, data[:cut])


def test_an_export_is_told_from_other_archives(database: SwitchedDatabase) -> None:
    fill(database)
    limits = LimitSettings(zip_bytes=10, zip_expanded_bytes=10, zip_entries=1)
    assert is_exported_collection(io.BytesIO(exported(database)), limits)
    for other in (b"", b"text", zipped({"photo.jpg": b""}), zipped({"manifest.json": b"{}"})):
        assert not is_exported_collection(io.BytesIO(other), limits)


def test_what_fails_halfway_leaves_nothing(
    database: SwitchedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    data = exported(database)
    monkeypatch.setattr(restoring, "_FACES_A_TRANSACTION", 10)
    database.additions = len(database.added) + 1
    for name in ("copy", "default"):
        database.added.clear()
        database.additions = 1
        with pytest.raises(DatabaseUnavailable):
            restored(database, data, name)
    [default, team] = open_collection_store(database).collections(10).items
    assert (default.faces, default.people, team.name) == (0, 0, "team")
    database.additions = None
    assert restored(database, data, "default").faces == 23


def test_others_faces_stay_where_an_import_fails(
    database: SwitchedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    data = exported(database)
    monkeypatch.setattr(restoring, "_FACES_A_TRANSACTION", 10)
    collections = open_collection_store(database)
    theirs: list[int] = []

    def interrupt(member: str, done: int, _: int) -> None:
        if (member, done) == ("faces.jsonl", 10):
            new = [new_face(np.ones(DIMENSION), person_name=name) for name in ("Eve", "Person 0")]
            theirs.extend(collections.faces(1).add_faces(new, MODEL))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restored(database, data, "default", progress=interrupt)
    assert list(collections.faces(1).get_faces(range(1_000))) == theirs
    assert [one.name for one in collections.people(1).people(10).items] == ["Person 0", "Eve"]


def test_errors_are_of_the_house(database: SwitchedDatabase) -> None:
    fill(database)
    database.away = DatabaseUnavailable()
    with pytest.raises(FacesearchError):
        exported(database)
