"""Searches below /v1: with photos, a stored face or a vector, for faces and for people."""

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from facesearch.errors import DatabaseUnavailable, ModelMismatch, NoFaceFound
from facesearch.records import (
    NO_BOX,
    AutoTolerance,
    Condition,
    FaceProbe,
    FaceQuery,
    LeastSimilarity,
    NamedMatch,
    PhotoFile,
    PhotoProbe,
    ProbeFace,
    SearchTerms,
    VectorProbe,
    Wanted,
)
from facesearch.web import gallery_schemas
from tests.web.conftest import FakeAPI
from tests.web.test_openapi import check

PHOTO = {"file": ("a.jpg", b"photo", "image/jpeg")}
VECTOR = {"vector": [0.5] * 128, "model": "model"}
ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/search", {"files": PHOTO}),
    ("/v1/search/vector", {"json": VECTOR}),
    ("/v1/faces/1/search", {}),
]


@pytest.fixture(autouse=True)
def _face(api: FakeAPI) -> None:
    api.fake_collections.gallery("default").add("Ana")


def several(number: int, length: int = 5) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{at}.jpg", b"x" * length)) for at in range(number)]


def test_a_search_for_people_tells_of_each_person_s_nearest_face(client: TestClient, api: FakeAPI) -> None:
    match = NamedMatch(7, "Zoë", 0.25, 90.0, 3, "badge-17", {"site": "Paris", "age": 34}, 5)
    api.faces = [ProbeFace(NO_BOX, (match,))]
    answer = client.post("/v1/search?group_by=person&k=3", files=PHOTO)
    assert answer.json()["faces"] == [
        {
            "box": None,
            "quality": None,
            "matches": [
                {
                    "id": 7,
                    "person_id": 3,
                    "person_name": "Zoë",
                    "external_id": "badge-17",
                    "metadata": {"site": "Paris", "age": 34},
                    "distance": 0.25,
                    "similarity": 90.0,
                    "faces_within": 5,
                }
            ],
        }
    ]
    assert api.calls[-1][3] == SearchTerms(3, by_person=True)


@pytest.mark.parametrize(("route", "sent"), ROUTES)
def test_what_is_searched_for_reaches_the_gallery(
    client: TestClient, api: FakeAPI, route: str, sent: dict[str, Any]
) -> None:
    query = '?k=7&min_similarity=80&group_by=person&person=3&person=0&external_id=b-1&filter={"site":"Paris"}'
    assert client.post(route + query, **sent).status_code == 200
    among = FaceQuery(frozenset({0, 3}), "b-1", (Condition("site", "in", ("Paris",)),))
    assert api.calls[-1][3] == SearchTerms(7, LeastSimilarity(80.0), among, by_person=True)


def test_what_is_personal_may_be_in_the_form(client: TestClient, api: FakeAPI) -> None:
    form = {"filter": '{"site": "Paris"}', "external_id": "b-1"}
    paris, rome = (FaceQuery(None, "b-1", (Condition("site", "in", (site,)),)) for site in ("Paris", "Rome"))
    assert client.post("/v1/search", files=PHOTO, data=form).status_code == 200
    assert api.calls[-1][3] == SearchTerms(1, None, paris)
    # The query counts where both name it.
    assert client.post('/v1/search?filter={"site":"Rome"}', files=PHOTO, data=form).status_code == 200
    assert api.calls[-1][3] == SearchTerms(1, None, rome)
    answer = client.post("/v1/search", files=PHOTO, data={"filter": "site"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize(("route", "sent"), ROUTES)
def test_without_anything_it_is_the_nearest_face_of_all(
    client: TestClient, api: FakeAPI, route: str, sent: dict[str, Any]
) -> None:
    assert client.post(f"{route}?tolerance=auto", **sent).status_code == 200
    assert api.calls[-1][3] == SearchTerms(1, AutoTolerance())


def test_several_photos_of_one_person_are_combined(client: TestClient, api: FakeAPI) -> None:
    for combine in ("mean", "best"):
        answer = client.post(f"/v1/search?combine={combine}&upsample=2", files=several(10))
        assert answer.status_code == 200
        photos = tuple(PhotoFile(f"{at}.jpg", b"xxxxx") for at in range(10))
        assert api.calls[-1][2] == PhotoProbe(photos, Wanted(True, upsample=2), combine)
    assert client.post("/v1/search?combine=best", files=PHOTO).status_code == 200
    assert api.calls[-1][2] == PhotoProbe((PhotoFile("a.jpg", b"photo"),), Wanted(True), "best")


@pytest.mark.parametrize(
    ("query", "files"),
    [
        ("", several(2)),
        ("?combine=mean", several(11)),
        ("?combine=all", several(2)),
        ("?combine=", several(1)),
    ],
)
def test_photos_that_cannot_be_combined_are_400(
    client: TestClient, api: FakeAPI, query: str, files: list[Any]
) -> None:
    answer = client.post(f"/v1/search{query}", files=files)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert api.calls == []


def test_each_of_several_photos_has_the_room_of_one(client: TestClient, api: FakeAPI) -> None:
    most = 100_000  # of tests/web/conftest.py
    assert client.post("/v1/search?combine=mean", files=several(10, most)).status_code == 200
    for files, which in (
        (several(1, most + 1), "file is over"),
        ([*several(9, 1), *several(1, most + 1)], "photo 10 is over"),
        (several(10, most + 70_000), ""),
    ):
        answer = client.post("/v1/search?combine=mean", files=files)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert answer.json()["message"].startswith(which)
    assert len(api.calls) == 1


def test_a_vector_reaches_the_gallery_as_float32(client: TestClient, api: FakeAPI) -> None:
    vector = [0.1, -3, 2.5e-3, *[0.0] * 125]
    assert client.post("/v1/search/vector", json={"vector": vector, "model": "model"}).status_code == 200
    probe = api.calls[-1][2]
    assert isinstance(probe, VectorProbe)
    assert probe.model_id == "model"
    assert probe.embedding.dtype == np.float32
    assert np.array_equal(probe.embedding, np.array(vector, np.float32))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"vector": [], "model": "model"}',
        b'{"vector": [0.5]}',
        b'{"model": "model"}',
        b'{"vector": 0.5, "model": "model"}',
        b'{"vector": ["0.5"], "model": "model"}',
        b'{"vector": [true], "model": "model"}',
        b'{"vector": [NaN], "model": "model"}',
        b'{"vector": [Infinity], "model": "model"}',
        b'{"vector": [1e300], "model": "model"}',
        b'{"vector": [1%s], "model": "model"}' % (b"0" * 400),
        b'{"vector": [1%s], "model": "model"}' % (b"0" * 5000),
        b'{"vector": [0.5], "model": 7}',
        b'{"vector": [0.5], "model": "\\ud800"}',
        b'{"vector": [0.5], "model": "model", "k": 5}',
        b'{"vector": [0.5], "model": "model", "\\ud800": 5}',
        b'{"vector": [0.5], "model": "model", "%s": 5}' % (b"x" * 10_000),
        b'{"vector": [%s], "model": "model"}' % b", ".join([b"0.5"] * 4097),
        b'{"vector": [0.5, 0.5], "model": "model"}',
        b'{"vector": %s' % (b"[" * 100_000),
        b"\xff",
    ],
)
def test_what_is_no_vector_is_400(client: TestClient, api: FakeAPI, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/search/vector", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["details"]["parameters"]
    assert len(answer.text) < 2000


def test_a_number_that_float32_cannot_hold_is_400(client: TestClient, api: FakeAPI) -> None:
    for number in (1e300, -1e39):
        answer = client.post("/v1/search/vector", json={"vector": [number] * 128, "model": "model"})
        assert (answer.status_code, answer.json()["message"]) == (
            400,
            "vector has a number that is no float32.",
        )
    assert api.calls == []


def test_a_vector_is_sent_as_json(client: TestClient) -> None:
    assert client.post("/v1/search/vector", data={"vector": "[]"}).status_code == 400
    answer = client.post("/v1/search/vector", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


def test_a_body_of_json_may_have_a_mebibyte(client: TestClient) -> None:
    long = b'{"vector": [0.5%s], "model": "model"}' % (b" " * 1024**2)
    answer = client.post("/v1/search/vector", content=long, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["message"] == "The body is over the limit of 1048576 bytes."


def test_a_vector_of_another_model_is_409(client: TestClient) -> None:
    answer = client.post("/v1/search/vector", json=VECTOR | {"model": "other"})
    assert (answer.status_code, answer.json()["code"]) == (409, "model_mismatch")


@pytest.mark.parametrize("face", ["2", "0", "-1", "1.5", "x", "٣", "9" * 19, "9" * 5000, str(2**63)])
def test_a_face_that_is_not_there_is_404(client: TestClient, face: str) -> None:
    answer = client.post(f"/v1/faces/{face}/search")
    assert (answer.status_code, answer.json()["code"]) == (404, "face_not_found")


def test_a_stored_face_is_searched_with(client: TestClient, api: FakeAPI) -> None:
    assert client.post("/v1/faces/1/search?k=2").status_code == 200
    assert api.calls == [("search", "default", FaceProbe(1), SearchTerms(2))]


@pytest.mark.parametrize(
    "query",
    [
        "filter=site",
        "filter=",
        "filter=%7B%22a%22%3Anull%7D",
        "filter=" + "x" * 20_000,
        "person=-1",
        "person=Ana",
        "person=" + "9" * 30,
        "&".join(["person=1"] * 1001),
        "group_by=face",
        "group_by=",
        "k=0",
        "tolerance=near",
        "external_id=" + "x" * 20_000,
    ],
)
@pytest.mark.parametrize(("route", "sent"), ROUTES)
def test_a_parameter_that_cannot_be_meant_is_400(
    client: TestClient, api: FakeAPI, route: str, sent: dict[str, Any], query: str
) -> None:
    answer = client.post(f"{route}?{query}", **sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["details"]["parameters"][0].partition(".")[0] == query.partition("=")[0]
    assert len(answer.text) < 2000
    assert api.calls == []


@pytest.mark.parametrize(("route", "sent"), ROUTES)
@pytest.mark.parametrize(
    ("error", "status"), [(DatabaseUnavailable(), 503), (ModelMismatch(), 409), (NoFaceFound(), 422)]
)
def test_an_error_has_its_status(
    client: TestClient, api: FakeAPI, route: str, sent: dict[str, Any], error: Any, status: int
) -> None:
    api.error = error
    answer = client.post(route, **sent)
    assert (answer.status_code, answer.json()["code"]) == (status, error.code)


@pytest.mark.parametrize(("route", "sent"), ROUTES)
def test_answers_are_what_their_schemas_say(
    client: TestClient, api: FakeAPI, route: str, sent: dict[str, Any]
) -> None:
    check(client.post(route, **sent).json(), gallery_schemas.V1Search)
    assert api.fake_access.deeds == []
