"""The index over a real pool of processes."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from facesearch.interfaces import FaceIndex, WorkerPool
from facesearch.records import Outcome
from facesearch.search import ExactIndex
from facesearch.workers import ProcessPool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import DIMENSION, FaceIndexContract, Make, draw


@dataclass(frozen=True)
class Told:
    """Runs a task, and tells in which process it ran."""

    task: Callable[[Any], Any]

    def __call__(self, item: Any) -> tuple[int, Any]:
        return os.getpid(), self.task(item)


class TellingPool(WorkerPool):
    """Passes all on to another pool, and remembers which processes did the work."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self.pids: list[int] = []

    @property
    def processes(self) -> int:
        return self._pool.processes

    def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
        for outcome in self._pool.map(Told(task), items):
            pid, value = outcome.unwrap()
            self.pids.append(pid)
            yield Outcome(value)

    def ping(self) -> None:
        self._pool.ping()

    def close(self) -> None:
        self._pool.close()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TellingPool]:
    with closing(TellingPool(ProcessPool(2, 2, 60.0, tmp_path_factory.mktemp("slots")))) as pool:
        yield pool


class TestExactIndexOverProcesses(FaceIndexContract):
    @pytest.fixture
    def make(self, pool: TellingPool) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return ExactIndex(directory, MODEL, dimension, pool, 0, block_rows=512)

            yield fresh


def test_slices_are_scanned_in_other_processes_with_the_same_answer(
    tmp_path: Path, pool: TellingPool
) -> None:
    history = FaceHistory()
    history.add(draw(20_000, 1))
    spread = ExactIndex(tmp_path, MODEL, DIMENSION, pool, 20_000)
    alone = ExactIndex(tmp_path, MODEL, DIMENSION, pool, 20_001)
    for index in (spread, alone):
        index.catch_up(history)
    pool.pids.clear()
    probes = draw(3, 2)
    found = spread.search(probes, 1000, 0.5)
    assert len(pool.pids) == 2
    assert os.getpid() not in pool.pids
    assert found == alone.search(probes, 1000, 0.5) == history.nearest(probes, 1000, 0.5)
    assert len(pool.pids) == 2, "below the line the search stays in its own process"
