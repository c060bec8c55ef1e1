"""What holds of every route that works on a collection: keys, collections, cursors, and two at once."""

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.errors import CollectionNotFound, DatabaseUnavailable, ModelNotFound
from facesearch.records import DONE, Caller
from facesearch.web.cursors import cursor
from tests.web.conftest import FakeAPI
from tests.web.fake_gallery import FakeGallery

Response = Any  # of whichever client the framework tests with
PHOTO = {"file": ("Ana_0001.jpg", b"photo")}
FACES = {"faces": [1]}
ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/compare", {"files": {"source": PHOTO["file"], "target": PHOTO["file"]}}),
    ("POST", "/v1/imports", {"files": PHOTO}),
    ("GET", "/v1/jobs", {}),
    ("POST", "/v1/search", {"files": PHOTO}),
    ("POST", "/v1/search/vector", {"json": {"vector": [0.5] * 128, "model": "model"}}),
    ("POST", "/v1/faces", {"files": PHOTO}),
    ("GET", "/v1/faces", {}),
    ("GET", "/v1/faces/1", {}),
    ("PATCH", "/v1/faces/1", {"json": {"external_id": "x"}}),
    ("DELETE", "/v1/faces/1", {}),
    ("POST", "/v1/faces/delete", {"json": FACES}),
    ("POST", "/v1/faces/unassign", {"json": FACES}),
    ("GET", "/v1/faces/1/thumbnail", {}),
    ("POST", "/v1/faces/1/search", {}),
    ("GET", "/v1/people", {}),
    ("GET", "/v1/people?name=Ana", {}),
    ("POST", "/v1/people", {"json": {"name": "Bo"}}),
    ("GET", "/v1/people/1", {}),
    ("PATCH", "/v1/people/1", {"json": {"name": "Cy"}}),
    ("DELETE", "/v1/people/1", {}),
    ("POST", "/v1/people/1/merge", {"json": {"people": [2]}}),
    ("POST", "/v1/people/1/faces", {"json": FACES}),
]
LISTS = ["/v1/faces", "/v1/people", "/v1/collections", "/v1/jobs"]
OTHERS = ["other", "Default", "*", "défaut", "d e", "人" * 255, "x" * 256, "x" * 10_000, ""]


@pytest.fixture
def gallery(api: FakeAPI) -> FakeGallery:
    gallery = api.fake_collections.gallery("default")
    gallery.add("Ana")
    gallery.add("Bea")
    return gallery


def ask(client: TestClient, method: str, path: str, query: dict[str, str], **sent: Any) -> Response:
    path, _, own = path.partition("?")
    params = dict(pair.split("=") for pair in own.split("&") if pair)
    return client.request(method, path, params=params | query, **sent)


def test_the_list_of_routes_is_whole(client: TestClient) -> None:
    app: Any = client.app
    documented = {
        (method.upper(), path.format(face_id=1, person_id=1))
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if "collection" in [parameter["name"] for parameter in operation.get("parameters", ())]
    }
    known = {(method, path.partition("?")[0]) for method, path, _ in ROUTES}
    assert known == documented


def test_the_list_of_lists_is_whole(client: TestClient) -> None:
    app: Any = client.app
    pages = {
        path
        for path, methods in app.openapi()["paths"].items()
        for operation in methods.values()
        if "cursor" in [parameter["name"] for parameter in operation.get("parameters", ())]
    }
    assert pages == {*LISTS, "/v1/jobs/{job_id}/files"}  # which test_jobs has


# Of each path with an id, somebody who is not there.
UNKNOWN = {
    "/v1/faces/{face_id}": "/v1/faces/99",
    "/v1/people/{person_id}": "/v1/people/99",
    "/v1/jobs/{job_id}": "/v1/jobs/nothing",
    "/v1/collections/{name}": "/v1/collections/nowhere",
    "/v1/models/{model_id}": "/v1/models/nothing",
}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("patch", "/v1/faces/{face_id}"): {"external_id": "x"},
    ("patch", "/v1/people/{person_id}"): {"name": "Cy"},
    ("post", "/v1/people/{person_id}/merge"): {"people": [1]},
    ("post", "/v1/people/{person_id}/faces"): FACES,
}


def test_what_is_not_there_is_404_on_every_route_with_an_id(
    client: TestClient, api: FakeAPI, gallery: FakeGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "model", partial(_raise, ModelNotFound()))
    app: Any = client.app
    asked = 0
    for path, methods in app.openapi()["paths"].items():
        for method in methods if "{" in path else ():
            begin = path[: path.index("}") + 1]
            unknown = UNKNOWN[begin] + path.removeprefix(begin)
            answer = client.request(method, unknown, json=BODIES.get((method, path)))
            assert answer.status_code == 404, (method, path)
            assert answer.json()["code"].endswith("_not_found"), (method, path)
            asked += 1
    assert asked == 18


def test_a_wrong_key_is_401_on_all_that_is_documented_but_health(client: TestClient, api: FakeAPI) -> None:
    api.fake_access.callers = {"right": Caller("right001")}
    app: Any = client.app
    for path, methods in app.openapi()["paths"].items():
        for method in methods if path not in ("/healthz", "/readyz") else ():
            answer = client.request(method, path, headers={"X-API-Key": "wrong"})
            assert answer.status_code == 401, (method, path)
    assert (api.calls, api.fake_access.deeds) == ([], [])


def _raise(error: Exception, *_: object) -> Any:
    raise error


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES)
def test_a_wrong_key_is_401(
    client: TestClient, api: FakeAPI, gallery: FakeGallery, method: str, path: str, sent: dict[str, Any]
) -> None:
    api.fake_access.callers = {"right": Caller("right001")}
    for headers in ({}, {"X-API-Key": "wrong"}):
        assert ask(client, method, path, {}, headers=headers, **sent).status_code == 401
    assert (api.calls, api.fake_access.deeds) == ([], [])


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES)
def test_a_key_of_another_collection_is_403(
    client: TestClient, api: FakeAPI, gallery: FakeGallery, method: str, path: str, sent: dict[str, Any]
) -> None:
    api.fake_access.callers = {"other": Caller("other001", "", "admin", "other")}
    before = dict(gallery.kept)
    for name in ("default", "nowhere", "x" * 300, ""):
        answer = ask(client, method, path, {"collection": name}, headers={"X-API-Key": "other"}, **sent)
        assert (answer.status_code, answer.json()["code"]) == (403, "collection_not_allowed")
    assert (api.calls, gallery.kept) == ([], before)


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES)
def test_a_collection_that_is_not_there_is_404(
    client: TestClient, gallery: FakeGallery, method: str, path: str, sent: dict[str, Any]
) -> None:
    before = dict(gallery.kept)
    for name in OTHERS:
        answer = ask(client, method, path, {"collection": name}, **sent)
        assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found"), name
    assert gallery.kept == before


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES)
def test_a_key_may_be_for_a_collection_of_any_name(
    client: TestClient, api: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    name = "Zoë " + "人" * 251
    api.fake_collections.add(name)
    gallery = api.fake_collections.gallery(name)
    gallery.add("Ana")
    gallery.add("Bea")
    api.fake_access.callers = {"own": Caller("own00001", "", "admin", name)}
    status = ask(client, method, path, {"collection": name}, headers={"X-API-Key": "own"}, **sent).status_code
    assert status in ((404,) if path.endswith("thumbnail") else (200, 201, 202))


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES)
def test_a_database_that_is_away_is_503(
    client: TestClient, api: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    for error in (DatabaseUnavailable(), CollectionNotFound()):
        api.error = error
        answer = ask(client, method, path, {"collection": "default"}, **sent)
        assert answer.json()["code"] == error.code


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_that_the_list_never_gave_is_400(client: TestClient, path: str) -> None:
    made_up = [b"nothing:7", b"faces:-7", b"faces:99999999999999999999", b"people:x"]
    cursors = [base64.urlsafe_b64encode(text).decode() for text in made_up]
    for text in ["", "x", "人", "%00", "=" * 10, "A" * 10_000, *cursors]:
        answer = client.get(path, params={"cursor": text})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter"), text
        assert answer.json()["message"] == "cursor is not one that this list gave."
        assert answer.json()["details"] == {"parameters": ["cursor"]}


@pytest.mark.parametrize("path", LISTS)
def test_the_cursor_of_another_list_is_400(client: TestClient, path: str) -> None:
    for kind in {"faces", "people", "collections", "jobs"} - {path.rpartition("/")[2]}:
        assert client.get(path, params={"cursor": cursor(kind, 7) or ""}).status_code == 400


FILTER = '{"a": 1, "b": {"exists": false}}'


@pytest.mark.parametrize(
    ("path", "asked", "same", "others"),
    [
        (
            "/v1/faces",
            {"person": ["0", "1", "2"]},
            [{"person": ["2", "1", "0"], "collection": "default"}],
            [{"person": ["0", "1"]}, {}, {"person": ["0", "1", "2"], "collection": "other"}],
        ),
        ("/v1/faces", {}, [{}], [{"person": "0"}, {"external_id": ""}, {"filter": FILTER}]),
        (
            "/v1/faces",
            {"filter": FILTER},
            [{"filter": '{"b": {"exists": false}, "a": 1}'}],
            [{"filter": FILTER.replace("1", "2")}, {"filter": FILTER, "external_id": "x"}, {}],
        ),
        ("/v1/people", {}, [{}], [{"collection": "other"}, {"name": "Ana"}, {"name": "None"}]),
        ("/v1/jobs", {}, [{}], [{"collection": "default"}]),
        ("/v1/jobs", {"collection": "default"}, [{"collection": "default"}], [{"collection": "other"}, {}]),
        ("/v1/jobs/job-1/files", {}, [{}], [{"status": "failed"}]),
    ],
)
def test_a_cursor_of_the_list_of_something_else_is_400(
    client: TestClient,
    api: FakeAPI,
    gallery: FakeGallery,
    path: str,
    asked: dict[str, Any],
    same: list[dict[str, Any]],
    others: list[dict[str, Any]],
) -> None:
    api.fake_collections.add("other")
    api.fake_imports.add(DONE)
    api.fake_imports.add(DONE)
    at = client.get(path, params={**asked, "limit": "1"}).json()["next"]
    assert at
    for query in same:
        assert client.get(path, params={**query, "cursor": at}).status_code == 200, query
    for query in others:
        answer = client.get(path, params={**query, "cursor": at})
        assert (answer.status_code, answer.json()["details"]) == (400, {"parameters": ["cursor"]}), query
    if path.startswith("/v1/jobs/"):
        other = path.replace("job-1", "job-2")
        assert client.get(other, params={"cursor": at}).status_code == 400


@pytest.mark.parametrize("path", LISTS)
def test_a_limit_that_cannot_be_meant_is_400(client: TestClient, path: str) -> None:
    for limit in ["0", "1001", "-1", "x", "", "1.5", "9" * 5000]:
        answer = client.get(path, params={"limit": limit})
        assert (answer.status_code, answer.json()["details"]) == (400, {"parameters": ["limit"]}), limit


@pytest.mark.parametrize("path", [*LISTS, "/v1/models"])
def test_a_slash_at_the_end_changes_nothing(client: TestClient, gallery: FakeGallery, path: str) -> None:
    assert client.get(f"{path}/").json() == client.get(path).json()


# What is written down

CHANGES: list[tuple[str, str, dict[str, Any], tuple[int | str, ...]]] = [
    ("PATCH", "/v1/faces/1", {"json": {"external_id": "x"}}, (1,)),
    ("DELETE", "/v1/faces/1", {}, (1,)),
    ("POST", "/v1/faces/delete", {"json": {"faces": [1, 2]}}, (1, 2)),
    ("POST", "/v1/faces/unassign", {"json": {"faces": [1, 2]}}, (1, 2)),
    ("PATCH", "/v1/people/1", {"json": {"name": "Cy"}}, ("person:1",)),
    ("DELETE", "/v1/people/1", {}, ("person:1",)),
    ("POST", "/v1/people/1/merge", {"json": {"people": [2]}}, ("person:1", "person:2")),
    ("POST", "/v1/people/1/faces", {"json": {"faces": [1, 2]}}, ("person:1", 1, 2)),
]


@pytest.mark.parametrize(("method", "path", "sent", "ids"), CHANGES)
def test_what_was_not_changed_is_not_written_down_as_changed(
    client: TestClient,
    api: FakeAPI,
    gallery: FakeGallery,
    method: str,
    path: str,
    sent: dict[str, Any],
    ids: tuple[int | str, ...],
) -> None:
    other = api.fake_collections.make("other")
    if path == "/v1/people/1/faces":
        other.people.known[1] = gallery.people.get(1)
    assert client.request(method, f"{path}?collection=other", **sent).status_code in (200, 404)
    assert api.fake_access.deeds[-1].ids == ()
    for error in (DatabaseUnavailable(), RuntimeError()):
        api.error = error
        assert client.request(method, path, **sent).status_code >= 500
        assert api.fake_access.deeds[-1].ids == ids
    api.error = None
    assert client.request(method, path, **sent).status_code == 200
    assert api.fake_access.deeds[-1].ids[: len(ids)] == ids


def test_a_collection_or_a_job_that_is_still_there_is_not_written_down_as_gone(
    client: TestClient, api: FakeAPI
) -> None:
    api.fake_imports.add(DONE)
    assert client.delete("/v1/collections/default").status_code == 409
    assert client.delete("/v1/jobs/job-1").status_code == 409
    assert [deed.ids for deed in api.fake_access.deeds] == [(), ()]


# Two at once


def at_once(*work: Callable[[], Response]) -> list[Response]:
    barrier = Barrier(len(work))

    def begin(one: Callable[[], Response]) -> Response:
        barrier.wait(timeout=20)
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(begin, work))


@pytest.mark.parametrize("path", ["/v1/people", "/v1/collections"])
def test_of_two_that_make_the_same_one_is_refused(client: TestClient, path: str) -> None:
    for number in range(10):
        sent = {"name": f"Zoë {number}"}
        answers = at_once(*[lambda: client.post(path, json=sent)] * 2)  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [201, 409]


@pytest.mark.parametrize("path", ["/v1/people", "/v1/collections"])
def test_two_that_are_one_request_make_one(client: TestClient, path: str) -> None:
    for number in range(10):
        sent, headers = {"name": f"Zoë {number}"}, {"Idempotency-Key": f"k{number}"}
        answers = at_once(*[lambda: client.post(path, json=sent, headers=headers)] * 2)  # noqa: B023
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()


def test_a_face_that_two_erase_is_erased_once(client: TestClient, gallery: FakeGallery) -> None:
    for _ in range(10):
        face = gallery.add("Ana").id
        answers = at_once(*[lambda: client.delete(f"/v1/faces/{face}")] * 2)  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [200, 404]


def test_photos_that_two_store_are_both_there_under_one_name(
    client: TestClient, gallery: FakeGallery
) -> None:
    def store(data: bytes) -> Callable[[], Response]:
        return lambda: client.post("/v1/faces", files={"file": data}, data={"person_name": "Zoë"})

    people = {
        answer.json()["faces"][0]["person_id"]
        for number in range(10)
        for answer in at_once(store(b"a%d" % number), store(b"b%d" % number))
    }
    assert len(people) == 1
    assert gallery.people.get(*people).faces == 20
