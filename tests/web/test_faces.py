from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.errors import FaceRefused, SeveralFaces
from facesearch.records import (
    NO_BOX,
    Caller,
    Condition,
    Crop,
    EnrolmentTerms,
    FaceQuery,
    Location,
    Metadata,
    PhotoFile,
    PhotoInfo,
    Wanted,
)
from facesearch.web import gallery_schemas
from tests.web.conftest import QUALITY, FakeAPI
from tests.web.fake_gallery import FakeGallery
from tests.web.test_openapi import check

PHOTO = {"file": ("Ana_0001.jpg", b"photo", "image/jpeg")}
FACES = "/v1/faces"
LARGEST = 2**63 - 1
UNKNOWN = ["99", "0", "-1", "1.5", "x", "٣", "%20", str(LARGEST), str(LARGEST + 1), "9" * 5000]


@pytest.fixture
def gallery(api: FakeAPI) -> FakeGallery:
    return api.fake_collections.gallery("default")


def terms_of(api: FakeAPI) -> EnrolmentTerms:
    terms = api.calls[-1][3]
    assert isinstance(terms, EnrolmentTerms)
    return terms


def test_a_photo_s_faces_are_stored_and_told(client: TestClient, api: FakeAPI) -> None:
    form = {"person_name": "Zoë", "external_id": "badge-17", "metadata": '{"site": "Paris", "age": 34}'}
    answer = client.post(f"{FACES}?faces=all", files={"file": ("a.jpg", b"ff")}, data=form)
    assert answer.status_code == 200
    face = {
        "person_id": 1,
        "person_name": "Zoë",
        "external_id": "badge-17",
        "metadata": {"site": "Paris", "age": 34},
        "file_name": "a.jpg",
        "size": {"width": 250, "height": 240},
        "taken_at": None,
        "location": None,
        "box": {"top": 10, "right": 109, "bottom": 109, "left": 10},
        "quality": None,
        "model": "model",
        "dimension": 128,
        "added_at": "2026-01-02T03:04:05+00:00",
    }
    faces = [{"id": 1} | face, {"id": 2} | face]
    assert answer.json() == {"faces": faces, "faces_found": 2, "duplicate_of": None}
    metadata: Metadata = {"site": "Paris", "age": 34}
    terms = EnrolmentTerms("Zoë", None, "badge-17", metadata, "all", True, Wanted())
    assert api.calls == [("add faces", "default", PhotoFile("a.jpg", b"ff"), terms)]
    assert api.fake_access.deeds[0].ids == (1, 2)


def test_without_anything_the_photo_s_name_says_whose_its_largest_face_is(
    client: TestClient, api: FakeAPI
) -> None:
    assert client.post(f"{FACES}/", files=PHOTO).status_code == 200
    wanted = EnrolmentTerms(faces="largest", skip_duplicates=True, wanted=Wanted(True))
    assert terms_of(api) == wanted


def test_an_empty_name_is_nobody(client: TestClient, api: FakeAPI) -> None:
    answer = client.post(FACES, files=PHOTO, data={"person_name": ""})
    assert (answer.json()["faces"][0]["person_id"], answer.json()["faces"][0]["person_name"]) == (None, None)
    assert terms_of(api).person_name == ""


@pytest.mark.parametrize("name", ["Zoë 王 O'Neil", "n" * 255, "王" * 255, "ذ 🙂"])
def test_names_of_any_script_and_of_255_characters_are_stored(
    client: TestClient, api: FakeAPI, name: str
) -> None:
    data = {"person_name": name, "external_id": name}
    (face,) = client.post(FACES, files={"file": (f"{name}.jpg", b"photo")}, data=data).json()["faces"]
    assert (face["person_name"], face["external_id"], face["file_name"]) == (name, name, f"{name}.jpg")
    assert client.get(f"{FACES}/{face['id']}").json() == face
    assert client.get(FACES, params={"external_id": name}).json()["faces"] == [face]


def test_a_face_may_be_given_to_somebody_who_is_there(
    client: TestClient, api: FakeAPI, gallery: FakeGallery
) -> None:
    person = gallery.people.add("Ana")
    answer = client.post(FACES, files=PHOTO, data={"person_id": str(person.id)})
    assert answer.json()["faces"][0]["person_name"] == "Ana"
    answer = client.post(FACES, files={"file": b"2"}, data={"person_id": "99"})
    assert (answer.status_code, answer.json()["code"]) == (404, "person_not_found")


def test_the_collection_may_be_said_in_the_form_where_the_query_names_none(
    client: TestClient, api: FakeAPI
) -> None:
    for name in ("visitors", "staff"):
        api.fake_collections.add(name)
    for query, form, meant in [("", "visitors", "visitors"), ("?collection=staff", "visitors", "staff")]:
        assert client.post(FACES + query, files=PHOTO, data={"collection": form}).status_code == 200
        assert api.calls[-1][:2] == ("add faces", meant)
    for name in ("nowhere", "", "*"):
        answer = client.post(FACES, files=PHOTO, data={"collection": name})
        assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found")


def test_a_key_stores_nothing_in_the_collection_of_another_by_its_form(
    client: TestClient, api: FakeAPI
) -> None:
    api.fake_access.callers = {"own": Caller("own00001", "", "write", "visitors")}
    for name in ("default", "nowhere"):
        answer = client.post(FACES, files=PHOTO, data={"collection": name}, headers={"X-API-Key": "own"})
        assert (answer.status_code, answer.json()["code"]) == (403, "collection_not_allowed")
    assert api.calls == []


def test_which_faces_and_what_of_duplicates_may_be_said_in_the_query_or_the_form(
    client: TestClient, api: FakeAPI
) -> None:
    for query, form, wanted in (
        ("", {"faces": "all", "duplicates": "store"}, ("all", False)),
        ("?faces=single", {"faces": "all"}, ("single", True)),
        ("?duplicates=store&faces=largest", {"duplicates": "skip"}, ("largest", False)),
    ):
        assert client.post(FACES + query, files=PHOTO, data=form).status_code == 200
        assert (terms_of(api).faces, terms_of(api).skip_duplicates) == wanted


def test_how_faces_are_looked_for_reaches_the_gallery(client: TestClient, api: FakeAPI) -> None:
    client.post(f"{FACES}?faces=all&detector=cnn&upsample=2&min_face_px=30&max_faces=5", files=PHOTO)
    assert terms_of(api).wanted == Wanted(False, "cnn", 2, 30, 5)


@pytest.mark.parametrize(
    "form",
    [
        {"person_name": "Ana", "person_id": "1"},
        {"person_name": "", "person_id": "1"},
        {"person_name": ["Ana", "Bo"]},
        {"metadata": ["{}", "{}"]},
        {"person_id": "0"},
        {"person_id": "Ana"},
        {"person_id": str(LARGEST + 1)},
        {"faces": "none"},
        {"duplicates": "keep"},
        {"metadata": "site"},
        {"metadata": "[]"},
        {"metadata": '{"a": null}'},
        {"metadata": '{"a": {"b": 1}}'},
        {"metadata": '{"a": NaN}'},
        {"metadata": '{"a": 1e999}'},
        {"metadata": '{"a": 9223372036854775808}'},
        {"metadata": '{"a": "\\ud800"}'},
        {"metadata": '{"\\ud800": "a"}'},
        {"metadata": "[" * 5000},
        {"metadata": "9" * 5000},
    ],
)
def test_what_cannot_be_stored_is_400(client: TestClient, api: FakeAPI, form: dict[str, Any]) -> None:
    answer = client.post(FACES, files=PHOTO, data=form)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["details"] == {"parameters": list(form)}
    assert len(answer.text) < 1000
    assert api.calls == []


@pytest.mark.parametrize("sent", [{}, {"data": {"file": "a.jpg"}}, {"json": {"file": "x"}}])
def test_a_photo_is_needed(client: TestClient, sent: dict[str, Any]) -> None:
    answer = client.post(FACES, **sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


def test_a_photo_over_the_limit_is_413(client: TestClient) -> None:
    assert client.post(FACES, files={"file": b"x" * 170_000}).status_code == 413


@pytest.mark.parametrize("error", [SeveralFaces(), FaceRefused()])
def test_a_photo_that_is_refused_is_422(client: TestClient, api: FakeAPI, error: Any) -> None:
    api.error = error
    answer = client.post(FACES, files=PHOTO)
    assert (answer.status_code, answer.json()["code"]) == (422, error.code)


def test_a_repeated_request_stores_nothing_again(client: TestClient, gallery: FakeGallery) -> None:
    headers = {"Idempotency-Key": "k"}
    query = f"{FACES}?duplicates=store"
    first = client.post(query, files=PHOTO, data={"metadata": '{"a": 1}'}, headers=headers)
    again = client.post(query, files=PHOTO, data={"metadata": '{"a": 1}'}, headers=headers)
    assert again.json() == first.json()
    for path, form, files in (
        (query, {"metadata": '{"a": 2}'}, PHOTO),
        (query, {"metadata": '{"a": 1}', "person_name": ""}, PHOTO),
        (query, {"metadata": '{"a": 1}'}, {"file": ("Ana_0001.jpg", b"another")}),
        (FACES, {"metadata": '{"a": 1}'}, PHOTO),
    ):
        other = client.post(path, files=files, data=form, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert len(gallery.kept) == 1


def test_a_photo_that_is_stored_already_is_named(client: TestClient) -> None:
    (face,) = client.post(FACES, files=PHOTO).json()["faces"]
    again = client.post(FACES, files=PHOTO).json()
    assert (again["faces"], again["duplicate_of"]) == ([face], face["id"])
    stored = client.post(f"{FACES}?duplicates=store", files=PHOTO).json()
    assert (stored["faces"][0]["id"], stored["duplicate_of"]) == (face["id"] + 1, face["id"])


def test_what_was_stored_before_is_not_written_down_as_this_key_s(client: TestClient, api: FakeAPI) -> None:
    for _ in range(2):
        client.post(FACES, files=PHOTO)
    client.post(f"{FACES}?duplicates=store", files=PHOTO)
    api.duplicate_of = 7
    client.post("/add_face/", files=PHOTO)
    api.duplicate_of = 6
    client.post("/add_face/", files=PHOTO)
    assert [deed.ids for deed in api.fake_access.deeds] == [(1,), (), (2,), (), (7,)]


def test_faces_are_listed_page_by_page(client: TestClient, gallery: FakeGallery) -> None:
    ids = [gallery.add(f"p{number}").id for number in range(5)]
    found, query = [], ""
    for length in (2, 2, 1):
        page = client.get(f"{FACES}?limit=2{query}").json()
        assert len(page["faces"]) == length
        found += [face["id"] for face in page["faces"]]
        query = f"&cursor={page['next']}"
    assert (found, page["next"]) == (ids, None)


def test_a_list_is_of_the_faces_that_are_meant(
    client: TestClient, api: FakeAPI, gallery: FakeGallery
) -> None:
    ana, nobody = gallery.add("Ana"), gallery.add()
    for query, ids in (
        ("", [ana.id, nobody.id]),
        (f"person={ana.person_id}", [ana.id]),
        ("person=0", [nobody.id]),
        (f"person=0&person={ana.person_id}", [ana.id, nobody.id]),
        ("person=99", []),
    ):
        assert [face["id"] for face in client.get(f"{FACES}?{query}").json()["faces"]] == ids
    client.get(FACES, params={"filter": '{"age": {"gte": 30}}', "external_id": "b", "limit": 7})
    among = FaceQuery(None, "b", (Condition("age", "gte", (30,)),))
    assert api.calls[-1] == ("faces", "default", among, 7, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "filter=x", "person=-1", "person=x"])
def test_a_list_that_cannot_be_meant_is_400(client: TestClient, api: FakeAPI, query: str) -> None:
    answer = client.get(f"{FACES}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert api.calls == []


def test_a_face_tells_what_is_known_of_it(client: TestClient, gallery: FakeGallery) -> None:
    face = gallery.add("Ana")
    info = PhotoInfo("b.jpg", 0, 0, "2003-04-05T10:11:12", Location(1.5, -2.5))
    gallery.kept[face.id] = replace(face, photo=info, box=NO_BOX, quality=QUALITY)
    told = client.get(f"{FACES}/{face.id}").json()
    assert (told["box"], told["size"], told["taken_at"]) == (None, None, "2003-04-05T10:11:12")
    assert told["location"] == {"latitude": 1.5, "longitude": -2.5}
    assert (told["quality"]["score"], told["quality"]["size_px"]) == (0.988, 100)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"external_id": "b-2"}, {"external_id": "b-2"}),
        ({"external_id": None}, {"external_id": None}),
        ({"metadata": {"n": 1, "s": "x", "b": True, "f": 1.5}}, {}),
        ({"metadata": {}}, {}),
        ({"metadata": None}, {"metadata": {}}),
        ({"person_id": None}, {"person_id": None, "person_name": None}),
        ({"person_id": 2, "external_id": "王" * 255}, {"person_name": "Bo", "external_id": "王" * 255}),
    ],
)
def test_a_face_is_changed(
    client: TestClient, gallery: FakeGallery, change: dict[str, Any], wanted: dict[str, Any]
) -> None:
    face = gallery.add("Ana", {"site": "Paris"})
    gallery.people.add("Bo")
    before = client.get(f"{FACES}/{face.id}").json()
    answer = client.patch(f"{FACES}/{face.id}", json=change)
    assert answer.status_code == 200
    assert answer.json() == before | change | wanted == client.get(f"{FACES}/{face.id}").json()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"name": "Ana"}',
        '{"person_id": 0}',
        '{"person_id": "1"}',
        '{"person_id": 9223372036854775808}',
        '{"person_id": 1.0}',
        '{"person_id": true}',
        '{"external_id": 7}',
        '{"external_id": "\\ud800"}',
        '{"metadata": []}',
        '{"metadata": {"a": null}}',
        '{"metadata": {"a": ["b"]}}',
        '{"metadata": {"a": NaN}}',
        '{"metadata": {"a": 9223372036854775808}}',
        '{"metadata": {"\\ud800": 1}}',
    ],
)
def test_a_change_that_cannot_be_meant_is_400(
    client: TestClient, api: FakeAPI, gallery: FakeGallery, body: str
) -> None:
    face = gallery.add("Ana")
    answer = client.patch(f"{FACES}/{face.id}", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert gallery.face(face.id) == face


def test_a_face_that_cannot_be_given_to_somebody_stays_as_it_is(
    client: TestClient, gallery: FakeGallery
) -> None:
    face = gallery.add("Ana")
    answer = client.patch(f"{FACES}/{face.id}", json={"person_id": 99, "external_id": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "person_not_found")
    assert gallery.face(face.id) == face


@pytest.mark.parametrize(
    ("method", "rest", "sent"),
    [
        ("GET", "", {}),
        ("PATCH", "", {"json": {"external_id": "x"}}),
        ("PATCH", "", {"json": {"person_id": None}}),
        ("DELETE", "", {}),
        ("GET", "/thumbnail", {}),
        ("POST", "/search", {}),
    ],
)
def test_a_face_that_is_not_there_is_404(
    client: TestClient, method: str, rest: str, sent: dict[str, Any]
) -> None:
    for face in UNKNOWN:
        answer = client.request(method, f"{FACES}/{face}{rest}", **sent)
        assert (answer.status_code, answer.json()["code"]) == (404, "face_not_found"), face


def test_a_face_of_another_collection_is_not_there(
    client: TestClient, api: FakeAPI, gallery: FakeGallery
) -> None:
    api.fake_collections.add("other")
    face = gallery.add("Ana")
    for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/thumbnail"), ("POST", "/search")):
        answer = client.request(method, f"{FACES}/{face.id}{rest}?collection=other")
        assert (answer.status_code, answer.json()["code"]) == (404, "face_not_found")
    assert client.get(f"{FACES}?collection=other").json()["faces"] == []
    assert client.post(f"{FACES}/delete?collection=other", json={"faces": [face.id]}).json() == {
        "deleted": []
    }
    assert client.get(f"{FACES}/{face.id}").status_code == 200


def test_a_face_is_erased(client: TestClient, api: FakeAPI, gallery: FakeGallery) -> None:
    face = gallery.add("Ana")
    assert client.delete(f"{FACES}/{face.id}").json() == {"deleted": [face.id]}
    assert client.delete(f"{FACES}/{face.id}").status_code == 404
    assert [(deed.what, deed.ids, deed.status) for deed in api.fake_access.deeds] == [
        ("DELETE /v1/faces/{face_id}", (face.id,), 200),
        ("DELETE /v1/faces/{face_id}", (), 404),
    ]


def test_many_faces_are_erased_or_given_to_nobody(
    client: TestClient, api: FakeAPI, gallery: FakeGallery
) -> None:
    ids = [gallery.add("Ana").id for _ in range(3)]
    answer = client.post(f"{FACES}/unassign", json={"faces": [*ids[:2], 99]})
    assert answer.json() == {"unassigned": ids[:2]}
    assert [face.person_id for face in gallery.kept.values()] == [None, None, 1]
    answer = client.post(f"{FACES}/delete", json={"faces": [ids[1], 99, ids[2], ids[1]]})
    assert answer.json() == {"deleted": ids[1:]}
    assert list(gallery.kept) == ids[:1]
    assert [deed.ids for deed in api.fake_access.deeds] == [tuple(ids[:2]), tuple(ids[1:])]


@pytest.mark.parametrize("route", ["/delete", "/unassign"])
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[1]",
        '{"faces": []}',
        '{"faces": 1}',
        '{"faces": ["1"]}',
        '{"faces": [0]}',
        '{"faces": [-1]}',
        '{"faces": [1.0]}',
        '{"faces": [true]}',
        '{"faces": [null]}',
        '{"faces": [9223372036854775808]}',
        '{"faces": [1], "all": true}',
        f'{{"faces": [{", ".join(["1"] * 1001)}]}}',
        f'{{"faces": [{", ".join(["0"] * 1000)}]}}',
    ],
)
def test_ids_that_cannot_be_meant_are_400(client: TestClient, api: FakeAPI, route: str, body: str) -> None:
    answer = client.post(FACES + route, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert len(answer.text) < 2000
    assert api.calls == []


def test_a_thousand_faces_may_be_named(client: TestClient) -> None:
    ids = list(range(10**15, 10**15 + 1000))
    assert client.post(f"{FACES}/delete", json={"faces": ids}).json() == {"deleted": []}


def test_a_repeated_unassignment_answers_as_the_first(client: TestClient, gallery: FakeGallery) -> None:
    face = gallery.add("Ana")
    headers = {"Idempotency-Key": "k"}
    sent = {"faces": [face.id]}
    for _ in range(2):
        answer = client.post(f"{FACES}/unassign", json=sent, headers=headers)
        assert answer.json() == {"unassigned": [face.id]}
        gallery.people.assign([face.id], gallery.people.make(f"p{len(gallery.people.known)}", kept=True).id)
    assert gallery.face(face.id).person_id is not None
    answer = client.post(f"{FACES}/unassign", json={"faces": [99]}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


@pytest.mark.parametrize("kind", ["image/jpeg", "image/webp"])
def test_a_thumbnail_is_a_picture_that_nobody_else_keeps(
    client: TestClient, gallery: FakeGallery, kind: str
) -> None:
    face = gallery.add("Ana")
    gallery.crops[face.id] = Crop(kind, b"\xff\xd8picture")
    answer = client.get(f"{FACES}/{face.id}/thumbnail")
    assert (answer.status_code, answer.content) == (200, b"\xff\xd8picture")
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    tag = answer.headers["ETag"]
    for known, status in ((tag, 304), (f'"x", W/{tag}', 304), ('"x"', 200), ("", 200)):
        again = client.get(f"{FACES}/{face.id}/thumbnail", headers={"If-None-Match": known})
        assert (again.status_code, again.headers["ETag"]) == (status, tag)
        assert bool(again.content) is (status == 200)
    gallery.delete_faces([face.id])
    gone = client.get(f"{FACES}/{face.id}/thumbnail", headers={"If-None-Match": tag})
    assert gone.status_code == 404


def test_what_is_no_picture_is_not_shown_as_one(client: TestClient, gallery: FakeGallery) -> None:
    face = gallery.add("Ana")
    gallery.crops[face.id] = Crop("text/html", b"<script>")
    answer = client.get(f"{FACES}/{face.id}/thumbnail")
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_a_face_without_a_crop_has_no_thumbnail(client: TestClient, gallery: FakeGallery) -> None:
    answer = client.get(f"{FACES}/{gallery.add('Ana').id}/thumbnail")
    assert (answer.status_code, answer.json()["code"]) == (404, "crop_not_found")


def test_answers_are_what_their_schemas_say(client: TestClient, gallery: FakeGallery) -> None:
    check(client.post(FACES, files=PHOTO).json(), gallery_schemas.EnrolledAnswer)
    check(client.get(FACES).json(), gallery_schemas.FacesPage)
    check(client.get(f"{FACES}/1").json(), gallery_schemas.V1Face)
    check(client.patch(f"{FACES}/1", json={"metadata": {"a": 1}}).json(), gallery_schemas.V1Face)
    check(client.post(f"{FACES}/unassign", json={"faces": [1]}).json(), gallery_schemas.UnassignedFaces)
    check(client.post(f"{FACES}/delete", json={"faces": [1]}).json(), gallery_schemas.DeletedFaces)
