"""What searches in a collection find, of photos that are looked at."""

from collections.abc import Sequence

import numpy as np
import pytest

from facesearch.errors import Invalid, InvalidParameter, NoFaceFound
from facesearch.interfaces import Collections, Gallery
from facesearch.records import (
    BEST,
    MEAN,
    NO_BOX,
    Condition,
    FaceEdit,
    FaceProbe,
    FaceQuery,
    NamedMatch,
    PhotoFile,
    PhotoProbe,
    Probe,
    SearchTerms,
    VectorProbe,
)
from tests.contracts.api import Models, Photos
from tests.contracts.gallery_parts import GalleryParts, enrolled

WIDE = 2.0


def of(*photos: bytes, pooling: str | None = None) -> PhotoProbe:
    return PhotoProbe(tuple(PhotoFile("a.png", photo) for photo in photos), pooling=pooling)


def matches(gallery: Gallery, probe: Probe, terms: SearchTerms) -> tuple[NamedMatch, ...]:
    (face,) = gallery.search(probe, terms).faces
    return face.matches


def names(found: Sequence[NamedMatch]) -> list[str | None]:
    return [match.person_name for match in found]


def where(name: str, operator: str, *values: str | float | bool) -> FaceQuery:
    return FaceQuery(conditions=(Condition(name, operator, values),))


class GallerySearchContract(GalleryParts):
    def test_a_match_tells_what_is_known_of_its_face(self, gallery: Gallery, photos: Photos) -> None:
        face = enrolled(gallery, photos.person, "Ada", "a-1", {"site": "Paris"})
        (match,) = matches(gallery, of(photos.person_again), SearchTerms())
        assert (match.face_id, match.person_id, match.person_name) == (face.id, face.person_id, "Ada")
        assert (match.external_id, match.metadata) == ("a-1", {"site": "Paris"})
        assert match.faces_within is None
        assert match.similarity is not None

    def test_matches_are_those_of_the_collection(
        self, collections: Collections, gallery: Gallery, photos: Photos
    ) -> None:
        enrolled(gallery, photos.person, "Ada")
        enrolled(collections.gallery("default"), photos.person, "Bo")
        for one, found in ((gallery, ["Ada"]), (collections.gallery("default"), ["Bo"])):
            assert names(matches(one, of(photos.person), SearchTerms(10, WIDE))) == found
        collections.add("empty")
        assert matches(collections.gallery("empty"), of(photos.person), SearchTerms(10, WIDE)) == ()

    def test_collections_may_have_models_of_their_own(
        self, collections: Collections, photos: Photos, models: Models
    ) -> None:
        collections.add("other", models.second)
        gallery = collections.gallery("other")
        face = enrolled(gallery, photos.person, "Ada")
        assert face.model_id == models.second
        assert enrolled(collections.gallery("default"), photos.person).model_id == models.first
        for name, model_id in (("other", models.second), ("default", models.first)):
            found = collections.gallery(name).search(of(photos.person), SearchTerms())
            assert found.model_id == model_id
            assert found.faces[0].matches[0].distance == pytest.approx(0.0, abs=1e-3)

    def test_a_person_appears_once_with_its_nearest_face_and_how_many_are_within(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        near = enrolled(gallery, photos.person, "Ada")
        enrolled(gallery, photos.person_again, "Ada")
        enrolled(gallery, photos.other, "Bo")
        enrolled(gallery, photos.person)
        found = matches(gallery, of(photos.person), SearchTerms(10, WIDE, by_person=True))
        assert [(match.person_name, match.faces_within) for match in found] == [("Ada", 2), ("Bo", 1)]
        assert (found[0].face_id, found[0].person_id) == (near.id, near.person_id)
        exact = matches(gallery, of(photos.person), SearchTerms(10, 0.001, by_person=True))
        assert [(match.person_name, match.faces_within) for match in exact] == [("Ada", 1)]
        assert len(matches(gallery, of(photos.person), SearchTerms(1, WIDE, by_person=True))) == 1

    def test_a_filter_holds_inside_the_k_nearest(self, gallery: Gallery, photos: Photos) -> None:
        enrolled(gallery, photos.person, "Ada", metadata={"site": "Paris", "age": 30})
        bo = enrolled(gallery, photos.other, "Bo", "b-1", {"site": "Rome", "age": 40})
        probe = of(photos.person)
        for query, found in (
            (where("site", "in", "Rome"), ["Bo"]),
            (where("site", "in", "Rome", "Paris"), ["Ada"]),
            (where("age", "gte", 40), ["Bo"]),
            (where("age", "lt", 40), ["Ada"]),
            (where("site", "exists"), ["Ada"]),
            (where("site", "missing"), []),
            (FaceQuery(external_id="b-1"), ["Bo"]),
            (FaceQuery(people=frozenset([bo.person_id or 0])), ["Bo"]),
            (FaceQuery(people=frozenset([0])), []),
        ):
            assert names(matches(gallery, probe, SearchTerms(1, WIDE, query))) == found
            assert names(matches(gallery, probe, SearchTerms(1, WIDE, query, by_person=True))) == found

    def test_a_filter_knows_what_was_changed_before_the_search(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        ada = enrolled(gallery, photos.person, "Ada", metadata={"site": "Paris"})
        terms = SearchTerms(10, WIDE, where("site", "in", "Paris"))

        def found() -> list[str | None]:
            return names(matches(gallery, of(photos.person), terms))

        assert found() == ["Ada"]
        bo = enrolled(gallery, photos.person_again, "Bo", metadata={"site": "Paris"})
        assert found() == ["Ada", "Bo"]
        gallery.edit_face(ada.id, FaceEdit(frozenset(["metadata"]), metadata={"site": "Rome"}))
        assert found() == ["Bo"]
        gallery.edit_face(ada.id, FaceEdit(frozenset(["metadata"]), metadata={"site": "Paris"}))
        assert found() == ["Ada", "Bo"]
        gallery.delete_faces([bo.id])
        assert found() == ["Ada"]

    def test_a_stored_face_finds_the_others_and_not_itself(self, gallery: Gallery, photos: Photos) -> None:
        first, second = (enrolled(gallery, photo, "Ada") for photo in (photos.person, photos.person_again))
        enrolled(gallery, photos.other, "Bo")
        result = gallery.search(FaceProbe(first.id), SearchTerms(10, WIDE))
        assert [face.box for face in result.faces] == [NO_BOX]
        assert result.faces[0].matches[0].face_id == second.id
        assert names(result.faces[0].matches) == ["Ada", "Bo"]
        by_person = matches(gallery, FaceProbe(first.id), SearchTerms(10, WIDE, by_person=True))
        assert [(match.person_name, match.faces_within) for match in by_person] == [("Ada", 1), ("Bo", 1)]

    def test_a_vector_finds_its_face(self, gallery: Gallery, photos: Photos, models: Models) -> None:
        enrolled(gallery, photos.person, "Ada")
        vector = np.full(models.dimension, 0.1, np.float32)
        result = gallery.search(VectorProbe(vector, models.first), SearchTerms(1, WIDE))
        assert [face.box for face in result.faces] == [NO_BOX]
        assert names(result.faces[0].matches) == ["Ada"]
        for value in (np.nan, np.inf):
            with pytest.raises(InvalidParameter):
                gallery.search(VectorProbe(vector * value, models.first), SearchTerms())

    def test_several_photos_are_combined_into_one_probe(self, gallery: Gallery, photos: Photos) -> None:
        for photo, name in ((photos.person, "Ada"), (photos.other, "Bo")):
            enrolled(gallery, photo, name)
        terms = SearchTerms(10, WIDE)
        alone = {m.person_name: m.distance for m in matches(gallery, of(photos.person_again), terms)}
        exact = {m.person_name: m.distance for m in matches(gallery, of(photos.other), terms)}
        result = gallery.search(of(photos.person_again, photos.other, pooling=BEST), terms)
        assert [face.box for face in result.faces] == [NO_BOX]
        best = {match.person_name: match.distance for match in result.faces[0].matches}
        assert best == {name: min(alone[name], exact[name]) for name in ("Ada", "Bo")}
        people = matches(
            gallery,
            of(photos.person_again, photos.other, pooling=BEST),
            SearchTerms(10, WIDE, by_person=True),
        )
        assert {match.person_name: match.distance for match in people} == best
        (mean,) = gallery.search(of(photos.person, photos.person, pooling=MEAN), terms).faces
        single = matches(gallery, of(photos.person), terms)
        assert names(mean.matches) == names(single)
        assert [m.distance for m in mean.matches] == pytest.approx([m.distance for m in single], abs=1e-3)

    def test_a_photo_without_a_face_cannot_be_combined(self, gallery: Gallery, photos: Photos) -> None:
        enrolled(gallery, photos.person)
        assert gallery.search(of(photos.nobody), SearchTerms()).faces == ()
        for pooling in (MEAN, BEST):
            with pytest.raises(NoFaceFound):
                gallery.search(of(photos.person, photos.nobody, pooling=pooling), SearchTerms())

    def test_of_several_photos_the_one_that_cannot_be_used_is_named(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        for wrong in (photos.nobody, photos.person[:60], b"text"):
            with pytest.raises(Invalid, match=r"^photo 2 \(.+\): "):
                gallery.search(of(photos.person, wrong, pooling=MEAN), SearchTerms())
            with pytest.raises(Invalid, match=r"^[^:]+$"):
                gallery.search(of(wrong, pooling=MEAN), SearchTerms())

    def test_too_many_photos_and_unknown_ways_to_combine_are_refused(
        self, gallery: Gallery, photos: Photos
    ) -> None:
        for probe in (of(*[photos.person] * 17, pooling=MEAN), of(photos.person, pooling="median")):
            with pytest.raises(InvalidParameter):
                gallery.search(probe, SearchTerms())
