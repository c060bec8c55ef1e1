import pytest

from facesearch.errors import Unavailable
from facesearch.workers.attempts import Attempt
from facesearch.workers.calls import CallDesk, Task


@pytest.fixture
def desk() -> CallDesk:
    return CallDesk(lambda: None)


def take_all(desk: CallDesk) -> list[Task]:
    tasks = []
    while (task := desk.take()) is not None:
        tasks.append(task)
    return tasks


def test_calls_take_turns(desk: CallDesk) -> None:
    long, short = desk.open_call(b"long"), desk.open_call(b"short")
    for position in range(4):
        desk.submit(long, position, b"")
    desk.submit(short, 0, b"")
    assert [task.call.task for task in take_all(desk)] == [b"long", b"short", b"long", b"long", b"long"]


def test_tasks_that_are_put_back_come_first_and_in_order(desk: CallDesk) -> None:
    call = desk.open_call(b"task")
    for position in range(5):
        desk.submit(call, position, b"")
    first, second = desk.take(), desk.take()
    assert first is not None
    assert second is not None
    desk.put_back([second, first])
    assert [task.position for task in take_all(desk)] == [0, 1, 2, 3, 4]


def test_suspects_wait_apart(desk: CallDesk) -> None:
    call = desk.open_call(b"task")
    desk.submit(call, 0, b"")
    task = desk.take()
    assert task is not None
    task.suspect = True
    desk.put_back([task])
    assert desk.has_work()
    assert desk.take() is None
    assert desk.take_suspect() is task
    assert not desk.has_work()


def test_a_closed_call_leaves_nothing_behind(desk: CallDesk) -> None:
    call = desk.open_call(b"task")
    for position in range(3):
        desk.submit(call, position, b"")
    out = [desk.take(), desk.take()]
    suspect, plain = (task for task in out if task is not None)
    suspect.suspect = True
    desk.put_back([suspect])
    desk.close_call(call)
    desk.put_back([plain])
    desk.answer(plain, b"late")
    assert not desk.has_work()
    assert desk.take_suspect() is None
    assert call.results == {}


def test_bytes_on_their_way_are_counted_until_the_answer(desk: CallDesk) -> None:
    call = desk.open_call(b"task")
    desk.submit(call, 0, b"12345")
    assert call.unanswered_bytes == 5
    task = desk.take()
    assert task is not None
    desk.answer(task, b"done")
    assert call.unanswered_bytes == 0
    assert desk.wait_for(call, 0, lambda: False) == b"done"


def test_all_that_waits_can_be_answered_at_once(desk: CallDesk) -> None:
    calls = [desk.open_call(b"a"), desk.open_call(b"b")]
    for call in calls:
        desk.submit(call, 0, b"")
    gone = Attempt(error=Unavailable())
    desk.answer_all_waiting(gone)
    assert [desk.wait_for(call, 0, lambda: True) for call in calls] == [gone, gone]
    assert not desk.has_work()


def test_nobody_waits_for_an_answer_that_nobody_will_bring(desk: CallDesk) -> None:
    call = desk.open_call(b"task")
    desk.submit(call, 0, b"")
    with pytest.raises(Unavailable):
        desk.wait_for(call, 0, lambda: False)
