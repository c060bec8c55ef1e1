"""What every API does with photos that it does not keep, and what it tells of its models.

Joined with `APIContract`, whose fixtures these tests use.
"""

import math
from dataclasses import replace

import pytest

from facesearch.errors import (
    BrokenImage,
    DatabaseUnavailable,
    InvalidParameter,
    ModelNotFound,
    NotAnImage,
)
from facesearch.interfaces import API, ImageDatabase
from facesearch.records import (
    AutoTolerance,
    Comparison,
    FacePair,
    LeastSimilarity,
    PhotoFile,
    Wanted,
    WantedTolerance,
)
from tests.contracts.api import Make, Models, Photos, lies_in, take_away, vector

LARGEST = Wanted(max_faces=1)
NO_TOLERANCES: list[WantedTolerance] = [
    -0.001,
    2.001,
    math.nan,
    math.inf,
    LeastSimilarity(0.0),
    LeastSimilarity(100.1),
    LeastSimilarity(math.nan),
    AutoTolerance(0.0),
    AutoTolerance(0.51),
    AutoTolerance(math.nan),
]


def file(data: bytes, name: str = "a.png") -> PhotoFile:
    return PhotoFile(name, data)


def compared(
    api: API, source: bytes, target: bytes, tolerance: WantedTolerance = None, wanted: Wanted | None = None
) -> Comparison:
    return api.compare(file(source), file(target), tolerance, wanted or Wanted())


def only_pair(comparison: Comparison) -> FacePair:
    (pair,) = comparison.pairs
    return pair


class APIPhotosContract:
    def test_the_faces_of_a_photo_are_found_from_left_to_right_and_not_stored(
        self, api: API, photos: Photos, database: ImageDatabase
    ) -> None:
        found = api.detect(file(photos.both))
        left, right = found.faces
        assert 0 <= left.box.left < left.box.right < right.box.left < right.box.right < found.width
        assert left.box.bottom < found.height
        assert all(face.quality.size_px > 0 for face in found.faces)
        assert (database.newest_change(), database.gallery_model()) == (0, None)

    def test_faces_are_those_that_are_wanted(self, api: API, photos: Photos) -> None:
        both = api.detect(file(photos.both)).faces
        assert api.detect(file(photos.both), LARGEST).faces == both[1:]
        (largest,) = api.detect(file(photos.both), Wanted(only_largest=True)).faces
        assert largest.box.left > both[0].box.right
        assert api.detect(file(photos.nobody)).faces == ()

    def test_faces_are_those_of_a_search(self, api: API, photos: Photos) -> None:
        found = api.detect(file(photos.both)).faces
        searched = api.search_faces(photos.both, "a.png", 1, None).faces
        assert [(face.box, face.quality) for face in found] == [(f.box, f.quality) for f in searched]

    def test_finding_faces_needs_no_database(
        self, make: Make, photos: Photos, database: ImageDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = make()
        with monkeypatch.context() as patch:
            take_away(database, patch)
            assert len(api.detect(file(photos.both)).faces) == 2

    def test_what_is_no_photo_is_not_looked_at_and_of_two_is_named(self, api: API, photos: Photos) -> None:
        for data, kind in (
            (b"", NotAnImage),
            (b"notes", NotAnImage),
            (photos.person[: len(photos.person) // 2], BrokenImage),
        ):
            with pytest.raises(kind):
                api.detect(file(data))
            with pytest.raises(kind, match=r"^source: "):
                compared(api, data, photos.person)
            with pytest.raises(kind, match=r"^target: "):
                compared(api, photos.person, data)

    def test_one_persons_photos_are_within_the_models_tolerance_and_two_peoples_are_not(
        self, api: API, photos: Photos, models: Models, database: ImageDatabase
    ) -> None:
        same = compared(api, photos.person, photos.person_again)
        assert only_pair(same).is_within
        assert 0 < only_pair(same).distance <= same.tolerance
        other = only_pair(compared(api, photos.person, photos.other))
        assert not other.is_within
        assert other.distance > same.tolerance
        assert same.model_id == models.first
        assert (database.newest_change(), database.gallery_model()) == (0, None)

    def test_distance_and_similarity_are_those_of_a_search(self, api: API, photos: Photos) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        found = api.search_faces(photos.person_again, "a.png", 1, None)
        (match,) = found.faces[0].matches
        pair = only_pair(compared(api, photos.person_again, photos.person))
        assert pair.distance == pytest.approx(match.distance, abs=1e-5)
        assert pair.similarity == pytest.approx(match.similarity, abs=0.01)

    def test_every_face_is_compared_with_every_face_and_the_nearest_come_first(
        self, api: API, photos: Photos
    ) -> None:
        found = compared(api, photos.both, photos.both)
        assert {(pair.source, pair.target) for pair in found.pairs} == {(0, 0), (0, 1), (1, 0), (1, 1)}
        assert {(pair.source, pair.target) for pair in found.pairs[:2]} == {(0, 0), (1, 1)}
        distances = [pair.distance for pair in found.pairs]
        assert distances == sorted(distances)
        assert distances[1] < 1e-5
        assert distances[2] == pytest.approx(distances[3])
        assert found.source == found.target == api.detect(file(photos.both))

    def test_pairs_name_the_faces_that_they_are_of(self, api: API, photos: Photos) -> None:
        found = compared(api, photos.both, photos.other)
        nearest = found.source.faces[found.pairs[0].source]
        assert lies_in(nearest.box, (found.source.width / 2, found.source.width))
        turned = compared(api, photos.other, photos.both)
        assert [(pair.source, pair.target) for pair in turned.pairs] == [
            (pair.target, pair.source) for pair in found.pairs
        ]

    def test_a_photo_without_a_face_makes_no_pairs(self, api: API, photos: Photos) -> None:
        for source, target in ((photos.nobody, photos.both), (photos.both, photos.nobody)):
            found = compared(api, source, target)
            assert found.pairs == ()
            assert len(found.source.faces + found.target.faces) == 2
        assert compared(api, photos.nobody, photos.nobody).pairs == ()

    def test_one_face_is_compared_with_one_where_a_single_one_is_wanted(
        self, api: API, photos: Photos
    ) -> None:
        pair = only_pair(compared(api, photos.both, photos.other, wanted=LARGEST))
        assert pair.is_within
        assert not only_pair(compared(api, photos.both, photos.person, wanted=LARGEST)).is_within

    def test_the_tolerance_itself_is_within(self, api: API, photos: Photos) -> None:
        distance = only_pair(compared(api, photos.person, photos.person_again)).distance
        for tolerance, is_within in ((distance, True), (math.nextafter(distance, 0), False), (2.0, True)):
            found = compared(api, photos.person, photos.person_again, tolerance)
            assert (only_pair(found).is_within, found.tolerance) == (is_within, tolerance)

    @pytest.mark.parametrize("tolerance", NO_TOLERANCES)
    def test_what_may_not_be_wanted_is_refused(
        self, api: API, photos: Photos, tolerance: WantedTolerance
    ) -> None:
        with pytest.raises(InvalidParameter):
            compared(api, b"notes", b"notes", tolerance)
        with pytest.raises(InvalidParameter):
            api.search_faces(b"notes", "a.png", 1, tolerance)

    def test_similarity_is_100_for_the_same_photo_and_falls_to_0(self, api: API, photos: Photos) -> None:
        photo_pairs = [
            (photos.person, photos.person),
            (photos.person, photos.person_again),
            (photos.person, photos.other),
        ]
        same, alike, strangers = (only_pair(compared(api, *pair)).similarity for pair in photo_pairs)
        assert same is not None
        assert alike is not None
        assert strangers is not None
        assert 100 >= same > 99.9
        assert same > alike >= 50 > strangers >= 0

    def test_the_least_similarity_is_a_distance(self, api: API, photos: Photos) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        api.add_face(photos.other, "Bo_0001.png")
        pair = only_pair(compared(api, photos.person, photos.person_again))
        assert pair.similarity is not None
        for similarity, is_within in ((pair.similarity - 0.01, True), (pair.similarity + 0.01, False)):
            wanted = LeastSimilarity(similarity)
            found = compared(api, photos.person, photos.person_again, wanted)
            assert only_pair(found).is_within == is_within
            searched = api.search_faces(photos.person_again, "a.png", 5, wanted)
            assert len(searched.faces[0].matches) == is_within
            assert searched.tolerance == found.tolerance
            assert searched.chosen is None

    def test_a_tolerance_that_fits_a_pair_falls_with_the_rate(
        self, api: API, photos: Photos, models: Models
    ) -> None:
        api.import_faces([vector(models.dimension) for _ in range(20)], models.first)
        few, some = (
            compared(api, photos.person, photos.person_again, AutoTolerance(rate)).tolerance
            for rate in (0.002, 0.005)
        )
        assert 0 < few < some < 2
        within = api.search_faces(photos.person, "a.png", 1, AutoTolerance(0.005)).tolerance
        assert within is not None
        assert within < some

    def test_a_search_tells_its_model_and_its_tolerance(
        self, api: API, photos: Photos, models: Models
    ) -> None:
        own = api.models()[0].tolerance
        for photo in (photos.person, photos.nobody):
            for wanted, used in ((None, own), (0.25, 0.25)):
                found = api.search_faces(photo, "a.png", 1, wanted)
                assert (found.model_id, found.tolerance) == (models.first, used)
        fitting = api.search_faces(photos.person, "a.png", 1, AutoTolerance())
        assert fitting.chosen is not None
        assert fitting.tolerance == fitting.chosen.tolerance
        assert api.search_faces(photos.nobody, "a.png", 1, AutoTolerance()).tolerance is None

    def test_photos_are_compared_as_vectors_of_the_gallerys_model(
        self, make: Make, photos: Photos, models: Models
    ) -> None:
        api, other = make(models.first), make(models.second)
        expected = compared(other, photos.person, photos.person_again)
        assert compared(api, photos.person, photos.person_again).model_id == models.first
        other.add_face(photos.person, "Ada_0001.png")
        found = compared(api, photos.person, photos.person_again)
        assert (found.model_id, found.tolerance) == (models.second, expected.tolerance)
        assert only_pair(found).distance == pytest.approx(only_pair(expected).distance)

    def test_photos_are_compared_while_the_database_is_away(
        self,
        make: Make,
        photos: Photos,
        models: Models,
        database: ImageDatabase,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        api, fresh = make(models.first), make(models.first)
        make(models.second).add_face(photos.person, "Ada_0001.png")
        known = compared(api, photos.person, photos.person_again)
        with monkeypatch.context() as patch:
            take_away(database, patch)
            for _ in range(2):
                assert compared(api, photos.person, photos.person_again) == known
                assert compared(fresh, photos.person, photos.person_again).model_id == models.first
        assert compared(fresh, photos.person, photos.person_again).model_id == models.second

    def test_an_empty_gallerys_model_is_the_configured_one(self, api: API, models: Models) -> None:
        (model,) = api.models()
        assert (model.id, model.dimension) == (models.first, models.dimension)
        assert (model.in_use, model.configured) == (False, True)
        assert model.expected is not None
        assert (model.expected.faces, model.expected.false_alarm_rate) == (0, 0)

    def test_a_model_tells_what_its_distances_mean(self, api: API) -> None:
        (model,) = api.models()
        assert model.calibration is not None
        assert [rate.point for rate in model.rates] == list(model.calibration.rates)
        for rate in model.rates:
            low, high = rate.false_match_interval
            assert 0 <= low < rate.point.false_match_rate < high <= 1
            low, high = rate.true_accept_interval
            assert 0 <= low < rate.point.true_accept_rate < high <= 1

    def test_false_alarms_are_expected_to_grow_with_the_gallery(
        self, api: API, photos: Photos, models: Models
    ) -> None:
        seen, rate = [], 0.0
        for faces in (1, 2, 3):
            api.import_faces([vector(models.dimension)], models.first)
            (model,) = api.models()
            assert model.expected is not None
            assert (model.in_use, model.expected.faces) == (True, faces)
            assert model.expected.tolerance == model.tolerance
            seen.append(model.expected.false_alarm_rate)
            rate = model.expected.false_match_rate
        assert seen[0] == pytest.approx(rate)
        assert 0 < seen[0] < seen[1] < seen[2] < 1
        by_size = [alarms.false_alarm_rate for alarms in model.by_size]
        assert by_size == sorted(by_size)
        assert by_size[0] > seen[2]

    def test_the_gallerys_model_comes_before_the_configured_one(
        self, make: Make, photos: Photos, models: Models
    ) -> None:
        make(models.second).add_face(photos.person, "Ada_0001.png")
        api = make(models.first)
        gallery, configured = api.models()
        assert (gallery.id, gallery.in_use, gallery.configured) == (models.second, True, False)
        assert (configured.id, configured.in_use, configured.configured) == (models.first, False, True)
        assert configured.expected is None
        assert (api.model(models.second), api.model(models.first)) == (gallery, configured)

    def test_the_other_vectors_of_the_same_networks_are_told_about_and_no_others(
        self, api: API, models: Models
    ) -> None:
        other = api.model(models.second)
        assert (other.id, other.in_use, other.configured) == (models.second, False, False)
        for unknown in ("", "unknown", "x" * 10_000, "Zoë", models.first.upper()):
            with pytest.raises(ModelNotFound):
                api.model(unknown)

    def test_while_the_database_is_away_models_tell_what_does_not_depend_on_it(
        self,
        make: Make,
        photos: Photos,
        models: Models,
        database: ImageDatabase,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        api, fresh = make(), make()
        api.add_face(photos.person, "Ada_0001.png")
        (live,) = api.models()
        with monkeypatch.context() as patch:
            take_away(database, patch)
            assert api.models() == (replace(live, expected=None),)
            assert fresh.models() == (replace(live, expected=None, in_use=None),)
            assert fresh.model(models.first) == replace(live, expected=None, in_use=None)
            with pytest.raises(DatabaseUnavailable):
                fresh.search_faces(photos.person, "a.png", 1, None)
        assert fresh.models() == (live,)
