"""What runs the networks: dlib itself, or ONNX Runtime with dlib's weights."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.dlib_models import DlibModels
from facesearch.encoders.mmod_detector import MmodDetector
from facesearch.encoders.model_files import CNN_DETECTOR, EMBEDDING, model_path
from facesearch.encoders.resnet_embedder import ResNetEmbedder
from facesearch.records import Detection

# What HOG may be given after doubling: 11 bytes a pixel, so 350 MB, and 4 s where it was measured.
_MOST_HOG_PIXELS = 32_000_000


class Engine(ABC):
    """The models of one process. Lives as long as its encoders; any thread may call it.

    HOG detection and alignment are dlib's under every engine.
    """

    def __init__(self) -> None:
        self.dlib = DlibModels()

    def find(self, detector: str, pixels: NDArray[np.uint8], doublings: int) -> list[Detection]:
        """Return faces in pixels of `pixels`, uint8 of shape (height, width, 3)."""
        if detector == "cnn":
            return self.find_by_cnn(pixels, doublings)
        return self.dlib.find_by_hog(pixels, doublings)

    def most_pixels(self, detector: str) -> int:
        """How large a picture may be for a detector, after doubling."""
        return self.most_cnn_pixels if detector == "cnn" else _MOST_HOG_PIXELS

    def load(self, detector: str) -> None:
        """Load everything that a photo needs."""
        self.dlib.load_landmarks()
        self.dlib.load_hog() if detector == "hog" else self.load_cnn()
        self.load_network()

    @property
    @abstractmethod
    def most_cnn_pixels(self) -> int:
        """How large a picture may be for CNN detection, after doubling: about 1 GB of memory."""

    @abstractmethod
    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int) -> list[Detection]:
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

    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int) -> list[Detection]:
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
    """

    most_cnn_pixels = 12_000_000  # 70 bytes a pixel

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._embedder = ResNetEmbedder(model_path(EMBEDDING), directory)
        self._detector = MmodDetector(model_path(CNN_DETECTOR), directory)

    def find_by_cnn(self, pixels: NDArray[np.uint8], doublings: int) -> list[Detection]:
        return self._detector.detect(pixels, doublings)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._embedder.embed(crops)

    def load_cnn(self) -> None:
        self._detector.load()

    def load_network(self) -> None:
        self._embedder.load()


def make_engine(name: Literal["onnx", "dlib"], directory: Path) -> Engine:
    """Make an engine; it loads nothing yet."""
    return OnnxEngine(directory) if name == "onnx" else DlibEngine()
