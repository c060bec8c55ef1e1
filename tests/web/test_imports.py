from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch import __version__
from facesearch.config import IntakeSettings, Settings
from facesearch.errors import (
    BrokenArchive,
    Busy,
    DatabaseUnavailable,
    FacesearchError,
    KeyReused,
    QueueFull,
    SeveralFaces,
    StorageFull,
    TooLarge,
    Unavailable,
)
from facesearch.records import CANCELLED, FAILED, QUEUED, FileReport, ImportOptions
from facesearch.web import create_app, work
from tests.web.conftest import FakeAPI, local_client

ZIP = {"file": ("folder/faces.zip", b"zip")}
BULK, V1 = "/add_faces_in_bulk/", "/v1/imports"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait that would take a minute take a moment."""
    monkeypatch.setattr(work, "_WAIT_S", 0.001)
    monkeypatch.setattr(work, "_AWAY_S", 0.05)


def test_an_import_answers_202_with_its_job_and_where_to_follow_it(client: TestClient, api: FakeAPI) -> None:
    answer = client.post(V1, files=ZIP)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/jobs/job-1"
    assert answer.json() == {
        "id": "job-1",
        "state": "queued",
        "file_name": "faces.zip",
        "kind": "import",
        "collection": "default",
        "faces": "largest",
        "duplicates": "skip",
        "counts": {"total": 3, "inserted": 0, "no_face": 0, "duplicate": 0, "failed": 0, "skipped": 0},
        "done": 0,
        "rate": None,
        "left_s": None,
        "created_at": "2026-01-02T03:04:05+00:00",
        "started_at": None,
        "finished_at": None,
        "error": None,
        "links": {
            "self": "/v1/jobs/job-1",
            "files": "/v1/jobs/job-1/files",
            "report": "/v1/jobs/job-1/report.csv",
            "events": "/v1/jobs/job-1/events",
        },
    }
    assert api.fake_imports.started == [(b"zip", "faces.zip", ImportOptions(), None)]
    assert all(file.closed for file in api.fake_imports.files_made)


@pytest.mark.parametrize("faces", ["largest", "all", "single"])
@pytest.mark.parametrize("duplicates", ["skip", "store"])
def test_the_options_of_an_import_reach_the_api(
    client: TestClient, api: FakeAPI, faces: str, duplicates: str
) -> None:
    answer = client.post(f"{V1}?faces={faces}&duplicates={duplicates}", files=ZIP)
    assert (answer.json()["faces"], answer.json()["duplicates"]) == (faces, duplicates)
    assert api.fake_imports.started[0][2] == ImportOptions(faces, duplicates == "skip")


def test_the_options_of_an_import_may_be_form_fields(client: TestClient, api: FakeAPI) -> None:
    for form in (
        {"faces": "all", "duplicates": "store"},
        {"faces": "single", "duplicates": "skip"},
        {},
    ):
        client.post(f"{V1}?duplicates=store" if form else V1, files=ZIP, data=form)
    options = [started[2] for started in api.fake_imports.started]
    assert options == [ImportOptions("all", False), ImportOptions("single", False), ImportOptions()]


def test_a_form_field_that_says_something_else_is_another_request(client: TestClient, api: FakeAPI) -> None:
    for query, form in (("", {"faces": "all"}), ("", {"faces": "single"}), ("?faces=all", {})):
        client.post(V1 + query, files=ZIP, data=form, headers={"Idempotency-Key": "k"})
    prints = [started[3].fingerprint for started in api.fake_imports.started if started[3]]
    assert len(prints) == 3
    assert prints[0] == prints[2] != prints[1]


@pytest.mark.parametrize(
    "form", [{"faces": "none"}, {"faces": ""}, {"faces": ["all", "all"]}, {"duplicates": "x" * 10_000}]
)
def test_form_fields_that_cannot_be_meant_are_400(
    client: TestClient, api: FakeAPI, form: dict[str, Any]
) -> None:
    answer = client.post(V1, files=ZIP, data=form)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert len(answer.text) < 200
    assert not api.fake_imports.started
    assert all(file.closed for file in api.fake_imports.files_made)


@pytest.mark.parametrize("query", ["faces=none", "faces=", "duplicates=keep", "duplicates="])
def test_an_option_that_does_not_exist_is_refused_by_name(
    client: TestClient, api: FakeAPI, query: str
) -> None:
    answer = client.post(f"{V1}?{query}", files=ZIP)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    name = query.partition("=")[0]
    assert name in answer.json()["message"]
    assert answer.json()["details"] == {"parameters": [name]}
    assert not api.fake_imports.files_made


@pytest.mark.parametrize("name", ["C:\\photos\\faces.zip", "/srv/x/faces.zip", "../faces.zip"])
def test_the_folders_of_a_file_name_are_left_out(client: TestClient, api: FakeAPI, name: str) -> None:
    body = f'--x\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\nz\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post(V1, content=body.encode(), headers=headers).json()["file_name"] == "faces.zip"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BrokenArchive(), 400),
        (TooLarge(), 413),
        (KeyReused(), 422),
        (SeveralFaces(), 422),
        (QueueFull("100 imports are waiting."), 429),
        (Busy(), 503),
        (StorageFull(), 503),
        (DatabaseUnavailable(), 503),
    ],
)
@pytest.mark.parametrize("route", [V1, BULK])
def test_an_error_has_its_status_and_its_envelope(
    client: TestClient, api: FakeAPI, route: str, error: FacesearchError, status: int
) -> None:
    api.fake_imports.errors = [error]
    answer = client.post(route, files=ZIP)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("5" if status in (429, 503) else None)
    if route == V1:
        assert answer.json() == {"code": error.code, "message": error.message, "details": {}}
    else:
        assert answer.json() == {"status": "ERROR", "body": error.message, "result": {"code": error.code}}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/nothing", 404, "not_found"), ("PUT", "/v1/imports", 405, "method_not_allowed")],
)
def test_the_framework_s_own_errors_have_the_same_form(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message", "details"}
    assert answer.json()["code"] == code


def test_an_unforeseen_error_has_the_same_form(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.errors = [ZeroDivisionError("secret")]  # type: ignore[list-item]
    answer = client.post(V1, files=ZIP)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


def test_info_tells_the_version_and_every_limit(client: TestClient, settings: Settings) -> None:
    answer = client.get("/v1/info").json()
    assert answer == {
        "version": __version__,
        "limits": {
            **settings.limits.model_dump(),
            "imports_at_once": 2,
            "imports_queued": 100,
            "requests_in_flight": 64,
            "threads": 4,
        },
    }


# The same work, waited for


@pytest.mark.parametrize("skip", [False, True])
def test_a_bulk_skips_what_is_stored_where_the_configuration_says_so(api: FakeAPI, skip: bool) -> None:
    settings = Settings(intake=IntakeSettings(old_routes_skip_duplicates=skip))
    with local_client(create_app(lambda: settings, lambda _: api)) as client:
        assert client.post(BULK, files=ZIP).status_code == 200
    assert api.fake_imports.started[0][2] == ImportOptions("largest", skip, waited_for=True)


def test_a_bulk_gathers_its_report_page_by_page(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_FILES_PER_PAGE", 2)
    api.fake_imports.reports = tuple(FileReport(f"{n}.jpg", "inserted", n) for n in range(5))
    answer = client.post(BULK, files=ZIP).json()
    assert [file["file"] for file in answer["result"]["files"]] == [f"{n}.jpg" for n in range(5)]
    assert answer["body"] == "Inserted 5 images in database."


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (("broken_archive", "It is damaged."), 400),
        (("storage_full", "No room."), 503),
        (("model_mismatch", "Other vectors."), 409),
        (("of_a_newer_version", "Who knows."), 503),
    ],
)
def test_what_a_job_failed_of_is_the_answer(
    client: TestClient, api: FakeAPI, failure: tuple[str, str], status: int
) -> None:
    api.fake_imports.ends_as, api.fake_imports.failure = FAILED, failure
    answer = client.post(BULK, files=ZIP)
    assert (answer.status_code, answer.json()["body"]) == (status, failure[1])


def test_a_job_that_was_cancelled_meanwhile_is_409(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.ends_as = CANCELLED
    answer = client.post(BULK, files=ZIP)
    assert (answer.status_code, answer.json()["body"]) == (409, "The job job-1 was cancelled.")


@pytest.mark.usefixtures("quick")
def test_a_bulk_waits_while_the_database_is_away(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_AWAY_S", 60.0)
    fake = api.fake_imports
    start = fake.start

    def start_then_fail(*arguments: Any) -> Any:
        job = start(*arguments)
        fake.errors = [DatabaseUnavailable()] * 3
        return job

    monkeypatch.setattr(fake, "start", start_then_fail)
    assert client.post(BULK, files=ZIP).status_code == 200
    assert not fake.errors


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("when", ["wait", "files"])
def test_a_database_that_stays_away_is_503_and_the_job_is_named(
    client: TestClient, api: FakeAPI, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(api.fake_imports, when, away)
    answer = client.post(BULK, files=ZIP)
    assert answer.status_code == 503
    assert answer.json()["body"].endswith("The job job-1 goes on.")
    assert answer.json()["result"] == {"code": "database_unavailable"}


def test_a_stop_ends_the_wait_and_the_job_goes_on(api: FakeAPI, settings: Settings) -> None:
    api.fake_imports.ends_as = QUEUED
    app = create_app(lambda: settings, lambda _: api)
    with local_client(app) as client:
        wait = api.fake_imports.wait

        def wait_and_stop(job_id: str, limit_s: float) -> Any:
            app.state.stopping.note()
            return wait(job_id, limit_s)

        api.fake_imports.wait = wait_and_stop  # type: ignore[method-assign]
        answer = client.post(BULK, files=ZIP)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["body"] == "The service is stopping. The job job-1 goes on."
    assert answer.json()["result"] == {"code": Unavailable.code}


def test_more_bulks_than_may_be_waited_for_are_503(client: TestClient, api: FakeAPI) -> None:
    places: Any = client.app.state.bulks  # type: ignore[attr-defined]
    for _ in range(places.number):
        places.__enter__()
    answer = client.post(BULK, files=ZIP)
    assert (answer.status_code, answer.json()["result"]) == (503, {"code": "busy"})
    assert not api.fake_imports.files_made
    places.__exit__(None, None, None)
    assert client.post(BULK, files=ZIP).status_code == 200


# Requests that may be repeated


@pytest.fixture
def seen(api: FakeAPI, client: TestClient) -> Any:
    def post(route: str, key: str, name: str = "a.jpg", data: bytes = b"data") -> Any:
        answer = client.post(route, files={"file": (name, data)}, headers={"Idempotency-Key": key})
        assert answer.status_code < 300, answer.text
        if route.startswith("/add_face/"):
            return api.calls[-1][-1]
        return api.fake_imports.started[-1][-1]

    return post


@pytest.mark.parametrize("route", ["/add_face/", BULK, V1])
def test_the_same_request_has_the_same_fingerprint_and_another_has_another(seen: Any, route: str) -> None:
    one, other = "duplicates=store", "faces=all"
    first = seen(route, "my-key")
    assert first.key == "my-key"
    assert len(first.fingerprint) == 64
    assert seen(route, "my-key") == first
    assert seen(route, "other").fingerprint == first.fingerprint
    others = [
        seen(route, "my-key", name="b.jpg"),
        seen(route, "my-key", data=b"other"),
        seen(route + f"?{one}&{other}", "my-key"),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert seen(route + f"?{other}&{one}", "my-key") == others[-1]


def test_another_route_has_another_fingerprint(seen: Any) -> None:
    assert len({seen(route, "key").fingerprint for route in ("/add_face/", BULK, V1)}) == 3


@pytest.mark.parametrize("route", ["/add_face/", BULK, V1])
@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "ké".encode("latin-1"), "tab\t"])
def test_a_key_that_cannot_be_used_is_400(
    client: TestClient, api: FakeAPI, route: str, key: str | bytes
) -> None:
    headers: Any = {"Idempotency-Key": key}
    answer = client.post(route, files=ZIP, headers=headers)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.text
    assert not api.calls
    assert not api.fake_imports.started


@pytest.mark.parametrize("route", ["/add_face/", BULK, V1])
def test_two_keys_are_400(client: TestClient, api: FakeAPI, route: str) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert client.post(route, files=ZIP, headers=headers).status_code == 400
    assert not api.calls
    assert not api.fake_imports.started


@pytest.mark.parametrize("key", ["!", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324"])
def test_a_key_may_be_any_visible_ascii(seen: Any, key: str) -> None:
    assert seen(V1, key).key == key


@pytest.mark.parametrize(
    ("duplicate_of", "sentence"),
    [
        (7, "The same photo is stored already: Aaron Eckhart with id 7. Nothing was added."),
        (
            3,
            (
                "Added Aaron Eckhart with id 7. It is the largest of 2 faces in the photo. "
                "The same photo is stored with id 3 too."
            ),
        ),
    ],
)
def test_an_enrolment_tells_that_the_photo_is_known(
    client: TestClient, api: FakeAPI, duplicate_of: int, sentence: str
) -> None:
    api.duplicate_of = duplicate_of
    answer = client.post("/add_face/", files=ZIP).json()
    assert answer["result"]["duplicate_of"] == duplicate_of
    assert answer["body"] == sentence


def test_what_an_importer_s_list_says_is_told(client: TestClient, api: FakeAPI) -> None:
    api.external_id, api.metadata = "E-7", {"team": "blue"}
    body = client.post("/get_face_info/", data={"image_id": "7"}).json()["body"]
    assert (body["external_id"], body["metadata"]) == ("E-7", {"team": "blue"})


def test_the_documentation_shows_the_file_and_the_key(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, fields in ((BULK, ["file"]), (V1, ["file", "faces", "duplicates", "collection"])):
        route = paths[path]["post"]
        shape = route["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert (shape["required"], list(shape["properties"])) == (["file"], fields)
        assert "Idempotency-Key" in [parameter["name"] for parameter in route["parameters"]]
