import gc
from pathlib import Path

import numpy as np
import pytest

from facesearch.records import FaceFilter
from facesearch.search.layout import FACE
from facesearch.search.matrix import SharedMatrix
from facesearch.search.snapshot import Snapshot
from tests.contracts.face_index import draw

MODEL = "test-model"


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    matrix = SharedMatrix(tmp_path / "m", MODEL, 16, block_rows=64)
    matrix.reset("a database")
    numbers = np.arange(1, 201)
    matrix.append(matrix.make_records(numbers, numbers, FACE, draw(200, 1), numbers % 7))
    return matrix.snapshot()


def test_a_filter_that_is_used_again_costs_no_second_mask(snapshot: Snapshot) -> None:
    only = FaceFilter(face_ids=np.arange(1, 200, 3), persons=frozenset({1, 2}))
    mask = snapshot.wanted(only)
    assert snapshot.wanted(only) is mask
    assert mask.sum() == np.isin(np.arange(1, 200, 3) % 7, [1, 2]).sum()


def test_faces_that_are_left_out_need_no_other_mask(snapshot: Snapshot) -> None:
    ids = np.arange(1, 200, 3)
    mask = snapshot.wanted(FaceFilter(face_ids=ids))
    less = snapshot.wanted(FaceFilter(face_ids=ids, without=frozenset({4, 5})))
    assert np.flatnonzero(mask != less).tolist() == [3]
    assert snapshot.named(FaceFilter(face_ids=ids, without=frozenset({4, 5}))) is mask
    assert snapshot.wanted(FaceFilter(without=frozenset({4}))).sum() == 199
    assert snapshot.counts.all()


def test_equal_filters_of_other_ids_are_told_apart(snapshot: Snapshot) -> None:
    for first in range(1, 60):
        only = FaceFilter(face_ids=np.array([first, first + 1], np.int64))
        assert np.flatnonzero(snapshot.wanted(only)).tolist() == [first - 1, first]


def test_masks_are_few_and_go_with_their_filters(snapshot: Snapshot) -> None:
    filters = [FaceFilter(face_ids=np.array([first], np.int64)) for first in range(40)]
    for only in filters:
        snapshot.wanted(only)
    assert len(snapshot.masks) == 16
    del filters[:], only
    gc.collect()
    snapshot.wanted(FaceFilter(persons=frozenset({1})))
    assert len(snapshot.masks) == 1


def test_a_mask_is_not_taken_for_that_of_an_array_that_lies_where_another_was(snapshot: Snapshot) -> None:
    gone, other = (FaceFilter(face_ids=np.array([first], np.int64)) for first in (1, 2))
    snapshot.wanted(gone)
    ((_, held),) = snapshot.masks._kept.items()
    snapshot.masks._kept[(id(other.face_ids), None)] = held
    assert np.flatnonzero(snapshot.wanted(other)).tolist() == [1]
