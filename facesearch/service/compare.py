"""Faces of photos that are not kept: found, and compared with each other."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import (
    AlignedFace,
    Comparison,
    FacePair,
    FoundFace,
    FoundFaces,
    PhotoFile,
    Wanted,
    WantedTolerance,
)
from facesearch.service.intake.names import base_name
from facesearch.service.similarity import similarity_at
from facesearch.service.tolerance import distance_of_pairs
from facesearch.service.which_photo import told_of
from facesearch.timings import stage

MOST_FACES = 100

OpenImage = Callable[[bytes, str], Image]


def find_faces(
    open_image: OpenImage, encoder: ImageEncoder, photo: PhotoFile, wanted: Wanted
) -> tuple[FoundFaces, list[AlignedFace]]:
    """Decode a photo and return its wanted faces, and as they are embedded, in one order."""
    with stage("decode"):
        image = open_image(photo.data, base_name(photo.file_name))
    with stage("detect"):
        found = encoder.detect(image, wanted)
        if wanted.only_largest and found:
            found = [max(found, key=lambda d: d.box.area)]
        aligned = encoder.align(image, found)
    faces = tuple(
        FoundFace(face.box, face.quality, detection.landmarks)
        for face, detection in zip(aligned, found, strict=True)
    )
    return FoundFaces(image.info.width, image.info.height, faces), aligned


def compare_photos(
    open_image: OpenImage,
    encoder: ImageEncoder,
    source: PhotoFile,
    target: PhotoFile,
    tolerance: WantedTolerance,
    wanted: Wanted,
) -> Comparison:
    """Compare the faces of two photos, one photo decoded at a time; distances are computed in float64.

    Raises:
        InvalidParameter: the tolerance needs a calibration that the encoder lacks.
        Invalid: a photo cannot be used; the message begins with its name, `source` or `target`.
    """
    within = distance_of_pairs(encoder, tolerance)
    first, crops = _looked_at("source", open_image, encoder, source, wanted)
    second, others = _looked_at("target", open_image, encoder, target, wanted)
    vectors = np.empty((0, encoder.dimension))
    if crops and others:
        with stage("embed"):
            vectors = encoder.embed(np.stack([face.crop for face in crops + others])).astype(np.float64)
    pairs = _pairs(encoder, vectors[: len(crops)], vectors[len(crops) :], within)
    return Comparison(encoder.model_id, within, first, second, pairs)


def _looked_at(
    name: str, open_image: OpenImage, encoder: ImageEncoder, photo: PhotoFile, wanted: Wanted
) -> tuple[FoundFaces, list[AlignedFace]]:
    """The largest faces of a photo, in their order."""
    with told_of(name):
        found, aligned = find_faces(open_image, encoder, photo, wanted)
    by_size = sorted(range(len(aligned)), key=lambda at: -aligned[at].box.area)
    kept = sorted(by_size[:MOST_FACES])
    faces = tuple(found.faces[at] for at in kept)
    return FoundFaces(found.width, found.height, faces), [aligned[at] for at in kept]


def _pairs(
    encoder: ImageEncoder, sources: NDArray[np.float64], targets: NDArray[np.float64], within: float
) -> tuple[FacePair, ...]:
    """Every pair, nearest first, ties by position."""
    calibration = encoder.calibration
    pairs = [
        FacePair(row, column, distance, similarity_at(calibration, distance), distance <= within)
        for row, source in enumerate(sources)
        for column, distance in enumerate(np.linalg.norm(targets - source, axis=1).tolist())
    ]
    return tuple(sorted(pairs, key=lambda pair: (pair.distance, pair.source, pair.target)))
