import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from facesearch.config import Settings
from facesearch.errors import (
    BrokenImage,
    Conflict,
    DatabaseUnavailable,
    FaceRefused,
    FacesearchError,
    ForeignTable,
    InvalidConfig,
    InvalidParameter,
    ModelMismatch,
    NoFaceFound,
    NotAllowed,
    NotAnArchive,
    NotAnImage,
    TooLarge,
    WorkerDied,
)
from facesearch.web import create_app
from facesearch.web.bodies import BodyLimit
from tests.web.conftest import FakeAPI

PHOTO = {"file": ("a.jpg", b"photo")}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidParameter("k must be from 1 to 1000."), 400),
        (BrokenImage(), 400),
        (NotAllowed(), 403),
        (Conflict(), 409),
        (ModelMismatch(), 409),
        (TooLarge(), 413),
        (NotAnImage(), 415),
        (NotAnArchive(), 415),
        (NoFaceFound(), 422),
        (FaceRefused("The face was refused: its size is 20, below 80 pixels."), 422),
        (InvalidConfig("The model files cannot be read."), 503),
        (DatabaseUnavailable(), 503),
        (WorkerDied(), 503),
    ],
)
def test_each_error_has_its_status_sentence_and_code(
    client: TestClient, api: FakeAPI, error: FacesearchError, status: int
) -> None:
    api.error = error
    answer = client.post("/add_face/", files=PHOTO)
    assert answer.status_code == status
    assert answer.json() == {"status": "ERROR", "body": error.message, "result": {"code": error.code}}
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("path", ["/nothing", "/add_face/x"])
def test_an_unknown_route_is_404_in_the_envelope(client: TestClient, path: str) -> None:
    answer = client.post(path)
    assert answer.status_code == 404
    assert answer.json()["status"] == "ERROR"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/jobs/job-1", "DELETE, GET"), ("/v1/jobs", "GET"), ("/v1/imports", "POST"), ("/add_face/", "POST")],
)
def test_a_wrong_method_is_told_every_right_one(client: TestClient, path: str, allowed: str) -> None:
    assert client.patch(path).headers["allow"] == allowed


def test_a_wrong_method_is_405_in_the_envelope(client: TestClient) -> None:
    answer = client.get("/add_face/")
    assert answer.status_code == 405
    assert answer.json()["status"] == "ERROR"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("route", ["/search_faces/", "/add_face/", "/add_faces_in_bulk/"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"data": {"file": "not a file"}},
        {"files": {"photo": ("a.jpg", b"x")}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"{", "headers": {"content-type": "application/json"}},
    ],
)
def test_a_request_without_a_file_is_400_in_the_envelope(
    client: TestClient, route: str, sent: dict[str, Any]
) -> None:
    answer = client.post(route, **sent)
    assert answer.status_code == 400
    assert answer.json()["status"] == "ERROR"


def test_a_missing_file_is_named(client: TestClient) -> None:
    assert client.post("/add_face/").json()["body"] == "file is missing."


def test_an_unforeseen_error_tells_the_client_nothing_and_the_log_one_line(
    client: TestClient, api: FakeAPI, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ZeroDivisionError("secret")
    answer = client.post("/add_face/", files=PHOTO)
    assert answer.status_code == 500
    assert answer.json()["status"] == "ERROR"
    assert "secret" not in answer.text + caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("route", ["/search_faces/", "/add_face/"])
def test_a_photo_over_the_limit_is_413_and_the_next_one_is_answered(
    client: TestClient, settings: Settings, route: str
) -> None:
    most = settings.limits.photo_bytes
    answer = client.post(route, files={"file": ("a.jpg", bytes(most + 100_000))})
    assert answer.status_code == 413
    assert str(most) in answer.json()["body"]
    assert client.post(route, files={"file": ("a.jpg", bytes(most))}).status_code == 200


def test_a_body_of_undeclared_length_is_counted_while_it_streams(client: TestClient) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            sent += 1
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    answer = client.post(
        "/add_face/", content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 413


def test_an_archive_has_a_limit_of_its_own(client: TestClient, settings: Settings) -> None:
    route, most = "/add_faces_in_bulk/", settings.limits.zip_bytes
    assert client.post(route, files={"file": ("a.zip", bytes(most))}).status_code == 200
    assert client.post(route, files={"file": ("a.zip", bytes(most + 100_000))}).status_code == 413


@pytest.mark.parametrize("error", [ForeignTable("Use another database."), RuntimeError("no reason")])
def test_a_start_that_fails_is_one_sentence_in_the_log(
    api: FakeAPI, settings: Settings, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "lifespan.startup"}

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    def build(_: Settings) -> FakeAPI:
        raise error

    app = create_app(lambda: settings, build)
    with pytest.raises(type(error)):
        anyio.run(app, {"type": "lifespan", "state": {}}, receive, send)
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    assert str(error) in message["message"]
    assert "Traceback" not in message["message"]


def test_websockets_pass_the_limit_untouched() -> None:
    seen: list[str] = []

    async def inner(scope: dict[str, str], receive: object, send: object) -> None:
        seen.append(scope["type"])

    anyio.run(BodyLimit(inner), {"type": "websocket"}, None, None)  # type: ignore[arg-type]
    assert seen == ["websocket"]


def test_importing_the_application_does_no_work(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("called before the start")

    with caplog.at_level(logging.DEBUG):
        create_app(fail, fail)  # type: ignore[arg-type]
