import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from facesearch.config import LimitSettings
from facesearch.databases import open_job_store
from facesearch.errors import DatabaseUnavailable, Unavailable
from facesearch.interfaces import JobStore
from facesearch.records import DONE, ImportOptions, NewJob
from facesearch.service.intake import waiting_room
from facesearch.service.intake.waiting_photos import WaitingPhotos
from facesearch.service.intake.waiting_room import WaitingRoom
from tests.unit.service.conftest import NewDatabase
from tests.unit.service.parts import SwitchedDatabase

LIMIT_S = 30.0
PHOTO = b"a photo of Ada" * 20


@pytest.fixture
def room(tmp_path: Path) -> WaitingRoom:
    return WaitingRoom(tmp_path / "imports")


@pytest.fixture
def database(new_database: NewDatabase) -> SwitchedDatabase:
    return new_database()


@pytest.fixture
def jobs(database: SwitchedDatabase) -> JobStore:
    return open_job_store(database)


@pytest.fixture
def photos(jobs: JobStore, room: WaitingRoom) -> WaitingPhotos:
    return WaitingPhotos(jobs, room, LimitSettings())


def take(room: WaitingRoom, job_id: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("Ada_0001.jpg", PHOTO)
        zipped.writestr("Bob_0001.jpg", b"another")
    room.take(archive, job_id)


def add(jobs: JobStore, job_id: str, place: str = "here") -> None:
    jobs.add(NewJob(job_id, place, "a.zip", ImportOptions(), 2))


def test_archives_that_nobody_will_import_are_deleted_and_others_stay(
    photos: WaitingPhotos, jobs: JobStore, room: WaitingRoom
) -> None:
    for job_id in ("refused", "done", "waits"):
        take(room, job_id)
    room.note_erased("refused", [1])
    add(jobs, "done")
    assert jobs.claim("here", "owner", 60, 1) is not None
    jobs.finish("done", "owner", DONE)
    add(jobs, "waits")
    photos.erase(7, {sha256(PHOTO).digest(): len(PHOTO)})
    assert room.jobs() == ["waits"]
    with room.open("waits") as kept:
        assert PHOTO in kept.read()


def test_an_archive_of_which_the_database_says_nothing_ends_the_erasure(
    photos: WaitingPhotos, database: SwitchedDatabase, room: WaitingRoom
) -> None:
    take(room, "refused")
    database.away = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        photos.erase(1, {})
    assert room.jobs() == ["refused"]


def test_an_archive_that_cannot_be_deleted_ends_the_erasure(
    photos: WaitingPhotos, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(room, "refused")

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/a/secret/path")

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(Unavailable, match="Permission denied"):
        photos.delete_needless()


def test_whoever_is_adding_a_job_is_waited_for(
    photos: WaitingPhotos, jobs: JobStore, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, lock = threading.Event(), waiting_room._lock

    def watched(descriptor: int, how: int) -> bool:
        locked = lock(descriptor, how)
        if not locked:
            waits.set()
        return locked

    monkeypatch.setattr(waiting_room, "_lock", watched)
    with ThreadPoolExecutor(1) as thread, room.adding():
        take(room, "new")
        erasure = thread.submit(photos.erase, 1, {sha256(PHOTO).digest(): None})
        assert waits.wait(LIMIT_S)
        add(jobs, "new")
    erasure.result()
    assert room.erased("new") == {0}
    with room.open("new") as archive:
        assert PHOTO not in archive.read()


def test_whoever_adds_a_job_for_too_long_ends_the_erasure(
    photos: WaitingPhotos, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_room, "_LOCK_LIMIT_S", 0.0)
    with room.adding(), pytest.raises(Unavailable, match="in use"):
        photos.erase(1, {})


def test_several_may_add_at_the_same_time(room: WaitingRoom) -> None:
    with room.adding(), room.adding():
        pass
    with room.nobody_adds():
        pass
