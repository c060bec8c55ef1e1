import io
import threading
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from facesearch.databases import open_key_store
from facesearch.errors import CollectionNotFound, Conflict, DatabaseUnavailable, KeyRefused, PersonNotFound
from facesearch.records import EVERY_FACE, EnrolmentTerms, ImportOptions, NewKey, Once, PersonEdit, PhotoFile
from facesearch.service import AGTAPI
from facesearch.service.galleries import Galleries
from facesearch.service.keys.key_text import digest_of, new_key_text, prefix_of
from facesearch.service.keys.keyring import Keyring
from tests.contracts.imports import LIMIT_S, files
from tests.unit.service.conftest import NewDatabase, Opened, without_tidying
from tests.unit.service.imports.test_jobs import GatedPool
from tests.unit.service.parts import GREEN, PHOTOS, RED, SwitchedDatabase, photo

ADA, BOB = photo((RED, 20)), photo((GREEN, 20))


def enrol(api: AGTAPI, data: bytes, name: str, once: Once | None = None, collection: str = "default") -> int:
    terms = EnrolmentTerms(person_name=name)
    enrolled = api.collections.gallery(collection).add_faces(PhotoFile("a.png", data), terms, once)
    return enrolled.faces[0].id


def imported(api: AGTAPI, data: dict[str, bytes], collection: str = "default") -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for path, content in data.items():
            zipped.writestr(path, content)
    return api.imports.start(archive, "a.zip", ImportOptions(collection=collection)).id


def test_an_erased_face_may_be_enrolled_again_under_the_same_key(opened: Opened) -> None:
    api, once = opened(), Once("key", "print")
    first = enrol(api, ADA, "Ada", once)
    assert enrol(api, ADA, "Ada", once) == first
    assert api.collections.gallery("default").delete_faces([first]) == [first]
    assert enrol(api, ADA, "Ada", once) > first


def test_a_report_says_nothing_of_an_erased_face(opened: Opened) -> None:
    api = opened()
    job = api.imports.wait(imported(api, {"Ada_0001.png": ADA, "Bob_0001.png": BOB}), LIMIT_S)
    ada, bob = files(api.imports, job)
    assert ada.id is not None
    api.collections.gallery("default").delete_faces([ada.id])
    told, kept = files(api.imports, job)
    assert (told.path, told.person_name, told.id, told.faces) == ("", None, None, ())
    assert kept == bob


def test_a_person_who_goes_alone_leaves_faces_that_nobody_names(opened: Opened) -> None:
    api = opened()
    gallery = api.collections.gallery("default")
    job = api.imports.wait(imported(api, {"Ada_0001.png": ADA, "Bob_0001.png": BOB}), LIMIT_S)
    ada = gallery.people.named("Ada")
    assert ada is not None
    assert gallery.people.delete(ada.id, with_faces=False) == []
    assert gallery.people.named("Ada") is None
    assert [report.path for report in files(api.imports, job)] == ["", "Bob_0001.png"]
    assert [face.person_name for face in gallery.faces(EVERY_FACE, 10).items] == ["", "Bob"]
    with pytest.raises(PersonNotFound):
        gallery.people.delete(ada.id, with_faces=True)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_person_goes_with_all_faces_also_one_who_was_named(opened: Opened, is_named: bool) -> None:
    api = opened()
    gallery = api.collections.gallery("default")
    ids = [enrol(api, ADA, "Ada"), enrol(api, ADA, "Ada")]
    bob = enrol(api, BOB, "Bob")
    person = gallery.face(ids[0]).person_id
    assert person is not None
    if is_named:
        gallery.people.edit(person, PersonEdit(frozenset(["name"]), "Countess"))
    assert gallery.people.delete(person, with_faces=True) == ids
    assert [p.name for p in gallery.people.page(10).items] == ["Bob"]
    assert [face.id for face in gallery.faces(EVERY_FACE, 10).items] == [bob]


def test_a_person_goes_from_the_reports_of_files_that_came_to_nothing(opened: Opened) -> None:
    api = opened()
    gallery = api.collections.gallery("default")
    kept = ["Ada Byron/2.png", "Grace_Hopper_0001.png", "Ada/Grace_Hopper_0002.png", "x" * 300 + ".png"]
    told = ["Ada_0002.png", "photos/Ada.png", "people/Ada/3.png", "Ada/Ada_ _0003.png", "A\u200bda_0004.png"]
    nothing = dict.fromkeys([*told, *kept], PHOTOS.nobody)
    first = api.imports.wait(imported(api, {"Ada_0001.png": ADA, **nothing}), LIMIT_S)
    second = api.imports.wait(imported(api, nothing), LIMIT_S)
    ada = gallery.people.named("Ada")
    assert ada is not None
    gallery.people.delete(ada.id, with_faces=True)
    blank = [""] * len(told)
    assert [report.path for report in files(api.imports, first)] == ["", *blank, *kept]
    assert [report.path for report in files(api.imports, second)] == [*blank, *kept]


def test_faces_that_a_person_gets_during_the_erasure_are_erased_too(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = opened()
    gallery = api.collections.gallery("default")
    ids = [enrol(api, ADA, "Ada")]
    person = gallery.face(ids[0]).person_id
    assert person is not None
    calls = []

    def meanwhile(collection: int, photos: object) -> None:
        calls.append(photos)
        if len(calls) == 1:
            ids.append(enrol(api, BOB, "Ada"))

    monkeypatch.setattr(api.imports, "erase_photos", meanwhile)
    assert gallery.people.delete(person, with_faces=True) == ids
    assert [len(photos) for photos in calls] == [1, 2]  # type: ignore[arg-type]


def test_a_collection_goes_with_its_jobs_archives_and_keys(
    opened: Opened, new_database: NewDatabase, tmp_path: Path
) -> None:
    database, gate = new_database(), threading.Event()
    keys = open_key_store(database)
    api = opened(database=database, pool=GatedPool(gate))
    api.collections.add("secret")
    keys.add(NewKey("0123456789ab", bytes(32), "read", "secret"))
    keys.add(NewKey("0123456789ac", bytes([1]) * 32, "read", "default"))
    enrol(api, ADA, "Ada", collection="secret")
    job = imported(api, {"Bob_0001.png": BOB}, "secret")
    api.imports._room.take(io.BytesIO(b"of an upload that was refused"), "refused")
    kept = enrol(api, BOB, "Bob")
    api.collections.delete("secret")
    gate.set()
    assert [one.id for one in api.imports.jobs(10).items if one.id == job] == []
    assert list((tmp_path / "imports").glob("*.zip")) == []
    everyone = keys.keys()
    assert [key.revoked_at is None for key in everyone] == [False, True]
    with pytest.raises(CollectionNotFound):
        api.collections.get("secret")
    api.collections.add("secret")
    assert api.collections.get("secret").faces == 0
    assert [face.id for face in api.collections.gallery("default").faces(EVERY_FACE, 10).items] == [kept]
    with pytest.raises(Conflict):
        api.collections.delete("default")


def test_a_key_of_a_collection_that_was_is_good_for_none_of_its_name_in_any_process(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    keys = open_key_store(database)
    api = opened(database=database)
    api.collections.add("secret")
    text = new_key_text()
    keys.add(NewKey(prefix_of(text) or "", digest_of(text), "read", "secret"))
    with closing(Keyring(keys, 900)) as another:
        assert another.find(text) is not None
        api.collections.delete("secret")
        api.collections.add("secret")
        with pytest.raises(KeyRefused):
            another.find(text)


def test_what_could_not_be_cleaned_is_told_and_cleaned_later(
    opened: Opened, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = new_database()
    api, wiped = without_tidying(opened(database=database)), list[int]()
    face = enrol(api, ADA, "Ada")

    def busy(_: object) -> None:
        raise DatabaseUnavailable("Others read.")

    notes = tmp_path / "imports" / "erasures"
    with monkeypatch.context() as patched:
        patched.setattr(SwitchedDatabase, "wipe", busy)
        with pytest.raises(DatabaseUnavailable):
            api.collections.gallery("default").delete_faces([face])
    assert api.collections.gallery("default").faces(EVERY_FACE, 10).items == ()
    assert len(list(notes.iterdir())) == 1
    monkeypatch.setattr(SwitchedDatabase, "wipe", lambda _: wiped.append(1))
    api.collections._parts.erasure.finish()
    api.collections._parts.erasure.finish()
    assert len(wiped) == 1
    assert list(notes.iterdir()) == []


def test_of_several_steps_that_fail_the_others_are_taken(
    opened: Opened, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, wiped = without_tidying(opened(database=new_database())), list[int]()
    face = enrol(api, ADA, "Ada")

    def away(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(Galleries, "level", away)
    monkeypatch.setattr(SwitchedDatabase, "wipe", lambda _: wiped.append(1))
    with pytest.raises(DatabaseUnavailable):
        api.collections.gallery("default").delete_faces([face])
    assert len(wiped) == 1
