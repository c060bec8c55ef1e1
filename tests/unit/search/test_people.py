from pathlib import Path

import numpy as np
import pytest

from facesearch.search.layout import FACE
from facesearch.search.matrix import SharedMatrix
from facesearch.search.people import PersonRows, PersonTopK
from tests.contracts.face_index import draw


def pushed(heap: PersonTopK, *faces: tuple[float, int, int]) -> list[tuple[float, int, int]]:
    distances, ids, persons = (np.array(column) for column in zip(*faces, strict=True))
    heap.push_many(distances, ids, persons)
    return heap.sorted()


def test_each_person_counts_once_with_the_nearest_face() -> None:
    heap = PersonTopK(2, 1.0)
    assert pushed(heap, (0.5, 1, 7), (0.4, 2, 7), (0.3, 3, 8)) == [(0.3, 3, 8), (0.4, 2, 7)]
    assert pushed(heap, (0.1, 4, 7), (0.2, 5, 9)) == [(0.1, 4, 7), (0.2, 5, 9)]


def test_a_tie_goes_to_the_lower_face() -> None:
    heap = PersonTopK(2, 1.0)
    assert pushed(heap, (0.5, 9, 1), (0.5, 8, 2), (0.5, 7, 1)) == [(0.5, 7, 1), (0.5, 8, 2)]
    assert pushed(heap, (0.5, 3, 3)) == [(0.5, 3, 3), (0.5, 7, 1)]
    assert pushed(heap, (0.5, 99, 4)) == [(0.5, 3, 3), (0.5, 7, 1)]


def test_nobody_is_no_person_and_nan_no_distance() -> None:
    heap = PersonTopK(2, 1.0)
    assert pushed(heap, (0.1, 1, 0), (np.nan, 2, 5), (1.1, 3, 6)) == []


def test_the_limit_is_the_tolerance_until_so_many_persons_are_held() -> None:
    heap = PersonTopK(2, 1.0)
    pushed(heap, (0.1, 1, 5), (0.2, 2, 5), (0.3, 3, 5))
    assert heap.limit == 1.0
    pushed(heap, (0.6, 4, 6))
    assert heap.limit == 0.6


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_are_joined(parts: int) -> None:
    chance = np.random.default_rng(parts)
    distances, persons = chance.random(500).round(2), chance.integers(0, 30, 500)
    ids = chance.permutation(500)
    whole, joined = PersonTopK(10, 0.8), PersonTopK(10, 0.8)
    whole.push_many(distances, ids, persons)
    for part in np.array_split(np.arange(500), parts):
        heap = PersonTopK(10, 0.8)
        heap.push_many(distances[part], ids[part], persons[part])
        joined.merge(heap.sorted())
    joined.merge([])
    assert joined.sorted() == whole.sorted()


@pytest.mark.parametrize("spare", [0, 150, 1000])
def test_rows_of_a_person_are_those_of_the_snapshot_that_is_asked_for(
    tmp_path: Path, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.search.people._SPARE_ROWS", spare)
    matrices = [SharedMatrix(tmp_path / name, "m", 16, block_rows=64) for name in ("one", "two")]
    snapshots = []
    for at, matrix in enumerate(matrices):
        matrix.reset("a database")
        for first in (1, 101):
            numbers = np.arange(first, first + 100)
            matrix.append(matrix.make_records(numbers, numbers, FACE, draw(100, 1), numbers % (5 + at)))
            snapshots.append(matrix.snapshot())
    rows, wanted = PersonRows(), np.array([3, 77, 1])
    for snapshot, people in zip([*snapshots, *snapshots[::-1]], (5, 5, 6, 6, 6, 6, 5, 5), strict=True):
        places, owners = rows.of(snapshot, wanted)
        numbers = np.arange(1, snapshot.count + 1)
        for at, person in enumerate(wanted):
            assert sorted(places[owners == at]) == np.flatnonzero(numbers % people == person).tolist()
