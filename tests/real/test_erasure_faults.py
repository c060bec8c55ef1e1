"""Erasures that are killed at each of their steps; what the next start leaves, byte by byte."""

import io
import multiprocessing
import os
import signal
import uuid
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from facesearch.bootstrap import build_api
from facesearch.config import CropSettings, Settings
from facesearch.databases import wiping
from facesearch.databases.collections import SQLCollectionStore
from facesearch.databases.jobs import SQLJobStore
from facesearch.databases.mysql import MySQLImageDatabase
from facesearch.databases.sqlite import SQLiteImageDatabase
from facesearch.encoders import KINDS
from facesearch.records import (
    Box,
    Crop,
    Face,
    FileReport,
    ImportOptions,
    NewFace,
    NewJob,
    Once,
    PhotoInfo,
    ReportedFace,
    SearchTerms,
    VectorProbe,
)
from facesearch.search import erasing
from facesearch.service import AGTAPI
from facesearch.service.galleries import Galleries
from facesearch.service.imports.jobs import ImportJobs
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.waiting_room import WaitingRoom
from tests.real import traces
from tests.waiting import until

LIMIT_S = 60.0
wait_for = partial(until, limit_s=LIMIT_S)
NAME = "Quixwyn Zábrowszky"
MODEL = KINDS["mirror"].model_id

Steps = Mapping[str, list[tuple[Any, str]]]

_WIPES = [(SQLiteImageDatabase, "wipe"), (MySQLImageDatabase, "wipe")]
OF_FACES: Steps = {
    "before its first step": [(ImportJobs, "erase_photos")],
    "with photos noted and not overwritten": [(PhotoArchive, "erase")],
    "in the transaction": [(SQLJobStore, "forget_faces")],
    "before the copy": [(Galleries, "level")],
    "in the copy": [(erasing, "_erase")],
    "before the file": _WIPES,
    "in the file": [(wiping, "overwrite_unused")],
}
OF_COLLECTIONS: Steps = {
    "before its jobs": [(ImportJobs, "forget")],
    "between its jobs and its rows": [(SQLCollectionStore, "purge")],
    "in its rows": [(SQLCollectionStore, "_purge_rows")],
    "before its copies": [(Galleries, "keep_only_these")],
    "before the file": _WIPES,
}


@dataclass
class Left:
    """What was stored of somebody, and where it waits."""

    collection: str
    face_id: int
    job_id: str
    traces: traces.Traces


def store(settings: Settings, collection: str) -> Left:
    """Store somebody among others, with all that a service keeps of a face, and search once."""
    random = np.random.default_rng(8)
    vectors = random.normal(size=(400, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    photo, crop = random.bytes(3_000), random.bytes(6_000)
    with closing(build_api(settings)) as api:
        database, jobs = api._database, api._imports._jobs
        database.prepare()
        number = 1 if collection == "default" else api.collections.add(collection).number
        faces = api._galleries.database(number)
        info = PhotoInfo(f"{NAME}_0001.jpg", 640, 480, "2019-07-20T14:30:05")
        others = [
            NewFace(f"P{n % 40}", "", PhotoInfo(f"{n}.jpg", 1, 1), Face(Box(0, 1, 1, 0), vector))
            for n, vector in enumerate(vectors)
        ]
        theirs = NewFace(
            NAME,
            "0001",
            info,
            Face(Box(0, 1, 1, 0), vectors[200], crop=Crop("image/jpeg", crop)),
            sha256(photo).digest(),
            "badge-zqx-5521",
            {"team": "zqx-engines"},
            len(photo),
        )
        ids = faces.add_faces([*others[:200], theirs, *others[201:]], MODEL)
        face_id = ids[200]
        room = WaitingRoom(settings.data_dir / "imports")
        options = ImportOptions(collection=collection)
        done, waits = (
            NewJob(uuid.uuid4().hex, place, f"zqx-{at}.zip", options, 1, number)
            for at, place in enumerate(["elsewhere", room.place()])
        )
        jobs.add(done)
        jobs.claim("elsewhere", "owner", 60, 1)
        box = ReportedFace(Box(0, 1, 1, 0), face_id)
        report = FileReport(f"{NAME}.jpg", "inserted", face_id, NAME, faces=(box,))
        jobs.report(done.id, "owner", {0: report}, 1, 1.0)
        jobs.finish(done.id, "owner", "done")
        jobs.add_answer(Once("key", "print"), f'"{NAME}"', [f"face:{face_id}", f"collection:{number}"])
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("Thumbs.db", b"skipped without being read")
            zipped.writestr(f"{NAME}/1.jpg", photo)
        room.take(archive, uuid.uuid4().hex)  # its upload was refused
        room.take(archive, waits.id)
        jobs.add(waits)
        probe = VectorProbe(vectors[200], MODEL)
        [found] = api.collections.gallery(collection).search(probe, SearchTerms()).faces
        assert [match.face_id for match in found.matches] == [face_id]
    return Left(
        collection,
        face_id,
        waits.id,
        {
            "vector": traces.of_vector(vectors[200]),
            "crop": traces.of_bytes(crop),
            "photo": traces.of_bytes(photo),
            "digest": [sha256(photo).digest()],
            "name": traces.of_text(NAME),
            "external id": [b"zqx-5521"],
            "metadata": [b"zqx-engines"],
            "archive's name": [b"zqx-0.zip"],
        },
    )


def erase(api: AGTAPI, left: Left) -> None:
    if left.collection == "default":
        api.collections.gallery("default").delete_faces([left.face_id])
    else:
        api.collections.delete(left.collection)


def erase_and_die(settings: Settings, left: Left, step: list[tuple[Any, str]]) -> None:
    """In a process of its own: as kill -9 at the first call of a step."""

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    for owner, name in step:
        setattr(owner, name, die)
    erase(build_api(settings), left)


def found(settings: Settings, left: Left) -> dict[str, list[str]]:
    """Where traces are in the data folder, or in the server's tables."""
    places = traces.in_files(settings.data_dir, left.traces)
    if settings.database.engine == "mysql":
        for name, tables in traces.in_tables(settings.database, left.traces).items():
            places.setdefault(name, []).extend(tables)
    return places


ON_SQLITE = [("default", step) for step in OF_FACES] + [("secret", step) for step in OF_COLLECTIONS]
# What a server has of its own: what it holds when a transaction, or a purge of many, is broken off.
ON_MYSQL = [
    ("default", "in the transaction"),
    ("default", "before the copy"),
    ("secret", "between its jobs and its rows"),
    ("secret", "in its rows"),
]


@pytest.mark.parametrize(
    ("database_settings", "collection", "step"),
    [("sqlite", *case) for case in ON_SQLITE]
    + [pytest.param("mysql", *case, marks=pytest.mark.mysql) for case in ON_MYSQL],
    indirect=["database_settings"],
)
def test_an_erasure_that_was_killed_leaves_nothing_after_the_next_start(
    database_settings: Settings, collection: str, step: str
) -> None:
    settings = database_settings.model_copy(update={"crops": CropSettings(keep_crops=True)})
    left = store(settings, collection)
    assert set(found(settings, left)) == set(left.traces)
    steps = OF_FACES if collection == "default" else OF_COLLECTIONS
    context = multiprocessing.get_context("spawn")
    dying = context.Process(target=_die_at, args=(settings, left, collection, step))
    dying.start()
    dying.join(LIMIT_S)
    assert dying.exitcode == -signal.SIGKILL
    assert step in steps
    with closing(build_api(settings)) as api:
        there = bool(api._galleries.database(1).get_faces([left.face_id])) and collection == "default"
        assert there == (step in list(OF_FACES)[:3])
        if there:  # nobody was told that it was gone
            erase(api, left)
        api.imports.open()  # as API.open, which loads the models too
        notes = settings.data_dir / "imports" / "erasures"
        wait_for(lambda: not list(notes.iterdir()))
        if collection == "default":
            assert api.imports.wait(left.job_id, LIMIT_S).is_over
        wait_for(lambda: not list((settings.data_dir / "imports").glob("*.zip")))
        assert found(settings, left) == {}


def _die_at(settings: Settings, left: Left, collection: str, step: str) -> None:
    erase_and_die(settings, left, (OF_FACES if collection == "default" else OF_COLLECTIONS)[step])
