"""Fixtures of this folder: the networks' graphs, built once for all tests, and the tests' own weights."""

from pathlib import Path

import pytest

from facesearch.encoders.model_store import ModelStore
from tests.weights import centerface_file, mobilefacenet_file, sface_file, yunet_file


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where graphs are kept; whoever needs one first builds it."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with MobileFaceNet, CenterFace, YuNet, and SFace of 8-bit integers, one face a run."""
    folder = tmp_path_factory.mktemp("models")
    store = ModelStore(folder)
    store.add(mobilefacenet_file(), store.card("mobilefacenet"))
    store.add(centerface_file(), store.card("centerface"))
    store.add(yunet_file(), store.card("yunet"))
    other = {"id": "sface-int8bq", "sha256": None, "bytes": None, "aliases": ()}
    store.add(sface_file(), store.card("sface").model_copy(update=other))
    return folder
