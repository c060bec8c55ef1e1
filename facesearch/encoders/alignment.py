"""Cuts faces out of photos by their landmarks, turned and scaled as a recognition network expects them.

Points are x and y in pixels; a pixel's middle has whole numbers. Functions without state; any thread may call
them.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from facesearch.encoders.cards import ARCFACE_TEMPLATE

# Where the middles of the eyes and the nose base go where the tip of the nose and the mouth are not known.
_THREE_POINTS = np.array([(38.35, 53.24), (73.25, 53.05), (56.16, 79.39)])


def three_points(template: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a template puts the eyes' middles and the nose base, float64 of shape (3, 2).

    Args:
        template: where it puts five landmarks, float64 of shape (5, 2).
    """
    return moved(_THREE_POINTS, similarity(np.array(ARCFACE_TEMPLATE), template))


def similarity(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the turn, scale and shift that brings points nearest to their targets, float64 of shape (2, 3).

    Least squares without reflection: Umeyama, "Least-squares estimation of transformation parameters between
    two point patterns", 1991. Points in one place, and others that say nothing of turn and scale, are shifted
    only.

    Args:
        points, targets: float64 of shape (n, 2).
    """
    middle, target = points.mean(axis=0), targets.mean(axis=0)
    x, y = (points - middle).T
    u, v = (targets - target).T
    spread = float(x @ x + y @ y)
    # In the plane the rotation of the paper's singular value decomposition has this closed form.
    cosine, sine = float(x @ u + y @ v), float(x @ v - y @ u)
    cosine, sine = (cosine / spread, sine / spread) if spread and (cosine or sine) else (1.0, 0.0)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, target - turn @ middle])


def moved(points: NDArray[np.float64], transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a transform of shape (2, 3) brings points of shape (n, 2)."""
    there: NDArray[np.float64] = points @ transform[:, :2].T + transform[:, 2]
    return there


def inverse(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transform that leads back, float64 of shape (2, 3)."""
    turn = np.linalg.inv(transform[:, :2])
    return np.column_stack([turn, -turn @ transform[:, 2]])


def cut_out(
    pixels: NDArray[np.uint8], transform: NDArray[np.float64], width: int, height: int
) -> NDArray[np.uint8]:
    """Return a crop, uint8 of shape (height, width, 3); what lies outside the photo is black.

    A face that gets smaller is first reduced by a whole number to the size at which bilinear interpolation
    loses nothing and adds no false patterns.

    Args:
        pixels: the photo, uint8 of shape (height, width, 3).
        transform: from points of the photo to points of the crop, float64 of shape (2, 3).
        width, height: of the crop.
    """
    back = inverse(transform)
    corners = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (-0.5, height - 0.5), (width - 0.5, height - 0.5)])
    within = moved(corners, back)
    step = max(1, int(math.hypot(back[0, 0], back[1, 0])))
    margin = 2 * step
    left, top = (max(0, int(edge)) for edge in np.floor(within.min(axis=0)) - margin)
    right, bottom = (int(edge) for edge in np.ceil(within.max(axis=0)) + margin)
    part = pixels[top : max(top, bottom), left : max(left, right)]
    if part.size == 0:
        return np.zeros((height, width, 3), np.uint8)
    picture = Pillow.fromarray(part)
    if step > 1:
        picture = picture.reduce(step)
    # Pillow counts from a pixel's corner, and here in pixels of the reduced part.
    turn, shift = back[:, :2], back[:, 2] + 0.5 - (left, top)
    shift = (shift - turn @ (0.5, 0.5)) / step
    (a, b), (d, e) = turn / step
    crop = picture.transform(
        (width, height),
        Pillow.Transform.AFFINE,
        (a, b, float(shift[0]), d, e, float(shift[1])),
        Pillow.Resampling.BILINEAR,
    )
    return np.asarray(crop)
