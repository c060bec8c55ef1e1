import threading
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from facesearch.config import ServerSettings, Settings
from facesearch.records import AddedFace
from facesearch.web import create_app, in_flight
from facesearch.web.in_flight import InFlight, Places
from tests.web.conftest import FakeAPI, local_client

PHOTO = {"file": ("a.jpg", b"photo")}


def test_as_many_requests_as_may_are_at_work_and_the_next_is_told_so(
    api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(server=ServerSettings(requests_in_flight=2))
    go_on, begun = threading.Event(), threading.Semaphore(0)
    add_face = api.add_face

    def slowly(*arguments: Any) -> AddedFace:
        begun.release()
        assert go_on.wait(20)
        return add_face(*arguments)

    monkeypatch.setattr(api, "add_face", slowly)
    with local_client(create_app(lambda: settings, lambda _: api)) as client, ThreadPoolExecutor(2) as pool:
        try:
            slow = [pool.submit(client.post, "/add_face/", files=PHOTO) for _ in range(2)]
            assert all(begun.acquire(timeout=20) for _ in slow)
            answer = client.post("/search_faces/", files=PHOTO)
            below_v1 = client.get("/v1/info")
        finally:
            go_on.set()
        assert [done.result().status_code for done in slow] == [200, 200]
        assert client.get("/v1/info").status_code == 200
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    sentence = "The service is at work on as many requests as it may: 2."
    assert answer.json() == {"status": "ERROR", "body": sentence, "result": {"code": "busy"}}
    assert below_v1.json() == {"code": "busy", "message": sentence, "details": {}}


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_UNREAD_S", 0.01)
    places = Places(1, "requests")
    sent: list[str] = []

    async def app(scope: object, receive: object, send: Any) -> None:
        await send({"type": "http.response.start"})
        sent.append("start")
        await send({"type": "http.response.body"})
        raise AssertionError("went on")

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    outer = SimpleNamespace(state=SimpleNamespace(in_flight=places))
    anyio.run(InFlight(app), {"type": "http", "app": outer, "path": "/"}, None, send)  # type: ignore[arg-type]
    assert sent == ["start"]
    places.refuse_if_full()


def test_websockets_pass_untouched() -> None:
    seen: list[str] = []

    async def inner(scope: dict[str, str], receive: object, send: object) -> None:
        seen.append(scope["type"])

    anyio.run(InFlight(inner), {"type": "websocket"}, None, None)  # type: ignore[arg-type]
    assert seen == ["websocket"]
