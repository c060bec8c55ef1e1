import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facesearch.errors import Unavailable
from facesearch.search import slices
from facesearch.search.layout import FACE
from facesearch.search.matrix import SharedMatrix
from facesearch.search.scan import scan
from facesearch.search.slices import Slice, scan_slice
from facesearch.search.sought import Query

ROWS = np.random.default_rng(1).standard_normal((200, 4)).astype(np.float32)


def append(matrix: SharedMatrix, first: int, last: int) -> None:
    numbers = range(first, last + 1)
    matrix.append(matrix.make_records(numbers, numbers, FACE, ROWS[first - 1 : last]))


def make(path: Path) -> SharedMatrix:
    matrix = SharedMatrix(path, "model", 4, 32)
    matrix.reset("database")
    append(matrix, 1, 100)
    return matrix


@pytest.fixture
def matrix(tmp_path: Path) -> SharedMatrix:
    return make(tmp_path / "model.matrix")


def part(matrix: SharedMatrix, first: int, last: int) -> Slice:
    generation = matrix.snapshot().file.header.generation
    bits = np.packbits(np.ones(last - first, bool))
    wanted = Slice(matrix.path, generation, first, last, Query(ROWS[:2], 10, 5.0), bits)
    copy: Slice = pickle.loads(pickle.dumps(wanted))
    return copy


def test_a_slice_answers_for_its_rows_alone(matrix: SharedMatrix) -> None:
    rows = matrix.snapshot().rows(30, 70)
    assert scan_slice(part(matrix, 30, 70)) == scan(rows, ROWS[:2], 10, 5.0)


def test_a_file_that_has_grown_is_mapped_anew(matrix: SharedMatrix) -> None:
    scan_slice(part(matrix, 0, 100))
    append(matrix, 101, 200)
    assert scan_slice(part(matrix, 150, 200)) == scan(matrix.snapshot().rows(150, 200), ROWS[:2], 10, 5.0)


def test_a_file_that_was_replaced_cut_or_deleted_is_refused(matrix: SharedMatrix) -> None:
    older = part(matrix, 0, 100)
    scan_slice(older)
    matrix.reset("database")
    append(matrix, 1, 1)
    assert scan_slice(older), "what is mapped stays readable"
    newer = part(matrix, 0, 1)
    assert scan_slice(newer)[0] == [(0.0, 1)]
    with pytest.raises(Unavailable):
        scan_slice(older)
    matrix.path.unlink()
    assert scan_slice(newer)[0] == [(0.0, 1)]
    scan_slice(newer)
    with pytest.raises(Unavailable):
        scan_slice(older)


def test_rows_that_are_not_wanted_are_not_found(matrix: SharedMatrix) -> None:
    rows = np.arange(30, 70) % 3 == 0
    wanted = replace(part(matrix, 30, 70), wanted=np.packbits(rows), query=Query(ROWS[:2], 100, 5.0))
    ids = {face_id for _, face_id in scan_slice(wanted)[0]}
    assert ids == {place + 1 for place in range(30, 70) if place % 3 == 0}


def test_files_of_galleries_that_are_gone_do_not_stay_mapped(tmp_path: Path) -> None:
    before = set(slices._mapped)
    first, second = (make(tmp_path / name) for name in ("first", "second"))
    scan_slice(part(first, 0, 100))
    first.path.unlink()
    scan_slice(part(second, 0, 100))
    assert str(first.path) not in slices._mapped
    assert set(slices._mapped) - before == {str(second.path)}


def test_a_process_maps_some_files_and_not_all_of_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_MOST_MAPPED", 2)
    matrices = [make(tmp_path / str(number)) for number in range(3)]
    for matrix in (*matrices, matrices[1]):
        assert scan_slice(part(matrix, 0, 100))[0][0] == (0.0, 1)
    assert list(slices._mapped) == [str(matrices[2].path), str(matrices[1].path)]
