"""The embedding network of face_recognition, run by ONNX Runtime."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.dlib_stream import RESNET_SHA256, read_network
from facesearch.encoders.onnx_cache import open_cached
from facesearch.errors import InvalidConfig

CROP_SIZE_PX = 150
DIMENSION = 128

# What dlib itself computes for the crop of `_known_crop`: the vector's first eight components.
_KNOWN_START = (-0.0891543, 0.0777876, 0.0328822, 0.013057, -0.1250377, -0.053323, -0.0424687, -0.0888519)
_KNOWN_TOLERANCE = 1e-5


class ResNetEmbedder:
    """Turns aligned faces into face_recognition's vectors.

    Lives as long as its process; loads its network at the first call. Any thread may call it. Not to be
    carried over a fork once loaded.

    Args:
        model_file: dlib_face_recognition_resnet_model_v1.dat.
        directory: where built graphs are kept.
        threads: how many threads one call spreads over.
        batch_size: how many faces go through the network together at most; bounds memory.
    """

    def __init__(self, model_file: Path, directory: Path, threads: int = 1, batch_size: int = 4) -> None:
        self._model_file = model_file
        self._directory = directory
        self._threads = threads
        self._batch_size = batch_size
        self._session: Any = None
        self._loading = threading.Lock()

    def load(self) -> None:
        """Load the network unless that has happened, and check it on one crop.

        Raises:
            InvalidConfig: the model file is missing or not the expected one, ONNX Runtime is missing, or
                its vectors are not dlib's.
        """
        with self._loading:
            if self._session is None:
                session = open_cached(self._directory, "resnet", RESNET_SHA256, self._build, self._threads)
                _check(session)
                self._session = session

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 of shape (n, 128) for RGB crops, uint8 of shape (n, 150, 150, 3).

        Differs from dlib's compute_face_descriptor on the same crop by less than 1e-6 in any component.

        Raises:
            InvalidConfig: as for `load`.
        """
        self.load()
        embeddings = np.empty((len(crops), DIMENSION), np.float32)
        for at in range(0, len(crops), self._batch_size):
            batch = np.ascontiguousarray(crops[at : at + self._batch_size])
            embeddings[at : at + len(batch)] = self._session.run(None, {"crops": batch})[0]
        return embeddings

    def _build(self) -> bytes:
        # onnx is needed by whoever builds, and would cost every other process its memory.
        from facesearch.encoders.onnx_graphs import build_resnet  # noqa: PLC0415

        return build_resnet(read_network(self._model_file, RESNET_SHA256))


def _known_crop() -> NDArray[np.uint8]:
    numbers = np.arange(CROP_SIZE_PX * CROP_SIZE_PX * 3, dtype=np.int64)
    return (numbers**2 // 97 % 256).astype(np.uint8).reshape(1, CROP_SIZE_PX, CROP_SIZE_PX, 3)


def _check(session: Any) -> None:
    """Refuse vectors that would not fit those in a gallery, whatever the reason may be."""
    start = session.run(None, {"crops": _known_crop()})[0][0, : len(_KNOWN_START)]
    if not np.allclose(start, _KNOWN_START, rtol=0, atol=_KNOWN_TOLERANCE):
        raise InvalidConfig("ONNX Runtime's vectors are not dlib's; set the encoder's engine to dlib.")
