"""Collections, faces and people over HTTP: real networks, real pictures, two server processes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from facesearch.web import gallery_schemas as schemas
from tests.conftest import ENGINES
from tests.real.test_keys import eventually, keys, status
from tests.real.test_service import mysql_settings
from tests.server import PROJECT_ROOT, Server
from tests.web.test_openapi import check

PICTURES = PROJECT_ROOT / "test_images"
OBAMA, OBAMA_AGAIN = PICTURES / "Barack_Obama_0001.jpg", PICTURES / "Barack_Obama_0002.jpg"
BIDEN = PICTURES / "Joe_Biden_0001.jpg"
NAME = "Zoë's 人々"


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings: dict[str, Any] = {
        "crops": {"keep_crops": True, "side_px": 128},
        "workers": {"processes": 1},
        "database": {"wait_s": 30},
    }
    if request.param == "mysql":
        settings["database"] = mysql_settings(request.getfixturevalue("mariadb").new_database(wait_s=30))
    with Server(tmp_path_factory.mktemp("collections"), settings, workers=2) as running:
        answer = running.client.post("/v1/collections", json={"name": NAME})
        assert answer.status_code == 201, answer.text
        yield running
        assert "Traceback" not in running.log, running.log


def ask(server: Server, method: str, path: str, status: int = 200, **sent: Any) -> dict[str, Any]:
    params = {"collection": NAME} | sent.pop("params", {})
    answer = server.client.request(method, path, params=params, **sent)
    assert answer.status_code == status, answer.text
    content: dict[str, Any] = answer.json()
    return content


def add(server: Server, picture: Path, **form: str) -> dict[str, Any]:
    files = {"file": (picture.name, picture.read_bytes())}
    told = ask(server, "POST", "/v1/faces", files=files, data=form, params={"duplicates": "store"})
    check(told, schemas.EnrolledAnswer)
    (face,) = told["faces"]
    assert isinstance(face, dict)
    return face


def search(server: Server, *pictures: Path, **params: Any) -> list[dict[str, Any]]:
    files = [("file", (picture.name, picture.read_bytes())) for picture in pictures]
    told = ask(server, "POST", "/v1/search", files=files, params={"k": 10, "tolerance": 2} | params)
    check(told, schemas.V1Search)
    (face,) = told["faces"]
    matches: list[dict[str, Any]] = face["matches"]
    return matches


def test_a_gallery_from_its_first_face_to_its_last(server: Server) -> None:
    obama = add(server, OBAMA, metadata='{"site": "Paris", "age": 47}')
    again = add(server, OBAMA_AGAIN, external_id="b-2", metadata='{"site": "Rome"}')
    biden = add(server, BIDEN, person_name="Joe Biden", metadata='{"site": "Paris", "age": 66}')
    assert (obama["person_name"], obama["person_id"]) == ("Barack Obama", again["person_id"])
    check(ask(server, "GET", "/v1/faces"), schemas.FacesPage)
    assert ask(server, "GET", f"/v1/faces/{obama['id']}") == obama
    assert server.client.get(f"/v1/faces/{obama['id']}").status_code == 404  # of the default collection

    people = search(server, OBAMA, group_by="person")
    assert [(one["person_name"], one["faces_within"]) for one in people] == [
        ("Barack Obama", 2),
        ("Joe Biden", 1),
    ]
    assert people[0]["id"] == obama["id"]  # the nearer one of the two
    for combine in ("mean", "best"):
        first, *_ = search(server, OBAMA, OBAMA_AGAIN, combine=combine, group_by="person")
        assert first["person_name"] == "Barack Obama"
    for text, ids in (
        ('{"site": "Rome"}', [again["id"]]),
        ('{"age": {"gte": 50}}', [biden["id"]]),
        ('{"site": {"in": ["Paris", "Oslo"]}, "age": {"lt": 50}}', [obama["id"]]),
        ('{"age": {"exists": false}}', [again["id"]]),
        ('{"site": "Oslo"}', []),
    ):
        assert [one["id"] for one in search(server, OBAMA, filter=text)] == ids
        listed = ask(server, "GET", "/v1/faces", params={"filter": text})["faces"]
        assert [face["id"] for face in listed] == ids
    found = ask(server, "POST", f"/v1/faces/{obama['id']}/search", params={"k": 10, "tolerance": 2})
    assert [one["id"] for one in found["faces"][0]["matches"]] == [again["id"], biden["id"]]
    vector = {"vector": [0.0] * 128, "model": obama["model"]}
    found = ask(server, "POST", "/v1/search/vector", json=vector, params={"k": 10, "tolerance": 2})
    assert len(found["faces"][0]["matches"]) == 3

    picture = server.client.get(f"/v1/faces/{obama['id']}/thumbnail", params={"collection": NAME})
    assert (picture.headers["Content-Type"], picture.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")

    person = f"/v1/people/{obama['person_id']}"
    assert ask(server, "PATCH", person, json={"name": "人" * 255, "cover_face": again["id"]})["faces"] == 2
    assert ask(server, "GET", f"/v1/faces/{again['id']}")["person_name"] == "人" * 255
    merged = ask(server, "POST", f"{person}/merge", json={"people": [biden["person_id"]]})
    assert (merged["faces"], merged["cover_face"]) == (3, again["id"])
    told = ask(server, "POST", "/v1/faces/unassign", json={"faces": [biden["id"]]})
    assert told == {"unassigned": [biden["id"]]}
    changed = ask(server, "PATCH", f"/v1/faces/{biden['id']}", json={"metadata": {"site": "Oslo"}})
    assert (changed["person_id"], changed["metadata"]) == (None, {"site": "Oslo"})
    assert [one["id"] for one in search(server, OBAMA, filter='{"site": "Oslo"}')] == [biden["id"]]
    assert [one["id"] for one in search(server, OBAMA, person=0)] == [biden["id"]]

    assert ask(server, "DELETE", f"/v1/faces/{biden['id']}") == {"deleted": [biden["id"]]}
    told = ask(server, "DELETE", person, params={"faces": "delete"})
    assert told == {"deleted": [obama["id"], again["id"]]}
    assert search(server, OBAMA) == []
    assert ask(server, "GET", "/v1/people")["people"] == []


def test_two_at_once_make_one_person_and_one_collection(server: Server) -> None:
    def post(path: str, name: str) -> int:
        return server.client.post(path, json={"name": name}).status_code

    with ThreadPoolExecutor(8) as pool:
        for path in ("/v1/people", "/v1/collections"):
            statuses = list(pool.map(lambda _, path=path: post(path, "Zoë at once"), range(8)))
            assert sorted(statuses) == [201, *[409] * 7]


def test_two_that_are_one_request_make_one_person(server: Server) -> None:
    headers = {"Idempotency-Key": "one"}

    def post(_: int) -> dict[str, Any]:
        return ask(server, "POST", "/v1/people", 201, json={"name": "Zoë once"}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(post, range(8)))
    assert made == made[:1] * 8
    told = ask(server, "POST", "/v1/people", 422, json={"name": "Bo"}, headers=headers)
    assert told["code"] == "key_reused"


def test_faces_that_two_add_under_one_name_are_one_persons(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        faces = list(pool.map(lambda _: add(server, OBAMA, person_name="Amélie"), range(4)))
    assert len({face["person_id"] for face in faces}) == 1
    assert len({face["id"] for face in faces}) == 4


def test_an_erased_collection_is_gone_at_once(server: Server) -> None:
    params = {"collection": "gone"}
    server.client.post("/v1/collections", json={"name": "gone"})
    ask(server, "POST", "/v1/faces", files={"file": OBAMA.read_bytes()}, params=params)
    assert server.client.delete("/v1/collections/gone").json() == {"deleted": "gone"}
    for path in ("/v1/faces", "/v1/people", "/v1/faces/1"):
        assert ask(server, "GET", path, 404, params=params)["code"] == "collection_not_found"
    assert server.client.delete("/v1/collections/default").status_code == 409


def test_a_key_for_one_collection_is_good_for_no_other(server: Server) -> None:
    """The last one: from now on every request needs a key."""
    assert server.client.post("/v1/collections", json={"name": "own"}).status_code == 201
    own = keys(server, "create", "--scope", "admin", "--collection", "own")["key"]
    every = keys(server, "create", "--scope", "admin", "--collection", "*")["key"]
    eventually(lambda: status(server) == 401)
    photo = {"file": (OBAMA.name, OBAMA.read_bytes())}
    headers = {"X-API-Key": own}
    old = server.client.post("/add_face/", files=photo, headers=headers).json()["result"]
    listed = server.client.get("/v1/faces", headers=headers).json()["faces"]
    assert [face["id"] for face in listed] == [old["id"]]
    found = server.client.post("/search_faces/?k=10&tolerance=2", files=photo, headers=headers).json()
    assert [match["id"] for match in found["body"]["matches"]["face1"]] == [old["id"]]
    for name in (NAME, "default", "nowhere"):
        refused = server.client.get("/v1/faces", params={"collection": name}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "collection_not_allowed")
    refused = server.client.delete("/v1/collections/own", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "collection_not_allowed")
    gone = server.client.delete("/v1/collections/own", headers={"X-API-Key": every})
    assert gone.status_code == 200
    eventually(lambda: status(server, own) == 401)
    assert status(server, every) == 200
