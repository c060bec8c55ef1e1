"""Children that hold too much memory are replaced, and the server that feeds them does not grow."""

import logging
import os
from pathlib import Path

import pytest

from facesearch.errors import WorkerDied
from facesearch.workers import keeper
from facesearch.workers.memory import private_bytes
from tests.contracts import worker_tasks
from tests.real.workers import tasks
from tests.real.workers.conftest import MakePool
from tests.real.workers.processes import MarkedProcesses, wait_until

LIMIT = 80_000_000


@pytest.fixture
def renew_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RENEW_S", 0.0)


def test_children_that_have_grown_are_renewed_and_no_task_is_lost_or_repeated(
    make_pool: MakePool, renew_at_once: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pool = make_pool(memory_bytes=LIMIT)
    with caplog.at_level(logging.INFO, logger="facesearch"):
        pids = [o.unwrap() for o in pool.map(tasks.keep, [LIMIT // 10] * 60)]
    assert len(pids) == 60
    assert len(set(pids)) > 4
    assert max(pids.count(pid) for pid in pids) <= 10 + 4  # those that wait with the children come first
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    renewals = [record for record in caplog.records if "has grown to" in record.getMessage()]
    assert 1 <= len(renewals) <= len(set(pids))


def test_an_idle_child_that_has_grown_is_ended_and_the_next_work_finds_a_new_one(
    make_pool: MakePool, renew_at_once: None, marked: MarkedProcesses
) -> None:
    pool = make_pool(1, memory_bytes=LIMIT)
    (outcome,) = pool.map(tasks.keep, [2 * LIMIT])
    wait_until(lambda: not marked.all())
    assert [o.unwrap() for o in pool.map(worker_tasks.double, [4])] == [8]
    assert outcome.unwrap() not in marked.children()


def test_children_that_are_small_stay(make_pool: MakePool, renew_at_once: None) -> None:
    pool = make_pool(1, memory_bytes=LIMIT)
    pids = {o.unwrap() for o in pool.map(worker_tasks.current_pid, range(200))}
    assert len(pids) == 1


def test_a_crew_is_not_renewed_before_it_has_worked_for_a_while(make_pool: MakePool) -> None:
    pids = {o.unwrap() for o in make_pool(1, memory_bytes=LIMIT).map(tasks.keep, [2 * LIMIT] + [0] * 50)}
    assert len(pids) == 1


def test_a_task_that_takes_far_too_much_memory_is_stopped_tried_once_more_and_reported(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    items = [(str(tmp_path), number) for number in (1, 2, 0, 3, 4, 5)]
    outcomes = list(make_pool(memory_bytes=LIMIT).map(tasks.grow_at_zero, items))
    assert [o.value for o in outcomes] == [1, 2, None, 3, 4, 5]
    assert type(outcomes[2].error) is WorkerDied
    tried = (tmp_path / "grows").read_text().split()
    assert len(tried) == len(set(tried)) == 2
    for pid in tried:
        assert f"worker process {pid} holds " in caplog.text


def test_ten_thousand_items_leave_the_server_as_small_as_it_was(make_pool: MakePool) -> None:
    pool = make_pool()
    photos = (os.urandom(20_000) for _ in range(10_000))
    before = peak = 0
    for number, outcome in enumerate(pool.map(worker_tasks.length_and_echo, photos)):
        assert outcome.error is None
        if number == 500:
            before = private_bytes()
        elif number > 500 and number % 100 == 0:
            peak = max(peak, private_bytes())
    assert peak - before < 20_000_000  # all items together are 200 MB
