import numpy as np
import pytest

from facesearch.interfaces import Image, ImageEncoder
from tests.contracts.image_encoder import ImageEncoderContract
from tests.fakes import FakeEncoder, FakeImage


class TestFakeEncoder(ImageEncoderContract):
    @pytest.fixture
    def encoder(self) -> ImageEncoder:
        return FakeEncoder()

    @pytest.fixture
    def two_faces(self) -> Image:
        pixels = np.zeros((40, 100, 3), dtype=np.uint8)
        pixels[:, 10:30] = (200, 0, 0)
        pixels[:, 50:90] = (0, 100, 200)
        return FakeImage(pixels)

    @pytest.fixture
    def no_face(self) -> Image:
        return FakeImage(np.zeros((40, 100, 3), dtype=np.uint8))
