"""What is searched with: photos, a stored face or a vector, as faces of a collection's model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from facesearch.errors import FaceNotFound, InvalidParameter, ModelMismatch, NoFaceFound
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import (
    BEST,
    MEAN,
    NO_BOX,
    POOLINGS,
    Embedding,
    Face,
    FaceProbe,
    PhotoFile,
    PhotoProbe,
    Probe,
    VectorProbe,
)
from facesearch.service.galleries import FoundCollection, Galleries
from facesearch.service.intake.names import base_name
from facesearch.service.lookup import ModelSwitched
from facesearch.service.which_photo import told_of
from facesearch.timings import stage

MOST_PHOTOS = 16


@dataclass(frozen=True)
class OpenedProbe:
    """A probe that was checked, with its only photo decoded."""

    probe: Probe
    image: Image | None = None

    @property
    def is_pooled(self) -> bool:
        """Whether its faces are one person's, of which the nearest to a match counts."""
        return isinstance(self.probe, PhotoProbe) and self.probe.pooling == BEST

    @property
    def without(self) -> int | None:
        """The face that is not among its own matches."""
        return self.probe.face_id if isinstance(self.probe, FaceProbe) else None


class Probes:
    """Lives as long as its process. Any thread may call it.

    Args:
        open_image: decodes the bytes of a photo within limits.
    """

    def __init__(self, galleries: Galleries, open_image: Callable[[bytes, str], Image]) -> None:
        self._galleries = galleries
        self._open_image = open_image

    def open(self, probe: Probe) -> OpenedProbe:
        """Check what can be checked before anybody is asked, and decode a single photo.

        Raises:
            InvalidParameter: photos are missing or too many, or the vector is none.
            Invalid: the photo cannot be used.
        """
        if isinstance(probe, VectorProbe):
            return OpenedProbe(replace(probe, embedding=_checked(probe.embedding)))
        if isinstance(probe, FaceProbe):
            return OpenedProbe(probe)
        if probe.pooling is not None and probe.pooling not in POOLINGS:
            raise InvalidParameter(f"Several photos are combined by {' or '.join(POOLINGS)}.")
        most = 1 if probe.pooling is None else MOST_PHOTOS
        if not 1 <= len(probe.photos) <= most:
            expected = f"1 to {MOST_PHOTOS} photos" if probe.pooling else "one photo"
            raise InvalidParameter(f"Such a search takes {expected}, not {len(probe.photos)}.")
        return OpenedProbe(probe, self._opened(probe.photos[0]) if len(probe.photos) == 1 else None)

    def encoder(self, found: FoundCollection, opened: OpenedProbe) -> ImageEncoder:
        """Return the encoder of a collection, in whose vector space a probe is searched for.

        Raises:
            ModelMismatch: this service cannot make such vectors, or the probe is a vector of another model.
        """
        probe = opened.probe
        if isinstance(probe, VectorProbe) and found.model_id not in (None, probe.model_id):
            raise ModelMismatch(f"The collection holds vectors of {found.model_id}, not of {probe.model_id}.")
        if isinstance(probe, VectorProbe):
            return self._galleries.encoders.of(probe.model_id)
        return self._galleries.encoder_of(found)

    def faces(self, found: FoundCollection, encoder: ImageEncoder, opened: OpenedProbe) -> Sequence[Face]:
        """Return a probe's faces from left to right; none where a single photo has none.

        Raises:
            NoFaceFound: one of the photos that are combined has no face.
            FaceNotFound: there is no face to search with.
            ModelSwitched: the face has a vector of another model by now.
            InvalidParameter: the vector is of another length than the model's.
        Invalid: a photo cannot be used; of several the message says which.
        """
        probe = opened.probe
        if isinstance(probe, VectorProbe):
            if len(probe.embedding) != encoder.dimension:
                length = len(probe.embedding)
                raise InvalidParameter(
                    f"Vectors of {encoder.model_id} have {encoder.dimension} numbers, not {length}.",
                    ["vector"],
                )
            return (Face(NO_BOX, probe.embedding),)
        if isinstance(probe, FaceProbe):
            return (self._stored(found, encoder, probe.face_id),)
        if probe.pooling is None and opened.image is not None:
            return encoder.encode(opened.image, probe.wanted).faces
        faces = [self._largest(encoder, opened, probe, at) for at in range(len(probe.photos))]
        return (
            (Face(NO_BOX, mean_of([face.embedding for face in faces])),) if probe.pooling == MEAN else faces
        )

    def _opened(self, photo: PhotoFile) -> Image:
        with stage("decode"):
            return self._open_image(photo.data, base_name(photo.file_name))

    def _largest(self, encoder: ImageEncoder, opened: OpenedProbe, probe: PhotoProbe, at: int) -> Face:
        """The largest face of one of the photos that are combined."""
        with told_of(_which(probe.photos, at)):
            image = opened.image or self._opened(probe.photos[at])
            faces = encoder.encode(image, replace(probe.wanted, only_largest=True)).faces
            if not faces:
                raise NoFaceFound
            return faces[0]

    def _stored(self, found: FoundCollection, encoder: ImageEncoder, face_id: int) -> Face:
        embedding = self._galleries.database(found.number).embeddings([face_id]).get(face_id)
        if embedding is None:
            raise FaceNotFound.of(face_id)
        if len(embedding) != encoder.dimension:
            raise ModelSwitched
        return Face(NO_BOX, embedding)


def _which(photos: Sequence[PhotoFile], at: int) -> str:
    if len(photos) == 1:
        return ""
    name = base_name(photos[at].file_name)
    return f"photo {at + 1} ({name})" if name else f"photo {at + 1}"


def mean_of(embeddings: Sequence[Embedding]) -> Embedding:
    """Return the mean of vectors, as long as they are on average: means are shorter, so farther from all.

    Computed in float64. Vectors that cancel each other out give their plain mean.
    """
    vectors = np.stack(embeddings).astype(np.float64)
    mean = vectors.mean(axis=0)
    length = np.linalg.norm(mean)
    if length > 0:
        mean = mean * (np.linalg.norm(vectors, axis=1).mean() / length)
    rounded: Embedding = mean.astype(np.float32)
    return rounded


def _checked(embedding: Embedding) -> Embedding:
    with np.errstate(over="ignore"):
        vector = np.ascontiguousarray(embedding, np.float32)
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise InvalidParameter("A vector is a list of finite numbers.", ["vector"])
    return vector
