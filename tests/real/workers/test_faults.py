"""What a ProcessPool makes of lost, hung and killed processes."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.errors import FacesearchError, TaskTimedOut, Unavailable, WorkerDied
from facesearch.workers import ProcessPool, crew, keeper
from tests.contracts import worker_tasks
from tests.real.workers import tasks
from tests.real.workers.conftest import MakePool
from tests.real.workers.processes import MarkedProcesses, wait_until
from tests.server import kill

ROOT = Path(__file__).resolve().parents[3]
DOUBLED = list(range(0, 200, 2))


def works(pool: ProcessPool) -> bool:
    return [o.unwrap() for o in pool.map(worker_tasks.double, range(100))] == DOUBLED


def children_of(pool: ProcessPool) -> list[int]:
    """The pool's two children, once both have worked."""
    pids: set[int] = set()
    while len(pids) < 2:  # each ends within the pool's limits
        pids.update(o.unwrap() for o in pool.map(tasks.pid_after, [0.05] * 4))
    return sorted(pids)


def test_an_idle_child_that_is_killed_costs_nothing(
    make_pool: MakePool, marked: MarkedProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool()
    assert works(pool)
    for _ in range(3):
        wait_until(lambda: len(marked.children()) == 2)
        old = marked.children()
        os.kill(old[0], signal.SIGKILL)
        assert works(pool)
        wait_until(lambda dead=old: not set(dead) & set(marked.children()))  # type: ignore[misc]
        said = f"worker process {old[0]} died (SIGKILL)"
        wait_until(lambda words=said: words in caplog.text)  # type: ignore[misc]
    assert pool.restarts == 3


def test_children_and_supervisors_that_are_killed_at_random_cost_no_item(
    make_pool: MakePool, marked: MarkedProcesses
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    pool = make_pool(3)
    outcomes = []
    for number, outcome in enumerate(
        pool.map(worker_tasks.sleep_then_echo, ((0.005, n) for n in range(300)))
    ):
        outcomes.append(outcome)
        if number % 50 == 25 and (pids := [*marked.children(), *marked.supervisors()]):
            kill([chance.choice(pids)])
    assert len(outcomes) == 300
    lost = [o for o in outcomes if isinstance(o.error, WorkerDied)]
    assert len(lost) <= 1  # two kills in a row can meet the same item
    assert [o.value for o in outcomes if not o.error] == [n for n, o in enumerate(outcomes) if not o.error]


def test_a_task_whose_child_was_killed_is_tried_once_more_alone(make_pool: MakePool, tmp_path: Path) -> None:
    names = ["a", "b", "victim", "c", "d", "e"]
    outcomes = list(make_pool(3).map(tasks.die_the_first_time, [(str(tmp_path), name) for name in names]))
    assert [outcome.error for outcome in outcomes] == [None] * 6
    runs = [line.split() for line in (tmp_path / "runs").read_text().splitlines()]
    ((victim_begin, victim_end),) = [(float(b), float(e)) for name, b, e in runs if name == "victim"]
    for name, begin, end in runs:
        assert name == "victim" or float(end) <= victim_begin or float(begin) >= victim_end


def test_tasks_that_always_kill_their_child_cost_only_themselves(make_pool: MakePool) -> None:
    outcomes = list(make_pool().map(tasks.poison, range(1, 22)))
    for number, outcome in enumerate(outcomes, start=1):
        if number % 5:
            assert outcome.unwrap() == number
        else:
            assert type(outcome.error) is WorkerDied


def test_a_child_that_leaves_with_a_code_is_reported_with_it(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    (outcome,) = make_pool().map(tasks.poison_alone, [0])
    assert type(outcome.error) is WorkerDied
    assert "died (exit code 7)" in caplog.text


def test_a_supervisor_that_is_killed_costs_nothing(
    make_pool: MakePool, marked: MarkedProcesses, tmp_path: Path
) -> None:
    pool = make_pool()
    assert works(pool)
    os.kill(marked.supervisor(), signal.SIGKILL)
    assert works(pool)
    answer: list[str] = []
    caller = threading.Thread(
        target=lambda: answer.extend(o.unwrap() for o in pool.map(tasks.hold, [(str(tmp_path), "busy")]))
    )
    caller.start()
    wait_until((tmp_path / "busy.runs").exists)
    orphans = set(marked.children())
    os.kill(marked.supervisor(), signal.SIGKILL)
    wait_until(lambda: not orphans & set(marked.children()), limit_s=20.0)
    wait_until(lambda: len((tmp_path / "busy.runs").read_text().splitlines()) == 2)
    (tmp_path / "release").touch()
    caller.join(60)
    assert answer == ["busy"]


def test_a_supervisor_that_is_stopped_is_replaced(
    make_pool: MakePool, marked: MarkedProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "STALL_S", 5.0)
    pool = make_pool()
    for item in (b"small", bytes(5_000_000)):
        children_of(pool)  # so that all have come up
        os.kill(marked.supervisor(), signal.SIGSTOP)
        (outcome,) = pool.map(worker_tasks.length_and_echo, [item])
        assert outcome.unwrap() == (len(item), item)


def test_an_idle_child_that_is_stopped_holds_nobody_up(
    make_pool: MakePool, marked: MarkedProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "STALL_S", 5.0)
    pool = make_pool()
    children_of(pool)  # so that all have come up
    for pid in marked.children():
        os.kill(pid, signal.SIGSTOP)
    assert works(pool)


def test_a_task_over_its_time_is_stopped_and_the_others_are_repeated(make_pool: MakePool) -> None:
    outcomes = list(make_pool(task_timeout_s=5.0).map(tasks.hang_at_zero, [1, 0, 2, 3, 0, 4]))
    assert [o.value for o in outcomes] == [1, None, 2, 3, None, 4]
    assert [type(o.error) for o in outcomes if o.error] == [TaskTimedOut, TaskTimedOut]


def test_a_child_that_is_stopped_at_work_costs_its_task_and_no_other(make_pool: MakePool) -> None:
    outcomes = make_pool(task_timeout_s=5.0).map(tasks.stop_at_zero, [1, 0, 2, 3, 4])
    assert [type(o.error) if o.error else o.value for o in outcomes] == [1, TaskTimedOut, 2, 3, 4]


def test_time_in_the_queue_does_not_count(make_pool: MakePool) -> None:
    outcomes = make_pool(1, task_timeout_s=5.0).map(
        worker_tasks.sleep_then_echo, [(1.0, n) for n in range(6)]
    )
    assert [o.unwrap() for o in outcomes] == list(range(6))


def test_a_pool_that_cannot_start_says_so_and_recovers(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool()
    with monkeypatch.context() as broken:
        broken.setattr(crew, "START", "raise SystemExit(3)")
        outcomes = list(pool.map(worker_tasks.double, range(2)))
        assert [type(o.error) for o in outcomes] == [Unavailable, Unavailable]
        with pytest.raises(Unavailable):
            pool.ping()
    assert works(pool)
    pool.ping()


def test_a_host_without_room_for_a_process_is_unavailable(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool()
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        (outcome,) = pool.map(worker_tasks.double, [1])
        assert type(outcome.error) is Unavailable
    assert works(pool)


def test_closing_while_children_hang_ends_waiting_calls_and_all_processes(
    make_pool: MakePool, marked: MarkedProcesses, tmp_path: Path
) -> None:
    pool = make_pool()
    raised: list[FacesearchError] = []

    def wait_for_ever() -> None:
        try:
            list(pool.map(tasks.hold, [(str(tmp_path), "busy")] * 10))
        except FacesearchError as error:
            raised.append(error)

    caller = threading.Thread(target=wait_for_ever)
    caller.start()
    wait_until((tmp_path / "busy.runs").exists)
    pool.close()
    caller.join(60)
    assert [type(error) for error in raised] == [Unavailable]
    wait_until(lambda: not marked.all(), limit_s=20.0)


def test_closing_after_an_idle_child_was_killed_does_not_hang(
    make_pool: MakePool, marked: MarkedProcesses
) -> None:
    # One of two idle children holds the lock of their queue. Before and after the supervisor notices.
    for victim, pause_s in ((0, 0.0), (1, 0.0), (0, 0.2), (1, 0.2)):
        pool = make_pool()
        os.kill(children_of(pool)[victim], signal.SIGKILL)
        time.sleep(pause_s)
        closer = threading.Thread(target=pool.close, daemon=True)
        closer.start()
        closer.join(30)
        assert not closer.is_alive()
        wait_until(lambda: not marked.all(), limit_s=30.0)


def test_closing_ends_a_stopped_supervisor_and_its_children(
    make_pool: MakePool, marked: MarkedProcesses
) -> None:
    pool = make_pool()
    assert works(pool)
    for pid in (marked.supervisor(), *marked.children()):
        os.kill(pid, signal.SIGSTOP)
    pool.close()
    wait_until(lambda: not marked.all(), limit_s=20.0)


def test_children_outlive_the_thread_whose_work_started_them(
    make_pool: MakePool, marked: MarkedProcesses
) -> None:
    pool = make_pool()
    starter = threading.Thread(target=children_of, args=(pool,))  # so that all have come up
    starter.start()
    starter.join(60)
    before = marked.all()
    time.sleep(0.3)  # the signal would come at once
    assert works(pool)
    assert marked.all() == before


def test_signals_for_the_whole_service_leave_the_children_to_the_server(
    make_pool: MakePool, marked: MarkedProcesses
) -> None:
    pool = make_pool()
    children_of(pool)  # so that all have come up: a signal ends one that has only begun to
    before = marked.all()
    for pid in (marked.supervisor(), *marked.children()):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    assert works(pool)
    assert marked.all() == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a busy pool of two children; the host has three slots."""
    command = [sys.executable, "-m", "tests.real.workers.server", str(tmp_path), "2", "3"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: all((tmp_path / f"server{n}.runs").exists() for n in (0, 1)), limit_s=60.0)
    yield process
    process.kill()
    process.wait(60)
    if process.stdout:
        process.stdout.close()


@pytest.mark.parametrize("supervisor_is", ["running", "stopped"])
def test_a_server_that_is_killed_leaves_no_process_and_no_bound_port(
    server: subprocess.Popen[str], marked: MarkedProcesses, supervisor_is: str
) -> None:
    assert server.stdout is not None
    port = int(server.stdout.readline())
    assert len(marked.children()) == 2
    if supervisor_is == "stopped":  # it cannot notice, so the kernel has to
        os.kill(marked.supervisor(), signal.SIGSTOP)
    server.kill()
    server.wait(60)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    wait_until(lambda: not marked.all(), limit_s=20.0)


def test_pools_of_two_processes_share_the_host_s_slots(
    server: subprocess.Popen[str], make_pool: MakePool
) -> None:
    pool = make_pool(2, per_host=3)
    assert works(pool)
    assert pool.processes == 1
    server.kill()
    server.wait(60)
    other = make_pool(2, per_host=3)
    assert works(other)
    assert other.processes == 2


def test_an_idle_pool_makes_room_for_a_busy_one(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOK_S", 0.05)
    monkeypatch.setattr(keeper, "IDLE_S", 3.0)  # longer than the second takes to begin, with one child
    first, second = make_pool(2, per_host=2), make_pool(2, per_host=2)
    assert works(first)
    outcomes = second.map(worker_tasks.sleep_then_echo, ((0.01, n) for n in range(10**9)))
    expected = 0
    seen: set[int] = set()
    while seen != {1, 2}:
        assert next(outcomes).unwrap() == expected
        expected += 1
        seen.add(second.processes)
        assert expected < 5000, "the idle pool did not make room"
    assert works(first)
