"""What every API does. A subclass brings photos, a database, and the function that makes an API on it."""

import io
import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
import pytest

from facesearch.config import QualitySettings
from facesearch.errors import (
    BrokenArchive,
    BrokenImage,
    DatabaseUnavailable,
    FaceNotFound,
    FaceRefused,
    InvalidParameter,
    ModelMismatch,
    NoFaceFound,
    NotAnArchive,
    NotAnImage,
)
from facesearch.interfaces import API, DatabaseCRUD, ImageDatabase
from facesearch.records import NO_BOX, AutoTolerance, Box, Face, NewFace, PhotoInfo, Wanted

Make = Callable[..., API]
NO_LIMITS = QualitySettings()


@dataclass(frozen=True)
class Photos:
    """Encoded photos: two of one person, one of another, and one in which both are.

    In `both` the person is on the left, the other on the right and larger.
    """

    person: bytes
    person_again: bytes
    other: bytes
    both: bytes
    nobody: bytes


@dataclass(frozen=True)
class Models:
    """The two vector spaces that the API's encoder knows; it is configured for the first."""

    first: str
    second: str
    dimension: int


def zipped(files: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer


def vector(dimension: int, name: str = "Imported", first: float = 0.5) -> NewFace:
    """A face that was encoded elsewhere; nothing is known of its photo."""
    embedding = np.zeros(dimension, np.float32)
    embedding[0] = first
    return NewFace(name, "", PhotoInfo("", 0, 0), Face(NO_BOX, embedding))


def take_away(database: ImageDatabase, patch: pytest.MonkeyPatch) -> None:
    """Let every call of a database fail as if its server could not be reached."""

    def fail(*_arguments: object) -> NoReturn:
        raise DatabaseUnavailable

    answering = {"close", "collection"}
    for name in (ImageDatabase.__abstractmethods__ | DatabaseCRUD.__abstractmethods__) - answering:
        patch.setattr(database, name, fail)


def lies_in(box: Box, width: tuple[float, float]) -> bool:
    return width[0] <= (box.left + box.right) / 2 < width[1]


class APIContract(ABC):
    @pytest.fixture
    @abstractmethod
    def photos(self) -> Photos:
        """Return the photos that the API is asked about."""

    @pytest.fixture
    @abstractmethod
    def models(self) -> Models:
        """Return the vector spaces."""

    @pytest.fixture
    @abstractmethod
    def database(self) -> ImageDatabase | Iterator[ImageDatabase]:
        """Return or yield a fresh, empty database."""

    @pytest.fixture
    @abstractmethod
    def new_api(self, database: ImageDatabase) -> Make:
        """Return a function from a model id and QualitySettings to an API on `database`."""

    @pytest.fixture
    def make(self, new_api: Make, models: Models) -> Iterator[Make]:
        with ExitStack() as made:

            def opened(model_id: str = models.first, quality: QualitySettings = NO_LIMITS) -> API:
                api = new_api(model_id, quality)
                made.callback(api.close)
                api.open()
                return api

            yield opened

    @pytest.fixture
    def api(self, make: Make) -> API:
        return make()

    def test_an_empty_gallery_matches_nothing(self, api: API, photos: Photos) -> None:
        (face,) = api.search_faces(photos.person, "a.png", 5, None).faces
        assert face.matches == ()

    def test_a_photo_without_a_face_is_no_error_in_a_search(self, api: API, photos: Photos) -> None:
        assert api.search_faces(photos.nobody, "a.png", 5, None).faces == ()

    def test_a_face_that_was_added_is_found_under_its_name(self, api: API, photos: Photos) -> None:
        added = api.add_face(photos.person, "Ada_Lovelace_0001.png")
        assert (added.person_name, added.faces_found) == ("Ada Lovelace", 1)
        assert added.box.area > 0
        (face,) = api.search_faces(photos.person_again, "a.png", 1, None).faces
        (match,) = face.matches
        assert (match.face_id, match.person_name) == (added.id, "Ada Lovelace")
        assert match.distance > 0
        assert face.quality is not None

    def test_faces_are_answered_from_left_to_right_each_with_its_own_matches(
        self, api: API, photos: Photos
    ) -> None:
        api.add_face(photos.other, "Bo_0001.png")
        api.add_face(photos.person, "Ada_0001.png")
        faces = api.search_faces(photos.both, "both.png", 5, None).faces
        assert [[match.person_name for match in face.matches] for face in faces] == [["Ada"], ["Bo"]]
        assert faces[0].box.left < faces[1].box.left

    def test_matches_come_nearest_first_and_at_most_k(self, api: API, photos: Photos) -> None:
        names = {"Bo": photos.other, "Ada": photos.person, "Ada Again": photos.person_again}
        for name, photo in names.items():
            api.add_face(photo, f"{name}_0001.png")
        (face,) = api.search_faces(photos.person, "a.png", 1000, 2.0).faces
        distances = [match.distance for match in face.matches]
        assert [match.person_name for match in face.matches] == ["Ada", "Ada Again", "Bo"]
        assert distances == sorted(distances)
        for k in (1, 2):
            (fewer,) = api.search_faces(photos.person, "a.png", k, 2.0).faces
            assert fewer.matches == face.matches[:k]

    def test_the_tolerance_itself_is_inside_and_without_one_the_models_counts(
        self, api: API, photos: Photos
    ) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        api.add_face(photos.other, "Bo_0001.png")

        def names(tolerance: float | None) -> list[str | None]:
            (face,) = api.search_faces(photos.person_again, "a.png", 5, tolerance).faces
            return [match.person_name for match in face.matches]

        (face,) = api.search_faces(photos.person_again, "a.png", 1, None).faces
        distance = face.matches[0].distance
        assert names(distance) == ["Ada"]
        assert names(math.nextafter(distance, 0)) == []
        assert names(None) == ["Ada"]
        assert names(2.0) == ["Ada", "Bo"]

    @pytest.mark.parametrize(
        ("k", "tolerance"),
        [(0, None), (-1, None), (1001, None), (1, -0.001), (1, 2.001), (1, math.nan), (1, math.inf)],
    )
    def test_parameters_out_of_range_are_refused(
        self, api: API, photos: Photos, k: int, tolerance: float | None
    ) -> None:
        with pytest.raises(InvalidParameter):
            api.search_faces(photos.nobody, "a.png", k, tolerance)

    def test_the_bounds_of_the_parameters_are_taken(self, api: API, photos: Photos) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        for k, tolerance in ((1, 0.0), (1000, 2.0)):
            assert len(api.search_faces(photos.person_again, "a.png", k, tolerance).faces) == 1

    def test_a_tolerance_that_fits_the_gallery_is_named_and_used(self, api: API, photos: Photos) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        found = api.search_faces(photos.both, "both.png", 5, AutoTolerance())
        assert found.chosen is not None
        assert 0 < found.chosen.tolerance < 2
        fixed = api.search_faces(photos.both, "both.png", 5, found.chosen.tolerance)
        assert (fixed.faces, fixed.chosen) == (found.faces, None)
        assert [[match.person_name for match in face.matches] for face in found.faces] == [["Ada"], []]

    def test_a_tolerance_that_fits_the_gallery_falls_with_its_size_and_with_the_rate(
        self, api: API, photos: Photos, models: Models
    ) -> None:
        def chosen(rate: float) -> float:
            found = api.search_faces(photos.person, "a.png", 1, AutoTolerance(rate)).chosen
            assert found is not None
            return found.tolerance

        api.add_face(photos.person, "Ada_0001.png")
        one = chosen(0.005)
        assert chosen(0.002) < one
        api.import_faces([vector(models.dimension)], models.first)
        assert chosen(0.005) < one

    def test_a_tolerance_that_fits_an_empty_gallery_is_that_of_one_face(
        self, api: API, photos: Photos
    ) -> None:
        empty = api.search_faces(photos.person, "a.png", 1, AutoTolerance(0.002)).chosen
        api.add_face(photos.person, "Ada_0001.png")
        assert api.search_faces(photos.person, "a.png", 1, AutoTolerance(0.002)).chosen == empty

    def test_a_tolerance_below_all_that_was_measured_is_marked(
        self, api: API, photos: Photos, models: Models
    ) -> None:
        api.import_faces([vector(models.dimension) for _ in range(20)], models.first)
        for rate, extrapolated in ((0.5, False), (0.0001, True)):
            found = api.search_faces(photos.person, "a.png", 1, AutoTolerance(rate)).chosen
            assert found is not None
            assert found.extrapolated == extrapolated

    def test_where_no_face_was_searched_for_no_tolerance_is_named(self, api: API, photos: Photos) -> None:
        assert api.search_faces(photos.nobody, "a.png", 1, AutoTolerance()).chosen is None

    @pytest.mark.parametrize("rate", [0.0, -0.01, 0.00009, 0.51, 1.0, math.nan, math.inf])
    def test_a_false_alarm_rate_out_of_range_is_refused(self, api: API, photos: Photos, rate: float) -> None:
        with pytest.raises(InvalidParameter, match=r"^false_alarm_rate must be from 0\.0001 to 0\.5\.$"):
            api.search_faces(photos.nobody, "a.png", 1, AutoTolerance(rate))

    def test_the_largest_face_of_a_photo_is_added(
        self, api: API, photos: Photos, database: ImageDatabase
    ) -> None:
        added = api.add_face(photos.both, "Bo_0001.png")
        assert added.faces_found == 2
        assert database.newest_change() == 1
        (face,) = api.search_faces(photos.other, "a.png", 1, None).faces
        assert [match.face_id for match in face.matches] == [added.id]
        width = api.get_face_info(added.id).photo.width
        assert lies_in(added.box, (width / 2, width))

    def test_a_photo_without_a_face_is_not_added(
        self, api: API, photos: Photos, database: ImageDatabase
    ) -> None:
        with pytest.raises(NoFaceFound):
            api.add_face(photos.nobody, "a.png")
        assert database.newest_change() == 0
        assert database.gallery_model() is None

    def test_what_is_no_photo_is_refused(self, api: API, photos: Photos) -> None:
        def search(data: bytes) -> object:
            return api.search_faces(data, "a.png", 1, None)

        for call in (search, lambda data: api.add_face(data, "a.png")):
            with pytest.raises(NotAnImage):
                call(b"")
            with pytest.raises(NotAnImage):
                call(b"notes")
            with pytest.raises(BrokenImage):
                call(photos.person[: len(photos.person) // 2])

    def test_what_is_known_of_a_face_is_told(self, api: API, photos: Photos, models: Models) -> None:
        added = api.add_face(photos.person, "C:\\people\\Zoë_Ada_0007.png")
        told = api.get_face_info(added.id)
        assert (told.id, told.person_name, told.version) == (added.id, "Zoë Ada", "0007")
        assert told.photo.file_name == "Zoë_Ada_0007.png"
        assert told.photo.width > added.box.right - 1 > 0
        assert (told.box, told.quality) == (added.box, added.quality)
        assert (told.model_id, told.dimension) == (models.first, models.dimension)
        assert told.quality is not None

    @pytest.mark.parametrize("unknown", [0, -1, 2, 2**31, 2**63, 2**200])
    def test_an_unknown_face_is_said_to_be_unknown(self, api: API, photos: Photos, unknown: int) -> None:
        api.add_face(photos.person, "a.png")
        with pytest.raises(FaceNotFound, match=f"id {unknown}\\."):
            api.get_face_info(unknown)

    def test_a_bulk_reports_each_file_in_the_archives_order(
        self, api: API, photos: Photos, database: ImageDatabase
    ) -> None:
        inner = zipped({"x.png": photos.person}).getvalue()
        report = api.add_faces_in_bulk(
            zipped(
                {
                    "all/": b"",
                    "all/notes.txt": b"notes",
                    "all/Ada_0001.png": photos.person,
                    "all/nobody.png": photos.nobody,
                    "all/cut.png": photos.person[: len(photos.person) // 2],
                    "all/Bo/1.png": photos.both,
                    "__MACOSX/._x.png": b"x",
                    "all/inner.zip": inner,
                    "all/Ada_0002.png": photos.person_again,
                    "all/fake.png": b"no picture",
                }
            )
        )
        assert [(file.path, file.status, file.person_name) for file in report.files] == [
            ("all/notes.txt", "skipped", None),
            ("all/Ada_0001.png", "inserted", "Ada"),
            ("all/nobody.png", "no_face", None),
            ("all/cut.png", "failed", None),
            ("all/Bo/1.png", "inserted", "Bo"),
            ("__MACOSX/._x.png", "skipped", None),
            ("all/inner.zip", "skipped", None),
            ("all/Ada_0002.png", "inserted", "Ada"),
            ("all/fake.png", "failed", None),
        ]
        assert report.counts == {"inserted": 3, "no_face": 1, "duplicate": 0, "failed": 2, "skipped": 3}
        assert all((file.reason is None) == (file.status == "inserted") for file in report.files)
        assert database.newest_change() == 3
        for file in report.files:
            if file.id is not None:
                assert api.get_face_info(file.id).photo.file_name == file.path.rpartition("/")[2]

    def test_faces_of_a_bulk_are_found(self, api: API, photos: Photos) -> None:
        api.add_faces_in_bulk(zipped({"Ada_0001.png": photos.person, "Bo_0001.png": photos.other}))
        left, right = api.search_faces(photos.both, "both.png", 5, None).faces
        assert [match.person_name for match in left.matches + right.matches] == ["Ada", "Bo"]

    @pytest.mark.parametrize(
        ("data", "error"), [(b"", NotAnArchive), (b"notes", NotAnArchive), (b"PK\x03\x04cut", BrokenArchive)]
    )
    def test_what_is_no_archive_is_refused(self, api: API, data: bytes, error: type[Exception]) -> None:
        with pytest.raises(error):
            api.add_faces_in_bulk(io.BytesIO(data))

    def test_an_empty_archive_is_reported_as_such(self, api: API, database: ImageDatabase) -> None:
        assert api.add_faces_in_bulk(zipped({})).files == ()
        assert database.gallery_model() is None

    def test_a_face_below_the_quality_limits_is_refused_with_the_reasons(
        self, make: Make, photos: Photos, database: ImageDatabase
    ) -> None:
        api = make(quality=QualitySettings(min_size_px=5000, min_score=1e9))
        with pytest.raises(FaceRefused, match=r"size is .*, below 5000 pixels; .*score is .*, below 1e\+09"):
            api.add_face(photos.person, "a.png")
        report = api.add_faces_in_bulk(zipped({"Ada_0001.png": photos.person, "nobody.png": photos.nobody}))
        assert [file.status for file in report.files] == ["failed", "no_face"]
        assert "below 5000 pixels" in (report.files[0].reason or "")
        assert database.newest_change() == 0

    def test_quality_limits_do_not_count_for_a_search(self, make: Make, photos: Photos) -> None:
        make().add_face(photos.person, "Ada_0001.png")
        api = make(quality=QualitySettings(min_size_px=5000))
        (face,) = api.search_faces(photos.person_again, "a.png", 1, None).faces
        assert len(face.matches) == 1

    def test_a_face_within_the_quality_limits_is_added(self, make: Make, photos: Photos) -> None:
        api = make(quality=QualitySettings(min_size_px=2, max_yaw_deg=90, max_brightness=255))
        assert api.add_face(photos.person, "a.png").id

    def test_a_gallery_keeps_its_model_whatever_the_service_is_configured_for(
        self, make: Make, photos: Photos, models: Models, database: ImageDatabase
    ) -> None:
        added = make(models.second).add_face(photos.person, "Ada_0001.png")
        api = make(models.first)
        found = [make(models.second).search_faces(photos.person_again, "a.png", 1, None).faces]
        found.append(api.search_faces(photos.person_again, "a.png", 1, None).faces)
        assert found[0][0].matches == found[1][0].matches
        assert found[0][0].matches[0].face_id == added.id
        again = api.add_face(photos.person_again, "Ada_0002.png")
        bulk = api.add_faces_in_bulk(zipped({"Bo_0001.png": photos.other})).files[0].id
        assert bulk is not None
        (face,) = api.search_faces(photos.other, "a.png", 1, None).faces
        assert [match.face_id for match in face.matches] == [bulk]
        assert database.gallery_model() == models.second
        assert {api.get_face_info(i).model_id for i in (added.id, again.id, bulk)} == {models.second}

    def test_a_gallery_that_gets_its_first_face_elsewhere_is_followed(
        self, make: Make, photos: Photos, models: Models
    ) -> None:
        api = make(models.first)
        assert api.search_faces(photos.person, "a.png", 1, None).faces[0].matches == ()
        added = make(models.second).add_face(photos.person, "Ada_0001.png")
        (face,) = api.search_faces(photos.person_again, "a.png", 1, None).faces
        assert [match.face_id for match in face.matches] == [added.id]

    def test_vectors_are_imported_into_an_empty_gallery_which_takes_their_model(
        self, make: Make, models: Models, photos: Photos, database: ImageDatabase
    ) -> None:
        api = make(models.first)
        faces = [vector(models.dimension, f"Person {n}", n / 10) for n in range(3)]
        assert api.import_faces(iter(faces), models.second) == 3
        assert database.gallery_model() == models.second
        (face,) = api.search_faces(photos.person, "a.png", 1000, 2.0).faces
        assert len(face.matches) == 3
        told = api.get_face_info(face.matches[0].face_id)
        assert (told.box, told.quality, told.photo.file_name) == (NO_BOX, None, "")

    def test_vectors_of_the_gallerys_model_are_added_to_it(
        self, api: API, models: Models, photos: Photos, database: ImageDatabase
    ) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        assert api.import_faces([vector(models.dimension)], models.first) == 1
        assert database.newest_change() == 2

    def test_vectors_that_are_stored_or_come_twice_are_left_out(
        self, api: API, models: Models, database: ImageDatabase
    ) -> None:
        known = replace(vector(models.dimension), photo_sha256=b"k" * 32)
        other = replace(vector(models.dimension), photo_sha256=b"o" * 32)
        assert api.import_faces([known, known, vector(models.dimension)], models.first) == 2
        assert api.import_faces([known, other, vector(models.dimension)], models.first) == 2
        assert api.import_faces([known, other], models.first) == 0
        assert database.newest_change() == 4

    def test_vectors_of_another_model_are_refused(
        self, api: API, models: Models, photos: Photos, database: ImageDatabase
    ) -> None:
        api.add_face(photos.person, "Ada_0001.png")
        with pytest.raises(ModelMismatch):
            api.import_faces([vector(models.dimension)], models.second)
        assert database.newest_change() == 1
        assert database.gallery_model() == models.first

    def test_vectors_that_no_probe_could_be_compared_with_are_refused(
        self, api: API, models: Models, database: ImageDatabase
    ) -> None:
        with pytest.raises(ModelMismatch):
            api.import_faces([vector(models.dimension)], "unknown")
        with pytest.raises(ModelMismatch):
            api.import_faces([vector(models.dimension), vector(models.dimension + 1)], models.first)
        assert database.newest_change() == 0
        assert database.gallery_model() is None

    def test_importing_nothing_is_no_change(self, api: API, models: Models, database: ImageDatabase) -> None:
        assert api.import_faces([], models.first) == 0
        assert database.gallery_model() is None

    def test_with_the_database_away_a_search_is_answered_from_the_copy_without_names(
        self, api: API, photos: Photos, database: ImageDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        added = api.add_face(photos.person, "Ada_0001.png")
        api.add_face(photos.other, "Bo_0001.png")
        live = api.search_faces(photos.both, "both.png", 5, 2.0)
        assert live.stale_s is None
        with monkeypatch.context() as patch:
            take_away(database, patch)
            for _ in range(2):
                stale = api.search_faces(photos.both, "both.png", 5, 2.0)
                assert stale.stale_s is not None
                assert 0 <= stale.stale_s < 600
                assert [face.matches for face in stale.faces] == [
                    tuple(replace(match, person_name=None, person_id=None) for match in face.matches)
                    for face in live.faces
                ]
                assert [(face.box, face.quality) for face in stale.faces] == [
                    (face.box, face.quality) for face in live.faces
                ]
            with pytest.raises(InvalidParameter):
                api.search_faces(photos.both, "both.png", 0, None)
            for call in (
                lambda: api.add_face(photos.person, "Ada_0002.png"),
                lambda: api.add_faces_in_bulk(zipped({"Ada_0002.png": photos.person})),
                lambda: api.get_face_info(added.id),
            ):
                with pytest.raises(DatabaseUnavailable):
                    call()
        assert api.search_faces(photos.both, "both.png", 5, 2.0) == live

    def test_without_ever_having_seen_the_gallery_a_search_is_refused_while_the_database_is_away(
        self, make: Make, photos: Photos, database: ImageDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make().add_face(photos.person, "Ada_0001.png")
        make().search_faces(photos.person, "a.png", 1, None)
        fresh, added_only = make(), make()
        added_only.add_face(photos.person, "Ada_0002.png")
        with monkeypatch.context() as patch:
            take_away(database, patch)
            for api in (fresh, added_only):
                with pytest.raises(DatabaseUnavailable):
                    api.search_faces(photos.person, "a.png", 1, None)
        for api in (fresh, added_only):
            assert api.search_faces(photos.person, "a.png", 1, None).stale_s is None

    def test_a_face_that_was_removed_is_found_no_more(
        self, api: API, photos: Photos, database: ImageDatabase
    ) -> None:
        ids = [api.add_face(photos.person, "Ada_0001.png").id for _ in range(3)]
        assert len(api.search_faces(photos.person, "a.png", 5, None).faces[0].matches) == 3
        for gone, face_id in enumerate(ids, 1):
            database.delete_faces([face_id])
            (face,) = api.search_faces(photos.person, "a.png", 5, None).faces
            assert [match.face_id for match in face.matches] == ids[gone:]
            with pytest.raises(FaceNotFound):
                api.get_face_info(face_id)

    def test_a_request_may_say_which_faces_it_wants(self, api: API, photos: Photos) -> None:
        everyone = api.search_faces(photos.both, "both.png", 1, None, Wanted()).faces
        largest = api.search_faces(photos.both, "both.png", 1, None, Wanted(only_largest=True)).faces
        assert (len(everyone), len(largest)) == (2, 1)
