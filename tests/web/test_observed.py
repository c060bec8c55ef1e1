import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.config import LogSettings, Settings
from facesearch.errors import NoFaceFound
from facesearch.logs import lines
from facesearch.timings import stage
from facesearch.web import create_app
from tests.web.conftest import FakeAPI, local_client

PHOTO = {"file": ("Ada_Lovelace.jpg", b"photo")}
DRAWN = re.compile(r"[0-9a-f]{32}")


class SlowAPI(FakeAPI):
    """Goes through two stages before it answers."""

    def _called(self, *call: object) -> None:
        with stage("search"), stage("database"):
            time.sleep(0.01)
        super()._called(*call)


@pytest.fixture
def api() -> FakeAPI:
    return SlowAPI()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing is called slow, on a busy machine neither."""
    return settings.model_copy(update={"log": LogSettings(slow_ms=600_000)})


def told(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, Any]]:
    return [vars(record)["told"] for record in caplog.records if record.name == logger]


@pytest.mark.parametrize("sent", ["a", "6f1c0b8e-0001.x_Y", "0" * 128])
def test_a_plain_request_id_is_taken_over(client: TestClient, sent: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "é", "a\tb", "<script>"])
def test_any_other_is_replaced_by_one_that_is_drawn(client: TestClient, sent: str) -> None:
    answer = client.get("/healthz", headers={b"X-Request-ID": sent.encode("latin-1")})
    assert DRAWN.fullmatch(answer.headers["x-request-id"])


def test_each_request_without_one_gets_another_and_errors_have_theirs(client: TestClient) -> None:
    answers = [client.get(path) for path in ("/healthz", "/healthz", "/nothing", "/v1/jobs/none")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 4
    assert all(map(DRAWN.fullmatch, ids))


def test_the_answer_says_how_long_each_stage_took(client: TestClient) -> None:
    header = client.post("/search_faces/", files=PHOTO).headers["server-timing"]
    timings = dict(part.split(";dur=") for part in header.split(", "))
    assert list(timings) == ["search", "database", "total"]
    assert 10 <= float(timings["database"]) <= float(timings["total"])


def test_the_access_line_has_the_route_and_nothing_of_what_was_sent(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.post("/search_faces/?k=777", files=PHOTO, headers={"X-Request-ID": "mine"})
        client.get("/v1/jobs/Ada_Lovelace")
    first, second = told(caplog, "facesearch.access")
    assert (first["method"], first["route"], first["status"]) == ("POST", "/search_faces", 200)
    assert first["stages"]["database"] >= 10
    assert first["ms"] >= first["stages"]["database"]
    assert "code" not in first
    assert (second["route"], second["status"], second["code"]) == ("/v1/jobs/{job_id}", 404, "job_not_found")
    own = "".join(record.getMessage() for record in caplog.records if record.name.startswith("facesearch"))
    assert "POST /search_faces 200 in " in own
    assert "Ada" not in own
    assert "?" not in own


def test_every_line_of_a_request_has_its_id(
    client: TestClient, api: FakeAPI, caplog: pytest.LogCaptureFixture
) -> None:
    written = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(lines("json").format(record)))

    api.error = ZeroDivisionError()
    handler = Lines()
    logging.getLogger("facesearch").addHandler(handler)
    try:
        client.post("/search_faces/", files=PHOTO, headers={"X-Request-ID": "mine"})
    finally:
        logging.getLogger("facesearch").removeHandler(handler)
    assert [line["request_id"] for line in written] == ["mine", "mine"]
    assert "ZeroDivisionError" in written[0]["message"]
    assert written[1]["code"] == "internal"


def test_probes_are_told_at_debug_only(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for path in ("/healthz", "/readyz", "/metrics"):
            client.get(path)
        client.get("/v1/info")
    assert [line["route"] for line in told(caplog, "facesearch.access")] == ["/v1/info"]


@pytest.fixture
def hurried(api: FakeAPI, settings: Settings) -> Iterator[TestClient]:
    """A service for which everything is slow, and which tells warnings only."""
    quiet = settings.model_copy(update={"log": LogSettings(slow_ms=0, level="warning")})
    with local_client(create_app(lambda: quiet, lambda _: api)) as client:
        yield client


def test_a_slow_request_is_told_as_a_warning_with_its_stages(
    hurried: TestClient, api: FakeAPI, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = NoFaceFound()
    hurried.post("/add_face/", files=PHOTO)
    (record,) = [record for record in caplog.records if record.name == "facesearch.slow"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("Slow request: POST /add_face 422 no_face_found in ")
    assert "database" in vars(record)["told"]["stages"]
    assert told(caplog, "facesearch.access") == []


def test_what_waits_for_a_job_is_not_called_slow(
    hurried: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = hurried.post("/add_faces_in_bulk/", files={"file": ("a.zip", b"zip")})
    assert answer.status_code == 200
    assert told(caplog, "facesearch.slow") == []


def test_a_quick_request_is_not_told(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/v1/info")
    assert told(caplog, "facesearch.slow") == []
