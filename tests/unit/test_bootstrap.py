import sys
from pathlib import Path

import pytest

from facesearch.bootstrap import service
from facesearch.config import SearchSettings, Settings
from facesearch.errors import InvalidConfig
from facesearch.interfaces import FaceIndex
from facesearch.search import ExactIndex, HNSWIndex


def index_of(folder: Path, index: str, monkeypatch: pytest.MonkeyPatch) -> FaceIndex:
    """What `build_api` hands to the service for an index."""
    made: list[FaceIndex] = []
    monkeypatch.setattr(service, "AGTAPI", lambda database, encoder, index, *_, **__: made.append(index))
    service.build_api(Settings(data_dir=folder, search=SearchSettings.model_validate({"index": index})))
    return made[0]


def test_the_exact_index_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().search.index == "exact"
    assert isinstance(index_of(tmp_path, "exact", monkeypatch), ExactIndex)


@pytest.mark.hnsw
def test_the_approximate_index_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    assert isinstance(index_of(tmp_path, "hnsw", monkeypatch), HNSWIndex)


def test_the_approximate_index_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(InvalidConfig, match=r"requirements-hnsw\.txt"):
        index_of(tmp_path, "hnsw", monkeypatch)
