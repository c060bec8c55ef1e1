import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facesearch.encoders.alignment import cut_out, inverse, moved, similarity, three_points
from facesearch.encoders.cards import ARCFACE_TEMPLATE
from tests.unit.encoders.photos import one_face

TEMPLATE = np.array(ARCFACE_TEMPLATE)
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])

Floats = NDArray[np.float64]


def turned(degrees: float, scale: float, x: float, y: float) -> Floats:
    cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


def umeyama(points: Floats, targets: Floats) -> Floats:
    """As the paper writes it, with a singular value decomposition."""
    middle, target = points.mean(axis=0), targets.mean(axis=0)
    covariance = (targets - target).T @ (points - middle) / len(points)
    u, d, v = np.linalg.svd(covariance)
    signs = np.diag([1.0, math.copysign(1, np.linalg.det(u) * np.linalg.det(v))])
    turn = np.trace(np.diag(d) @ signs) / ((points - middle) ** 2).sum(axis=1).mean() * (u @ signs @ v)
    return np.column_stack([turn, target - turn @ middle])


class TestSimilarity:
    @pytest.mark.parametrize("degrees", [-170, -20, 0, 33, 90, 180])
    @pytest.mark.parametrize("scale", [0.01, 1, 30])
    def test_turn_scale_and_shift_are_found(self, degrees: float, scale: float) -> None:
        transform = turned(degrees, scale, -40, 2000)
        assert np.allclose(similarity(TEMPLATE, moved(TEMPLATE, transform)), transform, rtol=1e-9)

    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize("count", [3, 5])
    def test_points_that_do_not_fit_are_matched_as_the_paper_does(self, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        points, targets = random.normal(size=(2, count, 2)) * 50
        assert np.allclose(similarity(points, targets), umeyama(points, targets))

    def test_a_mirrored_face_is_not_mirrored_back(self) -> None:
        transform = similarity(TEMPLATE * (-1, 1), TEMPLATE)
        assert np.linalg.det(transform[:, :2]) > 0

    @pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.zeros((5, 2))])
    def test_points_in_one_place_are_shifted(self, points: Floats) -> None:
        assert np.allclose(moved(points, similarity(points, TEMPLATE)), TEMPLATE.mean(axis=0))

    def test_a_transform_and_its_inverse_cancel(self) -> None:
        transform = turned(20, 3, 5, -7)
        assert np.allclose(moved(moved(TEMPLATE, transform), inverse(transform)), TEMPLATE)


class TestThreePoints:
    def test_lie_where_the_five_were_seen_to_put_them(self) -> None:
        expected = [(38.35, 53.24), (73.25, 53.05), (56.16, 79.39)]
        assert np.allclose(three_points(TEMPLATE), expected)

    def test_follow_a_template_of_another_size(self) -> None:
        assert np.allclose(three_points(2 * TEMPLATE + (3, 5)), 2 * three_points(TEMPLATE) + (3, 5))


def drawn(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)


class TestCutOut:
    def test_a_shift_by_whole_pixels_changes_none(self) -> None:
        pixels = drawn(200, 300)
        crop = cut_out(pixels, turned(0, 1, -30, -40), 112, 96)
        assert crop.dtype == np.uint8
        assert np.array_equal(crop, pixels[40:136, 30:142])

    def test_a_quarter_turn_leaves_every_pixel_whole(self) -> None:
        pixels = drawn(112, 112)
        crop = cut_out(pixels, turned(90, 1, 111, 0), 112, 112).astype(int)
        assert np.abs(crop - np.rot90(pixels, -1)).max() <= 1  # Pillow rounds down

    @pytest.mark.parametrize("scale", [3, 1, 0.4, 0.25, 0.21, 0.09, 0.03])
    @pytest.mark.parametrize("degrees", [0, 25])
    def test_a_spot_lands_on_its_target_whatever_the_size(self, scale: float, degrees: float) -> None:
        transform = turned(degrees, scale, 0, 0)
        there = np.array([(40.0, 60.0)])
        transform[:, 2] = (there - moved(np.array([(1000.0, 700.0)]), transform))[0]
        y, x = np.mgrid[:1500, :2000]
        spread = 2 * (4 / scale) ** 2
        spot = 255 * np.exp(-((x - 1000.0) ** 2 + (y - 700.0) ** 2) / spread)
        crop = cut_out(np.repeat(spot[..., None], 3, axis=2).astype(np.uint8), transform, 112, 112)
        weight = crop[..., 0].astype(np.float64)
        rows, columns = np.mgrid[:112, :112]
        middle = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
        assert middle == pytest.approx(there[0], abs=0.06)

    def test_fine_patterns_become_grey_and_not_coarse_ones(self) -> None:
        rows, columns = np.mgrid[:1200, :1200]
        checks = (((rows + columns) % 2)[..., None] * np.full(3, 255)).astype(np.uint8)
        crop = cut_out(checks, turned(0, 0.1003, 0, 0), 112, 112)[4:-4, 4:-4]
        assert np.abs(crop.astype(int) - 127).max() <= 8

    def test_a_face_that_shrinks_is_the_one_that_a_good_reduction_gives(self) -> None:
        photo = Image.fromarray(one_face(400).pixels)
        large = np.asarray(photo.resize((photo.width * 8, photo.height * 8), Image.Resampling.BICUBIC))
        expected = cut_out(np.asarray(photo), turned(10, 0.9, -20, -10), 112, 112).astype(float)
        transform = turned(10, 0.9 / 8, -20, -10)
        transform[:, 2] -= transform[:, :2] @ (3.5, 3.5)
        assert np.abs(cut_out(large, transform, 112, 112) - expected).mean() < 3

    def test_what_lies_outside_the_photo_is_black(self) -> None:
        pixels = np.full((100, 100, 3), 200, np.uint8)
        crop = cut_out(pixels, turned(0, 1, 56, 0), 112, 112)
        assert (crop[:, :56] == 0).all()
        assert (crop[:100, 56:] == 200).all()
        assert (crop[101:] == 0).all()

    @pytest.mark.parametrize("x", [-5000.0, 5000.0])
    def test_a_face_wholly_outside_is_black(self, x: float) -> None:
        crop = cut_out(np.full((100, 100, 3), 200, np.uint8), turned(30, 0.5, x, 0), 112, 90)
        assert crop.shape == (90, 112, 3)
        assert not crop.any()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3, 2)])
    @pytest.mark.parametrize("scale", [0.01, 1.0, 500.0])
    def test_thin_photos_do_no_harm(self, shape: tuple[int, int], scale: float) -> None:
        assert cut_out(np.zeros((*shape, 3), np.uint8), turned(5, scale, 0, 0), 112, 112).shape == (
            112,
            112,
            3,
        )

    def test_read_only_pixels_are_accepted(self) -> None:
        pixels = drawn(120, 120)
        pixels.setflags(write=False)
        assert np.array_equal(cut_out(pixels, IDENTITY, 112, 112), pixels[:112, :112])
