import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from facesearch.errors import InvalidConfig
from facesearch.search.graph import GraphBuilder, GraphFile, Quantiser, Standing, identity_of, new_index
from facesearch.search.layout import Damaged, Missing
from tests.contracts.face_history import MODEL
from tests.contracts.face_index import DIMENSION, draw

DATABASE = "00000000-0000-4000-8000-000000000001"


def publish(builder: GraphBuilder, path: Path, last_number: int, gone: Sequence[int] = ()) -> bool:
    numbers = np.setdiff1d(np.arange(1, 3000), gone)
    return builder.publish(path, DATABASE, last_number, lambda: nullcontext(Standing("ab" * 16, numbers)))


def test_distances_of_codes_are_close_to_those_of_vectors() -> None:
    rows = draw(500, 1)
    quantiser = Quantiser.fit(rows)
    codes, fits = quantiser.encode(rows)
    assert fits.all()
    wide = codes.astype(np.float64)
    found = quantiser.step * np.linalg.norm(wide - wide[0], axis=1)
    assert np.abs(found - np.linalg.norm(rows - rows[0], axis=1)).max() < quantiser.step * np.sqrt(DIMENSION)
    assert quantiser.step < 0.006


def test_vectors_that_codes_cannot_tell_are_named_and_move_no_other() -> None:
    rows = draw(100, 2)
    quantiser = Quantiser.fit(rows)
    odd = np.concatenate([rows, draw(4, 3)])
    odd[100], odd[101, 3], odd[102, 0], odd[103] = np.nan, np.inf, 1e30, odd[103] + 5
    again = Quantiser.fit(odd)
    assert again.step == pytest.approx(quantiser.step, rel=0.2)
    _, fits = again.encode(odd)
    assert fits.tolist() == [True] * 100 + [False] * 4


def test_vectors_that_are_all_the_same_or_not_finite_can_be_fitted_to() -> None:
    same = np.ones((5, 3), np.float32)
    codes, fits = Quantiser.fit(same).encode(same)
    assert fits.all()
    assert not codes.any()
    _, fits = Quantiser.fit(same * np.nan).encode(same * np.nan)
    assert not fits.any()


def test_usearch_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(InvalidConfig, match=r"requirements-hnsw\.txt"):
        new_index(DIMENSION)


@pytest.mark.hnsw
class TestFile:
    @pytest.fixture(autouse=True)
    def path(self, tmp_path: Path) -> Path:
        pytest.importorskip("usearch")
        rows = draw(600, 4)
        rows[7] = np.nan
        builder = GraphBuilder(MODEL, rows, None)
        builder.add(10 + np.arange(300), rows[:300])
        builder.add(310 + np.arange(300), rows[300:])
        publish(builder, tmp_path / "a.graph", 700)
        return tmp_path / "a.graph"

    def open(self, path: Path) -> GraphFile:
        return GraphFile(path, MODEL, DIMENSION)

    def test_a_published_graph_is_found_as_it_was(self, path: Path) -> None:
        graph = self.open(path)
        about = graph.about
        assert (about.nodes, about.last_number, about.odd) == (599, 700, [17])
        assert graph.numbers.tolist() == [number for number in range(10, 610) if number != 17]
        codes, _ = graph.quantiser.encode(draw(600, 4))
        numbers, reach = graph.nearest(codes[50], 20)
        distances = np.linalg.norm(draw(600, 4) - draw(600, 4)[50], axis=1)
        assert numbers[0] == 60
        assert reach == pytest.approx(np.sort(distances)[19], abs=0.02)
        assert path.stat().st_mode & 0o077 == 0

    def test_a_build_goes_on_from_a_graph(self, path: Path) -> None:
        builder = GraphBuilder(MODEL, draw(1, 4) + 1000, self.open(path))
        builder.add(1000 + np.arange(50), draw(50, 5))
        publish(builder, path, 2000)
        longer = self.open(path)
        assert longer.about.nodes == 649
        assert longer.numbers.tolist()[-60:] == [*range(600, 610), *range(1000, 1050)]
        codes, fits = longer.quantiser.encode(np.concatenate([draw(600, 4)[:1], draw(50, 5)[49:]]))
        assert fits.all()
        assert [int(longer.nearest(code, 10)[0][0]) for code in codes] == [10, 1049]

    def test_a_new_file_leaves_what_others_have_mapped(self, path: Path) -> None:
        held, before = self.open(path), identity_of(path)
        builder = GraphBuilder(MODEL, draw(9, 6), None)
        builder.add(1 + np.arange(9), draw(9, 6))
        publish(builder, path, 9)
        assert held.identity == before != identity_of(path)
        codes, _ = held.quantiser.encode(draw(600, 4))
        assert int(held.nearest(codes[50], 20)[0][0]) == 60

    @pytest.mark.parametrize("at", [0, 5, 500, 5000, -1, -10, -15, -22, -30, -3000])
    def test_a_bit_that_turned_is_damage(self, path: Path, at: int) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 4
        path.write_bytes(data)
        with pytest.raises(Damaged):
            self.open(path)

    @pytest.mark.parametrize("left", [0, 1, 19, 20, 5000, -1, -20, -300])
    def test_a_file_that_was_cut_is_damaged(self, path: Path, left: int) -> None:
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(Damaged):
            self.open(path)

    def test_another_file_or_another_models_is_damaged(self, path: Path) -> None:
        for model_id, dimension in (("another", DIMENSION), (MODEL, DIMENSION + 1)):
            with pytest.raises(Damaged):
                GraphFile(path, model_id, dimension)
        path.write_text("notes\n" * 5000)
        with pytest.raises(Damaged):
            self.open(path)

    def test_a_file_that_is_not_there_is_missing(self, path: Path) -> None:
        path.unlink()
        with pytest.raises(Missing):
            self.open(path)

    def test_a_file_that_becomes_shorter_is_noticed(self, path: Path) -> None:
        graph = self.open(path)
        assert not graph.is_cut()
        os.truncate(path, 5000)
        assert graph.is_cut()

    @pytest.mark.parametrize("step", ["fsync", "rename"])
    def test_a_build_that_cannot_be_written_leaves_what_was_there(
        self, path: Path, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = path.read_bytes()
        builder = GraphBuilder(MODEL, draw(9, 6), None)
        builder.add(1 + np.arange(9), draw(9, 6))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, step, full)
        monkeypatch.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            publish(builder, path, 9)
        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_what_a_killed_build_left_is_cleared_away(self, path: Path) -> None:
        left = path.with_name(f"{path.name}.0123.new")
        left.write_text("half a graph")
        self.test_a_new_file_leaves_what_others_have_mapped(path)
        assert not left.exists()
