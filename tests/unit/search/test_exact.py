import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch.errors import StorageFull, Unavailable, WorkerDied
from facesearch.interfaces import FaceIndex
from facesearch.records import Outcome
from facesearch.search import ExactIndex
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import DIMENSION, FaceIndexContract, Make, draw
from tests.fakes import FakeIndex


class TwoSlicesPool(InlinePool):
    """Makes an index spread its work, and does it here; fails where it is told to."""

    failure: Unavailable | None = None
    closed_early = False
    items = 0

    @property
    def processes(self) -> int:
        return 2

    def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
        for at, outcome in enumerate(super().map(task, items)):
            self.items += 1
            yield Outcome(error=self.failure) if self.failure and at == 1 else outcome


class TestFakeIndex(FaceIndexContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda dimension: FakeIndex(MODEL, dimension)


class TestExactIndexInline(FaceIndexContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return ExactIndex(directory, MODEL, dimension, InlinePool(), 0)

            yield fresh


class TestExactIndexInSlicesAndSmallBlocks(FaceIndexContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return ExactIndex(directory, MODEL, dimension, TwoSlicesPool(), 0, block_rows=100)

            yield fresh


class TestExactIndexWithFirstStage(FaceIndexContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return ExactIndex(directory, MODEL, dimension, InlinePool(), 0, block_rows=512, fit_from=30)

            yield fresh


class TestExactIndexWithFirstStageInSlices(FaceIndexContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return ExactIndex(directory, MODEL, dimension, TwoSlicesPool(), 0, block_rows=100, fit_from=2)

            yield fresh


@pytest.fixture
def history() -> FaceHistory:
    history = FaceHistory()
    history.add(draw(300, 1))
    return history


def make(directory: Path, pool: InlinePool | None = None, **settings: Any) -> ExactIndex:
    parallel_from = settings.pop("parallel_from", 0)
    settings = {"block_rows": 64, "lock_wait_s": 60.0, **settings}
    return ExactIndex(directory, MODEL, DIMENSION, pool or InlinePool(), parallel_from, **settings)


def file_of(directory: Path) -> Path:
    (file,) = directory.glob("*.matrix")
    return file


def test_two_instances_see_each_others_rows(tmp_path: Path, history: FaceHistory) -> None:
    first, second = make(tmp_path), make(tmp_path)
    for seed in range(5):
        history.add(draw(50, seed))
        writer, reader = (first, second) if seed % 2 else (second, first)
        writer.catch_up(history)
        streams = history.streams
        reader.catch_up(history)
        assert history.streams == streams, "the second read the database again"
        assert reader.search(draw(1, 9), 500, 2.0) == history.nearest(draw(1, 9), 500, 2.0)


def test_what_a_restart_finds_on_the_disk_is_not_read_again(tmp_path: Path, history: FaceHistory) -> None:
    make(tmp_path).catch_up(history)
    streams = history.streams
    again = make(tmp_path)
    assert again.search(draw(1, 9), 5, 2.0) == history.nearest(draw(1, 9), 5, 2.0)
    assert again.count() == 300
    again.catch_up(history)
    assert history.streams == streams


def test_models_have_files_of_their_own(tmp_path: Path, history: FaceHistory) -> None:
    other = "test/model"
    history.add(draw(7, 2), model_id=other)
    here, there = make(tmp_path), ExactIndex(tmp_path, other, DIMENSION, InlinePool(), 0)
    for index in (here, there, here):
        index.catch_up(history)
    assert (here.count(), there.count()) == (300, 7)
    assert len(list(tmp_path.glob("*.matrix"))) == 2


def test_a_search_keeps_what_it_holds_while_rows_are_appended(tmp_path: Path, history: FaceHistory) -> None:
    reader, writer = make(tmp_path), make(tmp_path)
    reader.catch_up(history)
    before = history.nearest(draw(1, 9), 20, 2.0)
    history.add(draw(1000, 3))
    writer.catch_up(history)
    assert reader.search(draw(1, 9), 20, 2.0) == before


def test_few_faces_are_searched_without_the_pool(tmp_path: Path, history: FaceHistory) -> None:
    pool = TwoSlicesPool()
    index = make(tmp_path, pool, parallel_from=301)
    index.catch_up(history)
    index.search(draw(1, 9), 5, 2.0)
    assert pool.items == 0
    history.add(draw(1, 4))
    index.catch_up(history)
    index.search(draw(1, 9), 5, 2.0)
    assert pool.items == 2


def test_a_pool_that_fails_costs_no_answer(
    tmp_path: Path, history: FaceHistory, caplog: pytest.LogCaptureFixture
) -> None:
    pool = TwoSlicesPool()
    pool.failure = WorkerDied()
    index = make(tmp_path, pool)
    index.catch_up(history)
    with caplog.at_level(logging.WARNING):
        assert index.search(draw(1, 9), 50, 2.0) == history.nearest(draw(1, 9), 50, 2.0)
    assert "one process" in caplog.text
    pool.close()
    assert index.search(draw(1, 9), 50, 2.0) == history.nearest(draw(1, 9), 50, 2.0)


def test_slices_of_a_file_that_was_replaced_are_refused_and_the_search_goes_on(
    tmp_path: Path, history: FaceHistory
) -> None:
    pool = TwoSlicesPool()
    index = make(tmp_path, pool)
    index.catch_up(history)
    before = history.nearest(draw(1, 9), 20, 2.0)
    history.forget_after(5)
    make(tmp_path).catch_up(history)  # builds another file under the same name
    assert index.search(draw(1, 9), 20, 2.0) == before
    file_of(tmp_path).unlink()
    assert index.search(draw(1, 9), 20, 2.0) == before


def test_a_build_that_breaks_off_goes_on_where_it_was(tmp_path: Path, history: FaceHistory) -> None:
    index = make(tmp_path)
    history.batch = 100
    taken = []

    def breaking(number: int, model_id: str) -> Iterator[Any]:
        taken.append(number)
        for at, batch in enumerate(FaceHistory.changes_after(history, number, model_id)):
            history.is_away = at == 1
            yield batch

    history.changes_after = breaking  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        index.catch_up(history)
    history.is_away = False
    del history.changes_after
    assert index.count() == 200
    streamed = make(tmp_path)
    streamed.catch_up(history)
    assert streamed.search(draw(1, 9), 300, 2.0) == history.nearest(draw(1, 9), 300, 2.0)


def test_many_markers_are_cleared_away(
    tmp_path: Path, history: FaceHistory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.search.matrix._SPARE_ROWS", 3)
    history.forget_after(1)
    index = make(tmp_path)
    with caplog.at_level(logging.INFO):
        for seed in range(7):
            history.add(draw(1, seed), model_id="another")
            index.catch_up(history)
    assert "tidy" not in caplog.text
    assert file_of(tmp_path).stat().st_size < 20_000
    assert index.search(draw(1, 9), 5, 2.0) == history.nearest(draw(1, 9), 5, 2.0)


def test_a_history_that_contradicts_itself_is_unavailable(tmp_path: Path, history: FaceHistory) -> None:
    history.changes[5], history.changes[6] = history.changes[6], history.changes[5]
    with pytest.raises(Unavailable):
        make(tmp_path).catch_up(history)


def test_a_copy_that_is_deleted_is_built_anew(tmp_path: Path, history: FaceHistory) -> None:
    index = make(tmp_path / "index")
    index.catch_up(history)
    shutil.rmtree(tmp_path / "index")
    index.catch_up(history)
    assert index.search(draw(1, 9), 50, 2.0) == history.nearest(draw(1, 9), 50, 2.0)
    assert file_of(tmp_path / "index").stat().st_mode & 0o077 == 0


def test_a_copy_that_is_cut_under_a_mapping_is_refused_then_built_anew(
    tmp_path: Path, history: FaceHistory
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    os.truncate(file_of(tmp_path), 9000)
    with pytest.raises(Unavailable):
        index.search(draw(1, 9), 5, 2.0)
    index.catch_up(history)
    assert index.search(draw(1, 9), 50, 2.0) == history.nearest(draw(1, 9), 50, 2.0)


def test_a_place_that_cannot_be_written_is_unavailable_without_its_name(
    tmp_path: Path, history: FaceHistory, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    index = make(tmp_path / "file")
    for call in (index.ping, lambda: index.catch_up(history)):
        with pytest.raises(Unavailable) as caught:
            call()
        assert str(tmp_path) not in str(caught.value)
    assert "cannot be read or written" in caplog.text
    assert index.search(draw(1, 9), 5, 2.0) == [[]]


def test_a_disk_that_is_full_publishes_nothing(
    tmp_path: Path, history: FaceHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    before = index.search(draw(1, 9), 5, 2.0)
    history.add(draw(100, 5))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageFull):
            index.catch_up(history)
    assert index.search(draw(1, 9), 5, 2.0) == before
    index.catch_up(history)
    assert index.search(draw(1, 9), 400, 2.0) == history.nearest(draw(1, 9), 400, 2.0)


def test_threads_that_add_and_search_at_once_find_every_face(tmp_path: Path) -> None:
    history, guard, errors = FaceHistory(), threading.Lock(), list[str]()
    indexes = [make(tmp_path), make(tmp_path)]
    rows = draw(240, 6)

    def work(part: int) -> None:
        for at in range(part, len(rows), 6):
            with guard:
                history.add(rows[at : at + 1])
                number = history.newest
            index = indexes[at % 2]
            index.catch_up(history)
            (found,) = index.search(rows[at : at + 1], 1, 0.0)
            if [match.face_id for match in found] != [number]:
                errors.append(f"{number}: {found}")

    threads = [threading.Thread(target=work, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert [thread.is_alive() for thread in threads] == [False] * 6


def test_a_lock_that_is_kept_too_long_is_unavailable(tmp_path: Path, history: FaceHistory) -> None:
    slow, quick = make(tmp_path), make(tmp_path, lock_wait_s=0.05)
    raised = []

    class Meddling(FaceHistory):
        def changes_after(self, number: int, model_id: str) -> Iterator[Any]:
            with pytest.raises(Unavailable) as caught:
                quick.catch_up(history)
            raised.append(caught.value.message)
            return super().changes_after(number, model_id)

    meddling = Meddling()
    meddling.add(draw(3, 7))
    slow.catch_up(meddling)
    assert raised == ["The search index is busy being written."]


def test_a_closed_index_lets_go_of_its_copy(tmp_path: Path, history: FaceHistory) -> None:
    index = make(tmp_path)
    index.catch_up(history)
    with closing(index):
        pass
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("the kernel does not show its mappings here")
    assert str(tmp_path) not in maps.read_text()


def test_infinite_tolerance_keeps_what_is_infinitely_far_in_order(tmp_path: Path) -> None:
    history = FaceHistory()
    rows = draw(10, 8)
    rows[4] = np.inf
    history.add(rows)
    index = make(tmp_path)
    index.catch_up(history)
    assert index.search(draw(1, 9), 20, np.inf) == history.nearest(draw(1, 9), 20, np.inf)
