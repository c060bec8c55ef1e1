"""Fixtures of this folder: the networks' graphs, built once for all tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where graphs are kept; whoever needs one first builds it."""
    return tmp_path_factory.mktemp("graphs")
