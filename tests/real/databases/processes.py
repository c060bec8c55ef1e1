"""What the processes of these tests do: module-level functions, so that a new process finds them."""

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

from facesearch.config import Settings
from facesearch.databases import SQLImageDatabase, migrate, open_image_database, open_job_store
from facesearch.errors import LeaseLost, ModelMismatch
from facesearch.records import DONE, FileReport
from tests.contracts.image_database import MODEL, new_face

LIMIT_S = 180
# Children are forked from a process that has loaded the libraries and nothing else: a spawned one takes
# a second to do that.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload([__name__, "sqlalchemy", "facesearch.databases.sqlite"])

R = TypeVar("R")


def opened(settings: Settings) -> SQLImageDatabase:
    """The database of the settings, not prepared; its waits are long enough for a busy machine."""
    patient = settings.database.model_copy(update={"wait_s": 30.0})
    database = open_image_database(settings.model_copy(update={"database": patient}))
    assert isinstance(database, SQLImageDatabase)
    return database


@contextmanager
def child(work: Callable[..., None], *arguments: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that runs `work(connection, *arguments)`, and the other end of its connection."""
    ours, theirs = FRESH.Pipe()
    process = FRESH.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join(LIMIT_S)
        ours.close()


def heard(connection: Connection) -> Any:
    """The next thing that a child says."""
    assert connection.poll(LIMIT_S), "the other process says nothing"
    return connection.recv()


def in_time(work: Callable[[], R]) -> R:
    """Run `work` in another thread; fail where it does not come back."""
    result: list[R] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive(), f"still waiting after {LIMIT_S} s"
    if failure:
        raise failure[0]
    return result[0]


def prepare(connection: Connection, settings: Settings) -> None:
    """Say ready, wait for the word, prepare, and tell the database's id."""
    database = opened(settings)
    connection.send("ready")
    connection.recv()
    database.prepare()
    connection.send(database.database_id())
    database.close()


def at_version(settings: Settings, version: str) -> SQLImageDatabase:
    """The database of the settings with the tables of an older version of the program, and its verbs."""
    database = opened(settings)
    with database._migrating() as sql:
        migrate.upgrade(sql, version)
    database._tables.clear()
    return database


def add(connection: Connection, settings: Settings, calls: int, name: str) -> None:
    """Add one to three faces a call, and tell their ids after each."""
    database = opened(settings)
    connection.send("ready")
    connection.recv()
    for n in range(calls):
        faces = [new_face(person_name=f"{name} {n}")] * (n % 3 + 1)
        connection.send(database.add_faces(faces, MODEL))
    connection.send("done")
    database.close()


def add_and_remove(connection: Connection, settings: Settings, calls: int, name: str) -> None:
    """Add three faces a call and remove two that this process added before; tell both after each call."""
    database = opened(settings)
    connection.send("ready")
    connection.recv()
    own: list[int] = []
    for n in range(calls):
        added = database.add_faces([new_face(person_name=f"{name} {n % 5}")] * 3, MODEL)
        own += added
        connection.send(("added", added))
        gone, own = own[:2], own[2:]
        connection.send(("removed", database.delete_faces(gone)))
    connection.send(("done", []))
    database.close()


def wipe_often(connection: Connection, settings: Settings) -> None:
    """Wipe the database's files again and again, and tell that each time."""
    database = opened(settings)
    for _ in range(10_000):
        database.wipe()
        connection.send("wiped")


def add_missing(connection: Connection, settings: Settings, digests: list[bytes]) -> None:
    """Add a face for each photo of which there is none, alone each time, and tell how many were missing."""
    database = opened(settings)
    connection.send("ready")
    connection.recv()
    added = 0
    for digest in digests:
        with database.alone():
            before = database.newest_change()
            if not database.faces_of_photos([digest]):
                database.add_faces([new_face(photo_sha256=digest)], MODEL)
                added, before = added + 1, before + 1
            assert database.newest_change() == before
    connection.send(added)
    database.close()


def replace_alone(connection: Connection, settings: Settings, calls: int) -> None:
    """Replace the faces that this process has, alone each time, and tell how many changes that took."""
    database = opened(settings)
    connection.send("ready")
    connection.recv()
    own: list[int] = []
    changes = 0
    for n in range(calls):
        with database.alone():
            assert database.delete_faces(own) == own
            changes += len(own)
            own = database.add_faces([new_face(person_name=f"Person {n % 3}")] * 5, MODEL)
            changes += len(own)
    connection.send(changes)
    database.close()


def stay_alone(connection: Connection, settings: Settings) -> None:
    """Add faces alone, tell so, and stay in the transaction."""
    database = opened(settings)
    with database.alone():
        database.add_faces([new_face()] * 7, MODEL)
        connection.send(database.newest_change())
        time.sleep(LIMIT_S)
        os._exit(1)


def work_on_jobs(connection: Connection, settings: Settings, place: str, lease_s: float) -> None:
    """Work on the jobs of a place, a face and a report a file, until there is none; tell each commit.

    `lease_s` is renewed by nothing but the work itself.
    """
    database = opened(settings)
    jobs = open_job_store(database)
    owner = f"process {os.getpid()}"
    connection.send("ready")
    connection.recv()
    while any(not job.is_over for job in jobs.jobs(100).items):
        if (job := jobs.claim(place, owner, lease_s, 1)) is None:
            time.sleep(0.01)
            continue
        with suppress(LeaseLost):
            for position in sorted(set(range(job.total)) - jobs.reported(job.id)):
                with database.alone():
                    [face_id] = database.add_faces([new_face(version=f"{position}")], MODEL)
                    report = FileReport(f"{position}.jpg", "inserted", face_id)
                    jobs.report(job.id, owner, {position: report}, job.total, 0.0)
                jobs.keep(job.id, owner, lease_s)
                connection.send(position)
            jobs.finish(job.id, owner, DONE)
    connection.send("done")
    database.close()


def add_first(connection: Connection, settings: Settings, model_id: str) -> None:
    """Say ready, wait for the word, add two faces of a model, and tell whether the gallery took them."""
    database = opened(settings)
    database.prepare()
    connection.send("ready")
    connection.recv()
    try:
        database.add_faces([new_face()] * 2, model_id)
        connection.send(True)
    except ModelMismatch:
        connection.send(False)
    database.close()


def add_and_stay(connection: Connection, settings: Settings) -> None:
    """Add faces in a transaction, tell so, and stay in it."""
    database = opened(settings)
    with database.transaction():
        database.add_faces([new_face()] * 700, MODEL)
        connection.send(database.newest_change())
        time.sleep(LIMIT_S)
        os._exit(1)


def driver_beside_encoder(connection: Connection, settings: Settings) -> None:
    """Open the database, load dlib and ONNX Runtime, connect, and tell which driver is at work."""
    database = open_image_database(settings)
    assert isinstance(database, SQLImageDatabase)
    for name in ("dlib", "onnxruntime"):
        importlib.import_module(name)
    database.prepare()
    with database._reading() as sql:
        connection.send(type(sql.connection.driver_connection).__name__)
    database.close()
