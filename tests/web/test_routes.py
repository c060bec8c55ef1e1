import re

import pytest
from starlette.testclient import TestClient

from facesearch.errors import FaceNotFound
from facesearch.records import (
    NO_BOX,
    AutoTolerance,
    ChosenTolerance,
    ImportOptions,
    NamedMatch,
    ProbeFace,
    Wanted,
)
from tests.web.conftest import FakeAPI

PHOTO = {"file": ("Aaron_Eckhart_0001.jpg", b"photo", "image/jpeg")}
BOX = {"top": 10, "right": 109, "bottom": 109, "left": 10}
QUALITY = {
    "size_px": 100,
    "score": 0.988,
    "sharpness": 1234.568,
    "brightness": 127.0,
    "roll_deg": -1.235,
    "yaw_deg": 0.0,
    "pitch_deg": 5.0,
}
ENROLLED = Wanted(only_largest=True)


def test_a_search_answers_matches_per_face_and_the_boxes_beside_them(client: TestClient) -> None:
    answer = client.post("/search_faces/?k=5&tolerance=0.6", files=PHOTO)
    assert answer.status_code == 200
    matches = [
        {"id": 7, "person_name": "Aaron Eckhart", "distance": 0.123457},
        {"id": 3, "person_name": "Ana", "distance": 0.6},
    ]
    assert answer.json() == {
        "status": "OK",
        "body": {"matches": {"face1": matches, "face2": []}},
        "result": {
            "faces": [
                {"box": BOX, "quality": QUALITY, "matches": matches},
                {"box": BOX, "quality": None, "matches": []},
            ],
            "stale": False,
            "seconds": 0,
        },
    }


def test_a_search_without_the_database_says_so_and_names_nobody(client: TestClient, api: FakeAPI) -> None:
    api.faces = [ProbeFace(api.box, (NamedMatch(7, None, 0.25),))]
    api.stale_s = 12.3456
    answer = client.post("/search_faces/", files=PHOTO)
    assert (answer.status_code, "retry-after" in answer.headers) == (200, False)
    matches = [{"id": 7, "person_name": None, "distance": 0.25}]
    assert answer.json() == {
        "status": "OK",
        "body": {"matches": {"face1": matches}},
        "result": {
            "faces": [{"box": BOX, "quality": None, "matches": matches}],
            "stale": True,
            "seconds": 12.346,
        },
    }


def test_a_photo_without_a_face_has_no_matches(client: TestClient, api: FakeAPI) -> None:
    api.faces = []
    answer = client.post("/search_faces/", files=PHOTO)
    assert answer.status_code == 200
    result = {"faces": [], "stale": False, "seconds": 0}
    assert answer.json() == {"status": "OK", "body": {"matches": {}}, "result": result}


@pytest.mark.parametrize(
    ("query", "k", "tolerance"),
    [
        ("", 1, None),
        ("?k=5", 5, None),
        ("?k=1000&tolerance=0", 1000, 0.0),
        ("?k=5&tolerance=0.6/", 5, 0.6),
        ("?tolerance=0.6&k=5/", 5, 0.6),
        ("?tolerance=2", 1, 2.0),
        ("?k=2&tolerance=auto", 2, AutoTolerance(0.01)),
        ("?tolerance=auto/", 1, AutoTolerance(0.01)),
        ("?tolerance=auto&false_alarm_rate=0.05/", 1, AutoTolerance(0.05)),
    ],
)
def test_the_parameters_of_a_search_reach_the_api(
    client: TestClient, api: FakeAPI, query: str, k: int, tolerance: float | AutoTolerance | None
) -> None:
    assert client.post(f"/search_faces/{query}", files=PHOTO).status_code == 200
    assert api.calls == [("search", b"photo", "Aaron_Eckhart_0001.jpg", k, tolerance, Wanted())]


@pytest.mark.parametrize("extrapolated", [False, True])
def test_the_answer_names_the_tolerance_that_was_chosen(
    client: TestClient, api: FakeAPI, extrapolated: bool
) -> None:
    plain = client.post("/search_faces/", files=PHOTO).json()
    api.chosen = ChosenTolerance(0.43210987, 1e-6, extrapolated)
    answer = client.post("/search_faces/?tolerance=auto", files=PHOTO).json()
    plain["result"] |= {"tolerance": 0.43211, "tolerance_extrapolated": extrapolated}
    assert answer == plain


@pytest.mark.parametrize(
    "query", ["false_alarm_rate=0.01", "tolerance=0.6&false_alarm_rate=0.01", "tolerance=&false_alarm_rate="]
)
def test_a_false_alarm_rate_without_auto_is_refused(client: TestClient, api: FakeAPI, query: str) -> None:
    answer = client.post(f"/search_faces/?{query}", files=PHOTO)
    assert answer.status_code == 400
    assert answer.json()["body"] == "false_alarm_rate counts with tolerance=auto only."
    assert not api.calls


@pytest.mark.parametrize(
    "query",
    [
        "k=five",
        "k=",
        "k=1.5",
        "k=1_0",
        "k=٣",
        "k=" + "9" * 5000,
        "tolerance=wide",
        "tolerance=",
        "tolerance=AUTO",
        "false_alarm_rate=rare&tolerance=auto",
        "false_alarm_rate=&tolerance=auto",
    ],
)
def test_a_parameter_that_is_no_number_is_refused_by_name(
    client: TestClient, api: FakeAPI, query: str
) -> None:
    answer = client.post(f"/search_faces/?{query}", files=PHOTO)
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["body"]
    assert not api.calls


def test_an_enrolment_answers_a_sentence_and_the_face(client: TestClient, api: FakeAPI) -> None:
    answer = client.post("/add_face/", files=PHOTO)
    assert answer.json() == {
        "status": "OK",
        "body": "Added Aaron Eckhart with id 7. It is the largest of 2 faces in the photo.",
        "result": {
            "id": 7,
            "person_name": "Aaron Eckhart",
            "box": BOX,
            "faces_found": 2,
            "quality": QUALITY,
            "duplicate_of": None,
        },
    }
    assert api.calls == [("add", b"photo", "Aaron_Eckhart_0001.jpg", ENROLLED)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("detector=cnn", Wanted(detector="cnn")),
        ("detector=centerface", Wanted(detector="centerface")),
        ("detector=yunet", Wanted(detector="yunet")),
        ("detector=hog&upsample=0", Wanted(detector="hog", upsample=0)),
        ("upsample=3&min_face_px=0", Wanted(upsample=3, min_face_px=0)),
        ("min_face_px=10000&max_faces=1", Wanted(min_face_px=10_000, max_faces=1)),
        ("max_faces=10000&k=1&tolerance=0.6/", Wanted(max_faces=10_000)),
    ],
)
def test_which_faces_a_search_looks_for_reaches_the_api(
    client: TestClient, api: FakeAPI, query: str, wanted: Wanted
) -> None:
    assert client.post(f"/search_faces/?{query}", files=PHOTO).status_code == 200
    assert api.calls[0][-1] == wanted


def test_how_an_enrolment_looks_for_its_face_reaches_the_api(client: TestClient, api: FakeAPI) -> None:
    route = "/add_face/?detector=cnn&upsample=2&min_face_px=40&max_faces=7"
    assert client.post(route, files=PHOTO).status_code == 200
    assert api.calls[0][-1] == Wanted(only_largest=True, detector="cnn", upsample=2, min_face_px=40)


@pytest.mark.parametrize("route", ["/search_faces/", "/add_face/"])
@pytest.mark.parametrize(
    "query",
    [
        "detector=",
        "detector=CNN",
        "detector=yolo",
        "upsample=-1",
        "upsample=4",
        "upsample=two",
        "upsample=",
        "upsample=1.5",
        "min_face_px=-1",
        "min_face_px=10001",
        "min_face_px=" + "9" * 5000,
    ],
)
def test_what_no_detector_understands_is_refused_by_name(
    client: TestClient, api: FakeAPI, route: str, query: str
) -> None:
    answer = client.post(f"{route}?{query}", files=PHOTO)
    assert answer.status_code == 400
    assert answer.json()["status"] == "ERROR"
    assert query.partition("=")[0] in answer.json()["body"]
    assert not api.calls


@pytest.mark.parametrize("query", ["max_faces=0", "max_faces=10001", "max_faces=all", "max_faces="])
def test_a_search_for_no_or_too_many_faces_is_refused_by_name(
    client: TestClient, api: FakeAPI, query: str
) -> None:
    answer = client.post(f"/search_faces/?{query}", files=PHOTO)
    assert answer.status_code == 400
    assert "max_faces" in answer.json()["body"]
    assert not api.calls


def test_a_bulk_answers_counts_and_a_report_per_file(client: TestClient, api: FakeAPI) -> None:
    answer = client.post("/add_faces_in_bulk/", files={"file": ("faces.zip", b"zip")})
    assert answer.json()["body"] == "Inserted 1 images in database."
    result = answer.json()["result"]
    assert {key: count for key, count in result.items() if key != "files"} == {
        "inserted": 1,
        "no_face": 1,
        "duplicate": 1,
        "failed": 0,
        "skipped": 0,
    }
    assert result["files"][:2] == [
        {
            "file": "a.jpg",
            "status": "inserted",
            "id": 8,
            "person_name": "Ana",
            "reason": None,
            "faces": [{"id": 8, "box": BOX}],
            "duplicate_of": None,
        },
        {
            "file": "b.jpg",
            "status": "no_face",
            "id": None,
            "person_name": None,
            "reason": "No face was found in the photo.",
            "faces": [],
            "duplicate_of": None,
        },
    ]
    waited_for = ImportOptions("largest", skip_duplicates=False, waited_for=True)
    assert api.fake_imports.started == [(b"zip", "faces.zip", waited_for, None)]


@pytest.mark.parametrize(
    "form",
    [
        {"api_key": "", "image_id": "7"},
        {"image_id": "7"},
        {"face_id": "7"},
        {"api_key": "anything", "face_id": "7", "image_id": "7"},
        {"image_id": "7/"},
    ],
)
def test_information_is_found_by_either_name_of_the_id(
    client: TestClient, api: FakeAPI, form: dict[str, str]
) -> None:
    answer = client.post("/get_face_info/", data=form)
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "OK",
        "body": {
            "id": 7,
            "person_name": "Aaron Eckhart",
            "version": "0001",
            "date": "2003-04-05T10:11:12",
            "date and time": "2003-04-05T10:11:12",
            "location": {"latitude": 1.5, "longitude": -2.5},
            "file_name": "Aaron_Eckhart_0001.jpg",
            "size": {"width": 250, "height": 240},
            "box": BOX,
            "quality": QUALITY,
            "model": "model",
            "dimension": 128,
            "added_at": "2026-01-02T03:04:05+00:00",
            "external_id": None,
            "metadata": {},
        },
    }
    assert api.calls == [("info", 7)]


def test_multipart_fields_do_as_well(client: TestClient, api: FakeAPI) -> None:
    fields = {"api_key": (None, ""), "image_id": (None, "7")}
    assert client.post("/get_face_info/", files=fields).status_code == 200


def test_what_a_photo_does_not_tell_is_null(client: TestClient, api: FakeAPI) -> None:
    api.taken_at = api.location = None
    body = client.post("/get_face_info/", data={"image_id": "7"}).json()["body"]
    assert (body["date"], body["date and time"], body["location"]) == (None, None, None)


def test_a_face_that_was_imported_has_no_box_size_or_quality(client: TestClient, api: FakeAPI) -> None:
    api.size, api.box, api.quality = (0, 0), NO_BOX, None
    body = client.post("/get_face_info/", data={"image_id": "7"}).json()["body"]
    assert (body["box"], body["size"], body["quality"]) == (None, None, None)


@pytest.mark.parametrize("form", [{}, {"image_id": ""}, {"image_id": "x"}, {"image_id": "1", "face_id": "2"}])
def test_an_id_that_cannot_be_used_is_refused(client: TestClient, form: dict[str, str]) -> None:
    answer = client.post("/get_face_info/", data=form)
    assert answer.status_code == 400
    assert answer.json()["status"] == "ERROR"


def test_an_unknown_id_is_404(client: TestClient, api: FakeAPI) -> None:
    api.error = FaceNotFound.of(7)
    answer = client.post("/get_face_info/", data={"image_id": "7"})
    assert answer.status_code == 404
    assert answer.json()["body"] == "There is no face with id 7."


@pytest.mark.parametrize("route", ["/search_faces", "/add_face", "/add_faces_in_bulk"])
def test_a_route_answers_without_its_last_slash_too(client: TestClient, route: str) -> None:
    assert client.post(route, files=PHOTO, follow_redirects=False).status_code == 200


def test_a_browser_finds_the_documentation_and_needs_no_other_host(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.url.path == "/docs"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert link.startswith("/")
        assert client.get(link).status_code == 200
