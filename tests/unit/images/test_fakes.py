import numpy as np
from numpy.typing import NDArray

from facesearch.interfaces import Image
from tests.contracts.image import ImageContract
from tests.fakes import FakeImage


class TestFakeImage(ImageContract):
    def image(self, pixels: NDArray[np.uint8]) -> Image:
        return FakeImage(pixels)
