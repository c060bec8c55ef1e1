import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.search.layout import BLOCKS_AT, FACE, PUBLISHED_AT, Damaged, Missing
from facesearch.search.matrix import SharedMatrix, make_records
from facesearch.search.snapshot import Snapshot

DATABASE = "00000000-0000-4000-8000-000000000001"
BLOCK_ROWS = 16


def records(first: int, count: int) -> NDArray[np.void]:
    """Rows whose vectors are told by their numbers."""
    numbers = list(range(first, first + count))
    vectors = np.outer(numbers, [1.0, 0.5, 0.25]).astype(np.float32)
    return make_records(numbers, [1000 - number for number in numbers], FACE, vectors)


def confirm(snapshot: Snapshot, count: int) -> None:
    """Expect the rows 1 to count, as `records` makes them."""
    assert (snapshot.count, snapshot.faces, snapshot.last_number) == (count, count, count)
    rows = list(snapshot.rows(0, count))
    expected = records(1, count)
    assert np.array_equal(np.concatenate([r.vectors for r in rows]), expected["vector"])
    assert np.array_equal(np.concatenate([r.face_ids for r in rows]), expected["face_id"])
    assert np.array_equal(np.concatenate([r.squares for r in rows]), expected["square"])


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
        matrix.append(records(done + 1, count))
        done += count
        for each in (matrix, reader, open_matrix()):
            confirm(each.snapshot(), done)


def test_an_older_snapshot_stays_as_it_is(matrix: SharedMatrix) -> None:
    matrix.append(records(1, 20))
    older = matrix.snapshot()
    matrix.append(records(21, 500))
    matrix.reset(DATABASE)
    confirm(older, 20)
    assert matrix.snapshot().count == 0


def test_parts_of_the_rows_are_those_asked_for(matrix: SharedMatrix) -> None:
    matrix.append(records(1, 50))
    snapshot = matrix.snapshot()
    for first, last in ((0, 50), (0, 0), (15, 17), (16, 32), (49, 50), (40, 99)):
        found = [int(i) for rows in snapshot.rows(first, last) for i in rows.face_ids]
        assert found == [1000 - number for number in range(first + 1, min(last, 50) + 1)]


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
        matrix.append(records(1, 11))
        allowed = survived
        try:
            with monkeypatch.context() as patch:
                patch.setattr(os, "pwrite", write_or_die)
                matrix.append(records(12, count))
        except Killed:
            confirm(matrix.snapshot(), 11)
            confirm(open_matrix().snapshot(), 11)
        else:
            assert survived >= 7
            return
        other = open_matrix()
        other.append(records(12, 3))  # other rows than the dead writer's, as a batch may be cut otherwise
        other.append(records(15, 60))
        confirm(matrix.snapshot(), 74)
        confirm(open_matrix().snapshot(), 74)
    pytest.fail("the append never ended")


def test_bytes_beyond_the_published_rows_are_harmless(
    path: Path, matrix: SharedMatrix, open_matrix: Callable[[], SharedMatrix]
) -> None:
    matrix.append(records(1, 16))
    end = path.stat().st_size
    matrix.append(records(17, 1))
    with path.open("r+b") as file:
        file.seek(0, 2)
        file.write(os.urandom(20_000))
    matrix.append(records(18, 100))
    confirm(open_matrix().snapshot(), 117)
    assert end < path.stat().st_size


def test_a_seal_blesses_no_damage(path: Path, matrix: SharedMatrix) -> None:
    matrix.append(records(1, 10))
    offset = matrix.snapshot().file.layout.offsets["vector"]
    with path.open("r+b") as file:
        file.seek(BLOCKS_AT + offset)
        file.write(b"\x01\x02\x03")
    with pytest.raises(Damaged):
        matrix.append(records(11, 10))


@pytest.mark.parametrize("published", [0, 2, 2**40 - 1])
def test_a_published_number_that_somebody_else_wrote_is_damage(
    path: Path, matrix: SharedMatrix, published: int
) -> None:
    matrix.append(records(1, 10))
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
    matrix.append(records(1, 50))
    other = SharedMatrix(path, "model", 3, 4096)
    other.append(records(51, 50))
    confirm(matrix.snapshot(), 100)


def test_left_over_new_files_are_cleared_away(path: Path, matrix: SharedMatrix) -> None:
    stale = path.with_name(f"{path.name}.0123.new")
    stale.write_bytes(b"half a header")
    matrix.reset(DATABASE)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_newest_face_is_found_behind_markers(matrix: SharedMatrix) -> None:
    assert matrix.snapshot().last_face() is None
    matrix.append(records(1, 3))
    matrix.append(make_records(list(range(4, 40)), [0] * 36, 2, np.zeros((36, 3), np.float32)))
    snapshot = matrix.snapshot()
    face = snapshot.last_face()
    assert face is not None
    assert (face["number"], face["face_id"]) == (3, 997)
    assert (snapshot.count, snapshot.faces, snapshot.last_number) == (39, 3, 39)
