"""Faces of single photos on their way into a collection."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from facesearch.config import QualitySettings
from facesearch.errors import FaceNotFound, InvalidParameter, ModelMismatch
from facesearch.interfaces import Image, ImageDatabase
from facesearch.records import (
    AddedFace,
    CropStyle,
    EnrolledPhoto,
    EnrolmentTerms,
    NewFace,
    Once,
    PhotoFile,
)
from facesearch.service.encode import with_crops
from facesearch.service.enrol import FACES, LARGEST, Fingerprint, new_faces
from facesearch.service.first_answers import FirstAnswers
from facesearch.service.galleries import FoundCollection, Galleries
from facesearch.service.intake.names import base_name, given_name, person_and_version, version_of
from facesearch.service.intake.naming import Naming
from facesearch.timings import stage


@dataclass(frozen=True)
class PhotoEnrolment:
    """Lives as long as its process. Any thread may call it.

    Args:
        open_image: decodes the bytes of a photo within limits.
        quality: what a face's picture must have.
        crop_style: of the crops that are kept; None where none are.
    """

    galleries: Galleries
    answers: FirstAnswers
    open_image: Callable[[bytes, str], Image]
    quality: QualitySettings
    crop_style: CropStyle | None = None

    def add_faces(
        self, collection: str, photo: PhotoFile, terms: EnrolmentTerms, once: Once | None
    ) -> EnrolledPhoto:
        """See Gallery.add_faces. Where the model is switched meanwhile, faces are encoded once more."""
        _check(terms)
        if (first := self.answers.find(once)) is not None:
            return _restored(self.galleries.found_database(collection), first)
        naming, file = _naming(photo.file_name, terms), Fingerprint.of(photo.data)
        with stage("decode"):
            image = self.open_image(photo.data, base_name(photo.file_name))
        found = self.galleries.find(collection)
        database = self.galleries.database(found.number)
        while True:
            faces = self._encoded(found, image, naming, file, terms)
            try:
                return self.answers.write(
                    once,
                    partial(_store, database, faces, file.sha256, terms.skip_duplicates),
                    _content,
                    partial(_restored, database),
                    about=partial(_about, found.number),
                    alone=terms.skip_duplicates,
                )
            except ModelMismatch:
                found = self.galleries.find(collection)
                if found.model_id in (None, faces.model_id):
                    raise

    def _encoded(
        self, found: FoundCollection, image: Image, naming: Naming, file: Fingerprint, terms: EnrolmentTerms
    ) -> "_Faces":
        encoder = self.galleries.encoder_of(found)
        encoded = encoder.encode(image, replace(terms.wanted, only_largest=terms.faces == LARGEST))
        cropped = with_crops(image, encoded, self.crop_style)
        new = new_faces(naming, cropped, file, self.quality, terms.faces)
        return _Faces(new, encoded.faces_found, encoder.model_id)


def added_face(photo: EnrolledPhoto) -> AddedFace:
    """What the old routes tell of a photo whose largest face was stored."""
    face = photo.faces[0]
    return AddedFace(face.id, face.person_name, face.box, photo.faces_found, face.quality, photo.duplicate_of)


class _Faces(NamedTuple):
    new: list[NewFace]
    found: int
    model_id: str


def _check(terms: EnrolmentTerms) -> None:
    if terms.faces not in FACES:
        raise InvalidParameter(f"faces is one of {', '.join(FACES)}.")
    if terms.person_name is not None and terms.person_id is not None:
        raise InvalidParameter("A person is named by a name or by an id, not by both.")


def _naming(file_name: str, terms: EnrolmentTerms) -> Naming:
    if terms.person_name is None and terms.person_id is None:
        name, version = person_and_version(base_name(file_name))
    else:
        name, version = given_name(terms.person_name or ""), version_of(base_name(file_name))
    return Naming(name, version, terms.external_id, terms.metadata, terms.person_id)


def _store(database: ImageDatabase, faces: _Faces, sha256: bytes, skip_duplicates: bool) -> EnrolledPhoto:
    with database.transaction():
        before = database.faces_of_photo(sha256)
        ids = before if skip_duplicates and before else database.add_faces(faces.new, faces.model_id)
        stored = database.get_faces(ids)
        return EnrolledPhoto(
            tuple(stored[face_id] for face_id in ids), faces.found, before[0] if before else None
        )


def _content(enrolled: EnrolledPhoto) -> dict[str, Any]:
    """Ids alone: what else there is to tell may change, and must not outlive the faces."""
    return {
        "faces": [face.id for face in enrolled.faces],
        "faces_found": enrolled.faces_found,
        "duplicate_of": enrolled.duplicate_of,
    }


def _about(collection: int, enrolled: EnrolledPhoto) -> list[str]:
    return [f"collection:{collection}", *(f"face:{face.id}" for face in enrolled.faces)]


def _restored(database: ImageDatabase, content: dict[str, Any]) -> EnrolledPhoto:
    ids = content["faces"] if "faces" in content else [content["id"]]  # as it was once written
    stored = database.get_faces(ids)
    if len(stored) < len(ids):
        raise FaceNotFound("A face that this request stored is gone by now.")
    return EnrolledPhoto(
        tuple(stored[face_id] for face_id in ids), content["faces_found"], content["duplicate_of"]
    )
