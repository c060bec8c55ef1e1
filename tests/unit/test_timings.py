import threading
import time

import anyio
import anyio.to_thread
import pytest

from facesearch.timings import STAGES, current, noted, stage


def busy(seconds: float) -> None:
    """Take at least so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_stage_is_noted_with_its_time() -> None:
    with noted("a") as note:
        with stage("decode"):
            busy(0.01)
        with stage("decode"):
            busy(0.01)
    assert list(note.seconds) == ["decode"]
    assert note.seconds["decode"] >= 0.02
    assert note.milliseconds() == {"decode": round(note.seconds["decode"] * 1000, 2)}


def test_a_stage_inside_another_is_not_counted_twice() -> None:
    begun = time.perf_counter()
    with noted("a") as note, stage("search"):
        busy(0.005)
        for _ in range(2):
            with stage("database"), stage("database"):
                busy(0.01)
    took = time.perf_counter() - begun
    assert note.seconds["database"] >= 0.02
    assert note.seconds["search"] >= 0.005
    assert note.seconds["database"] + note.seconds["search"] <= took
    assert note.begun["search"] <= note.begun["database"]


def test_stages_are_told_in_the_order_of_a_request() -> None:
    with noted("a") as note:
        for name in reversed(STAGES):
            with stage(name):
                pass
    assert tuple(note.milliseconds()) == STAGES


def test_a_stage_that_fails_is_noted_and_its_error_goes_on() -> None:
    with noted("a") as note:
        with pytest.raises(ZeroDivisionError), stage("embed"):
            raise ZeroDivisionError
        with stage("search"):
            pass
    assert set(note.seconds) == {"embed", "search"}


def test_outside_a_request_nothing_is_noted() -> None:
    with stage("decode"):
        assert current() is None


def test_the_note_ends_with_its_request() -> None:
    with noted("a") as outer:
        with noted("b") as inner:
            assert current() is inner
        assert current() is outer
    assert current() is None


def test_the_note_goes_along_into_threads_and_no_request_sees_anothers() -> None:
    async def request(name: str) -> dict[str, float]:
        with noted(name) as note:
            for _ in range(3):
                await anyio.to_thread.run_sync(work, name)
            return note.seconds

    def work(name: str) -> None:
        note = current()
        assert note is not None
        assert note.request_id == name
        with stage(name):
            time.sleep(0.001)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for name in STAGES:
                group.start_soon(one, name)

    async def one(name: str) -> None:
        assert list(await request(name)) == [name]

    anyio.run(all_of_them)


def test_a_thread_of_its_own_notes_nothing() -> None:
    seen: list[object] = []
    with noted("a"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [None]
