"""Two who write at once, by every route that writes: two server processes, real networks, both databases."""

import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.conftest import ENGINES
from tests.real.test_keys import eventually
from tests.real.test_service import mysql_settings
from tests.server import PROJECT_ROOT, Server

PICTURES = PROJECT_ROOT / "test_images"
OBAMA = (PICTURES / "Barack_Obama_0001.jpg").read_bytes()
BIDEN = (PICTURES / "Joe_Biden_0001.jpg").read_bytes()
MODEL = "dlib-resnet-v1-mirror"
ENDED = {"done", "failed", "cancelled"}

Call = Callable[[], Any]


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Who waits for the other's lock on a busy machine is not to be refused.
    settings: dict[str, Any] = {"workers": {"processes": 1}, "database": {"wait_s": 30}}
    if request.param == "mysql":
        settings["database"] = mysql_settings(request.getfixturevalue("mariadb").new_database(wait_s=30))
    with Server(tmp_path_factory.mktemp("writers"), settings, workers=2) as running:
        yield running
        assert "Traceback" not in running.log, running.log


class Writers:
    """What two ask of one collection."""

    def __init__(self, server: Server, collection: str) -> None:
        self._client = server.client
        self._collection = collection

    def call(self, method: str, path: str, params: dict[str, Any] | None = None, **sent: Any) -> Call:
        own = {} if path.startswith(("/v1/collections", "/v1/jobs/")) else {"collection": self._collection}
        query = own | (params or {})
        return lambda: self._client.request(method, path, params=query, **sent)

    def ask(self, method: str, path: str, params: dict[str, Any] | None = None, **sent: Any) -> Any:
        answer = self.call(method, path, params, **sent)()
        assert answer.status_code < 300, answer.text
        return answer.json()

    def store(self, photo: bytes, duplicates: str = "store", **form: str) -> Call:
        files = {"file": ("photo.jpg", photo)}
        return self.call("POST", "/v1/faces", {"duplicates": duplicates}, files=files, data=form)

    def face(self, name: str = "Zoë") -> dict[str, Any]:
        (face,) = self.store(BIDEN, person_name=name)().json()["faces"]
        assert isinstance(face, dict)
        return face

    def look(self) -> None:
        """All that tells of the faces agrees: the list, the people, and the copy that searches use."""
        faces = {face["id"]: face for face in self.ask("GET", "/v1/faces", {"limit": 1000})["faces"]}
        people = {one["id"]: one for one in self.ask("GET", "/v1/people", {"limit": 1000})["people"]}
        own: dict[int, set[int]] = {person: set() for person in people}
        for face in faces.values():
            if face["person_id"] is not None:
                assert face["person_name"] == people[face["person_id"]]["name"]
                own[face["person_id"]].add(face["id"])
        for person, told in people.items():
            assert told["faces"] == len(own[person])
            assert told["cover_face"] is None if not own[person] else told["cover_face"] in own[person]
        vector = {"vector": [0.0] * 128, "model": MODEL}
        found = self.ask("POST", "/v1/search/vector", {"k": 1000, "tolerance": 2}, json=vector)
        matches = found["faces"][0]["matches"]
        assert {match["id"] for match in matches} == set(faces)
        assert all(match["person_id"] == faces[match["id"]]["person_id"] for match in matches)


def at_once(*calls: Call) -> list[Any]:
    """Carry out all calls at one moment; return the answers in order, none of which is a failure."""
    barrier = Barrier(len(calls))

    def begin(call: Call) -> Any:
        barrier.wait(timeout=60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(begin, calls))
    assert all(answer.status_code < 500 for answer in answers), [answer.text for answer in answers]
    return answers


def statuses(*calls: Call) -> list[int]:
    return sorted(answer.status_code for answer in at_once(*calls))


def zipped(*photos: bytes) -> dict[str, Any]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, photo in enumerate(photos):
            archive.writestr(f"Zoë_{number:04}.jpg", photo)
    return {"file": ("photos.zip", file.getvalue())}


def add_face(writers: Writers) -> None:
    one, other = (writers.call("POST", "/add_face/", files={"file": ("Ana_0001.jpg", OBAMA)}) for _ in "ab")
    first, second = (answer.json()["result"]["id"] for answer in at_once(one, other))
    assert first != second


def add_faces_in_bulk(writers: Writers) -> None:
    calls = [writers.call("POST", "/add_faces_in_bulk/", files=zipped(OBAMA, BIDEN)) for _ in "ab"]
    assert statuses(*calls) == [200, 200]


def add_faces(writers: Writers) -> None:
    answers = at_once(writers.store(OBAMA, person_name="Bo"), writers.store(BIDEN, person_name="Bo"))
    assert len({answer.json()["faces"][0]["person_id"] for answer in answers}) == 1
    photo = BIDEN + bytes(str(answers[0].json()["faces"][0]["id"]), "ascii")  # one that is not stored yet
    answers = at_once(*[writers.store(photo, "skip", person_name="Bo")] * 2)
    assert len({answer.json()["faces"][0]["id"] for answer in answers}) == 1


def change_face(writers: Writers) -> None:
    path = f"/v1/faces/{writers.face()['id']}"
    person = writers.ask("POST", "/v1/people", json={"name": f"of {path}"})["id"]
    changes: list[dict[str, Any]] = [{"metadata": {"a": 1}}, {"external_id": "x"}, {"person_id": person}]
    assert statuses(*[writers.call("PATCH", path, json=change) for change in changes]) == [200] * 3
    told = writers.ask("GET", path)
    assert (told["metadata"], told["external_id"], told["person_id"]) == ({"a": 1}, "x", person)


def delete_face(writers: Writers) -> None:
    path = f"/v1/faces/{writers.face()['id']}"
    assert statuses(*[writers.call("DELETE", path)] * 2) == [200, 404]


def delete_faces(writers: Writers) -> None:
    a, b, c = (writers.face()["id"] for _ in "abc")
    calls = [writers.call("POST", "/v1/faces/delete", json={"faces": faces}) for faces in ([a, b], [c, b])]
    deleted = [face for answer in at_once(*calls) for face in answer.json()["deleted"]]
    assert sorted(deleted) == [a, b, c]


def unassign(writers: Writers) -> None:
    a, b = writers.face(), writers.face("Bo")
    faces = {"faces": [a["id"], b["id"]]}
    away = writers.call("POST", "/v1/faces/unassign", json=faces)
    to = writers.call("POST", f"/v1/people/{a['person_id']}/faces", json=faces)
    assert statuses(away, to)[0] == 200  # who came with a face may be gone with it
    whose = {writers.ask("GET", f"/v1/faces/{one['id']}")["person_id"] for one in (a, b)}
    assert whose in ({None}, {a["person_id"]})


def assign(writers: Writers) -> None:
    faces = {"faces": [writers.face()["id"], writers.face("Bo")["id"]]}
    a, b = (writers.ask("POST", "/v1/people", json={"name": f"{n} {faces}"})["id"] for n in "ab")
    calls = [writers.call("POST", f"/v1/people/{person}/faces", json=faces) for person in (a, b)]
    assert statuses(*calls) == [200, 200]
    whose = {writers.ask("GET", f"/v1/faces/{face}")["person_id"] for face in faces["faces"]}
    assert whose in ({a}, {b})


def add_person(writers: Writers) -> None:
    name = f"person beside {writers.face()['id']}"
    assert statuses(*[writers.call("POST", "/v1/people", json={"name": name})] * 2) == [201, 409]


def change_person(writers: Writers) -> None:
    faces = [writers.face(name) for name in ("first", "second")]
    name = {"name": f"named as {faces[0]['id']}"}
    calls = [writers.call("PATCH", f"/v1/people/{face['person_id']}", json=name) for face in faces]
    assert statuses(*calls) == [200, 409]


def delete_person(writers: Writers) -> None:
    path = f"/v1/people/{writers.face('goes')['person_id']}"
    delete = writers.call("DELETE", path, {"faces": "delete"})
    given = writers.call("POST", f"{path}/faces", json={"faces": [writers.face()["id"]]})
    answers = at_once(delete, delete, given)
    assert sorted(answer.status_code for answer in answers[:2]) == [200, 404]
    assert writers.call("GET", path)().status_code == 404


def merge(writers: Writers) -> None:
    a, b = writers.face("left"), writers.face("right")
    calls = [
        writers.call("POST", f"/v1/people/{one['person_id']}/merge", json={"people": [other["person_id"]]})
        for one, other in ((a, b), (b, a))
    ]
    assert statuses(*calls) == [200, 404]
    assert len({writers.ask("GET", f"/v1/faces/{face['id']}")["person_id"] for face in (a, b)}) == 1


def add_collection(writers: Writers) -> None:
    name = f"beside {writers.face()['id']}"
    assert statuses(*[writers.call("POST", "/v1/collections", json={"name": name})] * 2) == [201, 409]


def delete_collection(writers: Writers) -> None:
    name = f"gone beside {writers.face()['id']}"
    writers.ask("POST", "/v1/collections", json={"name": name})
    files = {"file": ("Ana_0001.jpg", OBAMA)}
    delete = writers.call("DELETE", f"/v1/collections/{name}")
    stored = writers.call("POST", "/v1/faces", {"collection": name}, files=files)
    answers = at_once(stored, delete, delete)
    assert answers[0].status_code in (200, 404)
    assert sorted(answer.status_code for answer in answers[1:]) == [200, 404]
    assert writers.call("GET", "/v1/faces", {"collection": name})().status_code == 404


def wait_for(writers: Writers, job: str) -> None:
    eventually(lambda: writers.ask("GET", f"/v1/jobs/{job}")["state"] in ENDED)


def import_photos(writers: Writers) -> None:
    photo = OBAMA + bytes(str(writers.face()["id"]), "ascii")
    calls = [writers.call("POST", "/v1/imports", {"duplicates": "skip"}, files=zipped(photo)) for _ in "ab"]
    ids = set()
    for answer in at_once(*calls):
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        wait_for(writers, job)
        (file,) = writers.ask("GET", f"/v1/jobs/{job}/files")["files"]
        ids.add(file["id"] or file["duplicate_of"])
    assert len(ids) == 1


def cancel_job(writers: Writers) -> None:
    job = writers.ask("POST", "/v1/imports", {"duplicates": "store"}, files=zipped(*[OBAMA] * 20))["id"]
    assert set(statuses(*[writers.call("DELETE", f"/v1/jobs/{job}")] * 2)) <= {200, 409}
    wait_for(writers, job)


RACES: dict[tuple[str, str], Callable[[Writers], None]] = {
    ("POST", "/add_face/"): add_face,
    ("POST", "/add_faces_in_bulk/"): add_faces_in_bulk,
    ("POST", "/v1/faces"): add_faces,
    ("PATCH", "/v1/faces/{face_id}"): change_face,
    ("DELETE", "/v1/faces/{face_id}"): delete_face,
    ("POST", "/v1/faces/delete"): delete_faces,
    ("POST", "/v1/faces/unassign"): unassign,
    ("POST", "/v1/people"): add_person,
    ("PATCH", "/v1/people/{person_id}"): change_person,
    ("DELETE", "/v1/people/{person_id}"): delete_person,
    ("POST", "/v1/people/{person_id}/merge"): merge,
    ("POST", "/v1/people/{person_id}/faces"): assign,
    ("POST", "/v1/collections"): add_collection,
    ("DELETE", "/v1/collections/{name}"): delete_collection,
    ("POST", "/v1/imports"): import_photos,
    ("DELETE", "/v1/jobs/{job_id}"): cancel_job,
}
READING = {"/search_faces/", "/get_face_info/", "/v1/detect", "/v1/compare"}


def test_every_route_that_writes_is_raced(server: Server) -> None:
    routes = {
        (method.upper(), path)
        for path, methods in server.client.get("/openapi.json").json()["paths"].items()
        for method in methods
        if method != "get" and path not in READING and "/search" not in path
    }
    assert routes == set(RACES)


@pytest.mark.parametrize("route", RACES, ids=" ".join)
def test_two_who_write_at_once_leave_what_one_after_the_other_would(
    server: Server, route: tuple[str, str]
) -> None:
    collection = "default" if route[1].startswith("/add_face") else "writers"
    writers = Writers(server, collection)
    writers.call("POST", "/v1/collections", json={"name": collection})()
    for _ in range(3):
        RACES[route](writers)
        writers.look()
