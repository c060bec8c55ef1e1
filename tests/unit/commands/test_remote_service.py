"""The client of a service, against a server that answers as it is told."""

import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from facesearch.commands import remote_service
from facesearch.commands.remote_answers import RemoteJob
from facesearch.commands.remote_service import RemoteService
from facesearch.errors import (
    FacesearchError,
    Invalid,
    JobNotFound,
    NameTaken,
    NotAllowed,
    NotFound,
    Unavailable,
)
from facesearch.records import Box, FileReport, ImportOptions, ReportedFace
from tests.server import free_port

LIMITS = {"zip_bytes": 10, "zip_entries": 20, "zip_expanded_bytes": 30, "photo_bytes": 40, "more": 1.5}
COUNTS = {"total": 5, "inserted": 1, "no_face": 0, "duplicate": 2, "failed": 0, "skipped": 0}
JOB = {"id": "j1", "state": "running", "counts": COUNTS, "error": None}
DONE_COUNTS = {name: number for name, number in COUNTS.items() if name != "total"}


class Asked(NamedTuple):
    line: str
    key: str | None
    body: bytes
    api_key: str | None = None


class Answer(NamedTuple):
    """What the server says to the next request; without a status it hangs up."""

    status: int | None
    content: Any = None
    headers: Mapping[str, str] = MappingProxyType({})


class Server(ThreadingHTTPServer):
    """Answers in turn; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(
            Asked(self.requestline, self.headers.get("Idempotency-Key"), body, self.headers.get("X-API-Key"))
        )
        answer = self.server.answers.pop(0)
        if answer.status is None:
            self.close_connection = True
            return
        content = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def waits() -> list[str]:
    return []


@pytest.fixture
def service(server: Server, waits: list[str], pauses: list[float]) -> Iterator[RemoteService]:
    made = RemoteService(server.url + "/", waits.append, patience_s=100)
    yield made
    made.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, by a clock that nothing but waiting moves."""
    slept: list[float] = []

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return sum(slept)

        @staticmethod
        def sleep(seconds: float) -> None:
            slept.append(seconds)

    monkeypatch.setattr(remote_service, "time", Clock)
    return slept


def test_limits_are_those_that_the_service_publishes(service: RemoteService, server: Server) -> None:
    server.answers = [Answer(200, {"version": "1", "limits": LIMITS})]
    limits = service.limits()
    assert (limits.zip_bytes, limits.zip_entries, limits.zip_expanded_bytes, limits.photo_bytes) == (
        10,
        20,
        30,
        40,
    )
    assert server.asked[0].line == "GET /v1/info HTTP/1.1"


def test_an_archive_is_sent_with_a_key_and_its_progress(service: RemoteService, server: Server) -> None:
    server.answers = [Answer(202, JOB)]
    data = bytes(range(256)) * 1000
    sent: list[tuple[int, int]] = []
    options = ImportOptions("single", skip_duplicates=False)
    job = service.start(io.BytesIO(data), "ä\udcff.zip", options, "k1", lambda *at: sent.append(at), "c")
    assert job == RemoteJob("j1", "running", 5, DONE_COUNTS, None)
    (asked,) = server.asked
    assert asked.line == "POST /v1/imports?faces=single&duplicates=store&collection=c HTTP/1.1"
    assert asked.key == "k1"
    assert data in asked.body
    assert 'name="file"; filename="ä?.zip"\r\nContent-Type: application/zip\r\n'.encode() in asked.body
    assert sent[-1] == (len(data), len(data))
    assert len(sent) > 3
    assert sent == sorted(sent)


def test_a_job_and_its_end_are_told(service: RemoteService, server: Server) -> None:
    failed = {**JOB, "state": "failed", "error": {"code": "model_mismatch", "message": "Another model."}}
    server.answers = [Answer(200, JOB), Answer(200, failed)]
    assert not service.job("j1").is_over
    job = service.job("j1")
    assert (job.is_over, job.error) == (True, "Another model.")
    assert server.asked[0].line == "GET /v1/jobs/j1 HTTP/1.1"


def test_files_are_read_page_by_page(service: RemoteService, server: Server) -> None:
    box = {"top": 1, "right": 4, "bottom": 3, "left": 2}
    stored = {"path": "a.jpg", "status": "inserted", "id": 7, "person_name": "Ada", "reason": None}
    pages = [
        {"files": [stored | {"faces": [{"id": 7, "box": box}], "duplicate_of": None}], "next": "abc"},
        {"files": [stored | {"path": "b.jpg", "faces": [], "duplicate_of": 3}], "next": None},
    ]
    server.answers = [Answer(200, page) for page in pages]
    assert list(service.files("j1")) == [
        FileReport("a.jpg", "inserted", 7, "Ada", faces=(ReportedFace(Box(1, 4, 3, 2), 7),)),
        FileReport("b.jpg", "inserted", 7, "Ada", duplicate_of=3),
    ]
    assert [asked.line.split()[1] for asked in server.asked] == [
        "/v1/jobs/j1/files?limit=1000",
        "/v1/jobs/j1/files?limit=1000&cursor=abc",
    ]


def test_what_cannot_be_answered_now_is_asked_again_under_the_same_key(
    service: RemoteService, server: Server, waits: list[str], pauses: list[float]
) -> None:
    full = {"code": "queue_full", "message": "The queue is full.", "details": {}}
    server.answers = [
        Answer(429, full, {"Retry-After": "7"}),
        Answer(None),
        Answer(503, {"code": "storage_full", "message": "No room.", "details": {}}),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(202, JOB),
    ]
    service.start(io.BytesIO(b"archive"), "a.zip", ImportOptions(), "k1", lambda *_: None)
    assert {asked.key for asked in server.asked} == {"k1"}
    assert len({asked.body.partition(b"\r\n\r\n")[2].partition(b"\r\n")[0] for asked in server.asked}) == 1
    assert pauses == [7, 1, 2, 4]
    assert waits[0] == "The queue is full."
    assert "broke off" in waits[1]
    assert waits[2] == "No room."
    assert "502 Bad Gateway" in waits[3]


def test_waiting_ends(service: RemoteService, server: Server, pauses: list[float]) -> None:
    server.answers = [Answer(503, {"message": "Busy."})] * 100
    with pytest.raises(Unavailable, match="Busy"):
        service.job("j1")
    assert 80 < sum(pauses) <= 100
    assert max(pauses) == 10


def test_a_pause_beyond_all_patience_is_not_begun(
    service: RemoteService, server: Server, pauses: list[float]
) -> None:
    server.answers = [Answer(503, {"message": "Busy."}, {"Retry-After": "3600"})]
    with pytest.raises(Unavailable, match="Busy"):
        service.job("j1")
    assert pauses == []


def test_a_service_that_is_not_there_is_not_waited_for(pauses: list[float]) -> None:
    service = RemoteService(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="cannot be reached"):
        service.limits()
    service.close()
    assert pauses == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(413, {"code": "too_large", "message": "Over the limit."}), Invalid, "Over the limit."),
        (Answer(400, {"status": "ERROR", "body": "Not so."}), Invalid, "Not so."),
        (Answer(404, {"code": "job_not_found", "message": "No job."}), JobNotFound, "No job."),
        (Answer(404, {"code": "another", "message": "Gone."}), NotFound, "Gone."),
        (Answer(409, {"code": "name_taken", "message": "Another."}), NameTaken, "Another."),
        (Answer(403, {"code": "key_refused", "message": "Not so."}), NotAllowed, "Not so."),
        (Answer(500, {"code": "name_taken", "message": "Not now."}), Unavailable, "Not now."),
        (Answer(500, b"oops"), Unavailable, "500 Internal Server Error"),
        (Answer(301, b"", {"Location": "https://other/"}), Invalid, "at another address: https://other/"),
        (Answer(200, {"id": "j1"}), Unavailable, "not understood"),
        (Answer(200, b"<html>"), Unavailable, "not understood"),
        (Answer(200, [1]), Unavailable, "not understood"),
    ],
)
def test_what_went_wrong_is_a_sentence(
    service: RemoteService, server: Server, answer: Answer, kind: type[FacesearchError], words: str
) -> None:
    server.answers = [answer]
    with pytest.raises(kind, match=words):
        service.job("j1")


def test_another_server_is_not_taken_for_a_service(service: RemoteService, server: Server) -> None:
    server.answers = [
        Answer(404, b"nginx"),
        Answer(200, b"<html>welcome</html>"),
        Answer(200, {"limits": {}}),
    ]
    for words in ("no facesearch at", "not understood", "not understood"):
        with pytest.raises(Unavailable, match=words):
            service.limits()


def test_a_file_that_changes_while_it_is_sent_is_not_sent_again(
    service: RemoteService, server: Server
) -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size)[:-10]

    server.answers = [Answer(400, {"message": "Short."})]
    with pytest.raises(Invalid, match="changed while it was sent"):
        service.start(Shrinking(bytes(100_000)), "a.zip", ImportOptions(), "k", lambda *_: None)


def test_cancelling_does_not_wait(service: RemoteService, server: Server, pauses: list[float]) -> None:
    server.answers = [Answer(503, {"message": "Busy."}), Answer(200, JOB)]
    with pytest.raises(Unavailable, match="Busy"):
        service.cancel("j1")
    service.cancel("j1")
    assert server.asked[1].line == "DELETE /v1/jobs/j1 HTTP/1.1"
    assert pauses == []


def test_a_prefix_and_a_password_belong_to_the_address(server: Server) -> None:
    service = RemoteService(f"http://me:secret@127.0.0.1:{server.server_port}/faces/")
    server.answers = [Answer(200, JOB)]
    service.job("j1")
    service.close()
    assert server.asked[0].line == "GET /faces/v1/jobs/j1 HTTP/1.1"
    assert service.name == f"http://127.0.0.1:{server.server_port}/faces"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "", "http://x:port", "/tmp"])
def test_an_address_is_an_url(url: str) -> None:
    with pytest.raises(Invalid, match="--url takes"):
        RemoteService(url)


def test_any_route_is_asked_once(service: RemoteService, server: Server, pauses: list[float]) -> None:
    server.answers = [
        Answer(200, {"faces": []}),
        Answer(200, {}),
        Answer(503, {"message": "Busy."}),
        Answer(200, [1]),
    ]
    files = [("file", ("ä\udcff.jpg", b"photo bytes")), ("file", ("b.jpg", b"others"))]
    assert service.ask("POST", "v1/search", {"k": 3, "filter": None}, files) == {"faces": []}
    assert server.asked[0].line == "POST /v1/search?k=3 HTTP/1.1"
    assert b"photo bytes" in server.asked[0].body
    assert b"others" in server.asked[0].body
    service.ask("PATCH", "v1/faces/7", body={"external_id": None})
    assert json.loads(server.asked[1].body) == {"external_id": None}
    with pytest.raises(Unavailable, match=r"Busy\."):
        service.ask("GET", "v1/jobs")
    with pytest.raises(Unavailable, match="is not understood"):
        service.ask("GET", "v1/jobs")
    assert pauses == []


def test_a_list_is_read_page_by_page(service: RemoteService, server: Server) -> None:
    pages = [Answer(200, {"faces": [{"id": 1}, {"id": 2}], "next": "a"})] * 2
    pages.append(Answer(200, {"faces": [{"id": 3}], "next": None}))
    for most, number, limits in ((None, 5, "1000 1000 1000"), (4, 4, "4 2"), (5, 5, "5 3 1")):
        server.answers, server.asked = list(pages), []
        assert len(list(service.listed("v1/faces", "faces", {"person": 0}, most))) == number
        targets = [asked.line.split()[1] for asked in server.asked]
        cursors = ["", *["&cursor=a"] * 2]
        assert targets == [
            f"/v1/faces?person=0&limit={limit}{cursor}"
            for limit, cursor in zip(limits.split(), cursors, strict=False)
        ]
    server.answers = [Answer(200, {"people": []})]
    with pytest.raises(Unavailable, match="is not understood"):
        list(service.listed("v1/faces", "faces", {}, None))


def test_a_picture_is_fetched_with_its_type(service: RemoteService, server: Server) -> None:
    server.answers = [Answer(200, b"\xff\xd8", {"Content-Type": "image/jpeg"})]
    assert service.fetched("v1/faces/7/thumbnail", {"collection": "a b"}) == ("image/jpeg", b"\xff\xd8")
    assert server.asked[0].line == "GET /v1/faces/7/thumbnail?collection=a+b HTTP/1.1"
    server.answers = [Answer(404, {"message": "No crop of this face is kept."})]
    with pytest.raises(NotFound, match="No crop"):
        service.fetched("v1/faces/7/thumbnail", {})


@pytest.mark.parametrize(
    ("key", "environment", "sent"),
    [
        ("fs_a", "fs_b", "fs_a"),
        (" fs_a\n", "", "fs_a"),
        (None, "fs_b", "fs_b"),
        (None, "", None),
        ("", "fs_b", None),
    ],
)
def test_the_key_goes_with_each_request(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str | None, environment: str, sent: str | None
) -> None:
    monkeypatch.setenv("FACESEARCH_API_KEY", environment)
    server.answers = [Answer(200, {"limits": LIMITS}), Answer(200, JOB)]
    with closing(RemoteService(server.url, key=key)) as service:
        service.limits()
        service.job("j1")
    assert [asked.api_key for asked in server.asked] == [sent, sent]


@pytest.mark.parametrize("key", ["fs_é", "a\nb", "a\x00"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="characters"):
        RemoteService("http://127.0.0.1:1", key=key)


def test_who_has_no_key_is_told_where_to_give_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACESEARCH_API_KEY", raising=False)
    refusal = Answer(401, {"code": "key_missing", "message": "The service wants a key."})
    server.answers = [refusal, refusal]
    for key, told in ((None, "--key or FACESEARCH_API_KEY"), ("fs_a", "wants a key.")):
        with closing(RemoteService(server.url, key=key)) as service, pytest.raises(Invalid) as refused:
            service.limits()
        assert refused.value.message.endswith(f"{told}." if key is None else told)
