"""AGTAPI: the service's verbs, composed of a database and an encoder."""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from facesearch.config import IntakeSettings, LimitSettings, QualitySettings
from facesearch.errors import DatabaseUnavailable, LeaseLost, error_of
from facesearch.interfaces import (
    ANY_FACE,
    API,
    Access,
    CollectionStore,
    FaceIndex,
    Image,
    ImageDatabase,
    ImageEncoder,
    JobStore,
    KeyStore,
    WorkerPool,
)
from facesearch.records import (
    CANCELLED,
    DEFAULT_COLLECTION,
    AddedFace,
    BulkReport,
    Comparison,
    EnrolmentTerms,
    FoundFaces,
    ImportOptions,
    ModelInfo,
    NewFace,
    Once,
    PhotoFile,
    PhotoProbe,
    SearchResult,
    SearchTerms,
    StoredFace,
    Wanted,
    WantedTolerance,
)
from facesearch.service.collections import StoredCollections
from facesearch.service.compare import compare_photos, find_faces
from facesearch.service.encode import EncodePhotos
from facesearch.service.encoders import Encoders, MakeEncoder, no_others
from facesearch.service.enrolment import PhotoEnrolment, added_face
from facesearch.service.erasure import Erasure
from facesearch.service.erasure_notes import ERASURES, ErasureNotes
from facesearch.service.filters import FaceFilters
from facesearch.service.first_answers import FirstAnswers
from facesearch.service.galleries import Galleries
from facesearch.service.gallery import GalleryParts
from facesearch.service.health import PartsHealth
from facesearch.service.imports.jobs import ImportJobs
from facesearch.service.imports.run import Enrolment
from facesearch.service.imports.vectors import import_vectors
from facesearch.service.lookup import Lookup
from facesearch.service.models import Models
from facesearch.service.outage import Outage
from facesearch.service.probes import Probes
from facesearch.service.tolerance import check_tolerance

# How long a bulk waits for a database that is away; its job goes on whenever that is back.
OUTAGE_S = 60.0

_log = logging.getLogger(__name__)


class AGTAPI(API):
    """Lives as long as its process, and owns the parts that it is made of. Any thread may call it.

    Args:
        database: the truth about the faces of the default collection.
        encoder: turns photos into embeddings in this process; counts for collections without a model, which
            they get with their first face.
        index: the searchable copy of that database, of the encoder's model; makes those of others.
        pool: encodes the photos of a bulk side by side.
        collections, jobs, keys: in the same database.
        access: who may use the service.
        imports_folder: where archives wait for their jobs; processes that share it share the work.
        open_image: decodes the bytes of a photo within limits.
        encode_photos: decodes photos and encodes the largest face of each, in the pool.
        limits: what an archive may hold.
        intake: how imports are worked on, and what the old routes do with a photo that is stored already.
        quality: what a face's picture must have to be enrolled.
        answers_stale: whether searches are answered from the copy while the database is away.
        make_encoder: makes the encoder of another model id, or raises ModelMismatch.
    """

    def __init__(
        self,
        database: ImageDatabase,
        encoder: ImageEncoder,
        index: FaceIndex,
        pool: WorkerPool,
        *,
        collections: CollectionStore,
        jobs: JobStore,
        keys: KeyStore,
        access: Access,
        imports_folder: Path,
        open_image: Callable[[bytes, str], Image],
        encode_photos: EncodePhotos,
        limits: LimitSettings,
        quality: QualitySettings,
        intake: IntakeSettings,
        answers_stale: bool = True,
        make_encoder: MakeEncoder = no_others,
    ) -> None:
        outage = Outage()
        self._database = database
        self._encoders = Encoders(encoder, make_encoder)
        self._galleries = Galleries(database, collections, self._encoders, index, outage)
        self._pool = pool
        self._access = access
        self._open_image = open_image
        self._skips_duplicates = intake.old_routes_skip_duplicates
        answers = FirstAnswers(database, jobs)
        parts = Enrolment(self._galleries, answers, jobs, pool, encode_photos, quality)
        self._imports = ImportJobs(parts, imports_folder, limits, intake, lambda: erasure.finish())
        notes = ErasureNotes(imports_folder / ERASURES)
        erasure = Erasure(self._galleries, self._imports, jobs, keys, notes)
        self._collections = StoredCollections(
            GalleryParts(
                self._galleries,
                Lookup(outage, FaceFilters(), answers_stale),
                Probes(self._galleries, open_image),
                answers,
                PhotoEnrolment(self._galleries, answers, open_image, quality, encode_photos.crop_style),
                erasure,
            )
        )
        self._models = Models(self._galleries, self._encoders)
        self._health = PartsHealth(
            database,
            encoder,
            self._galleries,
            pool,
            self._imports.load,
            lambda: answers_stale and self._galleries.any_was_level(),
        )

    @property
    def imports(self) -> ImportJobs:
        """See API."""
        return self._imports

    @property
    def collections(self) -> StoredCollections:
        """See API."""
        return self._collections

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
        self._encoders.configured.ping()
        self._imports.open()

    def search_faces(
        self,
        photo: bytes,
        file_name: str,
        k: int,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
        collection: str = DEFAULT_COLLECTION,
    ) -> SearchResult:
        """See API."""
        probe = PhotoProbe((PhotoFile(file_name, photo),), wanted)
        return self._collections.gallery(collection).search(probe, SearchTerms(k, tolerance))

    def detect(self, photo: PhotoFile, wanted: Wanted = ANY_FACE) -> FoundFaces:
        """See API."""
        return find_faces(self._open_image, self._encoders.configured, photo, wanted)[0]

    def compare(
        self,
        source: PhotoFile,
        target: PhotoFile,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
        collection: str = DEFAULT_COLLECTION,
    ) -> Comparison:
        """See API."""
        check_tolerance(tolerance)
        encoder = self._galleries.likely_encoder(collection)
        return compare_photos(self._open_image, encoder, source, target, tolerance, wanted)

    def models(self) -> tuple[ModelInfo, ...]:
        """See API."""
        return self._models.all()

    def model(self, model_id: str) -> ModelInfo:
        """See API."""
        return self._models.one(model_id)

    def add_face(
        self,
        photo: bytes,
        file_name: str,
        wanted: Wanted = ANY_FACE,
        once: Once | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> AddedFace:
        """See API."""
        terms = EnrolmentTerms(skip_duplicates=self._skips_duplicates, wanted=wanted)
        gallery = self._collections.gallery(collection)
        return added_face(gallery.add_faces(PhotoFile(file_name, photo), terms, once))

    def add_faces_in_bulk(self, archive: BinaryIO, collection: str = DEFAULT_COLLECTION) -> BulkReport:
        """See API."""
        options = ImportOptions(
            skip_duplicates=self._skips_duplicates, waited_for=True, collection=collection
        )
        job = self._imports.start(archive, "", options)
        while not job.is_over:
            job = self._imports.wait(job.id, OUTAGE_S)
            self._imports.check_alive()
        if job.state == CANCELLED:
            raise LeaseLost("The import was cancelled.")
        if job.error_code is not None:
            raise error_of(job.error_code, job.error)
        return BulkReport(self._imports.all_files(job.id))

    def import_faces(
        self, faces: Iterable[NewFace], model_id: str, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """See API. Vectors that this service could never compare a probe with are refused."""
        dimension = self._encoders.of(model_id).dimension
        return import_vectors(self._galleries.found_database(collection), faces, model_id, dimension)

    def get_face_info(self, face_id: int, collection: str = DEFAULT_COLLECTION) -> StoredFace:
        """See API."""
        return self._collections.gallery(collection).face(face_id)

    def close(self) -> None:
        """See API."""
        with ExitStack() as parts:
            parts.callback(self._database.close)
            parts.callback(self._access.close)
            parts.callback(self._galleries.close)
            parts.callback(self._imports.join)
            parts.callback(self._pool.close)
            parts.callback(self._imports.stop)
