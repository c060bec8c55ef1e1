"""The service, composed as the settings say."""

from functools import partial

from facesearch.config import CropSettings, Settings, load_settings
from facesearch.databases import (
    open_collection_store,
    open_image_database,
    open_job_store,
    open_key_store,
)
from facesearch.encoders import encoder_of_model, load_onnxruntime, make_encoder
from facesearch.images import AGTImage
from facesearch.interfaces import FaceIndex, ImageEncoder, KeyStore, WorkerPool
from facesearch.records import CropStyle
from facesearch.search import ExactIndex, HNSWIndex
from facesearch.service import AGTAPI, EncodePhotos, KeyAccess
from facesearch.web import Application, create_app
from facesearch.workers import ProcessPool

MODELS = "models"
IMPORTS = "imports"
INDEX = "index"
ACCESS = "access"


def make_app() -> Application:
    """The application as configured; it builds its parts when it starts, not now."""
    return create_app(load_settings, build_api)


def build_api(settings: Settings, *, read_only: bool = False) -> AGTAPI:
    """Compose the service's parts as the settings say.

    Args:
        read_only: nothing is written into the database, and its tables are not migrated.
    """
    # The database first: its driver must be loaded before the encoder's libraries.
    database = open_image_database(settings, read_only=read_only)
    arguments = settings.encoder, settings.data_dir / MODELS
    encoder = make_encoder(*arguments)
    pool = worker_pool(settings)
    index = face_index(settings, encoder, pool)
    open_image = partial(AGTImage.open, limits=settings.limits)
    keys = open_key_store(database)
    return AGTAPI(
        database,
        encoder,
        index,
        pool,
        collections=open_collection_store(database),
        jobs=open_job_store(database),
        keys=keys,
        access=key_access(settings, keys),
        imports_folder=settings.data_dir / IMPORTS,
        open_image=open_image,
        encode_photos=EncodePhotos(
            open_image,
            make_encoder,
            arguments,
            crop_style=crop_style(settings.crops),
            build_other=encoder_of_model,
        ),
        limits=settings.limits,
        quality=settings.quality,
        intake=settings.intake,
        answers_stale=settings.search.when_database_away == "stale",
        make_encoder=lambda model_id: encoder_of_model(model_id, *arguments),
    )


def face_index(settings: Settings, encoder: ImageEncoder, pool: WorkerPool) -> FaceIndex:
    """This host's copy of the default collection, of an encoder's model; it makes those of the others."""
    if settings.search.index == "hnsw":
        load_onnxruntime()  # 1.31 crashes where usearch 2.26 was loaded before it
    kind = HNSWIndex if settings.search.index == "hnsw" else ExactIndex
    return kind(
        settings.data_dir / INDEX,
        encoder.model_id,
        encoder.dimension,
        pool,
        settings.search.parallel_from,
        settings.search.threads_from,
    )


def crop_style(settings: CropSettings) -> CropStyle | None:
    """How crops are made; None where none are kept."""
    return CropStyle(settings.side_px, settings.format, settings.quality) if settings.keep_crops else None


def key_access(settings: Settings, keys: KeyStore) -> KeyAccess:
    """Who may use the service; the log of what they changed lies in the data folder."""
    return KeyAccess(keys, settings.data_dir / ACCESS, settings.access)


def worker_pool(settings: Settings) -> ProcessPool:
    """The processes of this one; none is started before there is work."""
    workers = settings.workers
    return ProcessPool(
        workers.processes,
        workers.processes_per_host,
        workers.task_timeout_s,
        settings.data_dir / "workers",
        workers.memory_bytes,
    )
