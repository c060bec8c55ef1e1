import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.errors import DatabaseUnavailable, JobNotFound
from facesearch.records import (
    CANCELLED,
    DONE,
    FAILED,
    FILE_STATUSES,
    RUNNING,
    Caller,
    FileReport,
    ImportOptions,
    Page,
    ReportedFace,
)
from facesearch.web import job_events, work
from facesearch.web.cursors import cursor
from tests.web.conftest import FakeAPI
from tests.web.fake_imports import BOX, CREATED

SIDES = {"top": 10, "right": 109, "bottom": 109, "left": 10}
ROUTES = ["", "/files", "/report.csv", "/events"]


def counted(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys(FILE_STATUSES, 0), **counts}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "_LOOK_S", 0.001)


def test_a_running_job_tells_how_fast_it_is_and_how_long_it_takes(client: TestClient, api: FakeAPI) -> None:
    begun = CREATED + timedelta(seconds=1)
    api.fake_imports.add(
        RUNNING, total=100, counts=counted(inserted=20, failed=5), worked_s=8.0, started_at=begun
    )
    job = client.get("/v1/jobs/job-1").json()
    assert (job["state"], job["done"], job["rate"], job["left_s"]) == ("running", 25, 3.125, 24.0)
    assert job["counts"] == {"total": 100, **counted(inserted=20, failed=5)}
    assert (job["started_at"], job["finished_at"]) == ("2026-01-02T03:04:06+00:00", None)


def test_a_failed_job_tells_why(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add(FAILED, finished_at=CREATED, error_code="broken_archive", error="It is damaged.")
    job = client.get("/v1/jobs/job-1").json()
    assert job["error"] == {"code": "broken_archive", "message": "It is damaged."}
    assert (job["left_s"], job["finished_at"]) == (None, "2026-01-02T03:04:05+00:00")


def test_jobs_are_listed_page_by_page_from_the_newest(client: TestClient, api: FakeAPI) -> None:
    for _ in range(5):
        api.fake_imports.add()
    pages, at = [], ""
    while True:
        page = client.get(f"/v1/jobs?limit=2{at}").json()
        pages.append([job["id"] for job in page["jobs"]])
        if page["next"] is None:
            break
        at = f"&cursor={page['next']}"
    assert pages == [["job-5", "job-4"], ["job-3", "job-2"], ["job-1"]]
    assert client.get("/v1/jobs").json()["next"] is None


def test_files_are_told_page_by_page_in_their_order(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add(DONE)
    first = client.get("/v1/jobs/job-1/files?limit=2").json()
    assert first["files"] == [
        {
            "path": "a.jpg",
            "status": "inserted",
            "id": 8,
            "person_name": "Ana",
            "reason": None,
            "faces": [{"id": 8, "box": SIDES}],
            "duplicate_of": None,
        },
        {
            "path": "b.jpg",
            "status": "no_face",
            "id": None,
            "person_name": None,
            "reason": "No face was found in the photo.",
            "faces": [],
            "duplicate_of": None,
        },
    ]
    rest = client.get(f"/v1/jobs/job-1/files?limit=2&cursor={first['next']}").json()
    assert ([file["path"] for file in rest["files"]], rest["next"]) == (["c.jpg"], None)
    assert rest["files"][0]["duplicate_of"] == 3


@pytest.mark.parametrize("status", FILE_STATUSES)
def test_files_of_one_status_can_be_asked_for(client: TestClient, api: FakeAPI, status: str) -> None:
    api.fake_imports.add(DONE)
    found = client.get(f"/v1/jobs/job-1/files?status={status}").json()["files"]
    assert {file["status"] for file in found} <= {status}
    assert api.fake_imports.asked_for == [("job-1", 100, None, status)]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/job-1/files"])
@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=" + "9" * 5000,
        "cursor=",
        "cursor=x",
        "cursor=%FF",
        "cursor=%00",
        "cursor=\u0663",
        "cursor=" + "A" * 5000,
        f"cursor={cursor('others', 3)}",
        f"cursor={cursor('jobs', 3, None)}x",
        f"cursor={cursor('jobs', 2**63, None)}",
        f"cursor={cursor('files', 2**63, 'job-1', None)}",
        f"cursor={cursor('jobs', -1, None)}",
    ],
)
def test_a_page_that_does_not_exist_is_400(client: TestClient, api: FakeAPI, path: str, query: str) -> None:
    api.fake_imports.add()
    answer = client.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert query.partition("=")[0] in answer.json()["message"]
    assert not api.fake_imports.asked_for


def test_a_cursor_of_another_list_is_400(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add()
    assert client.get(f"/v1/jobs?cursor={cursor('files', 3, None)}").status_code == 400
    assert client.get(f"/v1/jobs/job-1/files?cursor={cursor('jobs', 3, 'job-1', None)}").status_code == 400


@pytest.mark.parametrize("status", ["", "ok", "INSERTED"])
def test_a_status_that_does_not_exist_is_400(client: TestClient, api: FakeAPI, status: str) -> None:
    api.fake_imports.add()
    assert client.get(f"/v1/jobs/job-1/files?status={status}").status_code == 400


@pytest.mark.parametrize("rest", ROUTES)
@pytest.mark.parametrize("job_id", ["job-2", "x" * 5000, "a%00b", "%20", "\u0663", "a'b", "%F0%9F%98%80"])
def test_an_unknown_job_is_404(client: TestClient, api: FakeAPI, job_id: str, rest: str) -> None:
    api.fake_imports.add()
    answer = client.get(f"/v1/jobs/{job_id}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    assert api.fake_imports.asked.is_set() == (job_id == "job-2")
    if not rest:
        assert client.delete(f"/v1/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize("rest", ROUTES)
def test_a_database_that_is_away_is_503(
    client: TestClient, api: FakeAPI, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_AWAY_S", 0.0)
    monkeypatch.setattr(work, "_WAIT_S", 0.001)
    api.fake_imports.add()
    api.fake_imports.errors = [DatabaseUnavailable()] * 2
    answer = client.get(f"/v1/jobs/job-1{rest}")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize(("state", "status"), [(RUNNING, 200), (CANCELLED, 200), (DONE, 409)])
def test_a_job_can_be_cancelled_until_it_has_ended(
    client: TestClient, api: FakeAPI, state: str, status: int
) -> None:
    api.fake_imports.add(state)
    answer = client.delete("/v1/jobs/job-1")
    assert answer.status_code == status
    assert answer.json().get("state" if status == 200 else "code") == (
        "cancelled" if status == 200 else "job_over"
    )


# The table


def table(client: TestClient) -> list[list[str]]:
    answer = client.get("/v1/jobs/job-1/report.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="import-job-1.csv"'
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8"), newline="")))


def test_the_table_has_a_row_per_file(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_FILES_PER_PAGE", 2)
    api.fake_imports.add(DONE)
    header, *rows = table(client)
    assert header == ["path", "status", "id", "person_name", "reason", "duplicate_of", "faces"]
    assert [row[:6] for row in rows] == [
        ["a.jpg", "inserted", "8", "Ana", "", ""],
        ["b.jpg", "no_face", "", "", "No face was found in the photo.", ""],
        ["c.jpg", "duplicate", "3", "Ana", "The photo is stored already.", "3"],
    ]
    assert json.loads(rows[0][6]) == [{"id": 8, "box": SIDES}]


@pytest.mark.parametrize(
    "path", ["a,b.jpg", 'a "b".jpg', "a\nb.jpg", "a\r\nb.jpg", "Å 漢字 😀.jpg", " a ;b\t.jpg", "a\x00b"]
)
def test_any_path_is_one_cell(client: TestClient, api: FakeAPI, path: str) -> None:
    api.fake_imports.add(DONE)
    api.fake_imports.reports = (FileReport(path, "inserted", 1, path),)
    assert table(client)[1][:4] == [path, "inserted", "1", path]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_no_cell_is_a_formula(client: TestClient, api: FakeAPI, first: str) -> None:
    api.fake_imports.add(DONE)
    text = first + 'HYPERLINK("x")'
    face = ReportedFace(BOX)
    api.fake_imports.reports = (FileReport(text, "failed", None, text, text, (face,)),)
    row = table(client)[1]
    assert (row[0], row[3], row[4]) == (f"'{text}",) * 3
    assert not any(cell.startswith(first) for cell in row)


def test_the_table_waits_while_the_database_is_away(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_WAIT_S", 0.001)
    monkeypatch.setattr(work, "_FILES_PER_PAGE", 1)
    api.fake_imports.add(DONE)
    files = api.fake_imports.files

    def then_away(*page: Any) -> Page[FileReport]:
        told = files(*page)
        api.fake_imports.errors = [DatabaseUnavailable()] * 3 if page[1:] in ((), (None,)) else []
        return told

    monkeypatch.setattr(api.fake_imports, "files", then_away)
    assert len(table(client)) == 4


def test_a_table_that_cannot_begin_is_503_at_once(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add(DONE)
    api.fake_imports.errors = [DatabaseUnavailable("It is away.")]
    answer = client.get("/v1/jobs/job-1/report.csv")
    assert (answer.status_code, answer.json()["message"]) == (503, "It is away.")
    assert answer.headers["retry-after"] == "5"


# Events


@contextmanager
def follow(client: TestClient) -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of the first job: names with their data, comments as `:`."""

    def parsed(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
        name = ""
        for line in lines:
            if line.startswith(": "):
                yield ":", line[2:]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])

    with client.stream("GET", "/v1/jobs/job-1/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        yield parsed(answer.iter_lines())


def test_a_job_that_is_over_is_one_progress_and_the_end(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add(DONE)
    with follow(client) as events:
        told = list(events)
    assert [name for name, _ in told] == ["progress", "end"]
    assert told[1][1] == client.get("/v1/jobs/job-1").json()


def test_a_browser_that_has_seen_the_end_is_told_not_to_connect_again(
    client: TestClient, api: FakeAPI
) -> None:
    api.fake_imports.add(DONE)
    events = client.get("/v1/jobs/job-1/events").text.split("\n\n")
    assert [("id: end" in event.splitlines()) for event in events if event] == [False, True]
    seen = client.get("/v1/jobs/job-1/events", headers={"Last-Event-ID": "end"})
    assert (seen.status_code, seen.content) == (204, b"")
    assert client.get("/v1/jobs/job-1/events", headers={"Last-Event-ID": "7"}).status_code == 200


def test_each_change_is_a_progress_and_nothing_else_is(client: TestClient, api: FakeAPI) -> None:
    fake = api.fake_imports
    fake.add(RUNNING, total=3)
    states = [counted(), counted(inserted=1), counted(inserted=1), counted(inserted=1, failed=2)]
    looks = iter(states)

    def get(job_id: str) -> Any:
        counts = next(looks, None)
        return fake.change(job_id, state=DONE) if counts is None else fake.change(job_id, counts=counts)

    fake.get = get  # type: ignore[method-assign]
    with follow(client) as events:
        told = list(events)
    assert [(name, job["done"], job["state"]) for name, job in told] == [
        ("progress", 0, "running"),
        ("progress", 1, "running"),
        ("progress", 3, "running"),
        ("progress", 3, "done"),
        ("end", 3, "done"),
    ]


def test_a_silent_job_has_comments(client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "_QUIET_S", 0.02)
    api.fake_imports.add(RUNNING)
    with follow(client) as events:
        assert next(events)[0] == "progress"
        assert [next(events) for _ in range(2)] == [(":", "nothing new")] * 2
        api.fake_imports.change("job-1", state=DONE)
        assert [name for name, _ in events if name != ":"] == ["progress", "end"]


def test_a_database_that_goes_away_is_a_comment_and_no_end(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "_QUIET_S", 0.02)
    fake = api.fake_imports
    fake.add(RUNNING)
    with follow(client) as events:
        assert next(events)[0] == "progress"
        fake.errors = [DatabaseUnavailable()] * 100_000
        # Any number of comments may have come before the database went away.
        assert (":", DatabaseUnavailable().message) in (next(events) for _ in range(1000))
        fake.errors = []
        fake.change("job-1", state=DONE)
        assert [name for name, _ in events if name != ":"] == ["progress", "end"]


def test_a_stop_closes_the_stream_without_an_end(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add(RUNNING)
    with follow(client) as events:
        assert next(events)[0] == "progress"
        client.app.state.stopping.note()  # type: ignore[attr-defined]
        assert list(events) == [(":", "The service is stopping.")]


def test_a_job_that_is_forgotten_closes_the_stream(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.add(RUNNING)
    with follow(client) as events:
        assert next(events)[0] == "progress"
        api.fake_imports.errors = [JobNotFound()]
        assert list(events) == []


def test_a_stream_is_closed_after_a_while(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "LONGEST_S", 0.02)
    api.fake_imports.add(RUNNING)
    with follow(client) as events:
        assert [name for name, _ in events] == ["progress"]


def test_more_streams_than_may_be_open_are_503_and_a_closed_one_gives_its_place_back(
    client: TestClient, api: FakeAPI
) -> None:
    api.fake_imports.add(DONE)
    places: Any = client.app.state.streams  # type: ignore[attr-defined]
    for _ in range(places.number - 1):
        places.__enter__()
    for _ in range(2):
        with follow(client) as events:
            assert len(list(events)) == 2
    places.__enter__()
    answer = client.get("/v1/jobs/job-1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert client.get("/v1/jobs/job-1").status_code == 200


# Jobs of other collections


@pytest.fixture
def of_two(api: FakeAPI) -> FakeAPI:
    """Seven jobs, every other one of the collection `own`, and a key for it."""
    api.fake_collections.add("own")
    for number in range(7):
        api.fake_imports.add(options=ImportOptions(collection="own" if number % 2 else "default"))
    api.fake_access.callers = {"own": Caller("own00001", "", "admin", "own"), "all": Caller("all00001")}
    return api


def ids_of(page: dict[str, Any]) -> list[str]:
    return [job["id"] for job in page["jobs"]]


def test_a_key_for_one_collection_is_told_of_its_jobs_alone(client: TestClient, of_two: FakeAPI) -> None:
    headers = {"X-API-Key": "own"}
    assert ids_of(client.get("/v1/jobs", headers=headers).json()) == ["job-6", "job-4", "job-2"]
    page = client.get("/v1/jobs?limit=2", headers=headers).json()
    assert ids_of(page) == ["job-6", "job-4"]
    page = client.get(f"/v1/jobs?limit=2&cursor={page['next']}", headers=headers).json()
    assert (ids_of(page), page["next"]) == (["job-2"], None)
    assert client.get("/v1/jobs?limit=3", headers=headers).json()["next"] is None


def test_a_key_for_all_collections_may_name_one(client: TestClient, of_two: FakeAPI) -> None:
    headers = {"X-API-Key": "all"}
    assert len(ids_of(client.get("/v1/jobs", headers=headers).json())) == 7
    assert len(ids_of(client.get("/v1/jobs?collection=own", headers=headers).json())) == 3
    assert len(ids_of(client.get("/v1/jobs?collection=default", headers=headers).json())) == 4
    of_two.fake_collections.add("empty")
    assert ids_of(client.get("/v1/jobs?collection=empty", headers=headers).json()) == []


@pytest.mark.parametrize(("method", "route"), [*(("GET", route) for route in ROUTES), ("DELETE", "")])
def test_a_job_of_another_collection_is_404(
    client: TestClient, of_two: FakeAPI, method: str, route: str
) -> None:
    before = dict(of_two.fake_imports.known)
    answer = client.request(method, f"/v1/jobs/job-1{route}", headers={"X-API-Key": "own"})
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    assert of_two.fake_imports.known == before


def test_a_job_of_the_key_s_collection_may_be_cancelled(client: TestClient, of_two: FakeAPI) -> None:
    answer = client.delete("/v1/jobs/job-2", headers={"X-API-Key": "own"})
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
