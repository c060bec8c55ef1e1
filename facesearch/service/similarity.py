"""Similarities from 0 to 100: what a model's distances mean, as its calibration says."""

import math
from bisect import bisect_right
from dataclasses import replace
from itertools import pairwise

from facesearch.interfaces import ImageEncoder
from facesearch.records import Calibration, SearchResult


def similarity_at(calibration: Calibration | None, distance: float) -> float | None:
    """Return the similarity of a distance: linear between the corners of the calibration, level beyond them.

    None where there is no calibration, or none of similarities.
    """
    if calibration is None or not calibration.similarity:
        return None
    corners = calibration.similarity
    after = bisect_right(corners, distance, key=lambda corner: corner[0])
    if after == 0:
        return corners[0][1]
    if after == len(corners):
        return corners[-1][1]
    (start, high), (end, low) = corners[after - 1], corners[after]
    return high + (low - high) * (distance - start) / (end - start)


def largest_distance(calibration: Calibration, similarity: float) -> float:
    """Return the largest distance that is not less similar; infinite where none is.

    Args:
        calibration: with corners of similarity.
        similarity: 0 to 100. Above the highest corner only the distance 0 is left.
    """
    corners = calibration.similarity
    if corners[-1][1] >= similarity:
        return math.inf
    for (start, high), (end, low) in reversed(list(pairwise(corners))):
        if high >= similarity:
            return start + (end - start) * (high - similarity) / (high - low)
    return 0.0


def scored(found: SearchResult, encoder: ImageEncoder, tolerance: float | None) -> SearchResult:
    """Return a search's result with the similarities of its matches, its model and its tolerance.

    Args:
        encoder: that of the probe and of the index.
        tolerance: the one that was asked for, None where it was to fit the gallery.
    """
    calibration = encoder.calibration
    faces = tuple(
        replace(
            face,
            matches=tuple(
                replace(match, similarity=similarity_at(calibration, match.distance))
                for match in face.matches
            ),
        )
        for face in found.faces
    )
    within = tolerance if found.chosen is None else found.chosen.tolerance
    return replace(found, faces=faces, model_id=encoder.model_id, tolerance=within)
