"""The switchboard: the only module that names concrete classes."""

from functools import partial

from facesearch.config import Settings, load_settings
from facesearch.databases import open_image_database
from facesearch.encoders import AGTEncoder
from facesearch.images import AGTImage
from facesearch.interfaces import API
from facesearch.search import ExactIndex
from facesearch.service import AGTAPI, EncodePhoto
from facesearch.web import Application, create_app
from facesearch.workers import ProcessPool


def make_app() -> Application:
    """The application as configured; it builds its parts when it starts, not now."""
    return create_app(load_settings, build_api)


def build_api(settings: Settings) -> API:
    """Compose the service's parts as the settings say."""
    # The database first: its driver must be loaded before the encoder's libraries.
    database = open_image_database(settings)
    encoder = AGTEncoder(settings.encoder)
    pool = ProcessPool(
        settings.workers.processes,
        settings.workers.processes_per_host,
        settings.workers.task_timeout_s,
        settings.data_dir / "workers",
    )
    index = ExactIndex(
        settings.data_dir / "index",
        encoder.model_id,
        encoder.dimension,
        pool,
        settings.search.parallel_from,
    )
    open_image = partial(AGTImage.open, limits=settings.limits)
    return AGTAPI(
        database,
        encoder,
        index,
        pool,
        open_image=open_image,
        encode_photo=EncodePhoto(open_image, AGTEncoder, (settings.encoder,)),
        limits=settings.limits,
    )
