"""Photos that are looked at and not kept, over HTTP: real networks, real pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch.web import photos_schemas as schemas
from facesearch.web.gallery_schemas import V1Search
from tests.server import PROJECT_ROOT, Server
from tests.web.test_openapi import check

PICTURES = PROJECT_ROOT / "test_images"
OBAMA, OBAMA_AGAIN = PICTURES / "Barack_Obama_0001.jpg", PICTURES / "Barack_Obama_0002.jpg"
BIDEN, NO_FACE = PICTURES / "Joe_Biden_0001.jpg", PICTURES / "no_face_coffee.jpg"
MODEL = "dlib-resnet-v1-mirror"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Takes photos as large as the largest of ours, and not a byte more."""
    largest = max(file.stat().st_size for file in PICTURES.glob("*.jpg"))
    with Server(
        tmp_path_factory.mktemp("photos"), {"limits": {"photo_bytes": largest}}, workers=1
    ) as running:
        yield running
        assert "Traceback" not in running.log, running.log


def post(server: Server, route: str, **files: Path) -> dict[str, Any]:
    sent = {name: (path.name, path.read_bytes()) for name, path in files.items()}
    answer = server.client.post(route, files=sent)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_two_photos_of_one_person_match_and_those_of_two_people_do_not(server: Server) -> None:
    for query in ("", "?min_similarity=80", "?tolerance=auto", "?max_faces=1"):
        same = post(server, f"/v1/compare{query}", source=OBAMA, target=OBAMA_AGAIN)
        check(same, schemas.CompareAnswer)
        (pair,) = same["pairs"]
        assert (same["match"], pair["within"], same["model"]) == (True, True, MODEL)
        assert pair["similarity"] >= 80
        assert 0 < pair["distance"] <= same["tolerance"]
        other = post(server, f"/v1/compare{query}", source=OBAMA, target=BIDEN)
        assert other["match"] is False
        assert other["pairs"][0]["similarity"] < 50
    (pair,) = post(server, "/v1/compare", source=OBAMA, target=OBAMA)["pairs"]
    assert (pair["distance"], pair["similarity"]) == (0, 100)


def test_a_photo_without_a_face_matches_nothing(server: Server) -> None:
    told = post(server, "/v1/compare", source=NO_FACE, target=OBAMA)
    assert (told["match"], told["pairs"], told["source"]["faces"]) == (False, [], [])
    assert post(server, "/v1/detect", file=NO_FACE)["faces"] == []


def test_a_face_is_where_the_photo_has_it(server: Server) -> None:
    told = post(server, "/v1/detect", file=OBAMA)
    check(told, schemas.DetectAnswer)
    (face,) = told["faces"]
    assert 0 < face["box"]["left"] < face["box"]["right"] < told["size"]["width"]
    assert 0 < face["box"]["top"] < face["box"]["bottom"] < told["size"]["height"]
    assert face["score"] > 0
    assert face["landmarks"] is None


def test_a_search_has_similarities_and_what_was_compared_is_not_in_the_gallery(server: Server) -> None:
    post(server, "/v1/compare", source=OBAMA, target=BIDEN)
    post(server, "/v1/detect", file=BIDEN)
    added = server.client.post("/add_face/", files={"file": (OBAMA.name, OBAMA.read_bytes())}).json()[
        "result"
    ]
    found = post(server, "/v1/search?k=1000&tolerance=2", file=OBAMA_AGAIN)
    check(found, V1Search)
    ((match,),) = [face["matches"] for face in found["faces"]]
    assert (match["id"], match["person_name"]) == (added["id"], "Barack Obama")
    assert match["similarity"] >= 80
    least = post(server, f"/v1/search?min_similarity={match['similarity'] + 0.1}", file=OBAMA_AGAIN)
    assert least["faces"][0]["matches"] == []
    old = post(server, "/search_faces/", file=OBAMA_AGAIN)["body"]["matches"]["face1"]
    assert old == [{key: match[key] for key in ("id", "person_name", "distance")}]


def test_the_gallerys_model_tells_its_calibration(server: Server) -> None:
    answer = server.client.get(f"/v1/models/{MODEL}")
    told = answer.json()
    check(told, schemas.ModelAnswer)
    assert told["licence"]["name"] == "CC0 1.0"
    assert told["calibration"]["impostor_pairs"] > 1_000_000
    assert server.client.get("/v1/models").json()["models"][0]["id"] == MODEL
    other = server.client.get("/v1/models/dlib-resnet-v1-plain").json()
    assert (other["kind"], other["configured"]) == ("plain", False)
    assert server.client.get("/v1/models/arcface").json()["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"", 415, "not_an_image"),
        (b"notes", 415, "not_an_image"),
        (OBAMA.read_bytes()[:5_000], 400, "broken_image"),
        (b"x" * 10_000_000, 413, "too_large"),
    ],
)
def test_of_two_photos_the_one_that_cannot_be_used_is_named(
    server: Server, sent: bytes, status: int, code: str
) -> None:
    for name, good in (("source", "target"), ("target", "source")):
        answer = server.client.post("/v1/compare", files={name: sent, good: OBAMA.read_bytes()})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["message"].startswith((f"{name}", "A file is over"))


def test_a_detector_that_is_not_installed_is_refused(server: Server) -> None:
    sent = {"file": OBAMA.read_bytes()}
    answer = server.client.post("/v1/detect?detector=centerface", files=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
