import os
from collections.abc import Iterator

import pytest

from facesearch.interfaces import WorkerPool
from facesearch.workers import InlinePool
from tests.contracts import worker_tasks as tasks
from tests.contracts.worker_pool import WorkerPoolContract


class TestInlinePool(WorkerPoolContract):
    @pytest.fixture
    def pool(self) -> Iterator[WorkerPool]:
        pool = InlinePool()
        yield pool
        pool.close()

    def test_runs_in_the_process_that_asks(self, pool: WorkerPool) -> None:
        assert [o.unwrap() for o in pool.map(tasks.current_pid, [1])] == [os.getpid()]
