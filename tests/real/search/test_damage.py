"""A copy that was damaged in any way is found out and built anew, or the damage changes no answer."""

import logging
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesearch.search import ExactIndex
from facesearch.search.layout import BLOCKS_AT, PAGE_BYTES, PUBLISHED_AT
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import draw

DIMENSION = 4
ROWS = 150


def make(directory: Path, model_id: str = MODEL, dimension: int = DIMENSION) -> ExactIndex:
    return ExactIndex(directory, model_id, dimension, InlinePool(), 0, block_rows=64)


@pytest.fixture
def history() -> FaceHistory:
    history = FaceHistory()
    history.add(draw(ROWS, 1, DIMENSION))
    return history


@pytest.fixture
def file(tmp_path: Path, history: FaceHistory) -> Path:
    make(tmp_path).catch_up(history)
    (file,) = tmp_path.glob("*.matrix")
    return file


def confirm(index: ExactIndex, history: FaceHistory) -> None:
    """Expect right answers now, and after more faces."""
    probes = draw(2, 2, DIMENSION)
    for _ in range(2):
        index.catch_up(history)
        assert index.search(probes, 1000, 2.0) == history.nearest(probes, 1000, 2.0)
        history.add(draw(70, 3, DIMENSION))


def flip(file: Path, at: int, mask: int = 0x01) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= mask
    file.write_bytes(data)


def write_at(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as target:
        target.seek(at)
        target.write(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "magic": lambda file: flip(file, 3),
    "version": lambda file: flip(file, 8),
    "header's text": lambda file: flip(file, 60),
    "published word": lambda file: flip(file, PUBLISHED_AT),
    "check of the published word": lambda file: flip(file, PUBLISHED_AT + 7),
    "published word of zeros": lambda file: write_at(file, PUBLISHED_AT, bytes(8)),
    "seal": lambda file: flip(file, BLOCKS_AT),
    "first block": lambda file: flip(file, BLOCKS_AT + 100),
    "first block of zeros": lambda file: write_at(file, BLOCKS_AT, bytes(PAGE_BYTES)),
    "newest row": lambda file: flip(file, file.stat().st_size // PAGE_BYTES * PAGE_BYTES - 4096 + 64),
    "all of it": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "emptied": lambda file: file.write_bytes(b""),
    "cut behind the header": lambda file: file.write_bytes(file.read_bytes()[: BLOCKS_AT + 5]),
    "cut in the header": lambda file: file.write_bytes(file.read_bytes()[:50]),
    "cut in the blocks": lambda file: file.write_bytes(file.read_bytes()[:-5000]),
    "another file": lambda file: file.write_text("notes\n" * 5000),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_at_the_next_start_and_logged(
    tmp_path: Path, file: Path, history: FaceHistory, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGE[what](file)
    with caplog.at_level(logging.WARNING):
        confirm(make(tmp_path), history)
    assert [r.message.partition(": ")[0] for r in caplog.records] == [
        f"The search index of model {MODEL} is built anew"
    ]
    assert str(tmp_path) not in caplog.text


def test_random_bytes_and_cuts_never_change_an_answer(
    tmp_path: Path, file: Path, history: FaceHistory
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # shown where the test fails
    chance = random.Random(seed)
    good = file.read_bytes()
    for _ in range(150):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            at, length = chance.randrange(len(data)), chance.choice([1, 8, 100, 5000])
            data[at : at + length] = chance.randbytes(len(data[at : at + length]))
        if chance.random() < 0.4:
            del data[chance.randrange(len(data)) :]
        file.write_bytes(data)
        confirm(make(tmp_path), history)
        history.forget_after(ROWS)


@pytest.mark.parametrize(("model_id", "dimension"), [("other-model", DIMENSION), (MODEL, DIMENSION + 1)])
def test_a_file_of_another_model_in_the_place_of_ours_is_built_anew(
    tmp_path: Path, file: Path, history: FaceHistory, model_id: str, dimension: int
) -> None:
    other = FaceHistory(history.identity)
    other.add(draw(ROWS, 4, dimension), model_id=model_id)
    make(tmp_path / "other", model_id, dimension).catch_up(other)
    (foreign,) = (tmp_path / "other").glob("*.matrix")
    file.write_bytes(foreign.read_bytes())
    confirm(make(tmp_path), history)


def test_a_file_of_another_database_is_built_anew(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = FaceHistory("00000000-0000-4000-8000-000000000009")
    other.add(draw(ROWS, 5, DIMENSION))
    confirm(make(tmp_path), other)
    assert "belongs to another database" in caplog.text


def test_whoever_runs_already_follows_to_the_file_that_another_built_anew(
    tmp_path: Path, file: Path, history: FaceHistory
) -> None:
    running = make(tmp_path)
    running.catch_up(history)
    held = file.read_bytes()
    replaced = file.with_suffix(".copy")
    replaced.write_bytes(held[: PUBLISHED_AT + 3])
    replaced.rename(file)
    confirm(make(tmp_path), history)
    confirm(running, history)
    assert np.array_equal([running.count()], [history.newest - 70])
