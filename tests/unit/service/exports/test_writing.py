import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesearch.databases import SQLiteImageDatabase, open_collection_store, open_transfer_store
from facesearch.errors import CollectionNotFound, Invalid
from facesearch.interfaces import TransferStore
from facesearch.service.exports import writing
from facesearch.service.exports.writing import export_collection, new_file
from tests.unit.service.exported_files import DIMENSION, JPEG, MODEL, exported, fill


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SQLiteImageDatabase]:
    database = SQLiteImageDatabase(tmp_path / "test.db")
    yield database
    database.close()


@pytest.fixture
def transfers(database: SQLiteImageDatabase) -> TransferStore:
    return open_transfer_store(database)


def test_an_export_is_read_by_common_programs(database: SQLiteImageDatabase) -> None:
    ids = fill(database)
    archive = zipfile.ZipFile(io.BytesIO(exported(database)))
    assert archive.testzip() is None
    names = archive.namelist()
    assert names == ["people.jsonl", "faces.jsonl", "vectors.npy", "crops/00000.tar", "manifest.json"]
    faces = [json.loads(one) for one in archive.read("faces.jsonl").splitlines()]
    assert [one["id"] for one in faces] == ids
    assert faces[20]["metadata"] == {"a": "ü", "n": 2.5, "b": True}
    vectors = np.load(io.BytesIO(archive.read("vectors.npy")), allow_pickle=False)
    assert (vectors.shape, vectors.dtype.str) == ((23, DIMENSION), "<f4")
    with tarfile.open(fileobj=io.BytesIO(archive.read("crops/00000.tar"))) as crops:
        first = crops.next()
        assert first is not None
        assert first.name == f"{ids[1]}.jpg"
        assert crops.extractfile(first).read() == JPEG + b"\x01"  # type: ignore[union-attr]
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest | {"exported_at": "", "members": {}} == {
        "format": "facesearch-collection",
        "version": 1,
        "collection": "team",
        "model_id": MODEL,
        "dimension": DIMENSION,
        "people": 5,
        "faces": 23,
        "crops": 15,
        "exported_at": "",
        "members": {},
    }


def test_crops_are_cut_into_archives(database: SQLiteImageDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database)
    monkeypatch.setattr(writing, "CROPS_A_MEMBER", 10)
    archive = zipfile.ZipFile(io.BytesIO(exported(database)))
    counts = []
    for name in ("crops/00000.tar", "crops/00001.tar"):
        with tarfile.open(fileobj=io.BytesIO(archive.read(name))) as crops:
            counts.append(len(crops.getnames()))
    assert counts == [10, 5]
    assert "crops/00002.tar" not in archive.namelist()


def test_an_empty_collection_is_exported(database: SQLiteImageDatabase) -> None:
    archive = zipfile.ZipFile(io.BytesIO(exported(database, "default")))
    assert np.load(io.BytesIO(archive.read("vectors.npy"))).shape == (0, 0)
    assert "crops/00000.tar" not in archive.namelist()


def test_what_is_there_is_not_replaced_unless_wanted(tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    path.write_bytes(b"old")
    with pytest.raises(Invalid, match=r"out\.zip is there already"), new_file(path):
        pass
    with new_file(path, replace=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, database: SQLiteImageDatabase) -> None:
    path = tmp_path / "folder" / "out.zip"
    path.parent.mkdir()
    stores = open_collection_store(database), open_transfer_store(database)
    with pytest.raises(CollectionNotFound), new_file(path) as file:
        export_collection(*stores, "nothing", file)
    assert list(path.parent.iterdir()) == []


def test_progress_is_told(database: SQLiteImageDatabase, transfers: TransferStore) -> None:
    fill(database)
    told: list[tuple[str, int, int]] = []
    export_collection(
        open_collection_store(database), transfers, "team", io.BytesIO(), lambda *one: told.append(one)
    )
    assert ("people.jsonl", 5, 5) in told
    assert ("faces.jsonl", 23, 23) in told
    assert ("vectors.npy", 23, 23) in told
    assert ("crops", 15, 23) in told
