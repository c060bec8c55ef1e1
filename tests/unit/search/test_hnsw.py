import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.errors import InvalidConfig, Unavailable
from facesearch.interfaces import FaceIndex
from facesearch.records import FaceFilter, Match
from facesearch.search import HNSWIndex, hnsw
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import DIMENSION, FaceIndexContract, Make, draw

pytestmark = pytest.mark.hnsw
LONG = 128
ROWS = 6000


@pytest.fixture(autouse=True)
def _needs_usearch() -> None:
    pytest.importorskip("usearch")


def make(directory: Path, dimension: int = DIMENSION, **settings: Any) -> HNSWIndex:
    settings = {"on_the_side": False, "graph_from": 1000, "expansion": 128, "block_rows": 512, **settings}
    return HNSWIndex(directory, MODEL, dimension, InlinePool(), 1 << 60, **settings)


def like_embeddings(rows: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors of 128 whose variance falls by direction about as that of faces' embeddings does."""
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((rows, LONG)) * np.exp(-np.arange(LONG) / 25)
    drawn += np.full(LONG, 0.2)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.asarray(drawn, np.float32)


@pytest.fixture(scope="module")
def gallery() -> FaceHistory:
    history = FaceHistory()
    history.add(like_embeddings(ROWS, 1), persons=[at % 20 for at in range(ROWS)])
    return history


@pytest.fixture(scope="module")
def index(gallery: FaceHistory, tmp_path_factory: pytest.TempPathFactory) -> HNSWIndex:
    pytest.importorskip("usearch")
    index = make(tmp_path_factory.mktemp("index"), LONG)
    index.catch_up(gallery)
    return index


@pytest.fixture
def through_graph(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each probe that was put before a graph, whether the graph answered it."""
    told: list[bool] = []
    nearest = hnsw._GraphSearch.nearest

    def telling(self: Any, probe: Any, code: Any) -> Any:
        found = nearest(self, probe, code)
        told.append(found is not None)
        return found

    monkeypatch.setattr(hnsw._GraphSearch, "nearest", telling)
    return told


def recall(found: list[list[Match]], expected: list[list[Match]], k: int) -> float:
    shares = [
        len({m.face_id for m in mine[:k]} & {m.face_id for m in theirs[:k]}) / len(theirs[:k])
        for mine, theirs in zip(found, expected, strict=True)
    ]
    return float(np.mean(shares))


class TestHNSWIndexWithFewFaces(FaceIndexContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return HNSWIndex(directory, MODEL, dimension, InlinePool(), 1 << 60)

            yield fresh


class TestHNSWIndexThroughTheGraph(FaceIndexContract):
    """In so few faces and dimensions, a graph that is asked for so many misses none."""

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with tempfile.TemporaryDirectory() as folder:

            def fresh(dimension: int) -> FaceIndex:
                directory = Path(tempfile.mkdtemp(dir=folder))
                return make(directory, dimension, graph_from=1, expansion=2000)

            yield fresh


def test_a_graph_finds_nearly_all_that_a_scan_finds(
    index: HNSWIndex, gallery: FaceHistory, through_graph: list[bool]
) -> None:
    probes = like_embeddings(200, 2)
    found, expected = index.search(probes, 10, 2.0), gallery.nearest(probes, 10, 2.0)
    assert through_graph == [True] * 200
    assert [recall(found, expected, k) >= 0.98 for k in (1, 5, 10)] == [True] * 3


def test_what_a_graph_finds_is_measured_and_ordered_exactly(index: HNSWIndex, gallery: FaceHistory) -> None:
    probes = like_embeddings(50, 3)
    every = [{m.face_id: m.distance for m in told} for told in gallery.nearest(probes, ROWS, 2.0)]
    for matches, distances in zip(index.search(probes, 30, 2.0), every, strict=True):
        assert [m.distance for m in matches] == [distances[m.face_id] for m in matches]
        assert matches == sorted(matches, key=lambda m: (m.distance, m.face_id))


def test_a_tolerance_that_few_faces_meet_asks_no_scan(
    index: HNSWIndex, gallery: FaceHistory, through_graph: list[bool]
) -> None:
    probes, only = like_embeddings(50, 4), FaceFilter(persons=frozenset({3, 4}))
    nearest = gallery.nearest(probes, 3, 2.0, only=only)
    tolerance = float(np.median([told[0].distance for told in nearest]))
    expected = gallery.nearest(probes, 40, tolerance, only=only)
    found = index.search(probes, 40, tolerance, only)
    assert through_graph.count(True) > 40
    assert sum(map(len, found)) >= 0.98 * sum(map(len, expected)) > 0


def test_a_filter_on_persons_goes_through_the_graph_as_long_as_it_pays(
    index: HNSWIndex, gallery: FaceHistory, through_graph: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hnsw, "_SCANNED_PER_ASKED", 2)
    probes = like_embeddings(50, 5)
    for persons, by_graph in (({3, 4, 5, 6}, True), ({77}, False)):
        only = FaceFilter(persons=frozenset(persons))
        through_graph.clear()
        found = index.search(probes, 5, 2.0, only)
        assert through_graph == [by_graph] * 50
        expected = gallery.nearest(probes, 5, 2.0, only=only)
        assert not by_graph or recall(found, expected, 5) >= 0.98
        assert by_graph or found == expected


def test_few_ids_are_scanned_and_many_are_not(
    index: HNSWIndex, gallery: FaceHistory, through_graph: list[bool]
) -> None:
    probes = like_embeddings(20, 6)
    few, many = (FaceFilter(face_ids=np.arange(1, ROWS, step)) for step in (30, 2))
    assert index.search(probes, 5, 2.0, few) == gallery.nearest(probes, 5, 2.0, only=few)
    assert through_graph == []
    found = index.search(probes, 5, 2.0, many)
    assert through_graph == [True] * 20
    assert recall(found, gallery.nearest(probes, 5, 2.0, only=many), 5) >= 0.98
    assert all(match.face_id % 2 for matches in found for match in matches)


def test_a_k_that_costs_more_than_a_scan_is_scanned(
    index: HNSWIndex, gallery: FaceHistory, through_graph: list[bool]
) -> None:
    probes = like_embeddings(3, 7)
    assert index.search(probes, 1000, 2.0) == gallery.nearest(probes, 1000, 2.0)
    assert through_graph == [False] * 3


def test_probes_beyond_what_codes_can_tell_keep_their_place(index: HNSWIndex, gallery: FaceHistory) -> None:
    probes = like_embeddings(5, 8)
    probes[1] += 3
    probes[3] = np.nan
    found = index.search(probes, 5, 9.0)
    assert [found[1], found[3]] == [gallery.nearest(probes, 5, 9.0)[1], []]
    assert [found[at] for at in (0, 2, 4)] == index.search(probes[::2], 5, 9.0)


def test_removed_faces_are_dropped_and_the_next_take_their_place(
    tmp_path: Path, through_graph: list[bool]
) -> None:
    history = FaceHistory()
    history.add(draw(3000, 1))
    index = make(tmp_path)
    index.catch_up(history)
    probe, others, gone = draw(1, 2), draw(50, 3), set()
    for _ in range(3):
        ((*nearest,),) = history.nearest(probe, 60, 2.0)
        history.remove([match.face_id for match in nearest])
        gone |= {match.face_id for match in nearest}
        index.catch_up(history)
        (found,) = index.search(probe, 20, 2.0)
        assert len(found) == 20
        assert not gone & {match.face_id for match in found}
        # their codes are gone too, and with them the shortest ways between the next
        assert recall([found], history.nearest(probe, 20, 2.0), 20) >= 0.75
        assert recall(index.search(others, 20, 2.0), history.nearest(others, 20, 2.0), 20) >= 0.99
    assert through_graph[0]


def test_a_search_keeps_what_it_holds_while_another_process_goes_on(tmp_path: Path) -> None:
    history = FaceHistory()
    history.add(draw(1500, 1))
    reader, writer = make(tmp_path), make(tmp_path)
    reader.catch_up(history)
    gone = history.nearest(draw(3, 2), 1, 2.0)[0][0].face_id
    before = history.nearest(draw(3, 2), 20, 2.0, only=FaceFilter(without=frozenset([gone])))
    history.remove([gone])
    history.add(draw(12_000, 3))
    writer.catch_up(history)
    assert writer.search(draw(3, 2), 5, 2.0) == history.nearest(draw(3, 2), 5, 2.0)
    assert reader.search(draw(3, 2), 20, 2.0) == before
    reader.catch_up(history)
    assert reader.search(draw(3, 2), 5, 2.0) == history.nearest(draw(3, 2), 5, 2.0)


def test_a_graph_that_is_cut_under_a_mapping_is_left_and_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = FaceHistory()
    history.add(draw(1500, 1))
    index = make(tmp_path)
    index.catch_up(history)
    (graph,) = tmp_path.glob("*.graph")
    os.truncate(graph, 9000)
    for _ in range(2):
        assert index.search(draw(1, 2), 5, 2.0) == history.nearest(draw(1, 2), 5, 2.0)
        index.catch_up(history)
    assert caplog.text.count("cut short by another program") == 1
    assert graph.stat().st_size > 9000


def test_a_copy_that_is_cut_under_a_mapping_is_refused(tmp_path: Path) -> None:
    history = FaceHistory()
    history.add(draw(1500, 1))
    index = make(tmp_path)
    index.catch_up(history)
    (matrix,) = tmp_path.glob("*.matrix")
    os.truncate(matrix, 9000)
    with pytest.raises(Unavailable):
        index.search(draw(1, 2), 5, 2.0)
    index.catch_up(history)
    assert index.search(draw(1, 2), 5, 2.0) == history.nearest(draw(1, 2), 5, 2.0)


def test_models_have_graphs_of_their_own(tmp_path: Path) -> None:
    history = FaceHistory()
    history.add(draw(1500, 1))
    history.add(draw(1200, 2), model_id="test/model")
    here = make(tmp_path)
    there = here.of(1, "test/model", DIMENSION)
    for index in (here, there, here):
        index.catch_up(history)
    assert (here.count(), there.count()) == (1500, 1200)
    assert len(list(tmp_path.glob("*.graph"))) == 2
    expected = history.nearest(draw(1, 3), 5, 2.0, model_id="test/model")
    assert there.search(draw(1, 3), 5, 2.0) == expected


def test_usearch_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(InvalidConfig, match=r"requirements-hnsw\.txt"):
        make(tmp_path)
