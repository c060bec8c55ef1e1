import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders import resnet_embedder
from facesearch.encoders.resnet_embedder import ResNetEmbedder
from facesearch.errors import InvalidConfig
from tests.unit.encoders.models import RESNET, photo


@pytest.fixture(scope="module")
def embedder(graphs: Path) -> ResNetEmbedder:
    return ResNetEmbedder(RESNET, graphs)


@pytest.fixture(scope="module")
def dlib_embed() -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    model = dlib.face_recognition_model_v1(str(RESNET))
    return lambda crop: np.array(model.compute_face_descriptor(crop))


def crops() -> NDArray[np.uint8]:
    """Four pieces of a photo and noise."""
    pixels = photo()
    noise = np.random.default_rng(1).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    pieces = [
        pixels[top : top + 150, left : left + 150] for top, left in [(0, 0), (20, 70), (40, 80), (90, 200)]
    ]
    return np.stack([*pieces, noise])


def test_vectors_are_dlibs_within_a_millionth(
    embedder: ResNetEmbedder, dlib_embed: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    expected = np.stack([dlib_embed(np.ascontiguousarray(crop)) for crop in crops()])
    found = embedder.embed(crops())
    assert found.dtype == np.float32
    assert found.shape == (5, 128)
    assert np.abs(found - expected).max() <= 1e-6


def test_batches_give_the_vectors_of_single_faces(graphs: Path, embedder: ResNetEmbedder) -> None:
    singles = np.concatenate([embedder.embed(crop[None]) for crop in crops()])
    for batch_size in (1, 2, 5, 8):
        batched = ResNetEmbedder(RESNET, graphs, batch_size=batch_size).embed(crops())
        assert np.abs(batched - singles).max() <= 5e-7


def test_no_faces_give_no_vectors(embedder: ResNetEmbedder) -> None:
    assert embedder.embed(np.empty((0, 150, 150, 3), np.uint8)).shape == (0, 128)


def test_mirrored_views_need_no_copy_by_the_caller(embedder: ResNetEmbedder) -> None:
    view = crops()[:, :, ::-1]
    assert np.array_equal(embedder.embed(view), embedder.embed(view.copy()))


def test_threads_share_one_embedder(embedder: ResNetEmbedder) -> None:
    expected = embedder.embed(crops())
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: embedder.embed(crops()), range(8)):
            assert np.array_equal(found, expected)


def test_other_vectors_than_dlibs_are_refused_at_load(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = (0.1, *resnet_embedder._KNOWN_START[1:])
    monkeypatch.setattr(resnet_embedder, "_KNOWN_START", changed)
    with pytest.raises(InvalidConfig, match="are not dlib's"):
        ResNetEmbedder(RESNET, graphs).load()


def test_a_foreign_model_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.dat"
    other.write_bytes(b"other")
    with pytest.raises(InvalidConfig, match=r"other\.dat is not the one"):
        ResNetEmbedder(other, tmp_path).load()


def test_loading_and_running_write_nothing(tmp_path: Path) -> None:
    program = (
        "import numpy, pathlib, sys\n"
        "from facesearch.encoders.resnet_embedder import ResNetEmbedder\n"
        "embedder = ResNetEmbedder(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), threads=2)\n"
        "embedder.embed(numpy.zeros((1, 150, 150, 3), numpy.uint8))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(RESNET), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert done.stdout + done.stderr == b""
