"""The commands of `people`, on the database and on a service."""

import json
from typing import Any

import pytest

from facesearch.errors import DatabaseUnavailable
from facesearch.records import Caller
from tests.unit.commands.conftest import Typed
from tests.web.conftest import FakeAPI
from tests.web.fake_gallery import FakeCollections, FakeGallery

pytestmark = pytest.mark.usefixtures("gallery")


def told(result: Any) -> Any:
    return json.loads(result.stdout)


def names(gallery: FakeGallery) -> dict[int, str]:
    return {face.id: face.person_name for face in gallery.kept.values()}


def test_people_are_listed_by_their_ids(typed: Typed) -> None:
    head, ada, grace = typed("people", "list").stdout.splitlines()
    assert head.split() == ["id", "name", "faces", "cover", "made"]
    assert ada.split() == ["1", "Ada", "Lovelace", "2", "1", "2026-01-02"]
    assert grace.split() == ["2", "Grace", "Hopper", "1", "3", "2026-01-02"]
    assert [one["name"] for one in told(typed("people", "list", "--json"))] == [
        "Ada Lovelace",
        "Grace Hopper",
    ]


def test_a_list_that_is_cut_says_so(typed: Typed) -> None:
    cut = typed("people", "list", "--limit", 1)
    assert len(cut.stdout.splitlines()) == 2
    assert cut.stderr == "Listed the first 1; --limit and --all list more.\n"
    assert typed("people", "list", "--limit", 1, "--all").stderr == ""


def test_more_people_than_a_page_are_all_listed(typed: Typed, gallery: FakeGallery) -> None:
    for number in range(2_100):
        gallery.people.make(f"Person {number}", kept=True)
    lines = typed("people", "list", "--all").stdout.splitlines()
    assert len(lines) == 2_103
    assert sum("name" in line for line in lines) == 1
    assert len(told(typed("people", "list", "--all", "--json"))) == 2_102
    assert len(told(typed("people", "list", "--limit", 1_500, "--json"))) == 1_500


def test_nobody_is_said(typed: Typed, house: FakeCollections) -> None:
    house.add("empty")
    assert typed("people", "list", "--collection", "empty").stdout == "There are no people.\n"
    assert told(typed("people", "list", "--collection", "empty", "--json")) == []


@pytest.mark.parametrize("person", ["1", "Ada Lovelace", "=Ada Lovelace"])
def test_a_person_is_told_about_by_id_or_name(typed: Typed, person: str) -> None:
    lines = typed("people", "show", person).stdout.splitlines()
    assert lines[0] == "Ada Lovelace"
    assert [line.split() for line in lines[1:4]] == [["id", "1"], ["faces", "2"], ["cover", "face", "1"]]
    assert told(typed("people", "show", person, "--json"))["faces"] == 2


def test_a_name_of_digits_is_told_from_an_id(typed: Typed) -> None:
    made = told(typed("people", "create", "1", "--json"))
    assert told(typed("people", "show", "=1", "--json")) == made
    assert told(typed("people", "show", "1", "--json"))["name"] == "Ada Lovelace"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "Nobody"), "There is no person called 'Nobody'. `facesearch people list` shows"),
        (("show", "99"), "There is no person with id 99. `facesearch people list` shows"),
        (("show", "="), "PERSON is an id or a name"),
        (("create", "Ada Lovelace"), "There is another one of this name."),
        (("create", " "), "A person's name has no control character"),
        (
            ("rename", "1", "Grace Hopper"),
            "There is another one of this name. `facesearch people merge` joins the two.",
        ),
        (("cover", "1", "3"), "Face 3 is none of person 1's."),
        (("merge", "1", "Ada Lovelace", "--yes"), "A person cannot be merged with itself."),
        (("merge", "1", "Nobody", "--yes"), "There is no person called 'Nobody'."),
        (
            ("list", "--collection", "gone"),
            "There is no such collection. `facesearch collections list` shows",
        ),
    ],
)
def test_what_cannot_be_is_a_sentence(
    typed: Typed, gallery: FakeGallery, words: tuple[str, ...], said: str
) -> None:
    before = names(gallery)
    result = typed("people", *words, ends=1)
    assert (result.stdout, result.stderr[: len(said) + 7]) == ("", f"Error: {said}")
    assert names(gallery) == before


def test_a_database_that_is_away_is_a_sentence(
    typed: Typed, house: FakeCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(house, "existing", fail)
    assert typed("people", "list", ends=1).stderr == "Error: The database cannot be reached right now.\n"


def test_a_person_is_made_and_renamed(typed: Typed, gallery: FakeGallery) -> None:
    long = "名" * 255
    assert typed("people", "create", long).stdout.splitlines()[0] == long
    typed("people", "rename", "Ada Lovelace", "Ada King")
    assert names(gallery) == {1: "Ada King", 2: "Ada King", 3: "Grace Hopper", 4: ""}
    assert told(typed("people", "rename", long, "Edith", "--json"))["name"] == "Edith"


def test_faces_are_assigned(typed: Typed, gallery: FakeGallery) -> None:
    said = typed("people", "assign", "Grace Hopper", 4, 1, 4, 99).stdout
    assert said == "2 faces of Grace Hopper (id 2) now. Not there: 99.\n"
    assert names(gallery) == {1: "Grace Hopper", 2: "Ada Lovelace", 3: "Grace Hopper", 4: "Grace Hopper"}
    assert told(typed("people", "assign", "1", 4, "--json")) == {"person": 1, "assigned": [4]}


def test_many_faces_are_assigned(typed: Typed, gallery: FakeGallery) -> None:
    ids = [gallery.add().id for _ in range(1_001)]
    assert typed("people", "assign", "Ada Lovelace", *ids).stdout.startswith("1,001 faces of Ada")
    assert {names(gallery)[number] for number in ids} == {"Ada Lovelace"}


def test_a_cover_is_chosen_and_let_go(typed: Typed) -> None:
    assert "face 2" in typed("people", "cover", "Ada Lovelace", 2).stdout
    assert told(typed("people", "cover", "Ada Lovelace", "--json"))["cover_face"] == 1


def test_people_are_merged(typed: Typed, gallery: FakeGallery) -> None:
    assert "3" in typed("people", "merge", "Grace Hopper", "Ada Lovelace", "1", "--yes").stdout
    assert set(list(names(gallery).values())[:3]) == {"Grace Hopper"}
    assert list(gallery.people.known) == [2]


@pytest.mark.usefixtures("somebody_is_here")
def test_whoever_is_here_is_asked_first(typed: Typed, gallery: FakeGallery) -> None:
    asked = typed("people", "merge", "Grace Hopper", "Ada Lovelace", typing="n\n", ends=1)
    assert "Give Grace Hopper (id 2) the 2 faces of Ada Lovelace (id 1), for good? [y/N]" in asked.stderr
    asked = typed("people", "delete", "1", "--faces", "delete", typing="n\n", ends=1)
    assert "Delete Ada Lovelace (id 1), and all of the 2 faces, for good?" in asked.stderr
    assert len(gallery.people.known) == 2
    answer = typed("people", "delete", "1", "--faces", "keep", "--json", typing="y\n")
    assert told(answer) == {"person": 1, "deleted": []}
    assert "but not the 2 faces" in answer.stderr


@pytest.mark.parametrize(
    "words", [("merge", "Grace Hopper", "Ada Lovelace"), ("delete", "1", "--faces", "delete")]
)
def test_without_a_terminal_and_without_yes_nothing_is_done(
    typed: Typed, gallery: FakeGallery, words: tuple[str, ...]
) -> None:
    said = typed("people", *words, ends=1).stderr
    assert said == "Error: Nothing was done: nobody is here to ask, and --yes is not given.\n"
    assert len(gallery.people.known) == 2


def test_a_person_is_deleted_with_the_faces_or_without(typed: Typed, gallery: FakeGallery) -> None:
    assert "--faces" in typed("people", "delete", "1", "--yes", ends=2).stderr
    said = typed("people", "delete", "1", "--faces", "delete", "--yes").stdout
    assert said == "Deleted Ada Lovelace (id 1) and 2 faces.\n"
    said = typed("people", "delete", "Grace Hopper", "--faces", "keep", "--yes").stdout
    assert said == "Deleted Grace Hopper (id 2). The 1 face stays, and is nobody's.\n"
    assert names(gallery) == {3: "", 4: ""}


def test_a_name_cannot_move_the_cursor(typed: Typed, gallery: FakeGallery) -> None:
    gallery.people.known[1] = gallery.people.known[1].__class__(1, "a\x1b[2Jb", 0, None, None)
    for words in (("list",), ("show", "1"), ("delete", "1", "--faces", "keep", "--yes")):
        assert "\x1b[2J" not in typed("people", *words).stdout


@pytest.mark.parametrize("typed", ["direct"], indirect=True)
def test_changes_are_in_the_audit_log(typed: Typed, api: FakeAPI) -> None:
    typed("people", "create", "Edith")
    typed("people", "assign", "Edith", 4)
    typed("people", "delete", "Ada Lovelace", "--faces", "delete", "--yes")
    typed("people", "list")
    typed("people", "show", "Nobody", ends=1)
    assert [(deed.who, deed.what, deed.ids) for deed in api.fake_access.deeds] == [
        ("local", "people create", ("person:3",)),
        ("local", "people assign", ("person:3", 4)),
        ("local", "people delete", ("person:1", 1, 2)),
    ]


@pytest.mark.parametrize("typed", ["direct"], indirect=True)
def test_a_key_is_shown_to_a_service_alone(typed: Typed) -> None:
    assert "--key goes with --url." in typed("people", "list", "--key", "k", ends=2).stderr


@pytest.mark.parametrize("typed", ["remote"], indirect=True)
def test_a_key_of_one_collection_works_on_that(typed: Typed, house: FakeCollections, api: FakeAPI) -> None:
    api.fake_access.callers["k"] = Caller("k", "", "write", "guests")
    house.add("guests")
    typed("people", "create", "Edith", "--key", "k")
    assert [one.name for one in house.gallery("guests").people.known.values()] == ["Edith"]
    refused = typed("people", "list", "--key", "k", "--collection", "default", ends=1).stderr
    assert refused.startswith("Error: The key belongs to another collection. `facesearch keys list` shows")
