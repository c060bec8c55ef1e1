"""The switchboard: the only module that names concrete classes."""

from functools import partial
from pathlib import Path

from facesearch.config import Settings, load_settings
from facesearch.databases import open_image_database
from facesearch.encoders import KINDS, AGTEncoder
from facesearch.images import AGTImage
from facesearch.interfaces import API
from facesearch.search import ExactIndex, HNSWIndex
from facesearch.service import AGTAPI, EncodePhotos, faces_of, read_encodings
from facesearch.web import Application, create_app
from facesearch.workers import ProcessPool


def make_app() -> Application:
    """The application as configured; it builds its parts when it starts, not now."""
    return create_app(load_settings, build_api)


def build_api(settings: Settings) -> API:
    """Compose the service's parts as the settings say."""
    # The database first: its driver must be loaded before the encoder's libraries.
    database = open_image_database(settings)
    models = settings.data_dir / "models"
    encoder = AGTEncoder(settings.encoder, models)
    pool = ProcessPool(
        settings.workers.processes,
        settings.workers.processes_per_host,
        settings.workers.task_timeout_s,
        settings.data_dir / "workers",
    )
    kind = HNSWIndex if settings.search.index == "hnsw" else ExactIndex
    index = kind(
        settings.data_dir / "index",
        encoder.model_id,
        encoder.dimension,
        pool,
        settings.search.parallel_from,
        settings.search.threads_from,
    )
    open_image = partial(AGTImage.open, limits=settings.limits)
    return AGTAPI(
        database,
        encoder,
        index,
        pool,
        open_image=open_image,
        encode_photos=EncodePhotos(open_image, AGTEncoder, (settings.encoder, models)),
        limits=settings.limits,
        quality=settings.quality,
        answers_stale=settings.search.when_database_away == "stale",
    )


def import_encodings(settings: Settings, file: Path, names_file: Path | None, allow_pickle: bool) -> int:
    """Store the encodings of a face_recognition gallery; return how many.

    Raises:
        Invalid: the files cannot be used.
        ModelMismatch: the gallery holds vectors of another kind.
    """
    faces = faces_of(read_encodings(file, names_file, allow_pickle=allow_pickle), file.name)
    api = build_api(settings)
    try:
        return api.import_faces(faces, KINDS["plain"].model_id)
    finally:
        api.close()
