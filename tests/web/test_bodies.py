from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from facesearch.config import LimitSettings
from facesearch.web import bodies
from facesearch.web.bodies import BodyLimit
from facesearch.web.stopping import Stopping

LIMITS = LimitSettings(photo_bytes=1000, zip_bytes=500_000)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_LOOK_S", 0.001)
    monkeypatch.setattr(bodies, "_SILENCE_S", 0.02)
    monkeypatch.setattr(bodies, "_STOP_S", 0.0)


def part(length: int, more: bool = True) -> Message:
    return {"type": "http.request", "body": bytes(length), "more_body": more}


def read(
    messages: list[Message | float],
    path: str = "/search_faces/",
    headers: list[tuple[bytes, bytes]] | None = None,
    stopping: Stopping | None = None,
    then: Callable[[], Any] | None = None,
) -> list[Message]:
    """Read what a client sends, a number being a pause in seconds; the answer's own error is raised."""
    script = list(messages)
    got: list[Message] = []
    until = 0.0

    async def receive() -> Message:
        nonlocal until
        while script:
            if isinstance(script[0], float):  # whoever waits may be interrupted, and the pause goes on
                until = until or anyio.current_time() + script[0]
                await anyio.sleep_until(until)
                until = 0.0
                script.pop(0)
            else:
                return script.pop(0)  # type: ignore[return-value]
        await anyio.sleep_forever()
        raise AssertionError

    async def app(_: object, receive: Callable[[], Any], __: object) -> None:
        sent = [entry for entry in messages if isinstance(entry, dict)]
        for _number in range(len(sent) + sent[-1].get("more_body", False)):
            got.append(await receive())
            if then is not None:
                then()

    async def run() -> None:
        state = SimpleNamespace(limits=LIMITS, stopping=Stopping() if stopping is None else stopping)
        scope = {"type": "http", "path": path, "headers": headers or [], "app": SimpleNamespace(state=state)}
        with anyio.fail_after(20):
            await BodyLimit(app)(scope, receive, lambda _: None)  # type: ignore[arg-type,return-value]

    anyio.run(run)
    return got


def test_a_body_that_stops_arriving_is_408() -> None:
    with pytest.raises(HTTPException) as caught:
        read([part(10)])
    assert caught.value.status_code == 408


def test_a_body_that_crawls_is_408_though_it_is_never_silent() -> None:
    crawling: list[Message | float] = []
    for _ in range(200):
        crawling += [part(1), 0.005]
    with pytest.raises(HTTPException) as caught:
        read(crawling)
    assert caught.value.status_code == 408


def test_after_the_body_only_the_client_s_going_is_waited_for_however_long() -> None:
    told = read([part(10, more=False), 0.1, {"type": "http.disconnect"}])
    assert [message["type"] for message in told] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/search_faces/", 1000),
        ("/add_faces_in_bulk", 500_000),
        ("/v1/imports", 500_000),
        ("/v1/imports/", 500_000),
        ("/v1/detect", 1000),
        ("/v1/compare", 2000),
        ("/v1/compare/", 2000),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_each_route_has_its_limit(path: str, most: int, declared: bool) -> None:
    length = most + 65 * 1024
    headers = [(b"content-length", str(length).encode())] if declared else []
    with pytest.raises(HTTPException) as caught:
        read([part(length // 2), part(length - length // 2, more=False)], path, headers)
    assert caught.value.status_code == 413
    assert len(read([part(most // 2), part(most - most // 2, more=False)], path)) == 2


def test_a_body_that_arrives_while_the_process_is_asked_to_end_is_503() -> None:
    stopping = Stopping()
    with pytest.raises(HTTPException) as caught:
        read([part(1), part(1), part(1, more=False)], stopping=stopping, then=stopping.note)
    assert caught.value.status_code == 503


def test_a_silent_body_ends_too_when_the_process_is_asked_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_SILENCE_S", 60.0)
    stopping = Stopping()
    with pytest.raises(HTTPException) as caught:
        read([part(1)], stopping=stopping, then=stopping.note)
    assert caught.value.status_code == 503
