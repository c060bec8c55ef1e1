"""The task that finds faces of known places in their photos again, and encodes them, in a pool's process."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facesearch.errors import FacesearchError
from facesearch.interfaces import ANY_FACE, Image, ImageEncoder
from facesearch.records import AlignedFace, Box, Detection, Embedding, Outcome, PhotoFile
from facesearch.service.encode import EncodePhotos

# Detectors draw their boxes differently: of one face, those of HOG and CenterFace share half or more.
LEAST_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """A photo and the boxes of the faces that are wanted of it; none means its middle, as in a crop."""

    file: PhotoFile
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class EncodeKnownPhotos:
    """Encode the known faces of a few photos, all of them in one batch of the network. Picklable.

    A face that the detector does not find again is encoded by its box: the photo is the same.

    Args:
        encode: what photos are opened and encoded with, and the model.
    """

    encode: EncodePhotos

    def __call__(self, photos: Sequence[KnownPhoto]) -> list[Outcome[list[Embedding]]]:
        """Return for each photo an embedding of each of its boxes."""
        encoder = self.encode.encoder()
        looked = [self._look(encoder, photo) for photo in photos]
        crops = [face.crop for one in looked for face in one.value or ()]
        embeddings = iter(encoder.embed(np.stack(crops)) if crops else ())
        return [
            Outcome(error=one.error) if one.value is None else Outcome([next(embeddings) for _ in one.value])
            for one in looked
        ]

    def _look(self, encoder: ImageEncoder, photo: KnownPhoto) -> Outcome[list[AlignedFace]]:
        try:
            image = self.encode.open_image(photo.file.data, photo.file.file_name)
            boxes = photo.boxes or (_middle(image),)
            return Outcome(encoder.align(image, found_again(boxes, encoder.detect(image, ANY_FACE))))
        except FacesearchError as error:
            return Outcome(error=error)


def found_again(boxes: Sequence[Box], found: Sequence[Detection]) -> list[Detection]:
    """Return for each box what was detected there, each detection once, the largest overlap first.

    Where nothing was, the box itself.
    """
    overlaps = sorted(
        ((overlap(box, one.box), b, d) for b, box in enumerate(boxes) for d, one in enumerate(found)),
        key=lambda one: (-one[0], *one[1:]),
    )
    chosen: dict[int, int] = {}
    for share, b, d in overlaps:
        if share >= LEAST_OVERLAP and b not in chosen and d not in chosen.values():
            chosen[b] = d
    return [found[chosen[b]] if b in chosen else Detection(box, 0.0) for b, box in enumerate(boxes)]


def overlap(one: Box, other: Box) -> float:
    """Return the share of two boxes that both cover, from 0 to 1."""
    width = min(one.right, other.right) - max(one.left, other.left) + 1
    height = min(one.bottom, other.bottom) - max(one.top, other.top) + 1
    both = max(0, width) * max(0, height)
    return both / (one.area + other.area - both)


def _middle(image: Image) -> Box:
    """Where a crop's face is: see Image.crop, which shows twice the face's side."""
    width, height = image.info.width, image.info.height
    return Box(height // 4, width - 1 - width // 4, height - 1 - height // 4, width // 4)
