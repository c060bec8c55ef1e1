import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facesearch.workers import ProcessPool
from tests.real.workers.processes import MARK, MarkedProcesses, wait_until

MakePool = Callable[..., ProcessPool]


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[MarkedProcesses]:
    """Mark every process that a test starts, and see that none is left after it."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    processes = MarkedProcesses(mark)
    yield processes
    wait_until(lambda: not processes.all(), limit_s=20.0)


@pytest.fixture
def make_pool(tmp_path: Path, marked: MarkedProcesses) -> Iterator[MakePool]:
    """Make pools of two children that share one folder of slots, and close them."""
    pools: list[ProcessPool] = []

    def make(processes: int = 2, per_host: int = 8, task_timeout_s: float = 60.0, **more: int) -> ProcessPool:
        pools.append(ProcessPool(processes, per_host, task_timeout_s, tmp_path / "slots", **more))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
