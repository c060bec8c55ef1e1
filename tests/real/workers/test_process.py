"""ProcessPool keeps the contract, and its processes are what they should be."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.interfaces import WorkerPool
from tests.contracts import worker_tasks
from tests.contracts.worker_pool import WorkerPoolContract
from tests.real.workers import tasks
from tests.real.workers.conftest import MakePool
from tests.real.workers.processes import MarkedProcesses

ROOT = Path(__file__).resolve().parents[3]


class TestProcessPool(WorkerPoolContract):
    @pytest.fixture
    def pool(self, make_pool: MakePool) -> Iterator[WorkerPool]:
        yield make_pool()  # noqa: PT022  the contract's fixture is a generator


def test_nothing_starts_before_the_first_work(make_pool: MakePool, marked: MarkedProcesses) -> None:
    pool = make_pool()
    pool.ping()
    outcomes = pool.map(worker_tasks.double, [1])
    assert marked.all() == {}
    next(outcomes)
    assert len(marked.supervisors()) == 1


def test_all_calls_share_the_same_children(make_pool: MakePool) -> None:
    pool = make_pool(3)
    pids = {o.unwrap() for _ in range(4) for o in pool.map(tasks.pid_after, [0.02] * 9)}
    assert len(pids) <= 3
    assert os.getpid() not in pids


def test_zero_processes_mean_one_per_usable_core(make_pool: MakePool) -> None:
    assert make_pool(0, per_host=1024).processes == len(os.sched_getaffinity(0))


def test_a_task_object_keeps_what_it_has_built_in_its_child(make_pool: MakePool) -> None:
    pool = make_pool(1)
    counts = [o.unwrap() for _ in range(2) for o in pool.map(CountsItsCalls(), range(3))]
    assert counts == [1, 2, 3, 4, 5, 6]


class CountsItsCalls:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: int) -> int:
        self.calls += 1
        return self.calls


def test_a_result_that_cannot_be_sent_is_a_failure_of_its_item_only(make_pool: MakePool) -> None:
    first, second = make_pool().map(ReturnsLambdaForZero(), [0, 1])
    assert type(first.error).__name__ == "TaskFailed"
    assert second.unwrap() == 1


class ReturnsLambdaForZero:
    def __call__(self, number: int) -> object:
        return number or (lambda: number)


def test_an_item_that_cannot_be_sent_is_a_failure_of_its_item_only(make_pool: MakePool) -> None:
    items = [1, threading.Lock(), 3]
    outcomes = list(make_pool().map(str, items))
    assert [o.value for o in outcomes] == ["1", None, "3"]
    assert type(outcomes[1].error).__name__ == "TaskFailed"


def test_a_task_that_children_cannot_import_is_refused_at_once(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountsItsCalls, "__module__", "__main__")
    with pytest.raises(TypeError, match="module"):
        make_pool().map(CountsItsCalls(), [1])


def test_numeric_libraries_are_single_threaded_in_the_children_alone(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    (outcome,) = make_pool().map(tasks.environment, [None])
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert [outcome.unwrap()[name] for name in names] == ["1", "1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_script_without_a_main_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys\n"
        "from facesearch.workers import ProcessPool\n"
        "from tests.contracts.worker_tasks import double\n"
        "print('script runs')\n"
        "pool = ProcessPool(2, 8, 60.0, pathlib.Path(sys.argv[1]))\n"
        "print([outcome.unwrap() for outcome in pool.map(double, range(4))])\n"
        "pool.close()\n"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", script, tmp_path / "slots"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.splitlines() == ["script runs", "[0, 2, 4, 6]"]
    assert answer.stderr == ""
