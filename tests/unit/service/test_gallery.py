from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.errors import DatabaseUnavailable, FaceNotFound, InvalidParameter, Unavailable
from facesearch.interfaces import API, ImageDatabase
from facesearch.records import (
    BEST,
    NO_BOX,
    AutoTolerance,
    Condition,
    FaceEdit,
    FaceProbe,
    FaceQuery,
    PhotoFile,
    PhotoProbe,
    SearchTerms,
    StoredFace,
    VectorProbe,
)
from tests.contracts.api import vector
from tests.contracts.gallery_parts import enrolled
from tests.unit.service.conftest import NewDatabase, Opened, without_tidying
from tests.unit.service.parts import COLOURS, NEGATIVES, PHOTOS, FakeKinds

PROBE = PhotoProbe((PhotoFile("a.png", PHOTOS.person),))
IN_PARIS = FaceQuery(conditions=(Condition("site", "in", ("Paris",)),))


class Interrupted(FakeKinds):
    """Does something the next time that it embeds."""

    meanwhile = staticmethod(lambda: None)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        work, Interrupted.meanwhile = Interrupted.meanwhile, staticmethod(lambda: None)
        work()
        return super().embed(crops)


def test_a_collection_that_gets_another_model_while_a_photo_is_encoded_is_searched_with_that(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    encoder = Interrupted()
    gallery = opened(database=database, encoder=encoder).collections.gallery("default")
    (own,) = FakeKinds(NEGATIVES).embed(np.array([[[[200, 0, 0]]]], np.uint8))
    new = vector(3, "Ada")
    new = replace(new, face=replace(new.face, embedding=own))

    def another_adds_a_face() -> None:
        database.add_faces([new], NEGATIVES)

    Interrupted.meanwhile = staticmethod(another_adds_a_face)
    found = gallery.search(PROBE, SearchTerms())
    assert found.model_id == NEGATIVES
    assert [match.person_name for match in found.faces[0].matches] == ["Ada"]


def test_a_collection_whose_model_never_settles_is_not_searched_for_ever(
    opened: Opened, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database()
    gallery = opened(database=database).collections.gallery("default")
    asked: list[str] = []

    def another() -> str:
        asked.append([COLOURS, NEGATIVES][len(asked) % 2])
        return asked[-1]

    monkeypatch.setattr(database, "gallery_model", another)
    with pytest.raises(Unavailable, match="switched"):
        gallery.search(PROBE, SearchTerms())


def test_a_collection_that_this_process_has_searched_is_answered_from_its_copy(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    api = opened(database=database)
    for name in ("seen", "unseen"):
        api.collections.add(name)
        enrolled(api.collections.gallery(name), PHOTOS.person, "Ada", metadata={"site": "Paris"})
    seen = api.collections.gallery("seen")
    face = seen.search(PROBE, SearchTerms()).faces[0].matches[0]
    database.away = DatabaseUnavailable()
    found = seen.search(PROBE, SearchTerms())
    assert found.stale_s is not None
    assert [(one.face_id, one.person_name, one.person_id) for one in found.faces[0].matches] == [
        (face.face_id, None, None)
    ]
    people = seen.search(PROBE, SearchTerms(by_person=True)).faces[0].matches
    assert [(one.person_id, one.person_name, one.faces_within) for one in people] == [
        (face.person_id, None, 1)
    ]
    probe = VectorProbe(vector(3).face.embedding, COLOURS)
    assert seen.search(probe, SearchTerms()).stale_s is not None
    for refused in (
        lambda: seen.search(FaceProbe(face.face_id), SearchTerms()),
        lambda: seen.search(PROBE, SearchTerms(query=IN_PARIS)),
        lambda: api.collections.gallery("unseen").search(PROBE, SearchTerms()),
        lambda: seen.face(face.face_id),
        lambda: api.collections.get("seen"),
    ):
        with pytest.raises(DatabaseUnavailable):
            refused()
    database.away = None
    assert seen.search(PROBE, SearchTerms()).stale_s is None


def test_a_search_asks_a_database_that_is_away_once(
    opened: Opened, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database()
    gallery = opened(database=database).collections.gallery("default")
    gallery.search(PROBE, SearchTerms())
    asked: list[str] = []

    def asking(name: str) -> Callable[[], NoReturn]:
        def ask() -> NoReturn:
            asked.append(name)
            raise DatabaseUnavailable

        return ask

    for name in ("gallery_model", "newest_change"):
        monkeypatch.setattr(database, name, asking(name))
    assert gallery.search(PROBE, SearchTerms()).stale_s is not None
    assert asked == ["gallery_model"]


def test_a_tolerance_that_fits_the_gallery_fits_the_faces_that_are_compared(opened: Opened) -> None:
    gallery = opened().collections.gallery("default")
    for at in range(6):
        enrolled(gallery, PHOTOS.person, metadata={"site": "Paris" if at < 2 else "Rome"})

    def rate(probe: PhotoProbe, query: FaceQuery) -> float:
        chosen = gallery.search(probe, SearchTerms(1, AutoTolerance(0.01), query)).chosen
        assert chosen is not None
        return chosen.false_match_rate

    pooled = PhotoProbe(PROBE.photos * 2, pooling=BEST)
    asked = ((PROBE, FaceQuery(), 6), (PROBE, IN_PARIS, 2), (pooled, FaceQuery(), 12))
    for probe, query, comparisons in asked:
        assert 1 - (1 - rate(probe, query)) ** comparisons == pytest.approx(0.01)


def test_the_faces_of_several_photos_are_looked_for_as_wanted_the_largest_of_each(opened: Opened) -> None:
    encoder = FakeKinds()
    gallery = opened(encoder=encoder).collections.gallery("default")
    photos = tuple(PhotoFile("a.png", photo) for photo in (PHOTOS.both, PHOTOS.other))
    found = gallery.search(PhotoProbe(photos, pooling=BEST), SearchTerms())
    assert [face.box for face in found.faces] == [NO_BOX]
    assert [wish.only_largest for wish in encoder.wishes] == [True, True]


def test_a_person_whose_face_moved_on_meanwhile_is_looked_up_once_more(
    opened: Opened, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database()
    gallery = opened(database=database).collections.gallery("default")
    face = enrolled(gallery, PHOTOS.person, "Ada")
    other = enrolled(gallery, PHOTOS.person_again, "Bo").person_id
    stored = database.get_faces
    moved: list[int] = []

    def after_it_moved(ids: list[int]) -> dict[int, StoredFace]:
        if not moved:
            moved.extend(gallery.people.assign([face.id], other))
        return stored(ids)

    monkeypatch.setattr(database, "get_faces", after_it_moved)
    (match,) = gallery.search(PROBE, SearchTerms(10, by_person=True)).faces[0].matches
    assert (match.person_id, match.person_name, match.faces_within) == (other, "Bo", 2)


def test_a_stored_face_that_goes_while_it_is_searched_with_is_told(
    opened: Opened, new_database: NewDatabase
) -> None:
    gallery = opened(database=new_database()).collections.gallery("default")
    with pytest.raises(FaceNotFound):
        gallery.search(FaceProbe(1), SearchTerms())


def test_the_old_verbs_work_on_the_collection_that_is_named(opened: Opened) -> None:
    api: API = opened()
    api.collections.add("people", NEGATIVES)
    added = api.add_face(PHOTOS.person, "Ada_0001.png", collection="people")
    photo = PhotoFile("a.png", PHOTOS.person)
    found = api.search_faces(PHOTOS.person, "a.png", 1, None, collection="people")
    assert [match.face_id for match in found.faces[0].matches] == [added.id]
    assert api.get_face_info(added.id, "people").model_id == NEGATIVES
    assert api.compare(photo, photo, 0.1, collection="people").model_id == NEGATIVES
    assert api.import_faces([vector(3)], NEGATIVES, "people") == 1
    assert api.collections.get("people").faces == 2
    assert api.search_faces(PHOTOS.person, "a.png", 1, None).faces[0].matches == ()
    with pytest.raises(FaceNotFound):
        api.get_face_info(added.id)


def test_figures_count_the_faces_of_all_collections(opened: Opened, new_database: NewDatabase) -> None:
    database: ImageDatabase = new_database()
    api = without_tidying(opened(database=database))
    api.collections.add("people")
    for name, faces in (("default", 2), ("people", 3)):
        api.import_faces([vector(3)] * faces, COLOURS, name)
        api.search_faces(PHOTOS.person, "a.png", 1, None, collection=name)
    figures = api.health.figures()
    assert figures.changes_behind == 0
    api.import_faces([vector(3)], COLOURS, "people")
    assert api.health.figures().changes_behind == 1


def test_a_face_whose_metadata_cannot_be_stored_keeps_its_person(opened: Opened) -> None:
    gallery = opened().collections.gallery("default")
    face, bo = enrolled(gallery, PHOTOS.person, "Ada"), gallery.people.add("Bo")
    edit = FaceEdit(frozenset(["person_id", "external_id"]), "x" * 256, person_id=bo.id)
    with pytest.raises(InvalidParameter):
        gallery.edit_face(face.id, edit)
    assert gallery.face(face.id) == face
