"""What every WorkerPool does."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from facesearch.errors import BrokenImage, TaskFailed, TooLarge, Unavailable
from facesearch.interfaces import WorkerPool
from tests.contracts import worker_tasks as tasks


class Counted:
    """Counts what has been taken of it."""

    def __init__(self, end: int) -> None:
        self.taken = 0
        self._end = end

    def __iter__(self) -> Iterator[int]:
        while self.taken < self._end:
            self.taken += 1
            yield self.taken - 1


class WorkerPoolContract(ABC):
    @pytest.fixture
    @abstractmethod
    def pool(self) -> Iterator[WorkerPool]:
        """Yield a fresh pool, and close it."""

    def test_outcomes_come_in_the_order_of_the_items(self, pool: WorkerPool) -> None:
        items = [(0.05, 0), (0.0, 1), (0.03, 2), (0.0, 3), (0.0, 4), (0.02, 5), (0.0, 6)]
        assert [o.unwrap() for o in pool.map(tasks.sleep_then_echo, items)] == list(range(7))

    def test_work_that_goes_well_replaces_no_process(self, pool: WorkerPool) -> None:
        assert len(list(pool.map(tasks.double, range(5)))) == 5
        assert pool.restarts == 0

    def test_no_items_give_no_outcomes(self, pool: WorkerPool) -> None:
        assert list(pool.map(tasks.double, [])) == []

    def test_none_is_an_item_and_a_value_like_any_other(self, pool: WorkerPool) -> None:
        assert [o.unwrap() for o in pool.map(type, [None, 1])] == [type(None), int]

    def test_takes_at_most_four_items_per_process_ahead(self, pool: WorkerPool) -> None:
        items = Counted(200)
        for given, outcome in enumerate(pool.map(tasks.double, items)):
            assert outcome.unwrap() == 2 * given
            assert items.taken <= given + 4 * pool.processes
        assert items.taken == 200

    def test_takes_nothing_before_the_first_outcome_is_asked_for(self, pool: WorkerPool) -> None:
        items = Counted(10)
        outcomes = pool.map(tasks.double, items)
        assert items.taken == 0
        assert next(outcomes).unwrap() == 0

    def test_a_closed_iterator_abandons_what_is_left_and_hurts_nobody(self, pool: WorkerPool) -> None:
        items = Counted(10**9)
        outcomes = pool.map(tasks.double, items)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        assert items.taken <= 1 + 4 * pool.processes
        assert [o.unwrap() for o in pool.map(tasks.double, range(20))] == list(range(0, 40, 2))

    def test_an_error_of_the_project_keeps_its_class_and_message(self, pool: WorkerPool) -> None:
        even, odd = pool.map(tasks.refuse_odd, [2, 3])
        assert even.unwrap() == 2
        assert type(odd.error) is TooLarge
        assert odd.error.message == "3 is over the limit."
        with pytest.raises(TooLarge):
            odd.unwrap()

    def test_an_error_with_an_unusual_constructor_arrives_whole(self, pool: WorkerPool) -> None:
        (outcome,) = pool.map(tasks.raise_unusual_error, [7])
        assert isinstance(outcome.error, tasks.TaskOfARoom)
        assert (outcome.error.message, outcome.error.limit) == ("At most 7 bytes.", 7)

    def test_any_other_exception_is_a_failure_that_is_logged_once_without_its_message(
        self, pool: WorkerPool, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR, logger="facesearch"):
            (outcome,) = pool.map(tasks.raise_with_secret, [1])
        assert type(outcome.error) is TaskFailed
        (line,) = [record.getMessage() for record in caplog.records]
        assert "raise_with_secret" in line
        assert "ValueError" in line
        assert "hunter2" not in line + str(outcome.error)

    def test_a_task_that_calls_exit_is_a_failure_and_nothing_ends(self, pool: WorkerPool) -> None:
        errors = [outcome.error for outcome in pool.map(tasks.exit_process, [1, 2])]
        assert [type(error) for error in errors] == [TaskFailed, TaskFailed]

    def test_one_failed_item_costs_no_other_anything(self, pool: WorkerPool) -> None:
        outcomes = list(pool.map(tasks.Adder(10), [1, -1, 2, -2, 3]))
        assert [o.value for o in outcomes] == [11, None, 12, None, 13]
        assert [type(o.error) for o in outcomes if o.error] == [BrokenImage, BrokenImage]

    def test_an_error_of_the_items_themselves_reaches_the_caller(self, pool: WorkerPool) -> None:
        def items() -> Iterator[int]:
            yield 1
            raise KeyError("next")

        with pytest.raises(KeyError):
            list(pool.map(tasks.double, items()))
        assert [o.unwrap() for o in pool.map(tasks.double, [4])] == [8]

    def test_items_and_results_of_several_megabytes_arrive_whole(self, pool: WorkerPool) -> None:
        items = [bytes([number]) * 5_000_000 for number in range(12)]
        for item, outcome in zip(items, pool.map(tasks.length_and_echo, items), strict=True):
            assert outcome.unwrap() == (5_000_000, item)

    def test_several_threads_each_get_their_own_outcomes(self, pool: WorkerPool) -> None:
        answers: dict[int, list[int]] = {}

        def call(start: int) -> None:
            numbers = range(start, start + 50)
            answers[start] = [o.unwrap() for o in pool.map(tasks.double, numbers)]

        threads = [threading.Thread(target=call, args=(start,)) for start in (0, 1000, 2000, 3000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == {s: [2 * n for n in range(s, s + 50)] for s in (0, 1000, 2000, 3000)}

    def test_two_calls_can_be_consumed_in_turns(self, pool: WorkerPool) -> None:
        first, second = pool.map(tasks.double, range(30)), pool.map(tasks.Adder(1), range(30))
        pairs = [(a.unwrap(), b.unwrap()) for a, b in zip(first, second, strict=True)]
        assert pairs == [(2 * n, n + 1) for n in range(30)]

    def test_ping_is_silent_until_the_pool_is_closed(self, pool: WorkerPool) -> None:
        pool.ping()
        list(pool.map(tasks.double, [1]))
        pool.ping()
        pool.close()
        with pytest.raises(Unavailable):
            pool.ping()

    def test_a_closed_pool_is_unavailable_and_can_be_closed_again(self, pool: WorkerPool) -> None:
        outcomes = pool.map(tasks.double, Counted(10**9))
        next(outcomes)
        pool.close()
        with pytest.raises(Unavailable):
            list(outcomes)
        with pytest.raises(Unavailable):
            list(pool.map(tasks.double, [1]))
        pool.close()
