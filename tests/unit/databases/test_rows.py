from datetime import datetime
from typing import Any

import numpy as np
import pytest

from facesearch.databases.rows import changes_of, edited_columns, row_of, vector_of
from facesearch.errors import Conflict, InvalidParameter
from facesearch.records import Box, Face, FaceEdit, Location, PhotoInfo
from tests.contracts.image_database import new_face


def test_a_vector_is_little_endian_float32() -> None:
    assert vector_of(np.array([1.0, -2.0], np.float32)) == bytes.fromhex("0000803f 000000c0")
    assert vector_of(np.array([1.0], ">f4")) == bytes.fromhex("0000803f")
    assert vector_of(np.arange(4, dtype=np.float32)[::2]) == bytes.fromhex("00000000 00000040")


def test_a_number_that_overflows_float32_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        vector_of(np.array([1e300]))


def entry(vector: bytes | None = bytes(8), dimension: int | None = 2, number: int = 1) -> tuple[Any, ...]:
    return (number, 7, 3, dimension, vector)


def test_changes_are_read_only_float32() -> None:
    [change] = changes_of([entry(bytes.fromhex("0000803f 000000c0"))])
    assert change.embedding is not None
    assert change.embedding.tolist() == [1.0, -2.0]
    assert change.embedding.dtype == np.float32
    assert not change.embedding.flags.writeable
    assert (change.number, change.face_id, change.person) == (1, 7, 3)


def test_removals_keep_their_place_among_additions() -> None:
    gone = [entry(None, None, number) for number in (2, 4)]
    changes = changes_of([entry(), gone[0], entry(number=3), gone[1]])
    assert [(c.number, c.embedding is None) for c in changes] == [
        (1, False),
        (2, True),
        (3, False),
        (4, True),
    ]
    assert [change.embedding for change in changes_of(gone)] == [None, None]
    assert len(changes_of([])) == 0


@pytest.mark.parametrize(
    "damaged",
    [entry(b"1234567"), entry(b""), entry(dimension=3), entry(dimension=1)],
)
def test_a_vector_of_a_wrong_length_is_an_error(damaged: tuple[Any, ...]) -> None:
    good, gone = entry(), entry(None, None)
    for rows in ([good, damaged], [damaged], [damaged, good], [gone, damaged, good]):
        with pytest.raises(Conflict):
            changes_of(rows)


def test_damage_that_keeps_the_total_length_is_an_error() -> None:
    with pytest.raises(Conflict):
        changes_of([entry(bytes(4)), entry(bytes(12))])


@pytest.mark.parametrize(
    "fields",
    [
        {"photo": PhotoInfo("x", 2**31, 1)},
        {"photo": PhotoInfo("x", 1, 1, "9" * 41)},
        {"photo": PhotoInfo("x", 1, 1, None, Location(90.1, 0))},
        {"photo": PhotoInfo("x", 1, 1, None, Location(0, float("nan")))},
        {"face": Face(Box(-(2**31) - 1, 1, 1, 1), np.zeros(3, np.float32))},
    ],
)
def test_values_that_fit_no_column_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        row_of(new_face(**fields), "m", datetime(2026, 1, 1))


@pytest.mark.parametrize(
    "metadata", [{"k": "x" * 16_384}, {"k": "\ud800"}, {"x" * 256: "k"}, {"k": 2**63}, {"k": float("nan")}]
)
def test_a_field_that_cannot_be_stored_is_named(metadata: dict[str, Any]) -> None:
    for edit, field in (
        (FaceEdit(frozenset({"metadata"}), None, metadata), "metadata"),
        (FaceEdit(frozenset({"external_id"}), "x" * 256), "external_id"),
    ):
        with pytest.raises(InvalidParameter) as refused:
            edited_columns(edit)
        assert refused.value.parameters == (field,)
