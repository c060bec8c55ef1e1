import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesearch.search import ExactIndex
from facesearch.search.exact import NEVER
from facesearch.search.measure import Rows
from facesearch.search.scan import scan_into
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory

VECTORS = np.random.default_rng(3).standard_normal((500, 8)).astype(np.float32)


@pytest.fixture
def history() -> FaceHistory:
    filled = FaceHistory()
    filled.add(VECTORS)
    return filled


@pytest.fixture
def index(tmp_path: Path, history: FaceHistory) -> Iterator[ExactIndex]:
    made = ExactIndex(tmp_path, MODEL, 8, InlinePool(), NEVER, 500, threads=3, block_rows=64)
    made.catch_up(history)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host with nothing to do; returns the file that says so."""
    file = tmp_path / "loadavg"
    file.write_text("0.00 0.00 0.00 1/100 1\n")
    monkeypatch.setattr("facesearch.search.spread._RUNNABLE", file)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    return file


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("search")}


def test_threads_find_what_one_alone_finds(index: ExactIndex, history: FaceHistory) -> None:
    before = names()
    assert index.search(VECTORS[:3], 400, 9.0) == history.nearest(VECTORS[:3], 400, 9.0)
    # The second one is not made where the first has done its part by then.
    assert 1 <= len(names() - before) <= 2


def test_a_small_gallery_takes_no_threads(tmp_path: Path, history: FaceHistory) -> None:
    before = names()
    index = ExactIndex(tmp_path, MODEL, 8, InlinePool(), NEVER, 501, threads=3)
    index.catch_up(history)
    assert index.search(VECTORS[:1], 5, 9.0) == history.nearest(VECTORS[:1], 5, 9.0)
    assert names() == before


def test_busy_cores_are_left_alone(index: ExactIndex, history: FaceHistory, idle: Path) -> None:
    before = names()
    idle.write_text("0.00 0.00 0.00 3/100 1\n")
    assert index.search(VECTORS[:1], 5, 9.0) == history.nearest(VECTORS[:1], 5, 9.0)
    assert names() == before
    idle.unlink()
    index.search(VECTORS[:1], 5, 9.0)
    assert names() != before


def test_while_a_search_has_the_threads_others_do_without(
    index: ExactIndex, history: FaceHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def patched(rows: Iterator[Rows], *arguments: object) -> None:
        blocks = list(rows)
        if threading.current_thread() is threading.main_thread():
            seen.append(sum(len(block.counts) for block in blocks))
        else:
            started.set()
            assert go_on.wait(20)
        scan_into(blocks, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("facesearch.search.sought.scan_into", patched)
    first = threading.Thread(target=index.search, args=(VECTORS[:1], 5, 9.0))
    first.start()
    try:
        assert started.wait(20)
        assert index.search(VECTORS[:1], 5, 9.0) == history.nearest(VECTORS[:1], 5, 9.0)
    finally:
        go_on.set()
        first.join(20)
    assert seen == [500]
    assert not first.is_alive()


def test_threads_end_with_the_index(index: ExactIndex) -> None:
    before = names()
    index.search(VECTORS[:1], 5, 9.0)
    assert names() - before
    index.close()
    assert not names() - before
