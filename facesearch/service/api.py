"""AGTAPI: the service's verbs, composed of a database and an encoder."""

import hashlib
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from facesearch.config import IntakeSettings, LimitSettings, QualitySettings
from facesearch.errors import (
    DatabaseUnavailable,
    FaceNotFound,
    InvalidParameter,
    LeaseLost,
    ModelMismatch,
    error_of,
)
from facesearch.interfaces import (
    ANY_FACE,
    API,
    Access,
    FaceIndex,
    Image,
    ImageDatabase,
    ImageEncoder,
    JobStore,
    WorkerPool,
)
from facesearch.records import (
    CANCELLED,
    AddedFace,
    BulkReport,
    Comparison,
    FoundFaces,
    ImportOptions,
    ModelInfo,
    NewFace,
    Once,
    PhotoFile,
    SearchResult,
    StoredFace,
    Wanted,
    WantedTolerance,
)
from facesearch.service.compare import compare_photos, find_faces
from facesearch.service.encode import EncodePhotos
from facesearch.service.enrol import Naming, new_faces
from facesearch.service.first_answers import FirstAnswers, face_as_json, face_from_json
from facesearch.service.gallery import Gallery
from facesearch.service.health import PartsHealth
from facesearch.service.import_jobs import ImportJobs
from facesearch.service.import_run import Enrolment
from facesearch.service.lookup import Lookup
from facesearch.service.models import Models
from facesearch.service.names import base_name
from facesearch.service.similarity import scored
from facesearch.service.tolerance import check_tolerance, tolerance_of
from facesearch.timings import stage

LARGEST_K = 1000
IMPORTED_PER_TRANSACTION = 2_000
# How long a bulk waits for a database that is away; its job goes on whenever that is back.
OUTAGE_S = 60.0

_log = logging.getLogger(__name__)


class AGTAPI(API):
    """Lives as long as its process, and owns the parts that it is made of. Any thread may call it.

    Args:
        database: the truth about faces.
        encoder: turns photos into embeddings in this process; counts for an empty gallery, which
            keeps the model of its first face.
        index: the searchable copy of the database, of the encoder's model.
        pool: encodes the photos of a bulk side by side.
        jobs: in the same database.
        access: who may use the service.
        imports_folder: where archives wait for their jobs; processes that share it share the work.
        open_image: decodes the bytes of a photo within limits.
        encode_photos: decodes photos and encodes the largest face of each, in the pool.
        limits: what an archive may hold.
        intake: how imports are worked on, and what the old routes do with a photo that is stored already.
        quality: what a face's picture must have to be enrolled.
        answers_stale: whether searches are answered from the copy while the database is away.
    """

    def __init__(
        self,
        database: ImageDatabase,
        encoder: ImageEncoder,
        index: FaceIndex,
        pool: WorkerPool,
        *,
        jobs: JobStore,
        access: Access,
        imports_folder: Path,
        open_image: Callable[[bytes, str], Image],
        encode_photos: EncodePhotos,
        limits: LimitSettings,
        quality: QualitySettings,
        intake: IntakeSettings,
        answers_stale: bool = True,
    ) -> None:
        self._database = database
        self._encoder = encoder
        self._gallery = Gallery(database, encoder, index)
        self._lookup = Lookup(database, answers_stale)
        self._models = Models(database, self._gallery, encoder)
        self._pool = pool
        self._access = access
        self._open_image = open_image
        self._quality = quality
        self._skips_duplicates = intake.old_routes_skip_duplicates
        self._first_answers = FirstAnswers(database, jobs)
        parts = Enrolment(
            database, jobs, pool, lambda: self._gallery.encoder().model_id, encode_photos, quality
        )
        self._imports = ImportJobs(parts, imports_folder, limits, intake)
        lookup = self._lookup
        self._health = PartsHealth(
            database, encoder, self._gallery, pool, self._imports.load, lambda: lookup.answers_stale
        )

    @property
    def imports(self) -> ImportJobs:
        """See API."""
        return self._imports

    @property
    def access(self) -> Access:
        """See API."""
        return self._access

    @property
    def health(self) -> PartsHealth:
        """See API."""
        return self._health

    def open(self) -> None:
        """Prepare the database, or go on without it until it answers; load the models; begin with jobs."""
        try:
            self._database.prepare()
        except DatabaseUnavailable as error:
            _log.warning("%s Requests that need it are refused until it answers.", error.message)
        self._encoder.ping()
        self._imports.open()

    def search_faces(
        self,
        photo: bytes,
        file_name: str,
        k: int,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
    ) -> SearchResult:
        """See API."""
        if not 1 <= k <= LARGEST_K:
            raise InvalidParameter(f"k must be from 1 to {LARGEST_K}.")
        check_tolerance(tolerance)
        with stage("decode"):
            image = self._open_image(photo, base_name(file_name))
        encoder = self._gallery.encoder()
        within = tolerance_of(encoder, tolerance)
        faces = encoder.encode(image, wanted).faces
        found = SearchResult(())
        if faces:
            found = self._lookup.search(self._gallery.index_of(encoder), faces, k, within)
        return scored(found, encoder, None if callable(within) else within)

    def detect(self, photo: PhotoFile, wanted: Wanted = ANY_FACE) -> FoundFaces:
        """See API."""
        return find_faces(self._open_image, self._encoder, photo, wanted)[0]

    def compare(
        self, source: PhotoFile, target: PhotoFile, tolerance: WantedTolerance, wanted: Wanted = ANY_FACE
    ) -> Comparison:
        """See API."""
        check_tolerance(tolerance)
        encoder = self._gallery.likely_encoder()
        return compare_photos(self._open_image, encoder, source, target, tolerance, wanted)

    def models(self) -> tuple[ModelInfo, ...]:
        """See API."""
        return self._models.all()

    def model(self, model_id: str) -> ModelInfo:
        """See API."""
        return self._models.one(model_id)

    def add_face(
        self, photo: bytes, file_name: str, wanted: Wanted = ANY_FACE, once: Once | None = None
    ) -> AddedFace:
        """See API."""
        if (first := self._first_answers.find(once)) is not None:
            return face_from_json(first)
        name = base_name(file_name)
        with stage("decode"):
            image = self._open_image(photo, name)
        encoder = self._gallery.encoder()
        encoded = encoder.encode(image, replace(wanted, only_largest=True))
        sha256 = hashlib.sha256(photo).digest()
        (new,) = new_faces(Naming.by_path(name), encoded, sha256, self._quality)

        def store() -> AddedFace:
            before = self._database.faces_of_photos([sha256]).get(sha256)
            if self._skips_duplicates and before is not None:
                stored = self._database.get_faces([before])[before]
                return AddedFace(
                    before, stored.person_name, stored.box, encoded.faces_found, stored.quality, before
                )
            (face_id,) = self._database.add_faces([new], encoder.model_id)
            face = new.face
            return AddedFace(face_id, new.person_name, face.box, encoded.faces_found, face.quality, before)

        return self._first_answers.write(
            once, store, face_as_json, face_from_json, alone=self._skips_duplicates
        )

    def add_faces_in_bulk(self, archive: BinaryIO) -> BulkReport:
        """See API."""
        options = ImportOptions(skip_duplicates=self._skips_duplicates, waited_for=True)
        job = self._imports.start(archive, "", options)
        while not job.is_over:
            job = self._imports.wait(job.id, OUTAGE_S)
            self._imports.check_alive()
        if job.state == CANCELLED:
            raise LeaseLost("The import was cancelled.")
        if job.error_code is not None:
            raise error_of(job.error_code, job.error)
        return BulkReport(self._imports.all_files(job.id))

    def import_faces(self, faces: Iterable[NewFace], model_id: str) -> int:
        """See API. Vectors that this service could never compare a probe with are refused."""
        dimension = self._encoder.for_model(model_id).dimension
        stored, rest = 0, iter(faces)
        while batch := list(islice(rest, IMPORTED_PER_TRANSACTION)):
            if any(new.face.embedding.shape != (dimension,) for new in batch):
                raise ModelMismatch(f"Vectors of {model_id} have {dimension} numbers.")
            try:
                with self._database.alone():
                    stored += len(self._database.add_faces(self._not_stored(batch), model_id))
            except DatabaseUnavailable as error:
                raise DatabaseUnavailable(f"{error.message} {stored} faces had been stored before.") from None
        return stored

    def _not_stored(self, faces: Iterable[NewFace]) -> list[NewFace]:
        """Those of which no photo is stored or comes twice; nobody else adds faces meanwhile."""
        faces = list(faces)
        known = set(self._database.faces_of_photos([new.photo_sha256 for new in faces if new.photo_sha256]))
        new_ones = []
        for new in faces:
            if new.photo_sha256 is None or new.photo_sha256 not in known:
                new_ones.append(new)
            if new.photo_sha256 is not None:
                known.add(new.photo_sha256)
        return new_ones

    def get_face_info(self, face_id: int) -> StoredFace:
        """See API."""
        try:
            return self._database.get_faces([face_id])[face_id]
        except KeyError:
            raise FaceNotFound(f"There is no face with id {face_id}.") from None

    def close(self) -> None:
        """See API."""
        with ExitStack() as parts:
            parts.callback(self._database.close)
            parts.callback(self._access.close)
            parts.callback(self._gallery.close)
            parts.callback(self._imports.join)
            parts.callback(self._pool.close)
            parts.callback(self._imports.stop)
