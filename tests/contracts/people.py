"""What every People does."""

import pytest

from facesearch.errors import (
    FaceNotFound,
    InvalidParameter,
    KeyReused,
    NameTaken,
    PersonNotFound,
)
from facesearch.interfaces import Collections, Gallery, People
from facesearch.records import EVERY_FACE, FaceQuery, Once, Person, PersonEdit
from tests.contracts.api import Photos
from tests.contracts.gallery_parts import GalleryParts, enrolled

NAMES = ("Ada", "Zoë O'Neil", "Анна", "人", "n" * 255, "人" * 255)
ONCE = Once("key", "fingerprint")


def rename(people: People, person_id: int, name: str) -> Person:
    return people.edit(person_id, PersonEdit(frozenset(["name"]), name))


def set_cover(people: People, person_id: int, face_id: int | None) -> Person:
    return people.edit(person_id, PersonEdit(frozenset(["cover_face"]), cover_face=face_id))


class PeopleContract(GalleryParts):
    @pytest.mark.parametrize("name", NAMES)
    def test_a_person_goes_by_the_name_that_it_was_given(self, gallery: Gallery, name: str) -> None:
        made = gallery.people.add(name)
        assert (made.name, made.faces, made.cover_face) == (name, 0, None)
        assert gallery.people.get(made.id) == made
        assert gallery.people.named(name) == made
        assert gallery.people.named("nobody") is None
        with pytest.raises(NameTaken):
            gallery.people.add(name)

    def test_a_name_that_cannot_be_one_is_refused(self, gallery: Gallery) -> None:
        ada = gallery.people.add("Ada")
        for name in (
            "",
            "x" * 256,
            " Bo",
            "Bo ",
            "\u00a0",
            "B\no",
            "B\x00o",
            "\x1b[2J",
            "\u202eoB",
            "\ud83d",
            "\u200b",
            "\u200d",
            "\u3164\ufe0f",
        ):
            with pytest.raises(InvalidParameter):
                gallery.people.add(name)
            with pytest.raises(InvalidParameter):
                rename(gallery.people, ada.id, name)
        assert [one.name for one in gallery.people.page(10).items] == ["Ada"]

    def test_a_name_is_one_person_s_in_whichever_form_it_is_written(self, gallery: Gallery) -> None:
        zoe, bo = gallery.people.add("Zoe\u0308"), gallery.people.add("Bo")
        assert zoe.name == "Zo\u00eb"
        assert gallery.people.named("Zoe\u0308") == gallery.people.named("Zo\u00eb") == zoe
        with pytest.raises(NameTaken):
            gallery.people.add("Zo\u00eb")
        with pytest.raises(NameTaken):
            rename(gallery.people, bo.id, "Zoe\u0308")

    def test_what_nobody_sees_of_a_name_is_left_out(self, gallery: Gallery) -> None:
        ada = gallery.people.add("A\u00adda\u200b")
        assert (ada.name, gallery.people.named("\ufeffAda")) == ("Ada", ada)
        for hidden in ("Ada\u200e", "Ada\u200d"):
            with pytest.raises(NameTaken):
                gallery.people.add(hidden)
        for joined in ("نیلوفر\u200cی", "👩\u200d🚀"):
            assert gallery.people.add(joined).name == joined

    def test_a_repeated_request_makes_one_person(self, gallery: Gallery) -> None:
        first = gallery.people.add("Ada", ONCE)
        assert gallery.people.add("Ada", ONCE) == first
        with pytest.raises(KeyReused):
            gallery.people.add("Bo", Once("key", "another"))
        with pytest.raises(NameTaken):
            gallery.people.add("Ada", Once("another key", "fingerprint"))

    def test_pages_of_people_follow_each_other(self, gallery: Gallery) -> None:
        made = [gallery.people.add(name) for name in "abcd"]
        first = gallery.people.page(3)
        rest = gallery.people.page(3, first.next)
        assert [*first.items, *rest.items] == made
        assert (first.next is not None, rest.next) == (True, None)

    def test_a_person_that_a_face_brought_goes_with_the_last_face(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        first, second = (enrolled(gallery, photo, "Ada") for photo in (photos.person, photos.person_again))
        assert first.person_id == second.person_id is not None
        person = gallery.people.get(first.person_id or 0)
        assert (person.faces, person.cover_face) == (2, first.id)
        gallery.people.assign([first.id], None)
        assert gallery.people.get(person.id).cover_face == second.id
        gallery.people.assign([second.id], None)
        assert gallery.people.page(10).items == ()
        assert [face.person_id for face in gallery.faces(EVERY_FACE, 10).items] == [None, None]

    def test_a_person_that_was_made_or_renamed_stays_without_faces(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        made = gallery.people.add("Ada")
        came = enrolled(gallery, photos.person, "Bo").person_id
        assert came is not None
        renamed = rename(gallery.people, came, "Bob")
        assert (renamed.id, renamed.name, renamed.faces) == (came, "Bob", 1)
        faces = [face.id for face in gallery.faces(EVERY_FACE, 10).items]
        assert gallery.people.assign(faces, made.id) == faces
        assert gallery.people.assign(faces, None) == faces
        assert [(one.name, one.faces) for one in gallery.people.page(10).items] == [("Ada", 0), ("Bob", 0)]

    def test_faces_tell_the_name_that_their_person_has_now(self, gallery: Gallery, photos: Photos) -> None:
        face = enrolled(gallery, photos.person, "Ada")
        assert face.person_id is not None
        rename(gallery.people, face.person_id, "Ada Lovelace")
        assert gallery.face(face.id).person_name == "Ada Lovelace"
        with pytest.raises(NameTaken):
            rename(gallery.people, gallery.people.add("Bo").id, "Ada Lovelace")
        other = gallery.people.add("Cy")
        assert gallery.people.assign([face.id, face.id, 10**9], other.id) == [face.id]
        stored = gallery.face(face.id)
        assert (stored.person_name, stored.person_id) == ("Cy", other.id)
        query = FaceQuery(people=frozenset([other.id]))
        assert [one.id for one in gallery.faces(query, 10).items] == [face.id]

    def test_people_that_are_merged_are_one_afterwards(self, gallery: Gallery, photos: Photos) -> None:
        faces = [enrolled(gallery, photos.person, name) for name in ("Ada", "Bo", "Cy")]
        ids = [face.person_id or 0 for face in faces]
        merged = gallery.people.merge(ids[0], ids[1:])
        assert (merged.id, merged.name, merged.faces) == (ids[0], "Ada", 3)
        assert [one.id for one in gallery.people.page(10).items] == [ids[0]]
        assert {gallery.face(face.id).person_name for face in faces} == {"Ada"}
        for gone in ids[1:]:
            with pytest.raises(PersonNotFound):
                gallery.people.get(gone)

    def test_a_merger_of_somebody_who_is_not_there_changes_nothing(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        ids = [enrolled(gallery, photos.person, name).person_id or 0 for name in ("Ada", "Bo")]
        for others, error in (([ids[1], 10**9], PersonNotFound), ([ids[1], ids[0]], InvalidParameter)):
            with pytest.raises(error):
                gallery.people.merge(ids[0], others)
        assert [one.faces for one in gallery.people.page(10).items] == [1, 1]

    def test_a_repeated_merger_and_assignment_answer_as_the_first(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        faces = [enrolled(gallery, photos.person, name) for name in ("Ada", "Bo")]
        ids = [face.person_id or 0 for face in faces]
        merged = gallery.people.merge(ids[0], ids[1:], ONCE)
        assert gallery.people.merge(ids[0], ids[1:], ONCE) == merged
        other = gallery.people.add("Cy")
        once = Once("another key", "fingerprint")
        for _ in range(2):
            assert gallery.people.assign([faces[0].id], other.id, once) == [faces[0].id]
        with pytest.raises(KeyReused):
            gallery.people.assign([faces[1].id], other.id, Once("another key", "another"))

    def test_a_request_that_made_somebody_who_was_merged_is_carried_out_anew(self, gallery: Gallery) -> None:
        ada, bo = gallery.people.add("Ada", ONCE), gallery.people.add("Bo")
        gallery.people.merge(bo.id, [ada.id])
        again = gallery.people.add("Ada", ONCE)
        assert (again.name, again.id in (ada.id, bo.id)) == ("Ada", False)
        assert gallery.people.add("Ada", ONCE) == again == gallery.people.get(again.id)

    def test_the_cover_is_the_first_face_unless_another_is_chosen(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        first, second = (enrolled(gallery, photo, "Ada") for photo in (photos.person, photos.person_again))
        other = enrolled(gallery, photos.other, "Bo")
        ada = first.person_id or 0
        assert set_cover(gallery.people, ada, second.id).cover_face == second.id
        assert gallery.people.get(ada).cover_face == second.id
        for wrong in (other.id, 10**9):
            with pytest.raises(FaceNotFound):
                set_cover(gallery.people, ada, wrong)
        assert set_cover(gallery.people, ada, None).cover_face == first.id

    def test_a_person_is_changed_as_a_whole_or_not_at_all(self, gallery: Gallery, photos: Photos) -> None:
        first, second = (enrolled(gallery, photo, "Ada") for photo in (photos.person, photos.person_again))
        other = enrolled(gallery, photos.other, "Bo")
        ada, both = first.person_id or 0, frozenset(["name", "cover_face"])
        for name, cover, error in (("Cy", other.id, FaceNotFound), ("Bo", second.id, NameTaken)):
            with pytest.raises(error):
                gallery.people.edit(ada, PersonEdit(both, name, cover))
            told = gallery.people.get(ada)
            assert (told.name, told.cover_face, gallery.face(first.id).person_name) == (
                "Ada",
                first.id,
                "Ada",
            )
        edited = gallery.people.edit(ada, PersonEdit(both, "Cy", second.id))
        assert (edited.name, edited.cover_face) == ("Cy", second.id)
        assert gallery.people.edit(ada, PersonEdit(frozenset())) == edited == gallery.people.get(ada)

    def test_what_is_missing_is_named(self, gallery: Gallery, photos: Photos) -> None:
        ada, bo = (enrolled(gallery, photos.person, name) for name in ("Ada", "Bo"))
        with pytest.raises(FaceNotFound, match=f"Face {bo.id} is none of person {ada.person_id}'s"):
            set_cover(gallery.people, ada.person_id or 0, bo.id)
        with pytest.raises(PersonNotFound, match="999999"):
            gallery.people.merge(ada.person_id or 0, [bo.person_id or 0, 999_999])
        with pytest.raises(FaceNotFound, match="999999"):
            gallery.face(999_999)

    def test_a_person_that_is_deleted_leaves_or_takes_its_faces(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        left, taken = (enrolled(gallery, photos.person, name) for name in ("Ada", "Bo"))
        assert gallery.people.delete(left.person_id or 0, with_faces=False) == []
        assert gallery.people.delete(taken.person_id or 0, with_faces=True) == [taken.id]
        stored = gallery.face(left.id)
        assert (stored.person_name, stored.person_id) == ("", None)
        with pytest.raises(FaceNotFound):
            gallery.face(taken.id)
        assert gallery.people.page(10).items == ()

    def test_somebody_who_is_not_there_is_told(
        self, gallery: Gallery, collections: Collections, photos: Photos
    ) -> None:
        face = enrolled(gallery, photos.person, "Ada")
        elsewhere = collections.gallery("default").people.add("Ada").id
        people = gallery.people
        for person in (10**9, elsewhere):
            calls = (
                lambda one: people.get(one),
                lambda one: rename(people, one, "Bo"),
                lambda one: set_cover(people, one, face.id),
                lambda one: people.merge(one, [face.person_id or 0]),
                lambda one: people.assign([face.id], one),
                lambda one: people.delete(one, with_faces=True),
            )
            for call in calls:
                with pytest.raises(PersonNotFound):
                    call(person)
        assert gallery.face(face.id) == face
