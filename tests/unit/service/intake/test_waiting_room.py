import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from facesearch.errors import NotFound, StorageFull, Unavailable
from facesearch.service.intake.waiting_room import WaitingRoom

DATA = b"an archive" * 1000


@pytest.fixture
def room(tmp_path: Path) -> WaitingRoom:
    return WaitingRoom(tmp_path / "imports")


def files(room: WaitingRoom) -> list[str]:
    return sorted(path.name for path in room._folder.iterdir())


def test_a_new_file_leaves_nothing_behind(room: WaitingRoom) -> None:
    with room.new_file() as file:
        file.write(DATA)
        file.flush()
        assert files(room) == []
    assert files(room) == []


def test_a_file_that_was_taken_over_outlives_its_closing(room: WaitingRoom) -> None:
    with room.new_file() as file:
        file.write(DATA)
        room.take(file, "job")
    with room.open("job") as taken:
        assert taken.read() == DATA
    assert files(room) == ["job.zip"]
    assert (room._folder / "job.zip").stat().st_mode & 0o777 == 0o600
    assert room._folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("make", [io.BytesIO, tempfile.TemporaryFile])
def test_any_other_file_is_copied(room: WaitingRoom, make: Callable[[], Any]) -> None:
    with make() as file:
        file.write(DATA)
        room.take(file, "job")
    with room.open("job") as taken:
        assert taken.read() == DATA


def test_a_job_that_is_forgotten_has_no_archive(room: WaitingRoom) -> None:
    room.take(io.BytesIO(DATA), "job")
    room.forget("job")
    room.forget("job")
    with pytest.raises(NotFound):
        room.open("job")


def test_a_place_is_drawn_once_however_many_ask(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        places = list(threads.map(lambda _: WaitingRoom(tmp_path / "one").place(), range(40)))
    assert len(set(places)) == 1
    assert WaitingRoom(tmp_path / "two").place() != places[0]


def test_old_archives_are_told(room: WaitingRoom) -> None:
    assert room.older_than(10) == []
    room.take(io.BytesIO(DATA), "new")
    room.take(io.BytesIO(DATA), "old")
    os.utime(room._folder / "old.zip", (1, 1))
    assert room.older_than(3600) == ["old"]


def test_the_age_of_an_archive_begins_when_it_is_taken(room: WaitingRoom) -> None:
    with room.new_file() as file:
        file.write(DATA)
        file.flush()
        os.utime(file.fileno(), (1, 1))
        room.take(file, "job")
    assert room.older_than(3600) == []


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EACCES, Unavailable)])
def test_a_disk_that_takes_nothing_is_told_without_a_path(
    room: WaitingRoom, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/a/secret/path")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(error) as told:
        room.take(io.BytesIO(DATA), "job")
    assert "secret" not in str(told.value)
    assert type(told.value) is error
    assert files(room) == []
    monkeypatch.undo()
    room.take(io.BytesIO(DATA), "job")
    monkeypatch.setattr(os, "fsync", fail)
    with room.new_file() as file, pytest.raises(error):
        room.take(file, "other")


def test_what_is_erased_from_an_archive_is_noted_beside_it_and_forgotten_with_it(room: WaitingRoom) -> None:
    room.take(io.BytesIO(DATA), "job")
    assert room.erased("job") == frozenset()
    room.note_erased("job", [3, 12])
    room.note_erased("job", [7])
    assert room.erased("job") == {3, 7, 12}
    assert files(room) == ["job.erased", "job.zip"]
    assert room.older_than(-60) == ["job"]
    room.forget("job")
    assert files(room) == []


def test_notes_that_outlived_their_archive_are_told_of(room: WaitingRoom) -> None:
    room.take(io.BytesIO(DATA), "kept")
    room.note_erased("gone", [1])
    assert room.older_than(-60) == ["gone", "kept"]


def test_a_note_that_a_power_failure_cut_off_does_not_count(room: WaitingRoom) -> None:
    room.take(io.BytesIO(DATA), "job")
    room.note_erased("job", [3])
    with (room._folder / "job.erased").open("a") as notes:
        notes.write("12")
    assert room.erased("job") == {3}


def test_an_archive_is_opened_to_be_changed_where_it_is_there(room: WaitingRoom) -> None:
    room.take(io.BytesIO(DATA), "job")
    assert room.open_to_erase("another") is None
    file = room.open_to_erase("job")
    assert file is not None
    with file:
        file.write(b"AN")
    with room.open("job") as changed:
        assert changed.read() == b"AN" + DATA[2:]
