"""How good a face's picture is, from what alignment knows anyway."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.records import Box, Landmarks, Quality

# ITU-R BT.601 luma, as JPEG and Pillow's mode L use it.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Of a frontal face, in units of the distance between the eyes' middles: how far the nose lies below the line
# between them, and how far it stands out from their plane. The drops were measured: the base's is the median
# of 250 of LFW's faces, the tip's that of 500 with CenterFace's landmarks (in ARCFACE_TEMPLATE it is 0.57).
# The last is the usual protrusion of a nose, and only scales the angles.
_BASE_DROP = 0.77
_TIP_DROP = 0.59
_NOSE_DEPTH = 0.45


@dataclass(frozen=True, eq=False)
class EyesAndNose:
    """What a face's angles are estimated from; each point is x and y in pixels of the photo.

    Args:
        left, right: the middles of the eyes, as the photo shows them.
        nose: its tip or its base.
        drop: how far that lies below the eyes in a frontal face, in distances between them.
    """

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    nose: NDArray[np.float64]
    drop: float

    @classmethod
    def of_dlib(cls, points: NDArray[np.float64]) -> "EyesAndNose":
        """Of dlib's five points, float64 of shape (5, 2).

        Two corners of the eye on the photo's right, two of the other, and the nose base; in a face that is
        upside down the eyes change sides.
        """
        first, second = points[:2].mean(axis=0), points[2:4].mean(axis=0)
        left, right = sorted((first, second), key=lambda eye: float(eye[0]))
        return cls(left, right, points[4], _BASE_DROP)

    @classmethod
    def of_landmarks(cls, landmarks: Landmarks) -> "EyesAndNose":
        """Of a detector's landmarks."""
        first, second, nose = (np.array(point, np.float64) for point in landmarks[:3])
        left, right = sorted((first, second), key=lambda eye: float(eye[0]))
        return cls(left, right, nose, _TIP_DROP)


def quality_of(box: Box, score: float, points: EyesAndNose, crop: NDArray[np.uint8]) -> Quality:
    """Judge one aligned face.

    Sharpness is the variance of the Laplacian of the crop's luma (Pech-Pacheco et al., 2000), taken on the
    crop so that faces of all sizes compare; a face smaller than the crop was enlarged and is soft.
    Angles are rough estimates from eyes and nose, and a long nose counts as a lowered head: enough to tell a
    profile, no more.

    Args:
        box: the face in pixels of the photo.
        score: the detector's.
        points: the face's, in pixels of the photo.
        crop: uint8 of shape (height, width, 3), RGB, aligned.
    """
    luma = crop.astype(np.float32) @ _LUMA
    roll, yaw, pitch = _angles(points)
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


def _angles(points: EyesAndNose) -> tuple[float, float, float]:
    """Roll, yaw and pitch in degrees; positive: turned clockwise, to the photo's right, downwards."""
    across = points.right - points.left
    distance = math.hypot(*across)
    if distance == 0:
        return 0.0, 90.0, 0.0
    unit = across / distance
    from_middle = points.nose - (points.left + points.right) / 2
    aside = float(from_middle @ unit) / distance
    below = float(from_middle @ np.array([-unit[1], unit[0]])) / distance
    roll = math.degrees(math.atan2(across[1], across[0]))
    yaw = math.degrees(math.atan2(aside, _NOSE_DEPTH))
    pitch = math.degrees(math.atan2(below - points.drop, _NOSE_DEPTH))
    return roll, yaw, pitch
