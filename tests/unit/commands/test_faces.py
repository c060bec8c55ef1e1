"""The commands of `faces`, on the database and on a service."""

import json
from pathlib import Path
from typing import Any

import pytest

from facesearch.records import IN, Condition, Crop, FaceQuery
from tests.unit.commands.conftest import Typed
from tests.web.conftest import FakeAPI
from tests.web.fake_gallery import FakeCollections, FakeGallery

pytestmark = pytest.mark.usefixtures("gallery")

PICTURE = Crop("image/jpeg", b"\xff\xd8 a picture")


def told(result: Any) -> Any:
    return json.loads(result.stdout)


def ids(result: Any) -> list[int]:
    return [face["id"] for face in told(result)]


def test_faces_are_listed_by_their_ids(typed: Typed) -> None:
    head, first, *_, last = typed("faces", "list").stdout.splitlines()
    assert head.split() == ["id", "person", "external", "id", "photo", "added"]
    assert first.split() == ["1", "Ada", "Lovelace", "-", "a.jpg", "2026-01-02"]
    assert last.split() == ["4", "-", "-", "a.jpg", "2026-01-02"]
    assert ids(typed("faces", "list", "--json")) == [1, 2, 3, 4]
    assert ids(typed("faces", "list", "--limit", 2, "--json")) == [1, 2]


def test_faces_are_chosen(typed: Typed, house: FakeCollections) -> None:
    assert ids(typed("faces", "list", "--person", "Ada Lovelace", "--json")) == [1, 2]
    assert ids(typed("faces", "list", "--person", 2, "--json")) == [3]
    assert ids(typed("faces", "list", "--nobody", "--json")) == [4]
    typed("faces", "edit", 2, "--external-id", "badge 17 ä&b")
    assert ids(typed("faces", "list", "--external-id", "badge 17 ä&b", "--json")) == [2]
    assert typed("faces", "list", "--external-id", "none").stdout == "There are no such faces.\n"
    typed("faces", "list", "--filter", '{"site": "Paris"}')
    asked = [call[2] for call in house.calls if call[0] == "faces"]
    assert asked[-1] == FaceQuery(conditions=(Condition("site", IN, ("Paris",)),))


@pytest.mark.parametrize(
    ("words", "ends", "said"),
    [
        (("list", "--filter", "site=Paris"), 1, "filter is not JSON"),
        (("list", "--filter", '{"site": {"like": "P"}}'), 1, "filter knows the operators"),
        (("list", "--person", "Nobody"), 1, "There is no person called 'Nobody'."),
        (("list", "--person", "1", "--nobody"), 2, "--person does not go with --nobody."),
        (("list", "--collection", "*"), 1, "There is no such collection."),
        (("show", "99"), 1, "There is no face with id 99."),
        (("show", "0"), 2, "'0' is not the id of a face."),
        (("show", "1" * 5_000), 2, "is not the id of a face."),
        (("show", str(2**63)), 2, "'9223372036854775808' is not the id of a face."),
        (("show", str(2**63 - 1)), 1, f"There is no face with id {2**63 - 1}."),
        (("edit", "99", "--no-external-id"), 1, "There is no face with id 99."),
        (("edit", "1"), 2, "Nothing to change"),
        (("edit", "1", "--external-id", "a", "--no-external-id"), 2, "does not go with --no-external-id."),
        (("edit", "1", "--metadata", "site"), 2, "This is not a JSON object"),
        (("edit", "1", "--metadata", '{"age": NaN}'), 2, "This is not a JSON object"),
        (("edit", "1", "--metadata", '["site"]'), 2, "This is not a JSON object"),
        (("edit", "1", "--metadata", "[" * 100_000), 2, "This is not a JSON object"),
        (("thumbnail", "1"), 1, "No crop of this face is kept. With crops.keep_crops"),
        (("delete",), 2, "ID..."),
        (("unassign", "x"), 2, "'x' is not the id of a face."),
    ],
)
def test_what_cannot_be_is_a_sentence(typed: Typed, words: tuple[str, ...], ends: int, said: str) -> None:
    result = typed("faces", *words, ends=ends)
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_face_is_told_about(typed: Typed) -> None:
    lines = [line.strip() for line in typed("faces", "show", 1).stdout.splitlines()]
    assert lines[0] == "Face 1"
    assert "person       Ada Lovelace (id 1)" in lines
    assert "metadata     site: Paris" in lines
    assert "box          from 10, 10 to 109, 109" in lines
    assert "nobody" in typed("faces", "show", 4).stdout
    assert told(typed("faces", "show", 1, "--json"))["metadata"] == {"site": "Paris"}


def test_what_is_known_of_a_face_is_corrected(typed: Typed) -> None:
    metadata = {"site": "Zürich", "age": 34, "staff": True, "size": 1.5}
    edited = told(typed("faces", "edit", 1, "--metadata", json.dumps(metadata), "--json"))
    assert (edited["metadata"], edited["external_id"]) == (metadata, None)
    edited = told(typed("faces", "edit", 1, "--external-id", "x", "--json"))
    assert (edited["metadata"], edited["external_id"]) == (metadata, "x")
    assert "age: 34, staff: true" in typed("faces", "show", 1).stdout
    edited = told(typed("faces", "edit", 1, "--no-external-id", "--metadata", "{}", "--json"))
    assert (edited["metadata"], edited["external_id"]) == ({}, None)


def test_faces_are_deleted(typed: Typed, gallery: FakeGallery) -> None:
    assert typed("faces", "delete", 1, 3, 1, "--yes").stdout == "Deleted 2 faces.\n"
    assert typed("faces", "delete", 2, 3, 98, "--yes").stdout == "Deleted 1 face. Not there: 3, 98.\n"
    assert list(gallery.kept) == [4]
    assert told(typed("faces", "delete", 4, "--yes", "--json")) == {"deleted": [4]}


def test_many_faces_are_deleted(typed: Typed, gallery: FakeGallery) -> None:
    many = [gallery.add().id for _ in range(1_001)]
    assert typed("faces", "delete", *many, "--yes").stdout == "Deleted 1,001 faces.\n"
    said = typed("faces", "delete", *many, "--yes").stdout
    assert said == f"Deleted 0 faces. Not there: {', '.join(map(str, many[:5]))} and 996 more.\n"


@pytest.mark.usefixtures("somebody_is_here")
def test_whoever_is_here_is_asked_first(typed: Typed, gallery: FakeGallery) -> None:
    assert "Delete the face 1 for good? [y/N]" in typed("faces", "delete", 1, typing="\n", ends=1).stderr
    assert "Delete 2 faces for good?" in typed("faces", "delete", 1, 2, typing="n\n", ends=1).stderr
    assert len(gallery.kept) == 4
    assert told(typed("faces", "delete", 1, "--json", typing="y\n")) == {"deleted": [1]}


def test_without_a_terminal_and_without_yes_nothing_is_done(typed: Typed, gallery: FakeGallery) -> None:
    assert "nobody is here to ask" in typed("faces", "delete", 1, ends=1).stderr
    assert len(gallery.kept) == 4


def test_faces_become_nobodys(typed: Typed, gallery: FakeGallery) -> None:
    assert typed("faces", "unassign", 3, 99).stdout == "1 face is nobody's now. Not there: 99.\n"
    assert [person.name for person in gallery.people.known.values()] == ["Ada Lovelace"]
    assert told(typed("faces", "unassign", 1, 2, "--json")) == {"unassigned": [1, 2]}


def test_a_picture_is_saved(
    typed: Typed, gallery: FakeGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.crops[1] = PICTURE
    gallery.crops[2] = Crop("image/webp", b"RIFF")
    monkeypatch.chdir(tmp_path)
    assert typed("faces", "thumbnail", 1).stdout == "face-1.jpg has the picture of the face 1, 12 bytes.\n"
    assert (tmp_path / "face-1.jpg").read_bytes() == PICTURE.data
    saved = told(typed("faces", "thumbnail", 2, "-o", "a.webp", "--json"))
    assert saved == {"id": 2, "file": "a.webp", "media_type": "image/webp", "bytes": 4}
    assert typed("faces", "thumbnail", 1, "-o", "-").stdout_bytes == PICTURE.data
    refused = typed("faces", "thumbnail", 1, "-o", "missing/a.jpg", ends=1).stderr
    assert refused == "Error: missing/a.jpg cannot be written: No such file or directory.\n"


def test_faces_of_another_collection_are_not_there(typed: Typed, house: FakeCollections) -> None:
    house.add("Gäste")
    other = house.gallery("Gäste").add("Edith").id
    assert ids(typed("faces", "list", "--collection", "Gäste", "--json")) == [other]
    assert ids(typed("faces", "list", "--collection", "Ga\N{COMBINING DIAERESIS}ste", "--json")) == [other]
    assert f"no face with id {other}" in typed("faces", "show", other, ends=1).stderr
    assert typed("faces", "delete", other, "--yes").stdout == f"Deleted 0 faces. Not there: {other}.\n"


@pytest.mark.parametrize("typed", ["direct"], indirect=True)
def test_changes_are_in_the_audit_log(typed: Typed, api: FakeAPI) -> None:
    typed("faces", "edit", 1, "--external-id", "secret")
    typed("faces", "unassign", 1, 99)
    typed("faces", "delete", 1, 99, "--yes")
    typed("faces", "list")
    typed("faces", "edit", 1, "--external-id", "secret", ends=1)
    assert [(deed.what, deed.ids) for deed in api.fake_access.deeds] == [
        ("faces edit", (1,)),
        ("faces unassign", (1,)),
        ("faces delete", (1,)),
    ]
