"""The commands `search` and `compare`: what they take, print, and how they end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from facesearch.bootstrap import direct
from facesearch.bootstrap.direct import Asked
from facesearch.cli import main
from facesearch.commands import remote_service
from facesearch.commands.terminal import columns_of
from facesearch.errors import CollectionNotFound, DatabaseUnavailable, Invalid
from tests.server import free_port

BOX = {"top": 5, "right": 60, "bottom": 65, "left": 10}
MATCHES = [
    {"id": 7, "person_name": "Ada Lovelace", "distance": 0.31234, "similarity": 95.25},
    {"id": 1234567, "person_name": "名前 " * 30, "distance": 0.5, "similarity": 80.0},
]
FOUND: dict[str, Any] = {
    "collection": "default",
    "model": "m",
    "tolerance": 0.6,
    "tolerance_extrapolated": False,
    "faces": [
        {"box": BOX, "quality": None, "matches": MATCHES},
        {"box": BOX, "quality": None, "matches": []},
    ],
    "stale": False,
    "seconds": 0.0,
}
COMPARED: dict[str, Any] = {
    "match": True,
    "model": "m",
    "tolerance": 0.6,
    "source": {"size": {}, "faces": [{"box": BOX}]},
    "target": {"size": {}, "faces": [{"box": BOX}, {"box": BOX}]},
    "pairs": [
        {"source": 0, "target": 1, "distance": 0.4, "similarity": 95.0, "within": True},
        {"source": 0, "target": 0, "distance": 0.9, "similarity": None, "within": False},
    ],
}

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.jpg").write_bytes(b"photo a")
    (tmp_path / "b.jpg").write_bytes(b"photo b")
    monkeypatch.setenv("FACESEARCH_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments: Any, ends: int = 0) -> Result:
        given = [str(tmp_path / a) if str(a).endswith(".jpg") else str(a) for a in arguments]
        result = CliRunner().invoke(main, given)
        assert result.exit_code == ends, result.output
        return result

    return invoke


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the database was asked; it answers FOUND."""
    calls: list[tuple[Any, ...]] = []

    def search(_: Any, *arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        return FOUND

    monkeypatch.setattr(direct, "search_photos", search)
    monkeypatch.setattr(direct, "search_face", search)
    return calls


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What a service was asked."""
    calls: list[tuple[Any, ...]] = []

    def ask(_: Any, *arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        return COMPARED if arguments[1] == "v1/compare" else FOUND

    monkeypatch.setattr(remote_service.RemoteService, "ask", ask)
    return calls


def test_a_table_for_each_face(run: Run, asked: list[tuple[Any, ...]]) -> None:
    lines = run("search", "a.jpg").output.splitlines()
    assert lines[0] == "2 faces in a.jpg; matches are within the distance 0.6000."
    assert lines[2] == "Face 1, 50 x 60 px at 10, 5"
    assert lines[4].split() == ["Ada", "Lovelace", "7", "0.3123", "95.2"]
    assert "…" in lines[5]
    assert lines[7:] == ["Face 2, 50 x 60 px at 10, 5", "  nobody known"]
    assert asked == [([("a.jpg", b"photo a")], Asked(5))]


def test_options_say_how_many_and_how_near(run: Run, asked: list[tuple[Any, ...]]) -> None:
    run("search", "a.jpg", "-k", 3, "--tolerance", "0.5")
    run("search", "a.jpg", "--tolerance", "auto", "--false-alarm-rate", "0.001")
    run("search", "a.jpg", "--by-person", "--filter", '{"site": "Paris"}', "--collection", "Gäste")
    assert [terms for _, terms in asked] == [
        Asked(3, 0.5),
        Asked(5, "auto", 0.001),
        Asked(5, collection="Gäste", by_person=True, conditions='{"site": "Paris"}'),
    ]


def test_several_photos_are_one_probe(run: Run, asked: list[tuple[Any, ...]]) -> None:
    run("search", "a.jpg", "b.jpg", "--combine", "best")
    assert asked == [([("a.jpg", b"photo a"), ("b.jpg", b"photo b")], Asked(5, combine="best"))]


def test_a_stored_face_is_a_probe_without_a_place(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [
        {**MATCHES[0], "faces_within": 12, "external_id": None, "person_id": 3},
        {**MATCHES[1], "faces_within": 1, "external_id": "badge-17", "person_id": 4},
    ]
    found = FOUND | {"faces": [{"box": None, "quality": None, "matches": people}]}
    calls: list[tuple[Any, ...]] = []

    def search(_: Any, *arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        return found

    monkeypatch.setattr(direct, "search_face", search)
    lines = run("search", "--face", 7, "--by-person").output.splitlines()
    assert calls == [(7, Asked(5, by_person=True))]
    assert lines[0] == "Searched with the face 7; matches are within the distance 0.6000."
    assert lines[2].split() == ["person", "face", "distance", "similarity", "faces", "external", "id"]
    assert lines[3].split() == ["Ada", "Lovelace", "7", "0.3123", "95.2", "12"]
    assert lines[4].split()[-4:] == ["0.5000", "80.0", "1", "badge-17"]
    assert max(map(columns_of, lines)) <= 80


def test_the_answer_of_the_route_for_programs(run: Run, asked: list[tuple[Any, ...]]) -> None:
    assert json.loads(run("search", "a.jpg", "--json").output) == FOUND


def test_what_else_an_answer_may_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    away = FOUND | {"stale": True, "seconds": 61.4, "tolerance_extrapolated": True}
    monkeypatch.setattr(direct, "search_photos", lambda *_: away)
    said = run("search", "a.jpg").output
    assert "beyond what was measured" in " ".join(said.split())
    assert "a copy of 61 s ago, without names" in " ".join(said.split())
    monkeypatch.setattr(direct, "search_photos", lambda *_: FOUND | {"faces": []})
    assert run("search", "a.jpg").output == "No face was found in a.jpg.\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tolerance", "near"], "'near' is neither a distance from 0 to 2 nor `auto`"),
        (["--tolerance", "2.1"], "neither a distance"),
        (["--tolerance", "nan"], "neither a distance"),
        (["-k", "0"], "0 is not in the range"),
        (["--false-alarm-rate", "0.1"], "--false-alarm-rate counts with --tolerance auto only."),
        (["--key", "x"], "--key goes with --url."),
        (["--face", "7"], "--face goes without photos"),
        (["b.jpg"], "Several photos of one person go with --combine"),
        (["--collection", "\udcff"], "This is not UTF-8."),
        (["--filter", "\udcff"], "This is not UTF-8."),
    ],
)
def test_wrong_options_end_with_two(
    run: Run, asked: list[tuple[Any, ...]], options: list[str], said: str
) -> None:
    assert said in run("search", "a.jpg", *options, ends=2).stderr
    assert asked == []


def test_something_has_to_be_searched_for(run: Run, asked: list[tuple[Any, ...]]) -> None:
    assert "Give a PHOTO, or a stored face with --face ID." in run("search", ends=2).stderr
    assert "without --combine" in run("search", "--face", 7, "--combine", "mean", ends=2).stderr
    assert asked == []


def test_a_photo_that_is_not_there_ends_with_two(run: Run) -> None:
    assert "does not exist" in run("search", "missing.jpg", ends=2).stderr


def test_an_error_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(direct, "search_photos", fail)
    result = run("search", "a.jpg", ends=1)
    assert (result.stdout, result.stderr) == ("", "Error: The database cannot be reached right now.\n")


def test_a_service_is_asked_with_what_was_given(run: Run, sent: list[tuple[Any, ...]]) -> None:
    said = run("search", "a.jpg", "--url", "http://x", "--key", "k", "--tolerance", "auto").output
    assert "Ada Lovelace" in said
    run("search", "--face", 7, "--url", "http://x", "--by-person", "--filter", "{}", "--collection", "c")
    run("search", "a.jpg", "b.jpg", "--url", "http://x", "--combine", "mean")
    run("compare", "a.jpg", "b.jpg", "--url", "http://x", "--largest", "--collection", "c")
    a, b = ("a.jpg", b"photo a"), ("b.jpg", b"photo b")
    told = [
        (*call[:2], {name: value for name, value in call[2].items() if value}, *call[3:]) for call in sent
    ]
    assert told == [
        ("POST", "v1/search", {"k": 5, "tolerance": "auto"}, [("file", a)]),
        (
            "POST",
            "v1/faces/7/search",
            {"k": 5, "group_by": "person", "filter": "{}", "collection": "c"},
            [],
        ),
        ("POST", "v1/search", {"k": 5, "combine": "mean"}, [("file", a), ("file", b)]),
        ("POST", "v1/compare", {"max_faces": 1, "collection": "c"}, [("source", a), ("target", b)]),
    ]


def test_a_service_that_is_none_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_service.RemoteService, "ask", lambda *_: {"hello": 1})
    said = run("search", "a.jpg", "--url", "http://x", ends=1).stderr
    assert said == "Error: What http://x answers is not understood: is it a facesearch?\n"


def test_a_service_that_is_not_there_is_not_waited_for(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"The service at {url} cannot be reached" in run("search", "a.jpg", "--url", url, ends=1).stderr


def test_what_may_be_compared_with_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CollectionNotFound

    monkeypatch.setattr(direct, "compare_photos", refuse)
    said = run("compare", "a.jpg", "b.jpg", "--collection", "gone", ends=1).stderr
    assert "`facesearch collections list` shows those that there are." in said


def test_two_photos_are_compared(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "compare_photos", lambda *_: COMPARED)
    lines = run("compare", "a.jpg", "b.jpg").output.splitlines()
    assert lines[0] == "One person is in both photos: faces within the distance 0.6000."
    assert lines[1:3] == ["  photo 1  a.jpg", "  photo 2  b.jpg"]
    assert lines[5].split() == ["1", "at", "10,", "5", "2", "at", "10,", "5", "0.4000", "95.0", "yes"]
    assert lines[6].split()[-2:] == ["0.9000", "no"]
    assert json.loads(run("compare", "a.jpg", "b.jpg", "--json").output) == COMPARED


def test_photos_of_two_people_and_without_faces(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    many = COMPARED | {"match": False, "pairs": [COMPARED["pairs"][1]] * 25}
    monkeypatch.setattr(direct, "compare_photos", lambda *_: many)
    said = run("compare", "a.jpg", "b.jpg").output
    assert said.startswith("Nobody is in both photos")
    assert said.endswith("and 5 pairs further apart; --json has all.\n")
    empty = COMPARED | {"target": {"size": {}, "faces": []}, "pairs": [], "match": False}
    monkeypatch.setattr(direct, "compare_photos", lambda *_: empty)
    assert run("compare", "a.jpg", "b.jpg").output == "No face was found in b.jpg.\n"


@pytest.mark.parametrize(
    ("refused", "name", "rest"),
    [
        ("source: The file is empty.", "a.jpg", ": The file is empty."),
        ("target is over the limit of 9 bytes.", "b.jpg", " is over the limit of 9 bytes."),
        ("A file is over the limit of 9 bytes.", None, "A file is over the limit of 9 bytes."),
    ],
)
def test_an_error_names_the_photo_as_it_was_typed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, name: str | None, rest: str
) -> None:
    def fail(*_: Any) -> None:
        raise Invalid(refused)

    monkeypatch.setattr(direct, "compare_photos", fail)
    photo = "" if name is None else str(tmp_path / name)
    assert run("compare", "a.jpg", "b.jpg", ends=1).stderr == f"Error: {photo}{rest}\n"
