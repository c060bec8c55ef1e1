"""One collection at work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from facesearch.errors import CropNotFound, FaceNotFound, InvalidParameter, Unavailable
from facesearch.interfaces import Gallery, ImageDatabase
from facesearch.records import (
    Crop,
    EnrolledPhoto,
    EnrolmentTerms,
    FaceEdit,
    FaceProbe,
    FaceQuery,
    Once,
    Page,
    PhotoFile,
    Probe,
    SearchResult,
    SearchTerms,
    StoredFace,
)
from facesearch.service.enrolment import PhotoEnrolment
from facesearch.service.erasure import Erasure
from facesearch.service.first_answers import FirstAnswers
from facesearch.service.galleries import FoundCollection, Galleries
from facesearch.service.lookup import Lookup, ModelSwitched, Question
from facesearch.service.people import StoredPeople
from facesearch.service.probes import OpenedProbe, Probes
from facesearch.service.similarity import scored
from facesearch.service.tolerance import check_tolerance, tolerance_of

LARGEST_K = 1000

_TRIES = 3
_PERSON = "person_id"


@dataclass(frozen=True)
class GalleryParts:
    """What collections work with; lives as long as its process."""

    galleries: Galleries
    lookup: Lookup
    probes: Probes
    answers: FirstAnswers
    enrolment: PhotoEnrolment
    erasure: Erasure


class CollectionGallery(Gallery):
    """Lives as long as its user likes, and holds nothing but the collection's name."""

    def __init__(self, name: str, parts: GalleryParts) -> None:
        self._name = name
        self._parts = parts
        self._galleries = parts.galleries

    @property
    def people(self) -> StoredPeople:
        """See Gallery."""
        return StoredPeople(self._name, self._galleries, self._parts.answers, self._parts.erasure)

    def search(self, probe: Probe, terms: SearchTerms) -> SearchResult:
        """See Gallery. Where the collection's model is switched meanwhile, the probe is encoded once more."""
        if not 1 <= terms.k <= LARGEST_K:
            raise InvalidParameter(f"k must be from 1 to {LARGEST_K}.")
        check_tolerance(terms.tolerance)
        opened = self._parts.probes.open(probe)
        for _ in range(_TRIES):
            # A stored face's vector comes from the database itself.
            find = self._galleries.find if isinstance(probe, FaceProbe) else self._galleries.find_or_known
            try:
                return self._searched(find(self._name), opened, terms)
            except ModelSwitched:
                continue
        raise Unavailable("The collection's model is being switched.")

    def _searched(self, found: FoundCollection, probe: OpenedProbe, terms: SearchTerms) -> SearchResult:
        encoder = self._parts.probes.encoder(found, probe)
        within = tolerance_of(encoder, terms.tolerance)
        faces = self._parts.probes.faces(found, encoder, probe)
        result = SearchResult(())
        if faces:
            question = Question(
                faces, terms.k, within, terms.query, terms.by_person, probe.is_pooled, probe.without
            )
            with self._galleries.copy(found.number, encoder) as copy:
                result = self._parts.lookup.search(copy, question, is_live=found.is_live)
        return scored(result, encoder, None if callable(within) else within)

    def add_faces(self, photo: PhotoFile, terms: EnrolmentTerms, once: Once | None = None) -> EnrolledPhoto:
        """See Gallery."""
        return self._parts.enrolment.add_faces(self._name, photo, terms, once)

    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        """See Gallery."""
        return self._database().faces(query, limit, after)

    def face(self, face_id: int) -> StoredFace:
        """See Gallery."""
        return _face(self._database(), face_id)

    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        """See Gallery."""
        number = self._galleries.find(self._name).number
        database, people = self._galleries.database(number), self._galleries.people(number)
        with database.transaction():
            # The person first: it takes all locks, of which the rest needs some.
            if _PERSON in edit.fields and not people.assign([face_id], edit.person_id):
                raise FaceNotFound.of(face_id)
            return database.edit_face(face_id, replace(edit, fields=edit.fields - {_PERSON}))

    def thumbnail(self, face_id: int) -> Crop:
        """See Gallery."""
        database = self._database()
        crop = database.crop(face_id)
        if crop is None:
            _face(database, face_id)
            raise CropNotFound(f"No crop of face {face_id} is kept.")
        return crop

    def delete_faces(self, face_ids: Sequence[int]) -> list[int]:
        """See Gallery."""
        return self._parts.erasure.delete_faces(self._name, face_ids)

    def _database(self) -> ImageDatabase:
        return self._galleries.found_database(self._name)


def _face(database: ImageDatabase, face_id: int) -> StoredFace:
    try:
        return database.get_faces([face_id])[face_id]
    except KeyError:
        raise FaceNotFound.of(face_id) from None
