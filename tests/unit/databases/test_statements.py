from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.databases.statements import batches, checked_type, checked_value, condition_column
from facesearch.errors import InvalidParameter


@pytest.mark.parametrize(
    "sql_type",
    [
        "INTEGER",
        "VARCHAR(255) NOT NULL DEFAULT ''",
        "DECIMAL(10, 2)",
        "double precision",
        "BIGINT(20) DEFAULT -1",
    ],
)
def test_types_as_databases_spell_them_are_accepted(sql_type: str) -> None:
    assert checked_type(sql_type) == sql_type


@given(st.text(max_size=30), st.sampled_from(';"`(),/\\#\n\x00=@'))
def test_a_type_cannot_leave_its_place(text: str, character: str) -> None:
    with pytest.raises(InvalidParameter):
        checked_type(f"INTEGER {text}{character}{text}")


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (None, None),
        (True, 1),
        (-(2**63), -(2**63)),
        (np.float64(0.5), 0.5),
        (np.str_("x"), "x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (datetime(2026, 1, 2), datetime(2026, 1, 2)),
        (Decimal("1.5"), Decimal("1.5")),
    ],
)
def test_a_value_is_bound_as_a_plain_type(value: Any, bound: Any) -> None:
    assert checked_value(value) == bound
    assert type(checked_value(value)) is type(bound)


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        float("nan"),
        float("-inf"),
        Decimal("NaN"),
        "\ud800",
        object(),
        [1],
        np.float32(1),
    ],
)
def test_a_value_that_would_be_changed_on_its_way_is_refused(value: Any) -> None:
    with pytest.raises(InvalidParameter):
        checked_value(value)


@given(st.lists(st.integers(0, 3_000_000), max_size=40))
def test_batches_keep_every_row_and_stay_small(sizes: list[int]) -> None:
    rows = [{"id": n, "data": b"\x00" * size} for n, size in enumerate(sizes)]
    cut = list(batches(rows))
    assert [row for batch in cut for row in batch] == rows
    assert all(len(b) == 1 or sum(len(r["data"]) for r in b) <= 4 * 1024**2 for b in cut)


def test_a_batch_has_at_most_500_rows() -> None:
    assert [len(batch) for batch in batches([{"id": 1}] * 1_001)] == [500, 500, 1]


@pytest.mark.parametrize("key", ["age", "age >", "age>=", "age  <", "age <="])
def test_a_condition_names_its_column(key: str) -> None:
    assert condition_column(key) == "age"
