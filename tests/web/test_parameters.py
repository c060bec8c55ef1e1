"""What a request brings beside what its route knows, and twice."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.web.conftest import FakeAPI
from tests.web.test_every_route import LISTS, ROUTES, ask

PHOTOS = [("file", ("Ana_0001.jpg", b"photo")), ("file", ("Bea_0001.jpg", b"another"))]


@pytest.mark.parametrize(
    ("method", "path", "sent"), [*ROUTES, *(("GET", path, {}) for path in [*LISTS, "/v1/info", "/v1/models"])]
)
def test_a_parameter_that_the_route_does_not_know_is_400(
    client: TestClient, api: FakeAPI, method: str, path: str, sent: dict[str, Any]
) -> None:
    api.fake_collections.gallery("default").add("Ana")
    for name in ("tolerence", "", "x" * 10_000, "人"):
        answer = ask(client, method, path, {name: "1"}, **sent)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter"), name
        assert answer.json()["details"] == {"parameters": [name[:100]]}
        assert "is not a parameter of this route" in answer.json()["message"]
    assert api.calls == []


@pytest.mark.parametrize(
    ("path", "form", "message"),
    [
        ("/v1/search?tolerence=0.1", {}, "tolerence is not a parameter of this route; tolerance is."),
        ("/v1/search?k=1&k=2", {}, "k is given more than once."),
        ("/v1/search", {"filtre": "{}"}, "filtre is not a field of this route's form; filter is."),
        ("/v1/faces?colection=two", {}, "colection is not a parameter of this route; collection is."),
        ("/v1/faces", {"colection": "two"}, "colection is not a field of this route's form; collection is."),
        ("/v1/faces", {"k": "5"}, "k is not a field of this route's form."),
        ("/v1/faces", {"person_name": ["Ana", "Bo"]}, "person_name is given more than once."),
        ("/v1/imports?collection=a&collection=b", {}, "collection is given more than once."),
    ],
)
def test_the_known_name_that_is_near_is_told(
    client: TestClient, api: FakeAPI, path: str, form: dict[str, Any], message: str
) -> None:
    for name in "ab":
        api.fake_collections.add(name)
    api.calls.clear()
    answer = client.post(path, files=PHOTOS[:1], data=form)
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert (api.calls, api.fake_imports.started) == ([], [])


@pytest.mark.parametrize("path", ["/v1/faces", "/v1/faces/", "/v1/detect", "/add_face/", "/search_faces"])
def test_of_two_photos_none_is_lost(client: TestClient, api: FakeAPI, path: str) -> None:
    answer = client.post(path, files=PHOTOS)
    told = answer.json()
    message = told["message"] if path.startswith("/v1") else told["body"]
    assert (answer.status_code, message) == (400, "file is given more than once.")
    assert api.calls == []


def test_two_photos_are_compared_and_no_three(client: TestClient, api: FakeAPI) -> None:
    files = [("source", b"a"), ("source", b"b"), ("target", b"c")]
    answer = client.post("/v1/compare", files=files)
    assert (answer.status_code, answer.json()["message"]) == (400, "source is given more than once.")
    assert api.calls == []


def test_what_takes_several_takes_them(client: TestClient, api: FakeAPI) -> None:
    assert client.post("/v1/search?combine=mean&person=1&person=2", files=PHOTOS).status_code == 200


def test_the_old_routes_pass_over_what_they_do_not_know(client: TestClient, api: FakeAPI) -> None:
    for path in ("/add_face/?colection=x", "/search_faces/?K=1"):
        assert client.post(path, files=PHOTOS[:1], data={"note": "x"}).status_code == 200
    for path in ("/healthz?x=1", "/readyz?x=1", "/metrics?x=1"):
        assert client.get(path).status_code == 200
