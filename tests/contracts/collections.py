"""What every Collections does."""

import pytest

from facesearch.errors import (
    CollectionNotFound,
    Conflict,
    FaceNotFound,
    InvalidParameter,
    KeyReused,
    ModelNotFound,
    NameTaken,
)
from facesearch.interfaces import Collections
from facesearch.records import EVERY_FACE, Once, SearchTerms, VectorProbe
from tests.contracts.api import Models, Photos, vector
from tests.contracts.gallery_parts import GalleryParts, enrolled

NAMES = ("x", "Zoë's", "人々", "a b", "l" * 255, "人" * 255)


class CollectionsContract(GalleryParts):
    def test_the_default_collection_is_there_and_stays(self, collections: Collections) -> None:
        default = collections.get("default")
        assert (default.number, default.name, default.faces, default.people) == (1, "default", 0, 0)
        with pytest.raises(Conflict):
            collections.delete("default")
        assert [one.name for one in collections.page(10).items] == ["default"]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_collection_goes_by_the_name_that_it_was_given(
        self, collections: Collections, name: str
    ) -> None:
        made = collections.add(name)
        assert (made.name, made.faces, made.people) == (name, 0, 0)
        assert made.number > 1
        assert collections.get(name) == made
        with pytest.raises(NameTaken):
            collections.add(name)

    @pytest.mark.parametrize("name", ["", " a", "a ", "a/b", "*", ".", "..", "a\nb", "x" * 256])
    def test_a_name_that_cannot_be_one_is_refused(self, collections: Collections, name: str) -> None:
        with pytest.raises(InvalidParameter):
            collections.add(name)
        assert len(collections.page(10).items) == 1

    def test_a_name_is_one_collection_s_in_whichever_form_it_is_written(
        self, collections: Collections
    ) -> None:
        assert collections.add("Zoe\u0308").name == "Zo\u00eb"
        with pytest.raises(NameTaken):
            collections.add("Zo\u00eb")

    def test_a_collection_may_be_made_for_a_model_that_the_service_has(
        self, collections: Collections, models: Models
    ) -> None:
        assert collections.add("a", models.second).model_id == models.second
        assert collections.add("b").model_id is None
        with pytest.raises(ModelNotFound):
            collections.add("c", "unknown")
        assert [one.name for one in collections.page(10).items] == ["default", "a", "b"]

    def test_a_repeated_request_makes_one_collection(self, collections: Collections) -> None:
        once = Once("key", "fingerprint")
        first = collections.add("people", None, once)
        assert collections.add("people", None, once) == first
        with pytest.raises(KeyReused):
            collections.add("others", None, Once("key", "another"))
        with pytest.raises(NameTaken):
            collections.add("people", None, Once("another key", "fingerprint"))

    def test_faces_and_people_are_those_of_one_collection(
        self, collections: Collections, photos: Photos, models: Models
    ) -> None:
        collections.add("a")
        collections.add("b")
        face = enrolled(collections.gallery("a"), photos.person, "Ada")
        other = enrolled(collections.gallery("b"), photos.person, "Ada")
        assert face.id != other.id
        assert face.person_id != other.person_id
        counted = {one.name: (one.faces, one.people) for one in collections.page(10).items}
        assert counted == {"default": (0, 0), "a": (1, 1), "b": (1, 1)}
        assert collections.get("a").model_id == models.first
        gallery = collections.gallery("a")
        assert [one.id for one in gallery.faces(EVERY_FACE, 10).items] == [face.id]
        assert [one.id for one in gallery.people.page(10).items] == [face.person_id]
        with pytest.raises(FaceNotFound):
            gallery.face(other.id)

    def test_pages_of_collections_follow_each_other(self, collections: Collections) -> None:
        for name in "abcd":
            collections.add(name)
        first = collections.page(3)
        rest = collections.page(3, first.next)
        assert [one.name for one in (*first.items, *rest.items)] == ["default", "a", "b", "c", "d"]
        assert (first.next is not None, rest.next) == (True, None)

    def test_what_there_is_not_is_told_at_each_call(self, collections: Collections, models: Models) -> None:
        gallery = collections.gallery("nowhere")
        probe = VectorProbe(vector(models.dimension).face.embedding, models.first)
        for call in (
            lambda: collections.get("nowhere"),
            lambda: collections.delete("nowhere"),
            lambda: gallery.faces(EVERY_FACE, 10),
            lambda: gallery.face(1),
            lambda: gallery.thumbnail(1),
            lambda: gallery.search(probe, SearchTerms()),
            lambda: gallery.people.page(10),
            lambda: gallery.people.add("Ada"),
        ):
            with pytest.raises(CollectionNotFound):
                call()

    def test_a_collection_that_was_deleted_is_gone_with_all_that_it_held(
        self, collections: Collections, photos: Photos
    ) -> None:
        first = collections.add("people")
        gallery = collections.gallery("people")
        face = enrolled(gallery, photos.person, "Ada")
        kept = enrolled(collections.gallery("default"), photos.person, "Ada")
        collections.delete("people")
        for call in (lambda: collections.get("people"), lambda: gallery.face(face.id)):
            with pytest.raises(CollectionNotFound):
                call()
        again = collections.add("people")
        assert (again.number > first.number, again.faces, again.people) == (True, 0, 0)
        new = enrolled(collections.gallery("people"), photos.person, "Ada")
        assert new.id != face.id
        assert collections.gallery("default").face(kept.id) == kept
