import logging
import os
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch.records import FaceFilter
from facesearch.search import HNSWIndex, tending
from facesearch.search.graph import GraphBuilder, GraphFile
from facesearch.search.locking import exclusive_lock
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import DIMENSION, draw

pytestmark = pytest.mark.hnsw
WAIT_S = 60


@pytest.fixture(autouse=True)
def _needs_usearch() -> None:
    pytest.importorskip("usearch")


@pytest.fixture
def history() -> FaceHistory:
    history = FaceHistory()
    history.add(draw(1500, 1))
    return history


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many faces were added to graphs, one number for each time."""
    sizes: list[int] = []
    add = GraphBuilder.add

    def counting(self: GraphBuilder, numbers: Any, vectors: Any) -> None:
        sizes.append(len(numbers))
        add(self, numbers, vectors)

    monkeypatch.setattr(GraphBuilder, "add", counting)
    monkeypatch.setattr(tending, "_SHORT_ROWS", 100)
    return sizes


def make(directory: Path, **settings: Any) -> HNSWIndex:
    settings = {"on_the_side": False, "graph_from": 1000, "expansion": 128, "block_rows": 512, **settings}
    return HNSWIndex(directory, MODEL, DIMENSION, InlinePool(), 1 << 60, **settings)


def graph_of(directory: Path) -> Path:
    (path,) = directory.glob("*.graph")
    return path


def covered(index: HNSWIndex) -> int:
    view = index._tender.view
    return len(view.numbers) if view else 0


def confirm(index: HNSWIndex, history: FaceHistory) -> None:
    probes = draw(5, 99)
    assert index.search(probes, 5, 2.0) == history.nearest(probes, 5, 2.0)


def test_few_faces_have_no_graph(tmp_path: Path, history: FaceHistory, added: list[int]) -> None:
    index = make(tmp_path, graph_from=1501)
    index.catch_up(history)
    assert added == []
    history.add(draw(1, 2))
    index.catch_up(history)
    assert covered(index) == sum(added) == 1501
    history.remove([1])
    index.catch_up(history)
    assert covered(index) == 0
    confirm(index, history)


def test_a_restart_and_another_process_take_the_graph_that_is_there(
    tmp_path: Path, history: FaceHistory, added: list[int]
) -> None:
    make(tmp_path).catch_up(history)
    again = make(tmp_path)
    again.catch_up(history)
    assert covered(again) == sum(added) == 1500
    confirm(again, history)


def test_a_short_tail_is_scanned_and_a_long_one_added(
    tmp_path: Path, history: FaceHistory, added: list[int]
) -> None:
    first, second = make(tmp_path), make(tmp_path)
    for index in (first, second):
        index.catch_up(history)
    history.add(draw(100, 2))
    first.catch_up(history)
    assert covered(first) == 1500
    confirm(first, history)
    history.add(draw(1, 3))
    first.catch_up(history)
    assert covered(first) == sum(added) == 1601
    second.catch_up(history)
    assert covered(second) == sum(added) == 1601
    for index in (first, second):
        confirm(index, history)


def test_a_copy_that_was_deleted_or_tidied_keeps_the_graph(
    tmp_path: Path, history: FaceHistory, added: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    monkeypatch.setattr("facesearch.search.matrix._SPARE_ROWS", 0)
    (matrix,) = tmp_path.glob("*.matrix")
    inode = matrix.stat().st_ino
    history.remove(range(1, 361))
    index.catch_up(history)
    assert matrix.stat().st_ino != inode, "the copy was not tidied"
    confirm(index, history)
    assert covered(index) == 1500 - 360
    first_left = draw(1500, 1)[360:361]  # beside it in the matrix lay what is gone
    assert index.search(first_left, 20, 2.0) == history.nearest(first_left, 20, 2.0)
    matrix.unlink()
    index.catch_up(history)
    confirm(index, history)
    assert (covered(index), sum(added)) == (1500 - 360, 1500)


def test_a_graph_that_lies_over_another_file_is_not_asked(
    tmp_path: Path, history: FaceHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    monkeypatch.setattr("facesearch.search.matrix._SPARE_ROWS", 0)
    monkeypatch.setattr(tending.GraphTender, "look", lambda *_: None)
    history.remove(range(1, 761))
    index.catch_up(history)
    confirm(index, history)


def test_a_graph_with_many_faces_that_have_gone_is_built_anew(
    tmp_path: Path, history: FaceHistory, added: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    history.remove(range(1, 401))
    with caplog.at_level(logging.INFO):
        index.catch_up(history)
    assert "many of its faces have gone" in caplog.text
    assert sum(added) == 1500 + 1100
    assert GraphFile(graph_of(tmp_path), MODEL, DIMENSION).about.nodes == 1100
    confirm(index, history)


@pytest.mark.parametrize("what", ["damaged", "emptied", "of zeros", "another model's", "notes"])
def test_a_graph_that_cannot_be_used_is_built_anew_with_a_line_in_the_log(
    tmp_path: Path, history: FaceHistory, added: list[int], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    make(tmp_path).catch_up(history)
    path = graph_of(tmp_path)
    data = bytearray(path.read_bytes())
    if what == "damaged":
        data[len(data) // 2] ^= 1
    elif what == "emptied":
        data.clear()
    elif what == "of zeros":
        data = bytearray(len(data))
    elif what == "notes":
        data = bytearray(b"notes\n" * 1000)
    else:
        with closing(make(tmp_path / "other").of(1, "other", DIMENSION)) as other:
            theirs = FaceHistory()
            theirs.add(draw(1500, 1), model_id="other")
            other.catch_up(theirs)
        data = bytearray(graph_of(tmp_path / "other").read_bytes())
    path.write_bytes(data)
    added.clear()
    index = make(tmp_path)
    with caplog.at_level(logging.WARNING):
        index.catch_up(history)
    assert "The graph of model test-model is built anew" in caplog.text
    assert covered(index) == sum(added) == 1500
    confirm(index, history)


def test_a_restored_database_that_went_on_gets_another_graph(
    tmp_path: Path, history: FaceHistory, added: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    for left, more in ((1400, 0), (1300, 50), (1200, 1000)):
        history.forget_after(left)
        history.add(draw(more, left))
        caplog.clear()
        added.clear()
        index.catch_up(history)
        assert "another history" in caplog.text
        assert covered(index) == sum(added) == left + more
        confirm(index, history)


def test_a_graph_none_of_whose_last_faces_is_there_is_built_anew(
    tmp_path: Path, history: FaceHistory, added: list[int]
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    history.forget_after(500)
    history.add(draw(700, 2))
    history.add(draw(400, 3), model_id="another")
    added.clear()
    index.catch_up(history)
    assert sum(added) == 1200
    confirm(index, history)


def test_a_graph_that_was_deleted_is_built_anew(
    tmp_path: Path, history: FaceHistory, added: list[int]
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    graph_of(tmp_path).unlink()
    index.catch_up(history)
    assert covered(index) == 1500
    assert sum(added) == 3000
    assert graph_of(tmp_path).exists()


def test_another_database_gets_another_graph(
    tmp_path: Path, history: FaceHistory, added: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    other = FaceHistory("00000000-0000-4000-8000-000000000002")
    other.add(draw(1500, 1))
    index.catch_up(other)
    assert "another history" in caplog.text
    assert sum(added) == 3000
    confirm(index, other)


def test_while_another_process_builds_answers_are_exact(
    tmp_path: Path, history: FaceHistory, added: list[int]
) -> None:
    index = make(tmp_path)
    index.ping()
    (lock,) = tmp_path.glob("*.lock")
    with exclusive_lock(lock.with_name(f"{lock.name.removesuffix('.matrix.lock')}.graph.lock"), 1.0):
        index.catch_up(history)
        assert added == []
        confirm(index, history)
    index.catch_up(history)
    assert sum(added) == 1500


def test_a_graph_that_cannot_be_written_is_said_and_costs_no_answer(
    tmp_path: Path, history: FaceHistory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        index.catch_up(history)
    assert "cannot be built: No space left on device" in caplog.text
    assert str(tmp_path) not in caplog.text
    confirm(index, history)
    index.catch_up(history)
    assert covered(index) == 1500


def test_a_build_that_stops_goes_on_from_what_it_published(
    tmp_path: Path, history: FaceHistory, added: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "_STEP", 500)
    index = make(tmp_path)
    add = GraphBuilder.add

    def closing_at_last(self: GraphBuilder, numbers: Any, vectors: Any) -> None:
        add(self, numbers, vectors)
        if sum(added) > 1200:
            index._tender._closed.set()

    with monkeypatch.context() as patch:
        patch.setattr(GraphBuilder, "add", closing_at_last)
        index.catch_up(history)
    published = covered(index)
    assert 500 <= published < 1200
    confirm(index, history)
    added.clear()
    again = make(tmp_path)
    again.catch_up(history)
    assert sum(added) == 1500 - published
    assert covered(again) == 1500


def test_faces_that_codes_cannot_tell_are_found_beside_the_graph(tmp_path: Path, added: list[int]) -> None:
    rows = draw(1500, 1)
    rows[[5, 700, 1499]] += np.float32(30)
    rows[9] = np.nan
    history = FaceHistory()
    history.add(rows)
    index = make(tmp_path)
    index.catch_up(history)
    view = index._tender.view
    assert view is not None
    assert view.odd.tolist() == [5, 9, 700, 1499]
    confirm(index, history)
    assert index.search(draw(1, 99), 5, 500.0) == history.nearest(draw(1, 99), 5, 500.0)
    far = draw(1, 99) + np.float32(30)
    assert index.search(far, 3, 2.0) == history.nearest(far, 3, 2.0)
    assert len(index.search(far, 3, 2.0)[0]) == 3


def test_faces_that_codes_cannot_tell_are_filtered_and_removed_as_others_are(
    tmp_path: Path, added: list[int]
) -> None:
    rows = draw(1500, 1)
    probe = rows[:1].copy()
    probe[0, 0] = 0.74
    rows[3:6] = probe
    rows[3:6, 0] += np.array([0.12, 0.18, 0.24], np.float32)
    history = FaceHistory()
    history.add(rows, persons=[at % 2 for at in range(1500)])
    index = make(tmp_path)
    for _ in range(2):
        index.catch_up(history)
        view = index._tender.view
        assert view is not None
        assert view.odd.tolist() == [3, 4, 5]
        assert view.graph.quantiser.encode(probe)[1].all()
        for only in (None, FaceFilter(persons=frozenset({1}))):
            expected = history.nearest(probe, 60, 2.0, only=only)
            assert {match.face_id for match in expected[0]} & {4, 5, 6}
            assert index.search(probe, 60, 2.0, only) == expected
        history.remove([4])


def test_a_gallery_that_codes_cannot_tell_at_all_is_scanned(tmp_path: Path) -> None:
    history = FaceHistory()
    history.add(draw(1500, 1) * np.float32(np.nan))
    index = make(tmp_path)
    for _ in range(2):
        index.catch_up(history)
        assert index.search(draw(1, 2), 5, 2.0) == [[]]


def test_a_thread_builds_while_searches_go_on_and_ends_with_the_index(
    tmp_path: Path, history: FaceHistory, added: list[int]
) -> None:
    with closing(make(tmp_path, on_the_side=True)) as index:
        index.catch_up(history)
        confirm(index, history)
        deadline = time.monotonic() + WAIT_S
        while covered(index) < 1500 and time.monotonic() < deadline:
            index.catch_up(history)
            time.sleep(0.01)
        assert covered(index) == sum(added) == 1500
        confirm(index, history)
    assert not [thread for thread in threading.enumerate() if thread.name == "graph"]


def test_closing_stops_a_build(
    tmp_path: Path, history: FaceHistory, added: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(tmp_path, on_the_side=True)
    building, add = threading.Event(), GraphBuilder.add

    def waiting(self: GraphBuilder, numbers: Any, vectors: Any) -> None:
        building.set()
        index._tender._closed.wait(WAIT_S)
        add(self, numbers, vectors)

    monkeypatch.setattr(GraphBuilder, "add", waiting)
    index.catch_up(history)
    assert building.wait(WAIT_S)
    index.close()
    assert len(added) == 1
    assert not list(tmp_path.glob("*.graph"))
    assert not [thread for thread in threading.enumerate() if thread.name == "graph"]
