"""What runs the networks: dlib itself, or ONNX Runtime with dlib's weights."""

import threading
from abc import ABC, abstractmethod
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.dlib_models import DlibModels
from facesearch.encoders.mmod_detector import WINDOW_PX, MmodDetector
from facesearch.encoders.model_files import CNN_DETECTOR, EMBEDDING, model_path
from facesearch.encoders.resnet_embedder import ResNetEmbedder
from facesearch.records import Detection

# What HOG may be given after doubling: 11 bytes a pixel, so 350 MB, and 4 s where it was measured.
_MOST_HOG_PIXELS = 32_000_000

# The side of the smallest box that each detector gives in the pixels that it looks at.
_SMALLEST_HOG_FACE_PX = 73
_SMALLEST_CNN_FACE_PX = WINDOW_PX

# Pictures from this size on take their turn at the CNN detector, so that a process whose threads are all
# asked for it needs the memory of one.
_LARGE_CNN_PIXELS = 1_000_000


class Engine(ABC):
    """The models of one process. Lives as long as its encoders; any thread may call it.

    HOG detection and alignment are dlib's under every engine.
    """

    def __init__(self) -> None:
        self.dlib = DlibModels()

    def find(
        self, detector: str, pixels: NDArray[np.uint8], doublings: int, min_face_px: int = 0
    ) -> list[Detection]:
        """Return faces in pixels of `pixels`, uint8 of shape (height, width, 3).

        Args:
            detector: `hog` or `cnn`.
            pixels: the photo, of at most `most_pixels` after doubling.
            doublings: how often its sides are doubled first.
            min_face_px: smaller faces may be left out, where that saves work.
        """
        if detector == "cnn":
            return self.find_by_cnn(pixels, doublings, min_face_px)
        return self.dlib.find_by_hog(pixels, doublings)

    def most_pixels(self, detector: str) -> int:
        """How large a picture may be for a detector, after doubling."""
        return self.most_cnn_pixels if detector == "cnn" else _MOST_HOG_PIXELS

    def smallest_face_px(self, detector: str) -> int:
        """The side of the smallest box that a detector gives without doubling."""
        return _SMALLEST_CNN_FACE_PX if detector == "cnn" else _SMALLEST_HOG_FACE_PX

    def load_detector(self, detector: str) -> None:
        """Load `hog` or `cnn`."""
        self.dlib.load_hog() if detector == "hog" else self.load_cnn()

    def load_embedding(self) -> None:
        """Load what makes a face's box a vector."""
        self.dlib.load_landmarks()
        self.load_network()

    @property
    @abstractmethod
    def most_cnn_pixels(self) -> int:
        """How large a picture may be for CNN detection, after doubling: below 1 GB of memory."""

    @abstractmethod
    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int, min_face_px: int) -> list[Detection]:
        """Detect with dlib's convolutional network."""

    @abstractmethod
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 of shape (n, 128) for crops of shape (n, 150, 150, 3)."""

    @abstractmethod
    def load_cnn(self) -> None:
        """Load the CNN detector."""

    @abstractmethod
    def load_network(self) -> None:
        """Load the embedding network."""


class DlibEngine(Engine):
    """dlib runs its own networks: slow from wheels, and one call at a time."""

    most_cnn_pixels = 1_000_000  # 1000 bytes a pixel

    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int, min_face_px: int) -> list[Detection]:
        return self.dlib.find_by_cnn(pixels, doublings)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.dlib.embed(crops)

    def load_cnn(self) -> None:
        self.dlib.load_cnn()

    def load_network(self) -> None:
        self.dlib.load()


class OnnxEngine(Engine):
    """ONNX Runtime runs dlib's networks, many times sooner; vectors differ by less than 1e-6.

    Args:
        directory: where the graphs are kept once they are built.

    Raises:
        Unavailable: no model files are installed.
    """

    # Two megapixels doubled once. 80 bytes a pixel: the process then peaks at 0.7 GB, for 4 s where it was
    # measured.
    most_cnn_pixels = 8_000_000

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._large = threading.Lock()
        self._embedder = ResNetEmbedder(model_path(EMBEDDING), directory)
        self._detector = MmodDetector(model_path(CNN_DETECTOR), directory)

    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int, min_face_px: int) -> list[Detection]:
        large = pixels.shape[0] * pixels.shape[1] << 2 * doublings >= _LARGE_CNN_PIXELS
        with self._large if large else nullcontext():
            return self._detector.detect(pixels, doublings, min_size_px=min_face_px)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._embedder.embed(crops)

    def load_cnn(self) -> None:
        self._detector.load()

    def load_network(self) -> None:
        self._embedder.load()


def make_engine(name: Literal["onnx", "dlib"], directory: Path) -> Engine:
    """Make an engine; it loads nothing yet."""
    return OnnxEngine(directory) if name == "onnx" else DlibEngine()
