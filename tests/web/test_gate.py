"""Who gets past the gate, with what, and what is written down of it."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from facesearch.config import Settings
from facesearch.errors import DatabaseUnavailable, FaceNotFound, RateLimited, Unavailable
from facesearch.records import Caller, Deed
from facesearch.web import create_app, key_form
from facesearch.web.gate import Gate, needed_scope
from facesearch.web.stopping import Stopping
from tests.web.conftest import FakeAPI

READ, WRITE, ADMIN = "read-key", "write-key", "admin-key"
PHOTO = {"file": ("a.jpg", b"photo")}
ZIP = {"file": ("a.zip", b"zip")}
INFO = "/get_face_info/"
FORM = {"image_id": "7"}


@pytest.fixture
def keyed(api: FakeAPI) -> FakeAPI:
    """The API, once keys were made."""
    for key, scope in ((READ, "read"), (WRITE, "write"), (ADMIN, "admin")):
        api.fake_access.callers[key] = Caller(f"{scope}0001", f"{scope} name", scope)
    return api


@pytest.fixture
def stranger(client: TestClient) -> TestClient:
    """A program on another computer; the application is the same."""
    return TestClient(client.app, base_url="http://127.0.0.1:8000", client=("10.0.0.9", 50_000))


ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/search_faces/", {"files": PHOTO}),
    ("POST", "/search_faces", {"files": PHOTO}),
    ("POST", INFO, {"data": FORM}),
    ("POST", "/add_face/", {"files": PHOTO}),
    ("POST", "/add_face", {"files": PHOTO}),
    ("POST", "/add_faces_in_bulk/", {"files": ZIP}),
    ("POST", "/v1/imports", {"files": ZIP}),
    ("POST", "/v1/imports/", {"files": ZIP}),
    ("POST", "/v1/detect", {"files": PHOTO}),
    ("DELETE", "/v1/jobs/x", {}),
    ("GET", "/v1/jobs", {}),
    ("GET", "/v1/jobs/x/events", {}),
    ("GET", "/v1/info", {}),
    ("GET", "/docs", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/metrics", {}),
    ("GET", "/", {}),
    ("GET", "/nothing", {}),
    ("HEAD", "/v1/info", {}),
    ("OPTIONS", "/v1/info", {}),
    ("PATCH", "/v1/info", {}),
    ("POST", "/healthz", {}),
    ("GET", "/healthz/", {}),
    ("GET", "//healthz", {}),
]


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES[:-3])
def test_without_keys_no_other_computer_is_answered(
    stranger: TestClient, api: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    answer = stranger.request(method, path, **sent)
    assert answer.status_code == 403
    assert api.calls == []
    if method != "HEAD":
        said = answer.json()
        assert "facesearch keys create" in (said["message"] if path.startswith("/v1/") else said["body"])
        assert (said["code"] if path.startswith("/v1/") else said["result"]["code"]) == "local_only"


@pytest.mark.parametrize("key", [READ, ADMIN])
def test_without_keys_no_header_makes_a_stranger_local(stranger: TestClient, key: str) -> None:
    for headers in ({"X-API-Key": key}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}):
        assert stranger.get("/v1/info", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "10.0.0.9"},
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_without_keys_a_local_request_for_somebody_else_is_403(
    client: TestClient, headers: dict[str, str]
) -> None:
    assert client.get("/v1/info", headers=headers).status_code == 403
    assert client.post("/add_face/", files=PHOTO, headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_anybody(stranger: TestClient, keyed: FakeAPI, path: str) -> None:
    assert stranger.get(path).status_code == 200
    keyed.fake_access.error = DatabaseUnavailable()
    assert stranger.get(path).status_code == 200
    assert keyed.fake_access.asked == []


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES[:-3])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"Authorization": "Basic dTpw"}])
def test_once_there_are_keys_no_route_goes_without(
    client: TestClient, keyed: FakeAPI, method: str, path: str, sent: dict[str, Any], headers: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=headers, **sent)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="facesearch"'
    assert keyed.calls == []
    assert keyed.fake_access.deeds == []


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES[-3:])
def test_what_only_looks_like_health_needs_a_key(
    stranger: TestClient, keyed: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    expected = {"POST": 405}.get(method, 401)
    assert stranger.request(method, f"http://127.0.0.1:8000{path}", **sent).status_code == expected


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES[:-3])
def test_a_wrong_key_is_401_everywhere(
    client: TestClient, keyed: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    answer = client.request(method, path, headers={"X-API-Key": "wrong"}, **sent)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].endswith('error="invalid_token"')
    assert keyed.calls == []


@pytest.mark.parametrize(("method", "path", "sent"), ROUTES)
def test_a_key_without_the_scope_is_403(
    client: TestClient, keyed: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    answer = client.request(method, f"http://127.0.0.1:8000{path}", headers={"X-API-Key": READ}, **sent)
    changes = method in ("DELETE", "PATCH") or any(word in path for word in ("add_", "imports"))
    assert (answer.status_code == 403) is changes
    if changes:
        said = answer.json()
        assert (said.get("code") or said["result"]["code"]) == "scope_not_allowed"
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        assert keyed.calls == []
        [deed] = keyed.fake_access.deeds
        assert (deed.who, deed.status, deed.ids) == ("read0001", 403, ())
    else:
        assert keyed.fake_access.deeds == []


@pytest.mark.parametrize("key", [WRITE, ADMIN])
@pytest.mark.parametrize(
    "headers", [lambda key: {"X-API-Key": key}, lambda key: {"Authorization": f"Bearer {key}"}]
)
def test_a_key_with_the_scope_may_come_from_anywhere(
    stranger: TestClient, keyed: FakeAPI, key: str, headers: Callable[[str], dict[str, str]]
) -> None:
    proxied = {"X-Forwarded-For": "10.0.0.9", "Host": "faces.example", "Origin": "https://app.example"}
    for path, sent in (("/add_face/", PHOTO), ("/search_faces/", PHOTO), ("/v1/imports", ZIP)):
        answer = stranger.post(path, files=sent, headers=headers(key) | proxied)
        assert answer.is_success


def test_a_key_of_another_collection_is_403(client: TestClient, keyed: FakeAPI) -> None:
    keyed.fake_access.callers["other"] = Caller("other001", "", "admin", "other")
    for name in ("default", "Other", "", "*", "no\u0308ne", "x" * 10_000):
        params = {"collection": name}
        answer = client.post("/v1/search", params=params, files=PHOTO, headers={"X-API-Key": "other"})
        assert (answer.status_code, answer.json()["code"]) == (403, "collection_not_allowed")
    assert keyed.calls == []


def test_of_two_collections_in_a_query_each_is_looked_at(client: TestClient, keyed: FakeAPI) -> None:
    keyed.fake_access.callers["other"] = Caller("other001", "", "admin", "other")
    for query in ("collection=default&collection=other", "collection=other&collection=default"):
        answer = client.get(f"/v1/faces?{query}", headers={"X-API-Key": "other"})
        assert (answer.status_code, answer.json()["code"]) == (403, "collection_not_allowed")


def test_a_collection_that_is_not_allowed_is_refused_before_the_body_is_read(
    client: TestClient, keyed: FakeAPI
) -> None:
    keyed.fake_access.callers["other"] = Caller("other001", "", "write", "other")
    headers = {"X-API-Key": "other"}
    too_long = b"x" * 10**6
    answer = client.post("/v1/faces?collection=default", files={"file": too_long}, headers=headers)
    assert answer.status_code == 403
    [deed] = keyed.fake_access.deeds
    assert (deed.who, deed.what, deed.status) == ("other001", "POST /v1/faces", 403)


def test_the_old_routes_work_on_the_key_s_collection(client: TestClient, keyed: FakeAPI) -> None:
    keyed.fake_access.callers["other"] = Caller("other001", "", "admin", "other")
    keyed.fake_collections.add("other")
    keyed.calls.clear()
    headers = {"X-API-Key": "other"}
    for query in ("", "?collection=default"):  # which is none of their parameters
        assert client.post(f"/search_faces/{query}", files=PHOTO, headers=headers).status_code == 200
        assert client.post(f"/add_face/{query}", files=PHOTO, headers=headers).status_code == 200
        assert client.post(f"{INFO}{query}", data=FORM, headers=headers).status_code == 200
        assert client.post(f"/add_faces_in_bulk/{query}", files=ZIP, headers=headers).status_code == 200
    assert {call[-1] for call in keyed.calls} == {"other"}
    assert {started[2].collection for started in keyed.fake_imports.started} == {"other"}


def test_collections_are_made_and_deleted_with_admin_keys_for_all_of_them(
    client: TestClient, keyed: FakeAPI
) -> None:
    keyed.fake_access.callers["own"] = Caller("own00001", "", "admin", "default")
    for key, code in (
        (READ, "scope_not_allowed"),
        (WRITE, "scope_not_allowed"),
        ("own", "collection_not_allowed"),
    ):
        for method, path in (("POST", "/v1/collections"), ("DELETE", "/v1/collections/default")):
            answer = client.request(method, path, json={"name": "x"}, headers={"X-API-Key": key})
            assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert len(keyed.fake_access.deeds) == 6
    assert {deed.status for deed in keyed.fake_access.deeds} == {403}
    assert client.post("/v1/collections", json={"name": "x"}, headers={"X-API-Key": ADMIN}).status_code == 201


def test_two_keys_are_none(client: TestClient, keyed: FakeAPI) -> None:
    doubled: list[list[tuple[str, str]]] = [
        [("X-API-Key", READ), ("X-API-Key", READ)],
        [("X-API-Key", READ), ("Authorization", f"Bearer {READ}")],
        [("Authorization", f"Bearer {READ}"), ("Authorization", f"Bearer {WRITE}")],
    ]
    for headers in doubled:
        assert client.get("/v1/info", headers=headers).status_code == 401


def test_a_limit_says_when_to_come_again(client: TestClient, api: FakeAPI) -> None:
    api.fake_access.error = RateLimited("Too many.", 12.3)
    answer = client.get("/v1/info")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "13")
    assert answer.json()["code"] == "rate_limited"


def test_what_cannot_be_decided_is_503(client: TestClient, api: FakeAPI) -> None:
    api.fake_access.error = DatabaseUnavailable("The keys cannot be read.")
    answer = client.post("/search_faces/", files=PHOTO)
    assert (answer.status_code, answer.json()["result"]["code"]) == (503, "database_unavailable")
    assert api.calls == []


def test_a_refusal_comes_before_the_body_is_read(client: TestClient, keyed: FakeAPI) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/imports",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "app": client.app,
    }

    async def ask() -> None:
        await Gate(client.app)(scope, receive, send)

    assert client.portal is not None
    client.portal.call(ask)
    assert sent[0]["status"] == 401


# The form of the oldest route


@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize(("value", "status"), [(READ, 200), (f" {READ} ", 200), ("", 401), ("wrong", 401)])
def test_the_form_may_bring_the_key(
    client: TestClient, keyed: FakeAPI, multipart: bool, value: str, status: int
) -> None:
    form = FORM | {"api_key": value}
    sent = {"files": {k: (None, v) for k, v in form.items()}} if multipart else {"data": form}
    answer = client.post(INFO, **sent)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["body"]["id"] == 7
        assert keyed.calls == [("info", 7)]


def test_a_header_goes_before_the_form(client: TestClient, keyed: FakeAPI) -> None:
    for header, field, status in ((READ, "wrong", 200), (READ, "", 200), ("wrong", READ, 401)):
        answer = client.post(INFO, data=FORM | {"api_key": field}, headers={"X-API-Key": header})
        assert answer.status_code == status


def test_an_empty_key_in_the_form_counts_as_none(client: TestClient, api: FakeAPI) -> None:
    assert client.post(INFO, data=FORM | {"api_key": ""}).status_code == 200
    assert client.post(INFO, data=FORM | {"api_key": "anything"}).status_code == 200
    assert api.fake_access.asked == [None, None]


def test_two_keys_in_the_form_are_none(client: TestClient, keyed: FakeAPI) -> None:
    body = f"image_id=7&api_key={READ}&api_key={READ}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(INFO, content=body, headers=headers).status_code == 401
    assert client.post(INFO, content=body.replace(READ, "", 1), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/add_face/", "/search_faces/", "/v1/imports", "/get_face_info/?x=1&api_key=" + READ]
)
def test_no_other_form_or_query_brings_a_key(client: TestClient, keyed: FakeAPI, path: str) -> None:
    assert client.post(f"{path}", data={"api_key": READ} if "?" not in path else FORM).status_code == 401
    assert client.post(path, params={"api_key": READ}, data=FORM).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_the_form_counts_with_the_route_s_own_method(client: TestClient, keyed: FakeAPI, method: str) -> None:
    body = f"api_key={ADMIN}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.request(method, INFO, content=body, headers=headers).status_code == 401


def test_a_form_without_a_key_in_a_header_is_small(client: TestClient, keyed: FakeAPI) -> None:
    large = FORM | {"x": "x" * 70_000}
    assert client.post(INFO, data=large | {"api_key": READ}).status_code == 413
    assert client.post(INFO, data=large, headers={"X-API-Key": READ}).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"", ""),
        (b"&".join(b"a=b" for _ in range(500)), "application/x-www-form-urlencoded"),
    ],
)
def test_a_form_that_cannot_be_read_has_no_key(
    client: TestClient, keyed: FakeAPI, body: bytes, kind: str
) -> None:
    assert client.post(INFO, content=body, headers={"Content-Type": kind}).status_code == 401


def test_a_form_that_does_not_arrive_does_not_keep_the_service_from_stopping(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_LIMIT_S", 20.0), ("_STOP_S", 0.0), ("_LOOK_S", 0.001)):
        monkeypatch.setattr(key_form, name, seconds)
    stopping: Stopping = client.app.state.stopping  # type: ignore[attr-defined]

    async def receive() -> Any:
        stopping.note()
        await anyio.sleep_forever()

    async def read() -> None:
        await key_form.key_in_form({"type": "http", "headers": [], "app": client.app}, receive)

    assert client.portal is not None
    with pytest.raises(Unavailable):
        client.portal.call(read)


def test_a_form_that_does_not_arrive_is_408(
    client: TestClient, keyed: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_form, "_LIMIT_S", 0.01)
    scope = {
        "type": "http",
        "method": "POST",
        "path": INFO,
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "app": client.app,
    }
    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        await Gate(client.app)(scope, receive, send)

    assert client.portal is not None
    client.portal.call(ask)
    assert sent[0]["status"] == 408


# What is written down


def test_each_change_is_written_down_before_its_answer(client: TestClient, keyed: FakeAPI) -> None:
    headers = {"X-API-Key": WRITE}
    client.post("/add_face/", files=PHOTO, headers=headers)
    job = client.post("/v1/imports", files=ZIP, headers=headers).json()["id"]
    client.post("/add_faces_in_bulk/", files=ZIP, headers=headers)
    client.delete(f"/v1/jobs/{job}", headers=headers)
    assert [(deed.what, deed.status) for deed in keyed.fake_access.deeds] == [
        ("POST /add_face", 200),
        ("POST /v1/imports", 202),
        ("POST /add_faces_in_bulk", 200),
        ("DELETE /v1/jobs/{job_id}", keyed.fake_access.deeds[3].status),
    ]
    assert {(deed.who, deed.name) for deed in keyed.fake_access.deeds} == {("write0001", "write name")}
    assert keyed.fake_access.deeds[0].ids == (7,)
    assert keyed.fake_access.deeds[1].ids == (job,)
    assert len(keyed.fake_access.deeds[2].ids) == 1
    assert keyed.fake_access.deeds[3].ids == (job,)


def test_a_change_that_fails_is_written_down_too(client: TestClient, api: FakeAPI) -> None:
    for error, status in ((FaceNotFound(), 404), (DatabaseUnavailable(), 503), (RuntimeError(), 500)):
        api.error = error
        assert client.post("/add_face/", files=PHOTO).status_code == status
    assert client.post("/add_face/").status_code == 400
    assert client.post("/nothing").status_code == 404
    wanted = ["POST /add_face"] * 4 + ["POST unmatched"]
    assert [deed.what for deed in api.fake_access.deeds] == wanted
    assert [deed.status for deed in api.fake_access.deeds] == [404, 503, 500, 400, 404]
    assert {deed.who for deed in api.fake_access.deeds} == {"local"}


def test_what_changes_nothing_is_not_written_down(client: TestClient, api: FakeAPI) -> None:
    client.post("/search_faces/", files=PHOTO)
    client.post(INFO, data=FORM)
    client.get("/v1/info")
    assert api.fake_access.deeds == []


def test_nothing_of_a_photo_or_its_name_is_written_down(client: TestClient, api: FakeAPI) -> None:
    client.post("/add_face/?detector=hog", files={"file": ("Ada_Lovelace.jpg", b"pixels")})
    [deed] = api.fake_access.deeds
    assert deed == Deed("local", "", "POST /add_face", (7,), 200)


# Repeated requests


def test_the_key_of_a_request_is_one_client_s_own(client: TestClient, keyed: FakeAPI) -> None:
    for key in (WRITE, ADMIN, WRITE):
        headers = {"X-API-Key": key, "Idempotency-Key": "same"}
        client.post("/add_face/", files=PHOTO, headers=headers)
        client.post("/v1/imports", files=ZIP, headers=headers)
    asked = [call[4].key for call in keyed.calls if call[0] == "add"]  # type: ignore[attr-defined]
    asked += [started[3].key for started in keyed.fake_imports.started if started[3]]
    assert asked == ["write0001 same", "admin0001 same", "write0001 same"] * 2


def test_without_keys_it_is_as_it_was_sent(client: TestClient, api: FakeAPI) -> None:
    client.post("/add_face/", files=PHOTO, headers={"Idempotency-Key": "write0001same"})
    assert api.calls[0][4].key == "write0001same"  # type: ignore[attr-defined]


# The whole


def test_each_route_needs_the_scope_that_it_should(client: TestClient) -> None:
    app: Any = client.app
    needed = {
        (method, path): needed_scope(method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    writes = {route for route, scope in needed.items() if scope == "write"}
    assert {route for route, scope in needed.items() if scope == "admin"} == {
        ("post", "/v1/collections"),
        ("delete", "/v1/collections/{name}"),
    }
    assert writes == {
        ("post", "/v1/faces"),
        ("post", "/v1/faces/delete"),
        ("post", "/v1/faces/unassign"),
        ("patch", "/v1/faces/{face_id}"),
        ("delete", "/v1/faces/{face_id}"),
        ("post", "/v1/people"),
        ("patch", "/v1/people/{person_id}"),
        ("delete", "/v1/people/{person_id}"),
        ("post", "/v1/people/{person_id}/merge"),
        ("post", "/v1/people/{person_id}/faces"),
        ("post", "/add_face/"),
        ("post", "/add_faces_in_bulk/"),
        ("post", "/v1/imports"),
        ("delete", "/v1/jobs/{job_id}"),
    }


def test_each_route_is_documented_with_its_keys(client: TestClient) -> None:
    app: Any = client.app
    for path, methods in app.openapi()["paths"].items():
        for operation in methods.values():
            assert bool(operation.get("security")) is (path not in ("/healthz", "/readyz"))


def test_a_mounted_service_is_guarded_the_same(api: FakeAPI, keyed: FakeAPI) -> None:
    app = create_app(Settings, lambda _: api)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1), root_path="/faces") as client:
        for path in ("/faces/healthz", "/healthz"):
            assert client.get(path).status_code == 200
        for path in ("/faces/v1/info", "/v1/info", "/faces/faces/healthz", "/faceshealthz"):
            assert client.get(path).status_code == 401
        headers = {"X-API-Key": READ}
        assert client.post("/faces/add_face/", files=PHOTO, headers=headers).status_code == 403
        assert client.post("/faces/search_faces/", files=PHOTO, headers=headers).status_code == 200
        assert client.post("/faces/get_face_info/", data=FORM | {"api_key": READ}).status_code == 200


def test_websockets_are_closed(client: TestClient) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(Gate(client.app), {"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
