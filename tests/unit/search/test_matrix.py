import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.records import FaceFilter
from facesearch.search.layout import BLOCKS_AT, FACE, MARKER, PUBLISHED_AT, REMOVED, Damaged, Missing
from facesearch.search.matrix import SharedMatrix
from facesearch.search.snapshot import Snapshot

DATABASE = "00000000-0000-4000-8000-000000000001"
BLOCK_ROWS = 16


def vectors_of(numbers: Sequence[int]) -> NDArray[np.float32]:
    return np.outer(numbers, [1.0, 0.5, 0.25]).astype(np.float32)


def append(matrix: SharedMatrix, first: int, count: int) -> None:
    """Append faces whose ids, persons and vectors are told by their numbers."""
    numbers = range(first, first + count)
    ids, persons = [1000 - number for number in numbers], [number % 3 for number in numbers]
    matrix.append(matrix.make_records(numbers, ids, FACE, vectors_of(numbers), persons))


def remove(matrix: SharedMatrix, number: int, *ids: int) -> None:
    numbers = range(number, number + len(ids))
    matrix.append(matrix.make_records(numbers, ids, REMOVED, np.zeros((len(ids), 3), np.float32)))


def found(snapshot: Snapshot) -> list[int]:
    """The ids of the faces that count, in the order of their rows."""
    return [int(i) for rows in snapshot.rows(0, snapshot.count) for i in rows.face_ids[rows.counts]]


def confirm(snapshot: Snapshot, count: int) -> None:
    """Expect the rows 1 to count, as `append` makes them."""
    assert (snapshot.count, snapshot.faces, snapshot.last_number) == (count, count, count)
    rows, numbers = list(snapshot.rows(0, count)), range(1, count + 1)
    vectors = vectors_of(numbers)
    assert np.array_equal(np.concatenate([r.vectors for r in rows]), vectors)
    assert found(snapshot) == [1000 - number for number in numbers]
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    assert np.array_equal(np.concatenate([r.squares for r in rows]), squares)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.matrix"


@pytest.fixture
def open_matrix(path: Path) -> Callable[[], SharedMatrix]:
    return lambda: SharedMatrix(path, "model", 3, BLOCK_ROWS)


@pytest.fixture
def matrix(open_matrix: Callable[[], SharedMatrix]) -> SharedMatrix:
    matrix = open_matrix()
    matrix.reset(DATABASE)
    return matrix


def test_no_file_is_missing(open_matrix: Callable[[], SharedMatrix]) -> None:
    with pytest.raises(Missing):
        open_matrix().snapshot()


def test_rows_are_read_as_they_were_appended(
    matrix: SharedMatrix, open_matrix: Callable[[], SharedMatrix]
) -> None:
    reader, done = open_matrix(), 0
    for count in (1, 14, 1, 1, 15, 16, 100, 3):
        append(matrix, done + 1, count)
        done += count
        for each in (matrix, reader, open_matrix()):
            confirm(each.snapshot(), done)


def test_an_older_snapshot_stays_as_it_is(matrix: SharedMatrix) -> None:
    append(matrix, 1, 20)
    older = matrix.snapshot()
    append(matrix, 21, 500)
    matrix.reset(DATABASE)
    confirm(older, 20)
    assert matrix.snapshot().count == 0


def test_parts_of_the_rows_are_those_asked_for(matrix: SharedMatrix) -> None:
    append(matrix, 1, 50)
    snapshot = matrix.snapshot()
    for first, last in ((0, 50), (0, 0), (15, 17), (16, 32), (49, 50), (40, 99)):
        ids = [int(i) for rows in snapshot.rows(first, last) for i in rows.face_ids]
        assert ids == [1000 - number for number in range(first + 1, min(last, 50) + 1)]


@pytest.mark.parametrize("count", [1, 5, 40])
def test_a_writer_that_ends_at_any_write_publishes_nothing_and_spoils_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, open_matrix: Callable[[], SharedMatrix], count: int
) -> None:
    class Killed(BaseException):
        pass

    write, allowed = os.pwrite, 0

    def write_or_die(descriptor: int, data: bytes, at: int) -> int:
        nonlocal allowed
        if allowed == 0:
            write(descriptor, data[: len(data) // 2], at)
            raise Killed
        allowed -= 1
        return write(descriptor, data, at)

    for survived in range(100):
        matrix = open_matrix()
        matrix.reset(DATABASE)
        append(matrix, 1, 11)
        allowed = survived
        try:
            with monkeypatch.context() as patch:
                patch.setattr(os, "pwrite", write_or_die)
                append(matrix, 12, count)
        except Killed:
            confirm(matrix.snapshot(), 11)
            confirm(open_matrix().snapshot(), 11)
        else:
            assert survived >= 7
            return
        other = open_matrix()
        append(other, 12, 3)  # other rows than the dead writer's, as a batch may be cut otherwise
        append(other, 15, 60)
        confirm(matrix.snapshot(), 74)
        confirm(open_matrix().snapshot(), 74)
    pytest.fail("the append never ended")


def test_bytes_beyond_the_published_rows_are_harmless(
    path: Path, matrix: SharedMatrix, open_matrix: Callable[[], SharedMatrix]
) -> None:
    append(matrix, 1, 16)
    end = path.stat().st_size
    append(matrix, 17, 1)
    with path.open("r+b") as file:
        file.seek(0, 2)
        file.write(os.urandom(20_000))
    append(matrix, 18, 100)
    confirm(open_matrix().snapshot(), 117)
    assert end < path.stat().st_size


def test_a_seal_blesses_no_damage(path: Path, matrix: SharedMatrix) -> None:
    append(matrix, 1, 10)
    offset = matrix.snapshot().file.layout.offsets["vector"]
    with path.open("r+b") as file:
        file.seek(BLOCKS_AT + offset)
        file.write(b"\x01\x02\x03")
    with pytest.raises(Damaged):
        append(matrix, 11, 10)


@pytest.mark.parametrize("published", [0, 2, 2**40 - 1])
def test_a_published_number_that_somebody_else_wrote_is_damage(
    path: Path, matrix: SharedMatrix, published: int
) -> None:
    append(matrix, 1, 10)
    matrix.snapshot()
    with path.open("r+b") as file:
        file.seek(PUBLISHED_AT)
        file.write(published.to_bytes(8, "little"))
    with pytest.raises(Damaged):
        matrix.snapshot()


def test_another_models_file_is_damage(path: Path, matrix: SharedMatrix) -> None:
    for model_id, dimension in (("other", 3), ("model", 4)):
        with pytest.raises(Damaged, match="another model"):
            SharedMatrix(path, model_id, dimension, BLOCK_ROWS).snapshot()


def test_a_file_with_blocks_of_another_size_is_used_as_it_is(path: Path, matrix: SharedMatrix) -> None:
    append(matrix, 1, 50)
    other = SharedMatrix(path, "model", 3, 4096)
    append(other, 51, 50)
    confirm(matrix.snapshot(), 100)


def test_left_over_new_files_are_cleared_away(path: Path, matrix: SharedMatrix) -> None:
    stale = path.with_name(f"{path.name}.0123.new")
    stale.write_bytes(b"half a header")
    matrix.reset(DATABASE)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_newest_face_is_found_behind_markers(matrix: SharedMatrix) -> None:
    assert len(matrix.snapshot().newest_rows(5)) == 0
    append(matrix, 1, 3)
    matrix.append(matrix.make_records(range(4, 40), [0] * 36, MARKER, np.zeros((36, 3), np.float32)))
    snapshot = matrix.snapshot()
    (face,) = snapshot.newest_rows(5)
    assert (face["number"], face["face_id"]) == (3, 997)
    assert (snapshot.count, snapshot.faces, snapshot.last_number) == (39, 3, 39)


@pytest.mark.parametrize("at_once", [1, 70])
def test_a_removed_face_counts_no_longer_and_may_come_back(
    matrix: SharedMatrix, open_matrix: Callable[[], SharedMatrix], at_once: int
) -> None:
    append(matrix, 1, 100)
    before = matrix.snapshot()
    gone = [1000 - number for number in range(5, 5 + at_once)]
    remove(matrix, 101, *gone)
    left = [face for face in found(before) if face not in gone]
    for each in (matrix, open_matrix()):
        snapshot = each.snapshot()
        assert found(snapshot) == left
        assert snapshot.faces == 100 - at_once
    assert len(found(before)) == 100, "an older snapshot stays as it is"
    matrix.append(matrix.make_records([200, 201], [995, 994], FACE, vectors_of([1, 2])))
    for each in (matrix, open_matrix()):
        assert found(each.snapshot()) == [face for face in left if face != 994] + [995, 994]


def test_the_removals_after_the_newest_face_are_told(matrix: SharedMatrix) -> None:
    append(matrix, 1, 20)
    remove(matrix, 21, 980, 1, 990, 2)
    rows = matrix.snapshot().newest_rows(2)
    assert [(int(row["number"]), int(row["face_id"])) for row in rows] == [(19, 981), (23, 990), (24, 2)]


def test_a_tidy_file_has_its_faces_and_little_else(
    matrix: SharedMatrix, open_matrix: Callable[[], SharedMatrix], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.search.matrix._SPARE_ROWS", 3)
    monkeypatch.setattr("facesearch.search.matrix._KEPT_REMOVALS", 2)
    append(matrix, 1, 100)
    reader = open_matrix().snapshot()
    remove(matrix, 101, *range(901, 913))
    assert not matrix.tidy()
    remove(matrix, 113, 913)
    matrix.append(matrix.make_records([130], [0], MARKER, np.zeros((1, 3), np.float32)))
    before = matrix.snapshot()
    assert matrix.tidy()
    for each in (matrix, open_matrix()):
        after = each.snapshot()
        assert (after.count, after.faces, after.last_number) == (87 + 2 + 1, 87, 130)
        assert found(after) == found(before)
        assert [int(row["face_id"]) for row in after.newest_rows(9)] == [900, 912, 913]
        assert np.array_equal(
            after.wanted(FaceFilter(persons=frozenset({1}))), after.records(np.arange(90))["person"] == 1
        )
    assert len(found(reader)) == 100
    assert not matrix.tidy()
    append(matrix, 131, 1)
    assert found(open_matrix().snapshot()) == [*found(before), 869]


def test_a_file_gets_a_first_stage_once_it_has_enough_faces_and_another_when_it_has_grown(path: Path) -> None:
    matrix = SharedMatrix(path, "model", 3, BLOCK_ROWS, fit_from=50)
    matrix.reset(DATABASE)
    append(matrix, 1, 49)
    assert not matrix.tidy()
    append(matrix, 50, 1)
    assert matrix.tidy()
    append(matrix, 51, 149)
    assert not matrix.tidy()
    encoder = matrix.snapshot().file.encoder
    assert encoder is not None
    assert encoder.fitted_on == 50
    (*_, rows) = matrix.snapshot().rows(0, 199)
    assert rows.codes is not None
    codes = encoder.encode_rows(rows.vectors)
    assert np.array_equal(rows.codes.first[: len(codes.first)], codes.first)
    assert np.array_equal(rows.codes.rest[: len(codes.rest)], codes.rest)
    assert np.array_equal(rows.codes.half, codes.half)
    assert np.array_equal(rows.codes.whole_half, codes.whole_half)
    append(matrix, 200, 1)
    assert matrix.tidy()
    encoder = SharedMatrix(path, "model", 3).snapshot().file.encoder
    assert encoder is not None
    assert encoder.fitted_on == 200
    confirm(matrix.snapshot(), 200)


def test_a_damaged_encoder_is_damage(path: Path) -> None:
    matrix = SharedMatrix(path, "model", 3, BLOCK_ROWS, fit_from=50)
    matrix.reset(DATABASE)
    append(matrix, 1, 50)
    assert matrix.tidy()
    with path.open("r+b") as file:
        file.seek(BLOCKS_AT + 20)
        file.write(b"\x01\x02\x03")
    with pytest.raises(Damaged, match="encoder"):
        SharedMatrix(path, "model", 3, BLOCK_ROWS).snapshot()
