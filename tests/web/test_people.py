from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.web import gallery_schemas
from facesearch.web.cursors import cursor
from tests.web.conftest import FakeAPI
from tests.web.fake_gallery import FakeGallery
from tests.web.test_openapi import check

PEOPLE = "/v1/people"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
NAMES = ["Zoë O'Neil", "Анна", "人", "🙂", "n" * 255, "人" * 255]
UNKNOWN = ["99", "0", "-1", "1.5", "x", "٣", str(2**63 - 1), str(2**63), "9" * 5000]


@pytest.fixture
def gallery(api: FakeAPI) -> FakeGallery:
    return api.fake_collections.gallery("default")


@pytest.mark.parametrize("name", NAMES)
def test_a_person_is_made_told_and_found_by_the_name(client: TestClient, api: FakeAPI, name: str) -> None:
    answer = client.post(PEOPLE, json={"name": name})
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{PEOPLE}/1")
    person = {
        "id": 1,
        "name": name,
        "faces": 0,
        "cover_face": None,
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    assert answer.json() == person
    assert client.get(f"{PEOPLE}/1").json() == person
    assert client.get(PEOPLE, params={"name": name}).json() == {"people": [person], "next": None}
    assert client.get(PEOPLE, params={"name": f"{name}."}).json() == {"people": [], "next": None}
    assert api.fake_access.deeds[0].ids == ("person:1",)
    assert name not in str(api.fake_access.deeds)


@pytest.mark.parametrize("name", ["default", "Zoë & co", "人"])
def test_a_new_person_is_where_the_answer_says(client: TestClient, api: FakeAPI, name: str) -> None:
    if name != "default":
        api.fake_collections.add(name)
    made = client.post(PEOPLE, params={"collection": name}, json={"name": "Ana"})
    assert client.get(made.headers["Location"]).json() == made.json()


def test_a_name_is_one_person_s(client: TestClient, gallery: FakeGallery) -> None:
    bo = gallery.people.add("Bo")
    gallery.people.add("Zo\u00eb")
    for answer in (
        client.post(PEOPLE, json={"name": "Zoe\u0308"}),
        client.patch(f"{PEOPLE}/{bo.id}", json={"name": "Zo\u00eb"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '"Ana"',
        '{"name": null}',
        '{"name": ""}',
        '{"name": 7}',
        '{"name": "%s"}' % ("x" * 256),
        '{"name": "\\ud800"}',
        '{"name": "Ana", "faces": [1]}',
        '{"name": " Ana"}',
        '{"name": "A\\nna"}',
    ],
)
def test_a_name_that_cannot_be_one_is_400(client: TestClient, gallery: FakeGallery, body: str) -> None:
    person = gallery.people.add("Ana")
    headers = {"Content-Type": "application/json"}
    for answer in (
        client.post(PEOPLE, content=body, headers=headers),
        client.patch(f"{PEOPLE}/{person.id}", content=body, headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert list(gallery.people.known.values()) == [person]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ('{"name": "Ana"}', FORM, "the body must be a JSON object, sent as application/json."),
        ('["Ana"]', JSON, "the body must be a JSON object, sent as application/json."),
        ('{"name": "\\ud800"}', JSON, "name: half a character cannot be stored."),
    ],
)
def test_a_body_that_cannot_be_read_is_told_in_plain_words(
    client: TestClient, body: str, kind: str, reason: str
) -> None:
    answer = client.post(PEOPLE, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["message"]) == (400, reason)


def test_a_repeated_request_makes_one_person(client: TestClient, gallery: FakeGallery) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [client.post(PEOPLE, json={"name": "Ana"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    other = client.post(PEOPLE, json={"name": "Bo"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert len(gallery.people.known) == 1


def test_people_are_listed_page_by_page(client: TestClient, gallery: FakeGallery) -> None:
    names = ["d", "c", "b", "a", "e"]
    for name in names:
        gallery.people.add(name)
    found: list[str] = []
    query = ""
    for length in (2, 2, 1):
        page = client.get(f"{PEOPLE}?limit=2{query}").json()
        assert len(page["people"]) == length
        found += [person["name"] for person in page["people"]]
        query = f"&cursor={page['next']}"
    assert (found, page["next"]) == (names, None)


def test_a_list_of_one_name_ends_with_it(client: TestClient, gallery: FakeGallery) -> None:
    person = gallery.people.add("Ana")
    for last, found in ((person.id - 1, [person.id]), (person.id, [])):
        at = cursor("people", last, "default", "Ana")
        page = client.get(PEOPLE, params={"name": "Ana", "cursor": at or ""}).json()
        assert ([one["id"] for one in page["people"]], page["next"]) == (found, None)


def test_a_person_gets_another_name_and_cover(client: TestClient, gallery: FakeGallery) -> None:
    first, second = (gallery.add("Ana") for _ in range(2))
    path = f"{PEOPLE}/{first.person_id}"
    assert client.get(path).json()["cover_face"] == first.id
    changed = client.patch(path, json={"name": "Bo", "cover_face": second.id}).json()
    assert (changed["name"], changed["cover_face"], changed["faces"]) == ("Bo", second.id, 2)
    assert client.patch(path, json={"cover_face": None}).json()["cover_face"] == first.id
    assert client.get(f"/v1/faces/{first.id}").json()["person_name"] == "Bo"


def test_a_cover_is_one_of_the_person_s_faces(client: TestClient, gallery: FakeGallery) -> None:
    face, other = gallery.add("Ana"), gallery.add("Bo")
    for wrong in (other.id, 99):
        answer = client.patch(f"{PEOPLE}/{face.person_id}", json={"cover_face": wrong})
        assert (answer.status_code, answer.json()["code"]) == (404, "face_not_found")
        answer = client.patch(f"{PEOPLE}/{face.person_id}", json={"name": "Cy", "cover_face": wrong})
        assert (answer.status_code, answer.json()["code"]) == (404, "face_not_found")
    assert client.get(f"{PEOPLE}/{face.person_id}").json()["name"] == "Ana"
    for value in (0, "1", 1.0, True, 2**63):
        assert client.patch(f"{PEOPLE}/{face.person_id}", json={"cover_face": value}).status_code == 400
    assert client.patch(f"{PEOPLE}/{face.person_id}", json={}).status_code == 400


def test_people_are_merged(client: TestClient, api: FakeAPI, gallery: FakeGallery) -> None:
    ana, bo, cy = (gallery.add(name).person_id for name in ("Ana", "Bo", "Cy"))
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        answer = client.post(f"{PEOPLE}/{ana}/merge", json={"people": [bo, cy]}, headers=headers)
        assert (answer.status_code, answer.json()["faces"], answer.json()["name"]) == (200, 3, "Ana")
    assert list(gallery.people.known) == [ana]
    assert api.fake_access.deeds[0].ids == tuple(f"person:{person}" for person in (ana, bo, cy))


@pytest.mark.parametrize(("others", "status"), [([2, 99], 404), ([1, 2], 400), ([], 400), (["2"], 400)])
def test_a_merger_that_cannot_be_meant_changes_nothing(
    client: TestClient, gallery: FakeGallery, others: list[Any], status: int
) -> None:
    gallery.add("Ana")
    gallery.add("Bo")
    answer = client.post(f"{PEOPLE}/1/merge", json={"people": others})
    assert answer.status_code == status
    assert len(gallery.people.known) == 2


def test_faces_are_given_to_a_person(client: TestClient, api: FakeAPI, gallery: FakeGallery) -> None:
    person = gallery.people.add("Ana")
    ids = [gallery.add().id, gallery.add("Bo").id]
    answer = client.post(f"{PEOPLE}/{person.id}/faces", json={"faces": [*ids, 99]})
    assert answer.json() == {"assigned": ids}
    assert client.get(f"{PEOPLE}/{person.id}").json()["faces"] == 2
    assert client.get(PEOPLE, params={"name": "Bo"}).json()["people"] == []
    assert api.fake_access.deeds[0].ids == (f"person:{person.id}", *ids)


@pytest.mark.parametrize(("query", "left"), [("", 2), ("?faces=keep", 2), ("?faces=delete", 0)])
def test_a_person_is_erased_with_or_without_the_faces(
    client: TestClient, api: FakeAPI, gallery: FakeGallery, query: str, left: int
) -> None:
    ids = [gallery.add("Ana").id for _ in range(2)]
    path = f"{PEOPLE}/{gallery.face(ids[0]).person_id}"
    assert client.delete(path + query).json() == {"deleted": [] if left else ids}
    assert client.get(path).status_code == 404
    assert [face.person_id for face in gallery.kept.values()] == [None] * left
    assert api.fake_access.deeds[0].ids == ("person:1", *([] if left else ids))


def test_what_becomes_of_the_faces_is_said_in_one_of_two_words(
    client: TestClient, gallery: FakeGallery
) -> None:
    gallery.add("Ana")
    assert client.delete(f"{PEOPLE}/1?faces=all").status_code == 400
    assert len(gallery.people.known) == 1


@pytest.mark.parametrize(
    ("method", "rest", "sent"),
    [
        ("GET", "", {}),
        ("PATCH", "", {"json": {"name": "x"}}),
        ("PATCH", "", {"json": {"cover_face": 1}}),
        ("DELETE", "", {}),
        ("POST", "/merge", {"json": {"people": [1]}}),
        ("POST", "/faces", {"json": {"faces": [1]}}),
    ],
)
def test_a_person_who_is_not_there_is_404(
    client: TestClient, gallery: FakeGallery, method: str, rest: str, sent: dict[str, Any]
) -> None:
    gallery.add("Ana")
    for person in UNKNOWN:
        answer = client.request(method, f"{PEOPLE}/{person}{rest}", **sent)
        assert (answer.status_code, answer.json()["code"]) == (404, "person_not_found"), person


def test_people_of_another_collection_are_not_there(
    client: TestClient, api: FakeAPI, gallery: FakeGallery
) -> None:
    api.fake_collections.add("other")
    gallery.add("Ana")
    assert client.get(f"{PEOPLE}/1?collection=other").status_code == 404
    assert client.get(f"{PEOPLE}?collection=other").json()["people"] == []
    assert client.post(f"{PEOPLE}?collection=other", json={"name": "Ana"}).json()["id"] == 2


def test_answers_are_what_their_schemas_say(client: TestClient, gallery: FakeGallery) -> None:
    face = gallery.add("Bo")
    check(client.post(PEOPLE, json={"name": "Ana"}).json(), gallery_schemas.PersonAnswer)
    check(client.get(PEOPLE).json(), gallery_schemas.PeoplePage)
    check(client.get(f"{PEOPLE}/2").json(), gallery_schemas.PersonAnswer)
    check(client.patch(f"{PEOPLE}/2", json={"name": "A"}).json(), gallery_schemas.PersonAnswer)
    given = client.post(f"{PEOPLE}/2/faces", json={"faces": [face.id]})
    check(given.json(), gallery_schemas.AssignedFaces)
    check(client.delete(f"{PEOPLE}/2").json(), gallery_schemas.DeletedFaces)
