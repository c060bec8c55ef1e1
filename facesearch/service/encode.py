"""The task that encodes one photo in a pool's process."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache

from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import EncodedPhoto, PhotoFile


@dataclass(frozen=True)
class EncodePhoto:
    """Decode a photo and encode its largest face.

    Picklable where its parts are. Each process builds its encoder at its first photo, and keeps it.

    Args:
        open_image: decodes the bytes of a photo within limits.
        build_encoder: makes an encoder from `encoder_arguments`.
        encoder_arguments: equal arguments share the process's encoder.
    """

    open_image: Callable[[bytes, str], Image]
    build_encoder: Callable[..., ImageEncoder]
    encoder_arguments: tuple[Hashable, ...] = ()

    def __call__(self, photo: PhotoFile) -> EncodedPhoto:
        image = self.open_image(photo.data, photo.file_name)
        encoder = _encoder_of_this_process(self.build_encoder, *self.encoder_arguments)
        return encoder.encode(image, only_largest=True)


@lru_cache(maxsize=1)
def _encoder_of_this_process(build: Callable[..., ImageEncoder], *arguments: Hashable) -> ImageEncoder:
    return build(*arguments)
