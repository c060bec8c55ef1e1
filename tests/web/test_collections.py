from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.records import Caller
from facesearch.web import gallery_schemas
from tests.web.conftest import FakeAPI
from tests.web.test_openapi import check

COLLECTIONS = "/v1/collections"
NAMES = ["visitors", "Zoë's", "人々", "a b", "100%", "a?b#c", "+", "l" * 255, "人" * 255]
KEY = {"X-API-Key": "own"}


@pytest.fixture
def restricted(api: FakeAPI) -> FakeAPI:
    """The API with a key for the collection `own`, and one for all of them."""
    api.fake_collections.add("own")
    api.fake_access.callers = {"own": Caller("own00001", "", "admin", "own"), "all": Caller("all00001")}
    api.calls.clear()
    return api


@pytest.mark.parametrize("name", NAMES)
def test_a_collection_is_made_told_and_erased_by_its_name(
    client: TestClient, api: FakeAPI, name: str
) -> None:
    answer = client.post(COLLECTIONS, json={"name": name})
    assert answer.status_code == 201
    collection = {
        "name": name,
        "model": None,
        "next_model": None,
        "faces": 0,
        "people": 0,
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    assert answer.json() == collection
    here = answer.headers["Location"]
    assert here.isascii()
    assert client.get(here).json() == collection
    client.post("/v1/faces", params={"collection": name}, files={"file": b"photo"})
    assert client.get(here).json() == collection | {"model": "model", "faces": 1, "people": 1}
    assert client.delete(here).json() == {"deleted": name}
    assert client.get(here).status_code == 404
    assert [deed.ids for deed in api.fake_access.deeds] == [("collection:2",), (1,), ("collection:2",)]
    assert name not in [deed.what for deed in api.fake_access.deeds]


def test_a_collection_may_be_for_a_model(client: TestClient) -> None:
    assert client.post(COLLECTIONS, json={"name": "a", "model": "model"}).json()["model"] == "model"
    answer = client.post(COLLECTIONS, json={"name": "b", "model": "unknown"})
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"name": ""}',
        '{"name": " a"}',
        '{"name": "a/b"}',
        '{"name": "*"}',
        '{"name": ".."}',
        '{"name": "a\\nb"}',
        '{"name": "%s"}' % ("x" * 256),
        '{"name": "\\ud800"}',
        '{"name": 7}',
        '{"name": "a", "model": 7}',
        '{"name": "a", "number": 7}',
    ],
)
def test_what_cannot_be_a_collection_is_400(client: TestClient, body: str) -> None:
    answer = client.post(COLLECTIONS, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert len(client.get(COLLECTIONS).json()["collections"]) == 1


def test_a_name_is_one_collection_s_in_whichever_form_it_is_written(client: TestClient) -> None:
    assert client.post(COLLECTIONS, json={"name": "Zo\u00eb"}).status_code == 201
    answer = client.post(COLLECTIONS, json={"name": "Zoe\u0308"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    assert client.get(f"{COLLECTIONS}/Zoe\u0308").json()["name"] == "Zo\u00eb"
    assert client.get("/v1/faces", params={"collection": "Zoe\u0308"}).status_code == 200


def test_a_repeated_request_makes_one_collection(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        assert client.post(COLLECTIONS, json={"name": "a"}, headers=headers).status_code == 201
    answer = client.post(COLLECTIONS, json={"name": "b"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


def test_the_default_collection_stays(client: TestClient) -> None:
    answer = client.delete(f"{COLLECTIONS}/default")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_collections_are_listed_page_by_page(client: TestClient, api: FakeAPI) -> None:
    for name in "dcba":
        api.fake_collections.add(name)
    found: list[str] = []
    query = ""
    for length in (2, 2, 1):
        page = client.get(f"{COLLECTIONS}?limit=2{query}").json()
        assert len(page["collections"]) == length
        found += [collection["name"] for collection in page["collections"]]
        query = f"&cursor={page['next']}"
    assert (found, page["next"]) == (["default", "d", "c", "b", "a"], None)


@pytest.mark.parametrize("name", ["nowhere", "*", "Default", "x" * 256, "x" * 10_000, "a%2Fb"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_collection_that_is_not_there_is_404(client: TestClient, method: str, name: str) -> None:
    answer = client.request(method, f"{COLLECTIONS}/{name}")
    assert answer.status_code == 404


def test_a_key_for_one_collection_is_told_of_that_one(client: TestClient, restricted: FakeAPI) -> None:
    page = client.get(COLLECTIONS, headers=KEY).json()
    assert ([one["name"] for one in page["collections"]], page["next"]) == (["own"], None)
    assert client.get(f"{COLLECTIONS}/own", headers=KEY).json()["name"] == "own"
    for name in ("default", "nowhere"):
        answer = client.get(f"{COLLECTIONS}/{name}", headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (403, "collection_not_allowed")


def test_a_key_works_on_its_own_collection_unless_it_is_for_all(
    client: TestClient, restricted: FakeAPI
) -> None:
    photo: dict[str, Any] = {"file": b"photo"}
    for headers, query, name in (
        (KEY, "", "own"),
        (KEY, "?collection=own", "own"),
        ({"X-API-Key": "all"}, "", "default"),
        ({"X-API-Key": "all"}, "?collection=own", "own"),
    ):
        assert client.post(f"/v1/search{query}", files=photo, headers=headers).json()["collection"] == name
        assert restricted.calls[-1][1] == name
        assert client.get(f"/v1/faces{query}", headers=headers).status_code == 200
        assert restricted.calls[-1][1] == name


def test_an_import_goes_to_the_collection_that_is_named(client: TestClient, restricted: FakeAPI) -> None:
    path, archive = "/v1/imports", {"file": ("a.zip", b"zip")}
    every = {"X-API-Key": "all"}
    for headers, query, form, name in (
        (KEY, "", {}, "own"),
        (every, "", {}, "default"),
        (every, "?collection=own", {}, "own"),
        (every, "", {"collection": "own"}, "own"),
        (every, "?collection=default", {"collection": "own"}, "default"),
    ):
        answer = client.post(path + query, files=archive, data=form, headers=headers)
        assert (answer.status_code, answer.json()["collection"]) == (202, name)
        assert restricted.fake_imports.started[-1][2].collection == name
    for query, form in (("?collection=default", {}), ("", {"collection": "default"})):
        answer = client.post(path + query, files=archive, data=form, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (403, "collection_not_allowed")
    assert len(restricted.fake_imports.started) == 5
    assert all(file.closed for file in restricted.fake_imports.files_made)


def test_answers_are_what_their_schemas_say(client: TestClient) -> None:
    check(client.post(COLLECTIONS, json={"name": "a"}).json(), gallery_schemas.CollectionAnswer)
    check(client.get(COLLECTIONS).json(), gallery_schemas.CollectionsPage)
    check(client.get(f"{COLLECTIONS}/a").json(), gallery_schemas.CollectionAnswer)
    check(client.delete(f"{COLLECTIONS}/a").json(), gallery_schemas.DeletedCollection)
