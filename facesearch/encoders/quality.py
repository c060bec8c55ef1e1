"""How good a face's picture is, from what alignment knows anyway."""

import math

import numpy as np
from numpy.typing import NDArray

from facesearch.records import Box, Quality

# ITU-R BT.601 luma, as JPEG and Pillow's mode L use it.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Of a frontal face, in units of the distance between the eyes' middles: how far the nose base lies below
# the line between them, and how far it stands out from their plane. The first was measured (the median of
# 250 of LFW's faces); the second is the usual protrusion of a nose, and only scales the angles.
_NOSE_DROP = 0.77
_NOSE_DEPTH = 0.45


def quality_of(box: Box, score: float, landmarks: NDArray[np.float64], crop: NDArray[np.uint8]) -> Quality:
    """Judge one aligned face.

    Sharpness is the variance of the Laplacian of the crop's luma (Pech-Pacheco et al., 2000), taken on the
    crop so that faces of all sizes compare; a face smaller than the crop was enlarged and is soft.
    Angles are rough estimates from five points, and a long nose counts as a lowered head: enough to tell a
    profile, no more.

    Args:
        box: the face in pixels of the photo.
        score: the detector's.
        landmarks: float64 of shape (5, 2), x and y in pixels of the photo: two corners of the eye on the
            right of the photo, two of the other, and the nose base (dlib's five points).
        crop: uint8 of shape (size, size, 3), RGB, aligned.
    """
    luma = crop.astype(np.float32) @ _LUMA
    roll, yaw, pitch = _angles(landmarks)
    return Quality(
        size_px=min(box.width, box.height),
        score=score,
        sharpness=float(_laplacian(luma).var()),
        brightness=float(luma.mean()),
        roll_deg=roll,
        yaw_deg=yaw,
        pitch_deg=pitch,
    )


def _laplacian(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    middle = luma[1:-1, 1:-1]
    return luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle


def _angles(landmarks: NDArray[np.float64]) -> tuple[float, float, float]:
    """Roll, yaw and pitch in degrees; positive: turned clockwise, to the photo's right, downwards."""
    first, second, nose = landmarks[:2].mean(axis=0), landmarks[2:4].mean(axis=0), landmarks[4]
    left, right = sorted((first, second), key=lambda eye: float(eye[0]))
    across = right - left
    distance = math.hypot(*across)
    if distance == 0:
        return 0.0, 90.0, 0.0
    unit = across / distance
    from_middle = nose - (left + right) / 2
    aside = float(from_middle @ unit) / distance
    below = float(from_middle @ np.array([-unit[1], unit[0]])) / distance
    roll = math.degrees(math.atan2(across[1], across[0]))
    yaw = math.degrees(math.atan2(aside, _NOSE_DEPTH))
    pitch = math.degrees(math.atan2(below - _NOSE_DROP, _NOSE_DEPTH))
    return roll, yaw, pitch
