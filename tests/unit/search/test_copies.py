import threading
from contextlib import closing
from pathlib import Path

import pytest

from facesearch.errors import Unavailable
from facesearch.search import ExactIndex
from facesearch.search.copies import delete_others
from facesearch.search.locking import exclusive_lock
from facesearch.workers import InlinePool
from tests.contracts.face_history import FaceHistory
from tests.contracts.face_index import draw


def make(directory: Path, model_id: str = "a/model", collection: int = 1) -> ExactIndex:
    return ExactIndex(directory, model_id, 16, InlinePool(), 1 << 60, collection=collection)


def fill(directory: Path, model_id: str, collection: int) -> Path:
    history = FaceHistory()
    history.add(draw(5, 1), model_id=model_id)
    with closing(make(directory, model_id, collection)) as index:
        index.catch_up(history)
        assert index.count() == 5
        return index.matrix.path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_only_the_copies_that_are_named_stay(tmp_path: Path) -> None:
    kept = [fill(tmp_path, "a/model", 1), fill(tmp_path, "b/model", 12)]
    gone = [fill(tmp_path, "a/model", 2), fill(tmp_path, "b/model", 1), fill(tmp_path, "b/model", 2)]
    for path in (*gone, kept[0]):
        path.with_suffix(".graph").write_bytes(b"graph")
        path.with_name(f"{path.name}.0123abcd.new").write_bytes(b"half a copy")
    others = {"notes.txt", "some.matrix", "jobs-0123456789ab.db"}
    for name in others:
        (tmp_path / name).touch()
    with closing(make(tmp_path)) as index:
        index.keep_only({1: "a/model", 12: "b/model", 3: None})
    stems = tuple(path.stem + "." for path in kept)
    assert {name for name in names(tmp_path) if not name.startswith(stems)} == others
    assert all(path.exists() for path in kept)
    assert kept[0].with_suffix(".graph").exists()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    delete_others(tmp_path / "nowhere", [], 0.1)


def test_the_default_collection_has_the_name_that_it_had_before_there_were_others(tmp_path: Path) -> None:
    assert make(tmp_path, "test-model").matrix.path.name == "test-model-61f401bc2506.matrix"
    assert make(tmp_path, "test-model", 3).matrix.path.name == "test-model-61f401bc2506.3.matrix"


def test_a_search_that_reads_a_copy_goes_on_without_it(tmp_path: Path) -> None:
    history = FaceHistory()
    history.add(draw(5, 1), model_id="a/model")
    with closing(make(tmp_path)) as index:
        index.catch_up(history)
        index.keep_only({})
        assert len(index.search(draw(1, 2), 5, 9.0)[0]) == 5
        assert not names(tmp_path)


def test_a_copy_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = fill(tmp_path, "a/model", 2)
    lock, release, held = path.with_name(f"{path.name}.lock"), threading.Event(), threading.Event()

    def hold() -> None:
        with exclusive_lock(lock, 1.0):
            held.set()
            release.wait(20)

    writer = threading.Thread(target=hold)
    writer.start()
    try:
        assert held.wait(20)
        with pytest.raises(Unavailable):
            delete_others(tmp_path, [], 0.05)
        assert path.exists()
    finally:
        release.set()
        writer.join(20)
    delete_others(tmp_path, [], 1.0)
    assert not names(tmp_path)
