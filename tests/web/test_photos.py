from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from facesearch.config import Settings
from facesearch.errors import DatabaseUnavailable, ModelMismatch
from facesearch.records import (
    AutoTolerance,
    Caller,
    ChosenTolerance,
    FoundFaces,
    LeastSimilarity,
    NamedMatch,
    PhotoFile,
    PhotoProbe,
    ProbeFace,
    SearchTerms,
    Wanted,
    WantedTolerance,
)
from facesearch.web import create_app, photos_schemas
from tests.web.conftest import FakeAPI
from tests.web.test_openapi import check

PHOTO = {"file": ("a.jpg", b"photo", "image/jpeg")}
PAIR = {"source": ("a.jpg", b"one", "image/jpeg"), "target": ("b.jpg", b"two", "image/jpeg")}
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
LANDMARKS = {
    "left_eye": {"x": 30.0, "y": 40.1},
    "right_eye": {"x": 70.0, "y": 40.0},
    "nose": {"x": 50.0, "y": 60.0},
    "mouth_left": {"x": 35.0, "y": 80.0},
    "mouth_right": {"x": 65.0, "y": 80.0},
}
ROUTES = ["/v1/detect", "/v1/compare", "/v1/search"]
ONE_PHOTO = PhotoProbe((PhotoFile("a.jpg", b"photo"),))
OPTIONS = "?detector=cnn&upsample=2&min_face_px=30&max_faces=5"


def files_of(route: str) -> dict[str, Any]:
    return PAIR if route == "/v1/compare" else PHOTO


def test_detect_tells_the_faces_and_asks_for_nothing_but_what_was_said(
    client: TestClient, api: FakeAPI
) -> None:
    answer = client.post("/v1/detect", files=PHOTO)
    assert answer.status_code == 200
    face = {"box": BOX, "score": 0.98765, "quality": QUALITY}
    assert answer.json() == {
        "size": {"width": 250, "height": 240},
        "faces": [face | {"landmarks": LANDMARKS}, face | {"landmarks": None}],
    }
    assert api.calls == [("detect", PhotoFile("a.jpg", b"photo"), Wanted())]


def test_compare_tells_the_pairs_and_the_faces_that_they_are_of(client: TestClient, api: FakeAPI) -> None:
    answer = client.post("/v1/compare", files=PAIR)
    assert answer.status_code == 200
    face = {"box": BOX, "quality": QUALITY}
    assert answer.json() == {
        "match": True,
        "model": "model",
        "tolerance": 0.6,
        "source": {"size": {"width": 250, "height": 240}, "faces": [face, face]},
        "target": {"size": {"width": 10, "height": 20}, "faces": []},
        "pairs": [
            {"source": 1, "target": 0, "distance": 0.43211, "similarity": 92.35, "within": True},
            {"source": 0, "target": 0, "distance": 0.9, "similarity": None, "within": False},
        ],
    }
    one, two = PhotoFile("a.jpg", b"one"), PhotoFile("b.jpg", b"two")
    assert api.calls == [("compare", one, two, None, Wanted())]


@pytest.mark.parametrize("pairs", [0, 1])
def test_without_a_pair_within_the_tolerance_two_photos_do_not_match(
    client: TestClient, api: FakeAPI, pairs: int
) -> None:
    api.pairs = api.pairs[1 : 1 + pairs]
    assert client.post("/v1/compare", files=PAIR).json()["match"] is False


def test_a_search_tells_distance_and_similarity_of_each_match(client: TestClient, api: FakeAPI) -> None:
    matches = (NamedMatch(7, "Zoë", 0.12345678, 98.7654), NamedMatch(3, None, 0.6))
    api.faces[0] = ProbeFace(api.box, matches, api.quality)
    answer = client.post("/v1/search?k=5", files=PHOTO)
    assert answer.status_code == 200
    unknown: dict[str, Any] = {"person_id": None, "external_id": None, "metadata": {}, "faces_within": None}
    told = [
        {"id": 7, "person_name": "Zoë", "distance": 0.123457, "similarity": 98.77} | unknown,
        {"id": 3, "person_name": None, "distance": 0.6, "similarity": None} | unknown,
    ]
    assert answer.json() == {
        "collection": "default",
        "model": "model",
        "tolerance": 0.6,
        "tolerance_extrapolated": False,
        "faces": [
            {"box": BOX, "quality": QUALITY, "matches": told},
            {"box": BOX, "quality": None, "matches": []},
        ],
        "stale": False,
        "seconds": 0.0,
    }
    assert api.calls == [("search", "default", ONE_PHOTO, SearchTerms(5))]


def test_a_search_says_that_the_database_is_away_and_that_a_tolerance_is_a_guess(
    client: TestClient, api: FakeAPI
) -> None:
    api.stale_s, api.chosen, api.tolerance = 12.3456, ChosenTolerance(0.41, 1e-7, extrapolated=True), 0.41
    told = client.post("/v1/search?tolerance=auto", files=PHOTO).json()
    assert (told["stale"], told["seconds"]) == (True, 12.346)
    assert (told["tolerance"], told["tolerance_extrapolated"]) == (0.41, True)


def test_a_search_of_nobody_has_no_faces_and_a_tolerance_that_fits_nothing_is_null(
    client: TestClient, api: FakeAPI
) -> None:
    api.faces, api.tolerance = [], None
    told = client.post("/v1/search", files=PHOTO).json()
    assert (told["faces"], told["tolerance"]) == ([], None)


def test_the_old_route_tells_no_similarity(client: TestClient, api: FakeAPI) -> None:
    api.faces = [ProbeFace(api.box, (NamedMatch(7, "Ana", 0.5, 80.0),))]
    told = client.post("/search_faces/", files=PHOTO).json()
    assert told["body"]["matches"]["face1"] == [{"id": 7, "person_name": "Ana", "distance": 0.5}]
    assert set(told["result"]) == {"faces", "stale", "seconds"}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", None),
        ("?tolerance=0", 0.0),
        ("?tolerance=0.6", 0.6),
        ("?tolerance=auto", AutoTolerance(0.01)),
        ("?tolerance=auto&false_alarm_rate=0.05", AutoTolerance(0.05)),
        ("?min_similarity=80", LeastSimilarity(80.0)),
        ("?min_similarity=0.5", LeastSimilarity(0.5)),
    ],
)
@pytest.mark.parametrize("route", ["/v1/compare", "/v1/search"])
def test_what_may_be_within_is_said_in_one_of_three_ways(
    client: TestClient, api: FakeAPI, route: str, query: str, wanted: WantedTolerance
) -> None:
    assert client.post(route + query, files=files_of(route)).status_code == 200
    [call] = api.calls
    assert (call[3].tolerance if isinstance(call[3], SearchTerms) else call[3]) == wanted


@pytest.mark.parametrize(
    "query",
    [
        "?tolerance=near",
        "?tolerance=",
        "?tolerance=0.6&min_similarity=80",
        "?tolerance=auto&min_similarity=80",
        "?false_alarm_rate=0.05",
        "?tolerance=0.6&false_alarm_rate=0.05",
        "?tolerance=auto&false_alarm_rate=nan",
        "?tolerance=auto&false_alarm_rate=often",
        "?min_similarity=0",
        "?min_similarity=100.1",
        "?min_similarity=nan",
        "?min_similarity=inf",
        "?upsample=4",
        "?detector=eyes",
        "?max_faces=0",
        "?min_face_px=-1",
    ],
)
@pytest.mark.parametrize("route", ["/v1/compare", "/v1/search"])
def test_a_parameter_that_cannot_be_used_is_refused_before_any_work(
    client: TestClient, api: FakeAPI, route: str, query: str
) -> None:
    answer = client.post(route + query, files=files_of(route))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert api.calls == []


@pytest.mark.parametrize("k", ["0", "1001", "many", "1.5"])
def test_a_search_takes_1_to_1000_matches(client: TestClient, api: FakeAPI, k: str) -> None:
    answer = client.post(f"/v1/search?k={k}", files=PHOTO)
    assert (answer.status_code, answer.json()["details"]) == (400, {"parameters": ["k"]})
    assert api.calls == []


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_wanted_of_the_photo_reaches_the_api(client: TestClient, api: FakeAPI, route: str) -> None:
    assert client.post(route + OPTIONS, files=files_of(route)).status_code == 200
    wanted = Wanted(False, "cnn", 2, 30, 5)
    assert api.calls[0][-1 if route != "/v1/search" else 2] in (wanted, replace(ONE_PHOTO, wanted=wanted))


@pytest.mark.parametrize("route", [*ROUTES, "/v1/models", "/v1/models/network-mirror"])
def test_a_key_that_may_read_is_enough_and_leaves_no_audit_entry(
    client: TestClient, api: FakeAPI, route: str
) -> None:
    api.fake_access.callers = {"right": Caller("fs_1", scope="read")}
    method, files = ("GET", None) if "models" in route else ("POST", files_of(route))
    for key, status in (("wrong", 401), ("right", 200)):
        answer = client.request(method, route, files=files, headers={"X-API-Key": key})
        assert answer.status_code == status
    assert len(api.calls) == 1
    assert api.fake_access.deeds == []


@pytest.mark.parametrize(("own", "is_told"), [("default", True), ("*", True), ("visitors", False)])
def test_the_size_of_the_default_collection_is_not_for_keys_of_others(
    client: TestClient, api: FakeAPI, own: str, is_told: bool
) -> None:
    api.fake_access.callers = {"key": Caller("fs_1", "", "read", own)}
    headers = {"X-API-Key": "key"}
    listed = client.get("/v1/models", headers=headers).json()["models"]
    for told in (*listed, client.get("/v1/models/network-mirror", headers=headers).json()):
        assert (told["false_alarms"]["now"] is not None) is is_told


@pytest.mark.parametrize("route", ROUTES)
def test_a_name_of_any_script_and_length_is_handed_on(client: TestClient, api: FakeAPI, route: str) -> None:
    name = "Zoë 王 " + "x" * 300 + ".jpg"
    files = dict.fromkeys(files_of(route), (name, b"photo", "image/jpeg"))
    assert client.post(route, files=files).status_code == 200
    assert name in str(api.calls[0])


@pytest.mark.parametrize(
    ("route", "sent", "missing"),
    [
        ("/v1/detect", {}, "file"),
        ("/v1/search", {}, "file"),
        ("/v1/compare", {"source": PHOTO["file"]}, "target"),
        ("/v1/compare", {"target": PHOTO["file"]}, "source"),
    ],
)
def test_a_photo_that_is_missing_is_named(
    client: TestClient, api: FakeAPI, route: str, sent: dict[str, Any], missing: str
) -> None:
    answer = client.post(route, files=sent)
    told = answer.json()
    assert (answer.status_code, told["code"], told["message"]) == (
        400,
        "invalid_parameter",
        f"{missing} is missing.",
    )
    assert api.calls == []


def test_text_in_place_of_a_photo_is_named(client: TestClient, api: FakeAPI) -> None:
    answer = client.post("/v1/compare", data={"source": "a.jpg"}, files={"target": PHOTO["file"]})
    assert (answer.status_code, answer.json()["message"]) == (400, "source must be a file.")
    assert answer.json()["details"] == {"parameters": ["source"]}
    assert api.calls == []


@pytest.mark.parametrize("route", [route + "/" for route in ROUTES])
def test_a_slash_at_the_end_changes_nothing(client: TestClient, route: str) -> None:
    assert client.post(route, files=files_of(route[:-1])).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_an_error_of_the_service_has_its_code(client: TestClient, api: FakeAPI, route: str) -> None:
    for error, status in ((DatabaseUnavailable(), 503), (ModelMismatch("Another kind."), 409)):
        api.error = error
        answer = client.post(route, files=files_of(route))
        assert answer.status_code == status
        assert answer.json() == {"code": error.code, "message": error.message, "details": {}}


def test_two_photos_of_the_largest_size_are_compared_and_a_larger_one_is_refused(
    client: TestClient, api: FakeAPI
) -> None:
    most = 100_000  # of tests/web/conftest.py
    good, long = b"x" * most, b"x" * (most + 1)
    assert client.post("/v1/compare", files={"source": good, "target": good}).status_code == 200
    for name, files in (
        ("source", {"source": long, "target": b""}),
        ("target", {"source": b"", "target": long}),
        ("target", {"source": b"", "target": b"x" * (2 * most)}),
    ):
        answer = client.post("/v1/compare", files=files)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert answer.json()["message"] == f"{name} is over the limit of 100000 bytes."
    three = {"source": good, "target": good, "third": good}
    assert client.post("/v1/compare", files=three).status_code == 413
    assert len(api.calls) == 1


def test_a_mounted_service_takes_two_photos_too(api: FakeAPI, settings: Settings) -> None:
    app = create_app(lambda: settings, lambda _: api)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1), root_path="/faces") as client:
        answer = client.post("/faces/v1/compare", files=dict.fromkeys(PAIR, b"x" * 100_000))
        assert answer.status_code == 200


@pytest.mark.parametrize("route", ["/v1/detect", "/v1/search"])
def test_one_photo_has_the_room_of_one(client: TestClient, api: FakeAPI, route: str) -> None:
    assert client.post(route, files={"file": b"x" * 100_000}).status_code == 200
    answer = client.post(route, files={"file": b"x" * 170_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert len(api.calls) == 1


def test_answers_are_what_their_schemas_say(client: TestClient) -> None:
    check(client.post("/v1/detect", files=PHOTO).json(), photos_schemas.DetectAnswer)
    check(client.post("/v1/compare", files=PAIR).json(), photos_schemas.CompareAnswer)
    check(client.get("/v1/models").json(), photos_schemas.ModelsAnswer)
    check(client.get("/v1/models/network-mirror").json(), photos_schemas.ModelAnswer)


def test_a_photo_without_faces_is_no_error(client: TestClient, api: FakeAPI) -> None:
    api.found, api.pairs = FoundFaces(4, 3, ()), ()
    assert client.post("/v1/detect", files=PHOTO).json() == {"size": {"width": 4, "height": 3}, "faces": []}
    told = client.post("/v1/compare", files=PAIR).json()
    assert (told["match"], told["pairs"], told["source"]["faces"]) == (False, [], [])
