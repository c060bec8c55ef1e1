"""The switchboard: the only module that names concrete classes."""

from dataclasses import dataclass
from functools import lru_cache

from facesearch.config import LimitSettings, EncoderSettings, Settings, load_settings
from facesearch.databases import open_image_database
from facesearch.encoders import AGTEncoder
from facesearch.images import AGTImage
from facesearch.interfaces import API, Image
from facesearch.records import EncodedPhoto, PhotoFile
from facesearch.search import ExactIndex
from facesearch.service import AGTAPI
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

    def open_image(data: bytes, file_name: str) -> Image:
        return AGTImage.open(data, file_name, settings.limits)

    return AGTAPI(
        database,
        encoder,
        index,
        pool,
        open_image=open_image,
        encode_photo=EncodePhoto(settings.encoder, settings.limits),
        limits=settings.limits,
    )


@dataclass(frozen=True)
class EncodePhoto:
    """A pool's task: decode a photo and encode its largest face. Picklable.

    Each process builds its encoder at its first photo, and keeps it.
    """

    encoder: EncoderSettings
    limits: LimitSettings

    def __call__(self, photo: PhotoFile) -> EncodedPhoto:
        image = AGTImage.open(photo.data, photo.file_name, self.limits)
        return _encoder_of_this_process(self.encoder).encode(image, only_largest=True)


@lru_cache(maxsize=1)
def _encoder_of_this_process(settings: EncoderSettings) -> AGTEncoder:
    return AGTEncoder(settings)
