"""What is seen of the gallery's copy, and that seeing changes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.records import OK, PROBLEM, WARNING, Finding
from facesearch.search import ExactIndex
from facesearch.search.inspection import index_bytes, inspect_index
from facesearch.search.synthetic import fill, vectors
from facesearch.workers import InlinePool

DIMENSION = 8


@pytest.fixture
def index(tmp_path: Path) -> Iterator[ExactIndex]:
    made = ExactIndex(tmp_path / "index", "m", DIMENSION, InlinePool(), 1 << 62)
    yield made
    made.close()


@pytest.fixture
def filled(index: ExactIndex) -> ExactIndex:
    fill(index, 30, DIMENSION)
    return index


def seen(index: ExactIndex, database: str | None = "synthetic", newest: int | None = 30) -> Finding:
    return inspect_index(index, database, newest, 30)


def test_a_copy_that_is_not_there_yet_is_well(index: ExactIndex) -> None:
    assert seen(index).state == OK
    assert not index.matrix.path.parent.exists()


def test_a_copy_that_is_level(filled: ExactIndex) -> None:
    before = filled.matrix.path.read_bytes()
    assert seen(filled) == Finding(
        "index", OK, "30 faces, each with the right checksum, level with the database."
    )
    assert "4 changes behind" in seen(filled, newest=34).message
    assert "not there to compare" in seen(filled, None, None).message
    assert filled.matrix.path.read_bytes() == before


def test_a_copy_of_something_else(filled: ExactIndex) -> None:
    assert seen(filled, database="other").message == "The copy is another database's."
    assert "newer than the database" in seen(filled, newest=29).message
    assert inspect_index(filled, "synthetic", 30, 31).state == PROBLEM


@pytest.mark.parametrize("at", [0, 4096, 8192 + 100])
def test_a_damaged_copy_is_mended_by_the_next_search(filled: ExactIndex, at: int) -> None:
    path = filled.matrix.path
    content = bytearray(path.read_bytes())
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    again = ExactIndex(path.parent, "m", DIMENSION, InlinePool(), 1 << 62)
    finding = seen(again)
    again.close()
    assert finding.state == WARNING
    assert "builds it anew" in (finding.advice or "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(filled: ExactIndex) -> None:
    folder = filled.matrix.path.parent
    folder.chmod(0o500)
    try:
        assert seen(filled).state == PROBLEM
    finally:
        folder.chmod(0o700)


def test_rights_as_they_are_told(filled: ExactIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    for denied in (filled.matrix.path, filled.matrix.path.parent):
        monkeypatch.setattr(os, "access", lambda path, _, no=denied: path != no)
        assert seen(filled).state == PROBLEM


def test_how_large_a_copy_is(filled: ExactIndex) -> None:
    layout = filled.matrix.snapshot().file.layout
    assert index_bytes(DIMENSION, 1000, 5000) == 1000 * layout.record.itemsize
    # 652 MiB were measured at a million faces of 128 numbers.
    assert index_bytes(128, 1_000_000, 5000) / 1024**2 == pytest.approx(652, rel=0.02)


def test_made_up_faces_are_found(filled: ExactIndex) -> None:
    [[match]] = filled.search(vectors(30, DIMENSION, seed=2)[6:7], 1, 0.1)
    assert (match.face_id, round(match.distance, 6)) == (7, 0.0)
