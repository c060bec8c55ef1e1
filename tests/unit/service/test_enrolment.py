import io
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from facesearch.config import QualitySettings
from facesearch.databases import open_collection_store, open_job_store
from facesearch.errors import (
    CollectionNotFound,
    FaceNotFound,
    FaceRefused,
    InvalidParameter,
    KeyReused,
    NoFaceFound,
    PersonNotFound,
    SeveralFaces,
)
from facesearch.records import CropStyle, EnrolledPhoto, EnrolmentTerms, Once, PhotoFile
from facesearch.service.enrolment import PhotoEnrolment, added_face
from facesearch.service.first_answers import FirstAnswers
from tests.unit.service.conftest import NewDatabase
from tests.unit.service.parts import (
    BLACK,
    COLOURS,
    GREEN,
    NEGATIVES,
    RED,
    FakeKinds,
    SwitchedDatabase,
    galleries_of,
    open_image,
    photo,
)

ADA = PhotoFile("photos/Ada_Lovelace_0003.png", photo((RED, 20)))
BOTH = PhotoFile("both.png", photo((RED, 20), (BLACK, 5), (GREEN, 30)))
NOBODY = PhotoFile("nobody.png", photo((BLACK, 10)))
ONCE = Once("a key", "this photo")

Enrol = Callable[..., EnrolledPhoto]


@pytest.fixture
def database(new_database: NewDatabase) -> SwitchedDatabase:
    return new_database()


@pytest.fixture
def enrol(database: SwitchedDatabase) -> Enrol:
    """A function that enrols a photo: its terms by name, and a key or limits where they are given."""

    def enrol(
        photo: PhotoFile = ADA,
        once: Once | None = None,
        quality: QualitySettings | None = None,
        crop_style: CropStyle | None = None,
        encoder: FakeKinds | None = None,
        collection: str = "default",
        **terms: Any,
    ) -> EnrolledPhoto:
        parts = PhotoEnrolment(
            galleries_of(database, encoder or FakeKinds()),
            FirstAnswers(database, open_job_store(database)),
            open_image,
            quality or QualitySettings(),
            crop_style,
        )
        return parts.add_faces(collection, photo, EnrolmentTerms(**terms), once)

    return enrol


def test_the_largest_face_of_a_photo_is_stored_under_the_name_of_its_file(enrol: Enrol) -> None:
    enrolled = enrol()
    (face,) = enrolled.faces
    assert (face.person_name, face.version, face.photo.file_name) == (
        "Ada Lovelace",
        "0003",
        "Ada_Lovelace_0003.png",
    )
    assert (enrolled.faces_found, enrolled.duplicate_of) == (1, None)
    assert (face.model_id, face.metadata, face.external_id) == (COLOURS, {}, None)
    assert [f.box.width for f in enrol(BOTH).faces] == [30]


def test_all_faces_of_a_photo_carry_what_the_client_says(enrol: Enrol) -> None:
    metadata = {"team": "engines", "age": 36, "height": 1.5, "alive": False}
    enrolled = enrol(BOTH, person_name="王小明 😀", external_id="a-1", metadata=metadata, faces="all")
    assert [face.box.width for face in enrolled.faces] == [20, 30]
    assert {(face.person_name, face.external_id) for face in enrolled.faces} == {("王小明 😀", "a-1")}
    assert [face.metadata for face in enrolled.faces] == [metadata, metadata]
    assert enrolled.faces_found == 2


def test_a_face_may_be_nobodys_or_that_of_a_person_that_there_is(enrol: Enrol) -> None:
    nobodys = enrol(person_name="").faces[0]
    assert (nobodys.person_name, nobodys.person_id) == ("", None)
    ada = enrol().faces[0]
    assert ada.person_id is not None
    again = enrol(BOTH, person_id=ada.person_id).faces[0]
    assert (again.person_name, again.person_id) == ("Ada Lovelace", ada.person_id)
    with pytest.raises(PersonNotFound):
        enrol(BOTH, person_id=ada.person_id + 1000)


@pytest.mark.parametrize(
    "terms",
    [
        {"faces": "some"},
        {"person_name": "Ada", "person_id": 1},
        {"person_name": "A" * 256},
        {"external_id": "x" * 256},
        {"metadata": {"age": float("nan")}},
    ],
)
def test_what_cannot_be_stored_is_refused(
    enrol: Enrol, database: SwitchedDatabase, terms: dict[str, object]
) -> None:
    with pytest.raises(InvalidParameter):
        enrol(**terms)
    assert database.newest_change() == 0


def test_a_photo_without_a_face_or_with_another_number_than_wanted_is_refused(enrol: Enrol) -> None:
    with pytest.raises(NoFaceFound):
        enrol(NOBODY)
    with pytest.raises(SeveralFaces):
        enrol(BOTH, faces="single")


def test_the_name_of_a_file_does_not_count_where_a_person_is_named(enrol: Enrol) -> None:
    long = PhotoFile("x" * 300 + "_0007.png", ADA.data)
    named = enrol(long, person_name="Bo").faces[0]
    known = enrol(long, person_id=named.person_id).faces[0]
    assert [(one.person_name, one.version) for one in (named, known)] == [("Bo", "0007")] * 2
    with pytest.raises(InvalidParameter, match="file's name"):
        enrol(long)


def test_faces_below_a_limit_are_refused(enrol: Enrol) -> None:
    with pytest.raises(FaceRefused):
        enrol(quality=QualitySettings(min_size_px=25))
    limits = QualitySettings(min_size_px=22)
    assert [face.box.width for face in enrol(BOTH, faces="all", quality=limits).faces] == [30]


def test_a_photo_that_is_stored_already_is_told_and_left_out_where_that_is_wanted(enrol: Enrol) -> None:
    first = enrol().faces[0]
    again = enrol(person_name="Other")
    assert (again.duplicate_of, again.faces[0].person_name) == (first.id, "Other")
    left_out = enrol(person_name="Third", skip_duplicates=True)
    assert left_out.faces == (first, *again.faces)
    assert left_out.duplicate_of == first.id


def test_a_repeated_request_is_carried_out_once(enrol: Enrol, database: SwitchedDatabase) -> None:
    first = enrol(BOTH, ONCE, faces="all")
    newest = database.newest_change()
    assert enrol(BOTH, ONCE, faces="all") == first
    assert database.newest_change() == newest
    with pytest.raises(KeyReused):
        enrol(BOTH, Once("a key", "another photo"))


def test_a_first_answer_names_nobody(enrol: Enrol, tmp_path: Path) -> None:
    enrol(ADA, ONCE, external_id="a-1", metadata={"team": "engines"})
    (file,) = tmp_path.glob("*.db")
    [[content]] = sqlite3.connect(file).execute("SELECT content FROM FACESEARCH_ANSWER").fetchall()
    assert not any(word in str(content) for word in ("Ada", "a-1", "engines", "png"))


def test_a_repeated_request_whose_face_is_gone_says_so(enrol: Enrol, database: SwitchedDatabase) -> None:
    face = enrol(ADA, ONCE).faces[0]
    database.delete_faces([face.id])
    with pytest.raises(FaceNotFound):
        enrol(ADA, ONCE)


def test_crops_are_kept_where_they_are_wanted(enrol: Enrol, database: SwitchedDatabase) -> None:
    bare, cropped = enrol(), enrol(BOTH, crop_style=CropStyle(64, "webp"))
    assert database.crop(bare.faces[0].id) is None
    crop = database.crop(cropped.faces[0].id)
    assert crop is not None
    assert Pillow.open(io.BytesIO(crop.data)).size == (64, 64)


def test_a_photo_whose_collection_got_another_model_meanwhile_is_encoded_again(
    enrol: Enrol, database: SwitchedDatabase
) -> None:
    class Slow(FakeKinds):
        """Somebody else stores the first face, of another model, while this one encodes."""

        def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            if database.newest_change() == 0:
                enrol(encoder=FakeKinds(NEGATIVES))
            return super().embed(crops)

    enrolled = enrol(BOTH, encoder=Slow(COLOURS))
    assert [face.model_id for face in enrolled.faces] == [NEGATIVES]


def test_each_collection_has_its_own_faces(enrol: Enrol, database: SwitchedDatabase) -> None:
    number = open_collection_store(database).add("Büro 😀").number
    first = enrol(skip_duplicates=True)
    other = enrol(skip_duplicates=True, collection="Büro 😀")
    assert (first.duplicate_of, other.duplicate_of) == (None, None)
    faces = open_collection_store(database).faces(number)
    assert list(faces.get_faces([first.faces[0].id, other.faces[0].id])) == [other.faces[0].id]
    with pytest.raises(CollectionNotFound):
        enrol(collection="nowhere")


def test_the_old_routes_tell_of_the_largest_face(enrol: Enrol) -> None:
    enrolled = enrol(BOTH)
    added = added_face(enrolled)
    assert (added.id, added.person_name, added.faces_found) == (enrolled.faces[0].id, "both", 2)
    assert added.box == enrolled.faces[0].box
    assert added.quality == enrolled.faces[0].quality
