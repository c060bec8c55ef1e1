"""The commands of `collections`, on the database and on a service."""

import json
from typing import Any

import pytest

from facesearch.records import Caller
from tests.unit.commands.conftest import Typed
from tests.web.conftest import FakeAPI
from tests.web.fake_gallery import FakeCollections

pytestmark = pytest.mark.usefixtures("gallery")


def told(result: Any) -> Any:
    return json.loads(result.stdout)


def test_collections_are_listed_the_oldest_first(typed: Typed, house: FakeCollections) -> None:
    house.add("visitors of Paris")
    head, default, visitors = typed("collections", "list").stdout.splitlines()
    assert head.split() == ["name", "faces", "people", "model", "made"]
    assert default.split() == ["default", "4", "2", "model", "2026-01-02"]
    assert visitors.split() == ["visitors", "of", "Paris", "0", "0", "-", "2026-01-02"]
    assert [one["name"] for one in told(typed("collections", "list", "--json"))] == [
        "default",
        "visitors of Paris",
    ]


def test_a_collection_is_made_and_told_about(typed: Typed) -> None:
    lines = typed("collections", "create", "Gäste", "--model", "model").stdout.splitlines()
    assert lines[0] == "Gäste"
    assert lines[3].split() == ["model", "model"]
    made = told(typed("collections", "show", "Ga\N{COMBINING DIAERESIS}ste", "--json"))
    assert (made["name"], made["faces"], made["model"]) == ("Gäste", 0, "model")
    assert typed("collections", "create", "e\N{COMBINING ACUTE ACCENT}").stdout.startswith("é\n")
    assert "that of its first face" in typed("collections", "create", "names").stdout
    assert told(typed("collections", "create", "more", "--json"))["model"] is None


@pytest.mark.parametrize("name", ["名" * 255, "a b", "a?b#c&d%", "..a"])
def test_a_name_may_be_of_any_script(typed: Typed, name: str) -> None:
    typed("collections", "create", name)
    assert told(typed("collections", "show", name, "--json"))["name"] == name
    typed("collections", "delete", name, "--yes")


@pytest.mark.parametrize(
    ("words", "ends", "said"),
    [
        (("create", "default"), 1, "There is another one of this name."),
        (("create", "a/b"), 1, "A collection cannot have this name."),
        (("create", "*"), 1, "A collection cannot have this name."),
        (("create", ""), 1, "A name has 1 to 255 characters"),
        (("create", "new", "--model", "none"), 1, "There is no model with this id. It takes"),
        (("show", "gone"), 1, "There is no such collection."),
        (("delete", "gone", "--yes"), 1, "There is no such collection."),
        (("delete", "default", "--yes"), 1, "The default collection can only be emptied."),
        (("create", "\udcff"), 2, "This is not UTF-8."),
    ],
)
def test_what_cannot_be_is_a_sentence(typed: Typed, words: tuple[str, ...], ends: int, said: str) -> None:
    result = typed("collections", *words, ends=ends)
    assert said in result.stderr
    assert result.stdout == ""


def test_a_collection_is_deleted(typed: Typed, house: FakeCollections) -> None:
    house.add("guests")
    house.gallery("guests").add("Edith")
    said = typed("collections", "delete", "guests", "--yes").stdout
    assert said == "Deleted the collection guests with 1 face of 1 person. Its keys are revoked.\n"
    house.add("guests")
    assert told(typed("collections", "delete", "guests", "--yes", "--json")) == {"deleted": "guests"}
    assert [one["name"] for one in told(typed("collections", "list", "--json"))] == ["default"]


@pytest.mark.usefixtures("somebody_is_here")
def test_whoever_is_here_is_asked_first(typed: Typed, house: FakeCollections) -> None:
    house.add("guests")
    asked = typed("collections", "delete", "guests", typing="n\n", ends=1).stderr
    assert "Delete the collection guests with 0 faces of 0 people, for good? [y/N]" in asked
    assert house.get("guests")


def test_without_a_terminal_and_without_yes_nothing_is_done(typed: Typed, house: FakeCollections) -> None:
    house.add("guests")
    assert "nobody is here to ask" in typed("collections", "delete", "guests", ends=1).stderr
    assert house.get("guests")


@pytest.mark.parametrize("typed", ["direct"], indirect=True)
def test_changes_are_in_the_audit_log_without_a_name(typed: Typed, api: FakeAPI) -> None:
    typed("collections", "create", "guests")
    typed("collections", "delete", "guests", "--yes")
    typed("collections", "delete", "guests", "--yes", ends=1)
    assert [(deed.what, deed.ids) for deed in api.fake_access.deeds] == [
        ("collections create", ("collection:2",)),
        ("collections delete", ("collection:2",)),
    ]


@pytest.mark.parametrize("typed", ["remote"], indirect=True)
def test_a_key_of_one_collection_makes_and_deletes_none(
    typed: Typed, house: FakeCollections, api: FakeAPI
) -> None:
    api.fake_access.callers["k"] = Caller("k", "", "admin", "guests")
    house.add("guests")
    for words in (("create", "more"), ("delete", "guests", "--yes")):
        assert "Error: " in typed("collections", *words, "--key", "k", ends=1).stderr
    assert [one["name"] for one in told(typed("collections", "list", "--json", "--key", "k"))] == ["guests"]
