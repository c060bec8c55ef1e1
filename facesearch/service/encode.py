"""The task that encodes a few photos in a pool's process."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import FacesearchError, ModelMismatch
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import (
    AlignedFace,
    Box,
    Crop,
    CropStyle,
    EncodedPhoto,
    Face,
    Outcome,
    PhotoFile,
    PhotoInfo,
    Quality,
    Wanted,
)

LARGEST_FACE = Wanted(only_largest=True)


class Looked(NamedTuple):
    """What is kept of a photo once its pixels are given up."""

    info: PhotoInfo
    faces: list[AlignedFace]
    found: int
    crops: list[Crop | None]


def with_crops(image: Image, photo: EncodedPhoto, style: CropStyle | None) -> EncodedPhoto:
    """Give each face of a photo the crop that is to be kept of it; no style, no crops."""
    if style is None:
        return photo
    faces = (replace(face, crop=_crop(image, face.box, face.quality, style)) for face in photo.faces)
    return replace(photo, faces=tuple(faces))


def _crop(image: Image, box: Box, quality: Quality | None, style: CropStyle) -> Crop:
    return image.crop(box, quality.roll_deg if quality else 0.0, style)


@dataclass(frozen=True)
class EncodePhotos:
    """Decode photos and encode the faces of each that are wanted, all of them in one batch of the network.

    Picklable where its parts are. Each process builds its encoder at its first photo, and keeps it.
    A photo's pixels are given up before the next one is decoded; only the crops are kept.

    Args:
        open_image: decodes the bytes of a photo within limits.
        build_encoder: makes an encoder from `encoder_arguments`.
        encoder_arguments: equal arguments share the process's encoder.
        model_id: the vector space; None takes the encoder's own.
        wanted: which faces; the largest of each photo by default.
        crop_style: of the crops that are to be kept; None where none are.
        build_other: makes the encoder of a model id that the first one does not make, from that id and
            `encoder_arguments`, or raises ModelMismatch.
    """

    open_image: Callable[[bytes, str], Image]
    build_encoder: Callable[..., ImageEncoder]
    encoder_arguments: tuple[Hashable, ...] = ()
    model_id: str | None = None
    wanted: Wanted = LARGEST_FACE
    crop_style: CropStyle | None = None
    build_other: Callable[..., ImageEncoder] | None = None

    def __call__(self, photos: Sequence[PhotoFile]) -> list[Outcome[EncodedPhoto]]:
        encoder = self.encoder()
        looked = [self._look(encoder, photo) for photo in photos]
        crops = [face.crop for one in looked if one.value is not None for face in one.value.faces]
        embeddings = iter(encoder.embed(np.stack(crops)) if crops else ())
        return [_encoded(one, embeddings) for one in looked]

    def encoder(self) -> ImageEncoder:
        """Return this process's encoder of the model; it is built at the first call.

        Raises:
            ModelMismatch: no network makes such vectors.
        """
        encoder = encoder_of_this_process(self.build_encoder, *self.encoder_arguments)
        if self.model_id is None:
            return encoder
        try:
            return encoder.for_model(self.model_id)
        except ModelMismatch:
            if self.build_other is None:
                raise
            return other_encoder_of_this_process(self.build_other, self.model_id, *self.encoder_arguments)

    def _look(self, encoder: ImageEncoder, photo: PhotoFile) -> Outcome[Looked]:
        try:
            image = self.open_image(photo.data, photo.file_name)
            faces, found = encoder.look(image, self.wanted)
            return Outcome(Looked(image.info, faces, found, [self._crop_of(image, face) for face in faces]))
        except FacesearchError as error:
            return Outcome(error=error)

    def _crop_of(self, image: Image, face: AlignedFace) -> Crop | None:
        return _crop(image, face.box, face.quality, self.crop_style) if self.crop_style else None


def _encoded(looked: Outcome[Looked], embeddings: Iterator[NDArray[np.float32]]) -> Outcome[EncodedPhoto]:
    if looked.value is None:
        return Outcome(error=looked.error)
    info, aligned, found, crops = looked.value
    faces = tuple(
        Face(face.box, next(embeddings), face.quality, crop)
        for face, crop in zip(aligned, crops, strict=True)
    )
    return Outcome(EncodedPhoto(info, faces, found))


@lru_cache(maxsize=1)
def encoder_of_this_process(build: Callable[..., ImageEncoder], *arguments: Hashable) -> ImageEncoder:
    """Build this process's encoder at the first call; equal arguments get the same one again."""
    return build(*arguments)


@lru_cache(maxsize=2)
def other_encoder_of_this_process(build: Callable[..., ImageEncoder], *arguments: Hashable) -> ImageEncoder:
    """As `encoder_of_this_process`, for models that the configured networks do not make."""
    return build(*arguments)
