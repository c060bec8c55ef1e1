"""What is removed is in no file of the index any more, byte by byte, however a catch-up ended."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.interfaces import FaceIndex
from facesearch.records import Match
from facesearch.search import ExactIndex, HNSWIndex
from facesearch.search.graph import GraphFile
from facesearch.search.layout import BLOCKS_AT, ERASED, ERASING_AT, Damaged
from facesearch.search.matrix import SharedMatrix
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import DIMENSION, draw

ROWS = 300
PROBES = draw(3, 99)
SETTINGS: dict[str, dict[str, Any]] = {
    "vectors": {"block_rows": 4096},
    "codes": {"block_rows": 4096, "fit_from": 30},
    "blocks": {"block_rows": 64, "fit_from": 30},
    "graph": {"block_rows": 64, "fit_from": 30, "graph_from": 100, "on_the_side": False},
}
Make = Callable[[], Any]


@pytest.fixture(
    params=[pytest.param(kind, marks=[pytest.mark.hnsw] if kind == "graph" else []) for kind in SETTINGS]
)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    settings = SETTINGS[request.param]
    kind: Any = HNSWIndex if request.param == "graph" else ExactIndex
    if kind is HNSWIndex:
        pytest.importorskip("usearch")
    return lambda: kind(tmp_path, MODEL, DIMENSION, InlinePool(), 1 << 60, **settings)


@pytest.fixture
def history() -> FaceHistory:
    history = FaceHistory()
    history.add(draw(ROWS, 1), persons=[1 + at % 9 for at in range(ROWS)])
    return history


class Traces:
    """All that files may tell of some vectors; made while these are still there."""

    def __init__(self, directory: Path, vectors: NDArray[np.float32]) -> None:
        self._directory = directory
        self._told: set[bytes] = set()
        for path in directory.glob("*.matrix"):
            file = SharedMatrix(path, MODEL, DIMENSION).snapshot().file
            codes = file.encoder.encode_rows(vectors) if file.encoder else None
            self._told |= {code[:DIMENSION].tobytes() for code in (codes.first if codes else ())}
        for path in directory.glob("*.graph"):
            nodes, fits = GraphFile(path, MODEL, DIMENSION).quantiser.encode(vectors)
            self._told |= {node.tobytes() for node in nodes[fits]}
        for vector in vectors:
            self._told |= {vector[first : first + 3].tobytes() for first in range(DIMENSION - 2)}
        assert self.left() or not len(vectors), "what is looked for has to be there before"

    def left(self) -> set[tuple[str, bytes]]:
        files = {path.name: path.read_bytes() for path in self._directory.iterdir() if path.is_file()}
        return {(name, told) for name, data in files.items() for told in self._told if told in data}


def answers(index: FaceIndex) -> list[list[Match]]:
    return index.search(PROBES, 1000, 2.0)


def confirm(index: FaceIndex, history: FaceHistory) -> None:
    assert answers(index) == history.nearest(PROBES, 1000, 2.0)


@pytest.mark.parametrize("gone", [[5], [64, 65, 66, 300], [300], list(range(1, 240, 2))], ids=len)
def test_nothing_of_a_removed_face_is_left(
    make: Make, history: FaceHistory, tmp_path: Path, gone: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    index, other = make(), make()
    for each in (index, other):
        each.catch_up(history)
    vectors = np.array([face.embedding for face in history.stored() if face.face_id in gone])
    traces = Traces(tmp_path, vectors)
    history.remove(gone)
    index.catch_up(history)
    assert traces.left() == set()
    with caplog.at_level(logging.WARNING):
        for each in (index, other, make()):
            each.catch_up(history)
            confirm(each, history)
    assert caplog.text == ""
    history.add(draw(100, 2))
    index.catch_up(history)
    confirm(make(), history)
    assert traces.left() == set()


def test_nothing_of_the_vector_before_is_left(make: Make, history: FaceHistory, tmp_path: Path) -> None:
    index = make()
    index.catch_up(history)
    traces = Traces(tmp_path, draw(ROWS, 1)[[6, 7]])
    stays = Traces(tmp_path, draw(ROWS, 1)[[8]])
    history.changes = [(m, change) for m, change in history.changes if change.face_id not in (7, 8)]
    history.add(draw(2, 3), ids=[7, 8])
    index.catch_up(history)
    assert traces.left() == set()
    assert stays.left()
    confirm(index, history)
    confirm(make(), history)


def renamed(history: FaceHistory, face_ids: list[int], person: int) -> None:
    """Give faces another person, as a database does: a new change, and the one before forgotten."""
    known = {change.face_id: change for _, change in history.changes}
    history.changes = [(m, change) for m, change in history.changes if change.face_id not in face_ids]
    vectors = np.array([known[face_id].embedding for face_id in face_ids])
    history.add(vectors, ids=face_ids, persons=[person] * len(face_ids))


def test_another_person_erases_nothing_and_a_removal_then_all_rows(
    make: Make, history: FaceHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make()
    index.catch_up(history)
    traces = Traces(tmp_path, draw(ROWS, 1)[[6, 100]])
    synced: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        for person in (50, 51):
            renamed(history, [7, 101, 102], person)
            index.catch_up(history)
    assert synced == []
    assert index.search_people(PROBES, 99, 2.0) == history.nearest_people(PROBES, 99, 2.0)
    history.remove([7, 101])
    index.catch_up(history)
    assert traces.left() == set()
    confirm(make(), history)


def test_a_face_that_came_and_went_between_two_looks_is_never_written(
    make: Make, history: FaceHistory, tmp_path: Path
) -> None:
    index = make()
    index.catch_up(history)
    before, vectors = len(history.changes), draw(2, 4)
    history.add(vectors, ids=[1000, 1001])
    added = history.changes[-2]
    history.remove([1000])
    history.changes.insert(before, added)  # a stream of several statements tells of several moments
    index.catch_up(history)
    (file,) = tmp_path.glob("*.matrix")
    assert vectors[0].tobytes() not in file.read_bytes()
    confirm(index, history)


class Killed(BaseException):
    """Ends a catch-up as a kill would: nothing behind it is done."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Run something that ends before the n-th write or sync, or half-way in it; return whether it was."""

    def run(step: int, call: Callable[[], None], halfway: bool = False) -> bool:
        left = [step]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def ends(*arguments: Any) -> Any:
                if left[0] == 0:
                    if halfway and len(arguments) == 3:
                        descriptor, data, at = arguments
                        real(descriptor, data[: len(data) // 2], at)
                    raise Killed
                left[0] -= 1
                return real(*arguments)

            return ends

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", counted(os.pwrite))
            patch.setattr(os, "fsync", counted(os.fsync))
            try:
                call()
            except Killed:
                return True
        return False

    return run


def test_a_catch_up_that_is_killed_anywhere_is_made_good_by_the_next(
    make: Make,
    history: FaceHistory,
    tmp_path: Path,
    killed_at: Callable[..., bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    make().catch_up(history)
    steps = 0
    with caplog.at_level(logging.WARNING):
        for step in range(200):
            gone = [step + 1, 250 - step]
            vectors = np.array([face.embedding for face in history.stored() if face.face_id in gone])
            traces = Traces(tmp_path, vectors)
            before = history.nearest(PROBES, 1000, 2.0)
            history.remove(gone)
            index = make()
            if not killed_at(step, partial(index.catch_up, history)):
                assert traces.left() == set()
                break
            steps += 1
            late = make()  # who has not looked since: at most the faces that are removed are missing
            expected = [[match for match in found if match.face_id not in gone] for found in before]
            for found, all_, others in zip(answers(late), before, expected, strict=True):
                assert [match for match in found if match.face_id not in gone] == others
                assert set(found) <= set(all_)
            make().catch_up(history)
            assert traces.left() == set()
            confirm(make(), history)
            late.catch_up(history)
            confirm(late, history)
            history.add(vectors)  # so that the gallery keeps its size
            make().catch_up(history)
    assert steps > 10
    assert caplog.text == "", "nothing was taken for damaged"


def test_a_kill_half_way_in_a_write_is_made_good_by_who_had_looked_before(
    make: Make, history: FaceHistory, tmp_path: Path, killed_at: Callable[..., bool]
) -> None:
    """Rows are confirmed once per process: this one takes them for what they were."""
    make().catch_up(history)
    steps, ended = 0, False
    while not ended:
        other = make()
        other.catch_up(history)
        gone = [steps + 1, 250 - steps]
        vectors = np.array([face.embedding for face in history.stored() if face.face_id in gone])
        traces = Traces(tmp_path, vectors)
        history.remove(gone)
        ended = not killed_at(steps, partial(make().catch_up, history), halfway=True)
        other.catch_up(history)
        assert traces.left() == set()
        confirm(other, history)
        confirm(make(), history)
        history.add(vectors)
        make().catch_up(history)
        steps += 1
    assert steps > 10


def test_who_reads_meanwhile_misses_those_faces_at_most(
    make: Make, history: FaceHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, older = make(), make()
    for each in (index, older):
        each.catch_up(history)
    gone = {3, 64, 200}
    before = history.nearest(PROBES, 1000, 2.0)
    left = [[match for match in found if match.face_id not in gone] for found in before]
    history.remove(sorted(gone))
    write, looks = os.pwrite, []

    def looked(*arguments: Any) -> int:
        looks.append(1)
        for reader in (older, make()):
            found = answers(reader)
            assert [[match for match in one if match.face_id not in gone] for one in found] == left
            assert all(set(one) <= set(others) for one, others in zip(found, before, strict=True))
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", looked)
    index.catch_up(history)
    assert len(looks) > 10
    assert answers(older) == left, "what was removed is NaN by now, which lies near nothing"


def test_unfinished_files_with_the_face_are_deleted(make: Make, history: FaceHistory, tmp_path: Path) -> None:
    index = make()
    index.catch_up(history)
    (matrix,) = tmp_path.glob("*.matrix")
    for path in (matrix, matrix.with_suffix(".graph")):
        path.with_name(f"{path.name}.0123.new").write_bytes(matrix.read_bytes())
    traces = Traces(tmp_path, draw(ROWS, 1)[[5]])
    history.remove([6])
    index.catch_up(history)
    assert traces.left() == set()
    assert not list(tmp_path.glob("*.new"))


def test_seals_are_mended_and_bless_no_damage(tmp_path: Path, history: FaceHistory) -> None:
    index = ExactIndex(tmp_path, MODEL, DIMENSION, InlinePool(), 1 << 60, block_rows=64)
    index.catch_up(history)
    file = index.matrix.snapshot().file
    history.remove([5, 70])
    index.catch_up(history)
    for block in range(4):
        file.verify_seal(block)
        assert not file.is_being_erased(block)
    assert np.flatnonzero(file.columns["kind"].ravel() == ERASED).tolist() == [4, 69]
    (path,) = tmp_path.glob("*.matrix")
    with path.open("r+b") as target:
        target.seek(BLOCKS_AT + file.layout.offsets["vector"])
        target.write(b"\x01\x02\x03")
    with pytest.raises(Damaged):
        index.matrix.erase(np.array([6]))
    with path.open("r+b") as target:
        target.seek(BLOCKS_AT + ERASING_AT)
        target.write(b"\x01")
    with pytest.raises(Damaged):
        index.matrix.erase(np.array([6]))


@pytest.mark.hnsw
class TestGraph:
    @pytest.fixture(autouse=True)
    def _needs_usearch(self) -> None:
        pytest.importorskip("usearch")

    def make(self, directory: Path) -> HNSWIndex:
        return HNSWIndex(directory, MODEL, DIMENSION, InlinePool(), 1 << 60, **SETTINGS["graph"])

    def test_a_face_whose_row_was_tidied_away_goes_from_the_graph_with_its_removal(
        self, tmp_path: Path, history: FaceHistory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = self.make(tmp_path)
        index.catch_up(history)
        traces = Traces(tmp_path, draw(ROWS, 1)[:50])
        monkeypatch.setattr("facesearch.search.matrix._SPARE_ROWS", -(ROWS // 4) - 1)
        renamed(history, list(range(1, 51)), 70)
        index.catch_up(history)
        assert index._exact.matrix.snapshot().count == ROWS, "the copy was not tidied"
        assert traces.left()
        history.remove(range(1, 51))
        index.catch_up(history)
        assert traces.left() == set()
        confirm(self.make(tmp_path), history)

    @pytest.mark.parametrize("newest_is", ["a removal", "another model's"])
    @pytest.mark.parametrize("kind", [ExactIndex, HNSWIndex])
    def test_what_was_removed_while_there_was_no_copy_goes_from_the_graph_too(
        self, tmp_path: Path, history: FaceHistory, kind: type, newest_is: str
    ) -> None:
        self.make(tmp_path).catch_up(history)
        traces = Traces(tmp_path, draw(ROWS, 1)[10:30])
        (matrix,) = tmp_path.glob("*.matrix")
        matrix.unlink()
        history.remove(range(11, 31))
        if newest_is != "a removal":
            history.add(draw(2, 5), model_id="another")
        index = self.make(tmp_path)
        (index if kind is HNSWIndex else index._exact).catch_up(history)
        assert traces.left() == set()
        (graph,) = tmp_path.glob("*.graph")
        assert GraphFile(graph, MODEL, DIMENSION).about.nodes == ROWS, "the others' codes stay"
        confirm(index, history)

    @pytest.mark.parametrize("copy_is", ["there", "made anew"])
    def test_a_graph_that_is_being_written_while_a_face_goes_is_written_once_more(
        self, tmp_path: Path, history: FaceHistory, monkeypatch: pytest.MonkeyPatch, copy_is: str
    ) -> None:
        index = self.make(tmp_path)
        index._exact.catch_up(history)
        vectors, sync, other = draw(ROWS, 1)[[20]], os.fsync, self.make(tmp_path)
        codes: list[bytes] = []

        def removed_meanwhile(descriptor: int) -> None:
            sync(descriptor)
            if not codes:
                (fresh,) = tmp_path.glob("*.graph.*.new")
                code, _ = GraphFile(fresh, MODEL, DIMENSION).quantiser.encode(vectors)
                codes.append(code.tobytes())
                assert codes[0] in fresh.read_bytes()
                history.remove([21])
                if copy_is == "made anew":
                    index._exact.matrix.path.unlink()
                other._exact.catch_up(history)
                assert not fresh.exists()

        monkeypatch.setattr(os, "fsync", removed_meanwhile)
        index.catch_up(history)
        (graph,) = tmp_path.glob("*.graph")
        assert codes[0] not in graph.read_bytes()
        assert GraphFile(graph, MODEL, DIMENSION).about.nodes == ROWS
        index.catch_up(history)
        confirm(index, history)

    def test_a_graph_whose_last_faces_have_all_gone_is_used(
        self, tmp_path: Path, history: FaceHistory, caplog: pytest.LogCaptureFixture
    ) -> None:
        history.add(draw(1200, 6))
        self.make(tmp_path).catch_up(history)
        history.remove(range(1201, 1501))
        with caplog.at_level(logging.WARNING):
            index = self.make(tmp_path)
            index.catch_up(history)
        assert caplog.text == ""
        assert index._tender.view is not None
        assert index._tender.view.graph.about.nodes == 1500
        confirm(index, history)

    def test_a_graph_of_another_format_goes_with_the_first_removal(
        self, tmp_path: Path, history: FaceHistory
    ) -> None:
        index = self.make(tmp_path)
        index._exact.catch_up(history)
        path = index._exact.matrix.graph_path
        path.write_bytes(b"codes of another time" * 100)
        history.remove([1])
        index._exact.catch_up(history)
        assert not path.exists()

    def test_recall_is_kept_where_many_faces_go(self, tmp_path: Path, history: FaceHistory) -> None:
        index = self.make(tmp_path)
        index.catch_up(history)
        history.remove(range(1, ROWS - ROWS // 5, 5))
        index.catch_up(history)
        view = index._tender.view
        assert view is not None
        probes = draw(50, 7)
        found, exact = index.search(probes, 5, 2.0), history.nearest(probes, 5, 2.0)
        same = sum(len(set(one) & set(other)) for one, other in zip(found, exact, strict=True))
        assert same > 0.98 * 250
