import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from facesearch.encoders.cards import ARCFACE_TEMPLATE
from facesearch.encoders.dlib_models import DlibModels
from facesearch.encoders.quality import EyesAndNose, quality_of
from facesearch.records import Box, Quality
from tests.unit.encoders.photos import one_face

BOX = Box(top=10, right=99, bottom=109, left=20)

# Two corners of the eye on the photo's right, two of the other, the nose base: nobody looks aside.
FRONTAL = np.array([[140, 100], [120, 100], [60, 100], [80, 100], [100, 146.2]], np.float64)


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((150, 150, 3), level, np.uint8)


def of_landmarks(landmarks: NDArray[np.float64]) -> Quality:
    return quality_of(BOX, 1.0, EyesAndNose.of_dlib(landmarks), grey(0))


def of_crop(crop: NDArray[np.uint8]) -> Quality:
    return quality_of(BOX, 1.0, EyesAndNose.of_dlib(FRONTAL), crop)


def turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Turn points clockwise as the photo is seen: y grows downwards."""
    angle = math.radians(degrees)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    rotated: NDArray[np.float64] = (points - 100) @ matrix.T + 100
    return rotated


@pytest.fixture(scope="module")
def portrait() -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The landmarks and the crop of a real face."""
    models = DlibModels()
    pixels = one_face().pixels
    return models.align(pixels, models.find_by_hog(pixels, 0)[0].box)


def test_size_is_the_boxs_shorter_side_and_score_the_detectors() -> None:
    quality = quality_of(BOX, 1.25, EyesAndNose.of_dlib(FRONTAL), grey(0))
    assert (quality.size_px, quality.score) == (80, 1.25)
    assert type(quality.size_px) is int


@pytest.mark.parametrize("level", [0, 77, 255])
def test_brightness_is_the_mean_luma(level: int) -> None:
    assert of_crop(grey(level)).brightness == pytest.approx(level, abs=0.01)


def test_brightness_weighs_colours_as_the_eye_does(portrait: tuple[object, NDArray[np.uint8]]) -> None:
    crop = portrait[1]
    expected = np.asarray(Image.fromarray(crop).convert("L"), np.float64).mean()
    assert of_crop(crop).brightness == pytest.approx(expected, abs=0.6)


def test_an_even_picture_has_no_sharpness() -> None:
    assert of_crop(grey(128)).sharpness == pytest.approx(0, abs=1e-6)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    crop = grey(0)
    crop[75, 75] = 100
    laplacian = np.array([-400.0, 100, 100, 100, 100])
    expected = (laplacian**2).sum() / 148**2 - (laplacian.sum() / 148**2) ** 2
    assert of_crop(crop).sharpness == pytest.approx(expected, rel=1e-4)


def test_sharpness_falls_with_blur(portrait: tuple[object, NDArray[np.uint8]]) -> None:
    picture = Image.fromarray(portrait[1])
    blurred = [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4)]
    sharpness = [of_crop(np.asarray(one)).sharpness for one in blurred]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[1] < 0.5 * sharpness[0]


def test_a_frontal_face_is_turned_nowhere() -> None:
    quality = of_landmarks(FRONTAL)
    assert (quality.roll_deg, quality.yaw_deg, quality.pitch_deg) == pytest.approx((0, 0, 0), abs=0.01)


@pytest.mark.parametrize("degrees", [-80, -30, 15, 45, 80])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_roll_is_the_turn_in_the_photos_plane_and_changes_no_other_angle(
    degrees: float, scale: float
) -> None:
    quality = of_landmarks(turned(FRONTAL, degrees) * scale)
    assert quality.roll_deg == pytest.approx(degrees, abs=0.01)
    assert (quality.yaw_deg, quality.pitch_deg) == pytest.approx((0, 0), abs=0.01)


def test_the_roll_of_a_turned_photo_is_found(portrait: tuple[NDArray[np.float64], object]) -> None:
    models = DlibModels()
    photo = Image.fromarray(one_face().pixels)
    rolls = []
    for degrees in (0, 20):
        pixels = np.ascontiguousarray(photo.rotate(-degrees))  # Pillow turns counter-clockwise
        landmarks, crop = models.align(pixels, models.find_by_hog(pixels, 1)[0].box)
        rolls.append(quality_of(BOX, 1.0, EyesAndNose.of_dlib(landmarks), crop).roll_deg)
    assert rolls[1] - rolls[0] == pytest.approx(20, abs=6)


def test_a_real_portrait_is_nearly_frontal(portrait: tuple[NDArray[np.float64], NDArray[np.uint8]]) -> None:
    quality = quality_of(BOX, 1.0, EyesAndNose.of_dlib(portrait[0]), portrait[1])
    assert max(abs(quality.roll_deg), abs(quality.yaw_deg), abs(quality.pitch_deg)) < 15


@pytest.mark.parametrize(("aside", "sign"), [(25.0, 1), (-25.0, -1)])
def test_yaw_is_positive_where_the_nose_points_to_the_photos_right(aside: float, sign: int) -> None:
    quality = of_landmarks(FRONTAL + np.array([[0, 0]] * 4 + [[aside, 0]]))
    assert 20 < sign * quality.yaw_deg < 90
    assert quality.pitch_deg == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("lower", "sign"), [(15.0, 1), (-15.0, -1)])
def test_pitch_is_positive_where_the_face_looks_down(lower: float, sign: int) -> None:
    quality = of_landmarks(FRONTAL + np.array([[0, 0]] * 4 + [[0, lower]]))
    assert 15 < sign * quality.pitch_deg < 90
    assert quality.yaw_deg == pytest.approx(0, abs=0.01)


def test_the_order_of_the_eyes_does_not_matter() -> None:
    assert of_landmarks(FRONTAL[[2, 3, 0, 1, 4]]) == of_landmarks(FRONTAL)


def test_a_detectors_landmarks_have_the_tip_of_the_nose_in_place_of_its_base() -> None:
    """The tip lies higher, and points as the base does."""
    frontal = ((70.0, 100.0), (130.0, 100.0), (100.0, 135.4), (80.0, 165.0), (120.0, 165.0))
    quality = quality_of(BOX, 1.0, EyesAndNose.of_landmarks(frontal), grey(0))
    assert (quality.roll_deg, quality.yaw_deg, quality.pitch_deg) == pytest.approx((0, 0, 0), abs=0.01)
    aside = (*frontal[:2], (125.0, 140.0), *frontal[3:])
    turned_away = quality_of(BOX, 1.0, EyesAndNose.of_landmarks(aside), grey(0))
    assert turned_away.yaw_deg > 20
    assert turned_away.pitch_deg > 5


def test_the_mean_face_of_the_template_looks_straight() -> None:
    points = EyesAndNose.of_landmarks(ARCFACE_TEMPLATE)
    quality = quality_of(BOX, 1.0, points, grey(0))
    assert (quality.roll_deg, quality.yaw_deg, quality.pitch_deg) == pytest.approx((0, 0, 0), abs=3)


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.array([[50.0, 50]] * 4 + [[60, 80]])])
def test_eyes_in_one_place_are_a_profile(landmarks: NDArray[np.float64]) -> None:
    quality = of_landmarks(landmarks)
    assert (quality.roll_deg, quality.yaw_deg, quality.pitch_deg) == (0, 90, 0)


def test_all_figures_are_plain_numbers(portrait: tuple[NDArray[np.float64], NDArray[np.uint8]]) -> None:
    quality = quality_of(BOX, 1.0, EyesAndNose.of_dlib(portrait[0]), portrait[1])
    figures = (getattr(quality, name) for name in Quality.__slots__)
    assert {type(figure) for figure in figures} == {int, float}
