"""What every Gallery does; `gallery_search` has what takes photos that are looked at."""

from dataclasses import replace

import numpy as np
import pytest

from facesearch.errors import (
    CropNotFound,
    FaceNotFound,
    InvalidParameter,
    KeyReused,
    ModelMismatch,
    PersonNotFound,
)
from facesearch.interfaces import Gallery
from facesearch.records import (
    EVERY_FACE,
    EnrolmentTerms,
    FaceEdit,
    FaceProbe,
    FaceQuery,
    Metadata,
    Once,
    PhotoFile,
    PhotoProbe,
    SearchTerms,
    VectorProbe,
)
from tests.contracts.api import Models, Photos
from tests.contracts.gallery_parts import GalleryParts, enrolled

NAMES = ("Zoë O'Neil", "人", "n" * 255, "人" * 255)


class GalleryContract(GalleryParts):
    @pytest.mark.parametrize("name", NAMES)
    def test_a_face_is_stored_with_what_is_said_of_it(
        self, gallery: Gallery, photos: Photos, name: str
    ) -> None:
        metadata: Metadata = {"team": "ü", "age": 36, "height": 1.5, "staff": True}
        face = enrolled(gallery, photos.person, name, "é-1", metadata)
        assert (face.person_name, face.external_id, face.metadata) == (name, "é-1", metadata)
        assert face.person_id is not None
        assert gallery.face(face.id) == face
        assert [type(face.metadata[key]) for key in metadata] == [str, int, float, bool]

    def test_a_face_may_be_nobodys_or_that_of_a_person_that_there_is(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        nobodys = enrolled(gallery, photos.person)
        assert (nobodys.person_id, nobodys.person_name) == (None, "")
        ada = gallery.people.add("Ada")
        photo = PhotoFile("a.png", photos.person_again)
        (face,) = gallery.add_faces(photo, EnrolmentTerms(person_id=ada.id)).faces
        assert (face.person_id, face.person_name) == (ada.id, "Ada")
        with pytest.raises(PersonNotFound):
            gallery.add_faces(photo, EnrolmentTerms(person_id=10**9))
        assert [one.id for one in gallery.faces(EVERY_FACE, 10).items] == [nobodys.id, face.id]

    def test_the_person_s_name_is_stored_as_it_is_shown(self, gallery: Gallery, photos: Photos) -> None:
        zoe = gallery.people.add("Zo\u00eb")
        face = enrolled(gallery, photos.person, "Zoe\u0308")
        assert (face.person_id, face.person_name) == (zoe.id, "Zo\u00eb")
        for name in (" Bo", "Bo ", " ", "B\no", "B\x00o", "\u202eoB", "\u200b"):
            with pytest.raises(InvalidParameter):
                enrolled(gallery, photos.person_again, name)
        assert [one.name for one in gallery.people.page(10).items] == ["Zo\u00eb"]

    def test_a_repeated_request_stores_its_faces_once(self, gallery: Gallery, photos: Photos) -> None:
        photo, terms, once = PhotoFile("a.png", photos.person), EnrolmentTerms("Ada"), Once("key", "print")
        first = gallery.add_faces(photo, terms, once)
        assert gallery.add_faces(photo, terms, once) == first
        with pytest.raises(KeyReused):
            gallery.add_faces(photo, terms, Once("key", "another"))
        assert len(gallery.faces(EVERY_FACE, 10).items) == 1

    def test_a_photo_that_is_stored_already_is_left_out_where_that_is_asked_for(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        photo = PhotoFile("a.png", photos.person)
        first = gallery.add_faces(photo, EnrolmentTerms("Ada"))
        left_out = gallery.add_faces(photo, EnrolmentTerms("Bo", skip_duplicates=True))
        again = gallery.add_faces(photo, EnrolmentTerms("Cy"))
        (face,) = first.faces
        assert (first.duplicate_of, left_out.duplicate_of, again.duplicate_of) == (None, face.id, face.id)
        assert left_out.faces == first.faces
        for which in ("largest", "all"):
            all_of_it = gallery.add_faces(photo, EnrolmentTerms("Di", faces=which, skip_duplicates=True))
            assert (all_of_it.faces, all_of_it.duplicate_of) == ((*first.faces, *again.faces), face.id)
        assert [one.person_name for one in gallery.faces(EVERY_FACE, 10).items] == ["Ada", "Cy"]

    def test_pages_of_faces_follow_each_other(self, gallery: Gallery, photos: Photos) -> None:
        faces = [enrolled(gallery, photos.person, name) for name in "abcd"]
        first = gallery.faces(EVERY_FACE, 3)
        rest = gallery.faces(EVERY_FACE, 3, first.next)
        assert [*first.items, *rest.items] == faces
        assert (first.next is not None, rest.next) == (True, None)

    def test_faces_are_listed_by_person_and_external_id(self, gallery: Gallery, photos: Photos) -> None:
        ada, bo, nobody = (
            enrolled(gallery, photos.person, name, external_id)
            for name, external_id in (("Ada", "1"), ("Bo", "2"), ("", "1"))
        )

        def listed(query: FaceQuery) -> list[int]:
            return [face.id for face in gallery.faces(query, 10).items]

        people = frozenset([ada.person_id or 0, 0])
        assert listed(FaceQuery(people=frozenset([bo.person_id or 0]))) == [bo.id]
        assert listed(FaceQuery(people=people)) == [ada.id, nobody.id]
        assert listed(FaceQuery(external_id="1")) == [ada.id, nobody.id]
        assert listed(FaceQuery(people=frozenset([0]), external_id="1")) == [nobody.id]
        assert listed(FaceQuery(external_id="3")) == []

    def test_what_is_named_of_a_face_is_changed_and_the_rest_stays(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        face = enrolled(gallery, photos.person, "Ada", "1", {"a": 1, "b": 2})
        edited = gallery.edit_face(face.id, FaceEdit(frozenset(["metadata"]), metadata={"b": 3}))
        assert edited == replace(face, metadata={"b": 3}) == gallery.face(face.id)
        edited = gallery.edit_face(face.id, FaceEdit(frozenset(["external_id"]), external_id=None))
        assert edited == replace(face, metadata={"b": 3}, external_id=None)
        assert gallery.edit_face(face.id, FaceEdit(frozenset())) == edited

    def test_a_face_gets_its_person_with_the_rest_of_a_change_or_neither(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        face, bo = enrolled(gallery, photos.person, "Ada", "1", {"a": 1}), gallery.people.add("Bo")
        both = frozenset(["person_id", "metadata"])
        with pytest.raises(PersonNotFound):
            gallery.edit_face(face.id, FaceEdit(both, metadata={"a": 2}, person_id=10**9))
        assert gallery.face(face.id) == face
        edited = gallery.edit_face(face.id, FaceEdit(both, metadata={"a": 2}, person_id=bo.id))
        assert edited == replace(face, person_id=bo.id, person_name="Bo", metadata={"a": 2})
        assert edited == gallery.face(face.id)
        nobodys = gallery.edit_face(face.id, FaceEdit(frozenset(["person_id"])))
        assert (nobodys.person_id, nobodys.person_name, nobodys.metadata) == (None, "", {"a": 2})
        with pytest.raises(FaceNotFound):
            gallery.edit_face(10**9, FaceEdit(both, person_id=bo.id))

    def test_erased_faces_are_gone(self, gallery: Gallery, photos: Photos) -> None:
        first, second, third = (enrolled(gallery, photos.person, name) for name in ("Ada", "Ada", "Bo"))
        assert gallery.delete_faces([third.id, first.id, third.id, 10**9]) in (
            [first.id, third.id],
            [third.id, first.id],
        )
        assert [face.id for face in gallery.faces(EVERY_FACE, 10).items] == [second.id]
        assert [person.name for person in gallery.people.page(10).items] == ["Ada"]
        assert gallery.delete_faces([first.id]) == []

    def test_a_face_that_is_not_there_is_told(self, gallery: Gallery, photos: Photos) -> None:
        face = enrolled(gallery, photos.person)
        gallery.delete_faces([face.id])
        for missing in (face.id, 10**9, 0, -1):
            for call in (
                lambda one: gallery.face(one),
                lambda one: gallery.thumbnail(one),
                lambda one: gallery.edit_face(one, FaceEdit(frozenset(["external_id"]))),
                lambda one: gallery.search(FaceProbe(one), SearchTerms()),
            ):
                with pytest.raises(FaceNotFound):
                    call(missing)

    def test_a_face_of_which_no_crop_is_kept_has_none(self, gallery: Gallery, photos: Photos) -> None:
        face = enrolled(gallery, photos.person)
        with pytest.raises(CropNotFound):
            gallery.thumbnail(face.id)

    def test_a_probe_that_is_none_is_refused(self, gallery: Gallery, photos: Photos, models: Models) -> None:
        enrolled(gallery, photos.person)
        photo = PhotoFile("a.png", photos.person)
        wrong = np.zeros(models.dimension + 1, np.float32)
        for probe, error in (
            (PhotoProbe(()), InvalidParameter),
            (PhotoProbe((photo, photo)), InvalidParameter),
            (VectorProbe(wrong, models.first), InvalidParameter),
            (VectorProbe(wrong[1:], models.second), ModelMismatch),
            (VectorProbe(wrong[1:], "unknown"), ModelMismatch),
        ):
            with pytest.raises(error):
                gallery.search(probe, SearchTerms())
