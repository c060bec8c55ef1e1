"""What the processes of these tests do: module-level functions, so that a new process finds them."""

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

from facesearch.config import Settings
from facesearch.databases import SQLImageDatabase, migrate, open_image_database
from facesearch.errors import ModelMismatch
from tests.contracts.image_database import MODEL, new_face

LIMIT_S = 60
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
