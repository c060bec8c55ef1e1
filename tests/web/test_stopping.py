import signal
import threading
from collections.abc import Iterator

import anyio
import pytest
from starlette.testclient import TestClient

from facesearch.config import Settings
from facesearch.errors import DatabaseUnavailable, Unavailable
from facesearch.web import create_app, stopping
from facesearch.web.stopping import Stopping, unless_stopping
from tests.web.conftest import FakeAPI


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What a server's own handlers have heard."""
    numbers: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: numbers.append(number))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_left_to_the_server(heard: list[int], number: signal.Signals) -> None:
    flag = Stopping()
    with flag.noted_on_signals():
        assert not flag
        assert flag.for_s == 0.0
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert flag
        assert flag.for_s >= 0.0
    assert heard == [number, number]


def test_gunicorn_s_signal_to_stop_soon_stops_uvicorn_too(heard: list[int]) -> None:
    flag = Stopping()
    with flag.noted_on_signals():
        signal.raise_signal(signal.SIGQUIT)
    assert flag
    assert sorted(heard) == sorted([signal.SIGQUIT, signal.SIGTERM])


def test_the_server_s_handlers_are_back_at_the_end(heard: list[int]) -> None:
    theirs = signal.getsignal(signal.SIGTERM)
    flag = Stopping()
    with flag.noted_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not theirs
    assert signal.getsignal(signal.SIGTERM) is theirs
    signal.raise_signal(signal.SIGTERM)
    assert not flag


def test_a_handler_that_was_set_meanwhile_stays(heard: list[int]) -> None:
    with Stopping().noted_on_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_what_has_no_handler_gets_none(heard: list[int]) -> None:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    with Stopping().noted_on_signals():
        assert signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL


def test_outside_the_main_thread_the_application_starts_without(api: FakeAPI, heard: list[int]) -> None:
    app = create_app(Settings, lambda _: api)
    with TestClient(app):
        signal.raise_signal(signal.SIGTERM)
        assert not app.state.stopping


def test_work_gives_its_value_or_its_error() -> None:
    def fail() -> None:
        raise DatabaseUnavailable("away")

    async def both() -> int:
        limiter = anyio.CapacityLimiter(1)
        with pytest.raises(DatabaseUnavailable, match="away"):
            await unless_stopping(Stopping(), fail, limiter)
        return await unless_stopping(Stopping(), lambda: 7, limiter)

    assert anyio.run(both) == 7


def test_work_is_not_waited_for_once_the_process_is_asked_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_LOOK_S", 0.001)
    flag, go_on = Stopping(), threading.Event()

    def work() -> None:
        flag.note()
        assert go_on.wait(20)

    async def ask() -> None:
        try:
            with pytest.raises(Unavailable):
                await unless_stopping(flag, work, anyio.CapacityLimiter(1))
            assert not go_on.is_set()
        finally:
            go_on.set()

    anyio.run(ask)
