import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from facesearch.errors import Unavailable
from facesearch.service.erasure_notes import ErasureNotes


@pytest.fixture
def notes(tmp_path: Path) -> ErasureNotes:
    return ErasureNotes(tmp_path / "erasures")


def test_an_erasure_that_came_to_its_end_leaves_no_note(notes: ErasureNotes, tmp_path: Path) -> None:
    with notes.begun():
        assert len(list((tmp_path / "erasures").iterdir())) == 1
    assert list((tmp_path / "erasures").iterdir()) == []


def test_an_erasure_that_is_being_worked_on_is_not_broken_off(notes: ErasureNotes) -> None:
    with notes.begun(), notes.broken_off() as is_broken_off:
        assert not is_broken_off
    with notes.begun(), notes.begun(), notes.broken_off() as is_broken_off:
        assert not is_broken_off


def test_an_erasure_that_failed_is_broken_off_until_somebody_finishes_it(notes: ErasureNotes) -> None:
    with pytest.raises(ZeroDivisionError), notes.begun():
        raise ZeroDivisionError
    with pytest.raises(Unavailable), notes.broken_off():
        raise Unavailable
    with notes.broken_off() as is_broken_off, notes.broken_off() as is_somebody_elses:
        assert is_broken_off
        assert not is_somebody_elses
    with notes.broken_off() as is_broken_off:
        assert not is_broken_off


def begin_and_die(folder: Path) -> None:
    with ErasureNotes(folder).begun():
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_erasure_whose_process_was_killed_is_broken_off(notes: ErasureNotes, tmp_path: Path) -> None:
    dying = multiprocessing.get_context("spawn").Process(target=begin_and_die, args=(tmp_path / "erasures",))
    dying.start()
    dying.join(60)
    with notes.broken_off() as is_broken_off:
        assert is_broken_off


def test_where_nothing_was_ever_erased_nothing_is_made(notes: ErasureNotes, tmp_path: Path) -> None:
    with notes.broken_off() as is_broken_off:
        assert not is_broken_off
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_told_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "erasures").write_text("a file")
    notes = ErasureNotes(tmp_path / "erasures")
    for context in (notes.begun(), notes.broken_off()):
        with pytest.raises(Unavailable) as caught, context:
            pass
        assert str(tmp_path) not in caught.value.message
