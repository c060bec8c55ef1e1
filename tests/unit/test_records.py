import dataclasses
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch import records
from facesearch.errors import BrokenImage
from facesearch.records import FILE_STATUSES, Box, BulkReport, Face, FileReport, Outcome, PhotoInfo

ALL = [r for _, r in inspect.getmembers(records, inspect.isclass) if dataclasses.is_dataclass(r)]


def test_a_box_counts_its_last_row_and_column() -> None:
    box = Box(top=10, right=29, bottom=39, left=20)
    assert (box.width, box.height, box.area) == (10, 30, 300)


def test_a_box_of_one_pixel_has_an_area() -> None:
    assert Box(top=5, right=5, bottom=5, left=5).area == 1


@pytest.mark.parametrize("record", ALL, ids=lambda record: record.__name__)
def test_a_record_is_frozen_and_takes_no_other_attribute(record: type) -> None:
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(record)


@pytest.mark.parametrize("record", ALL, ids=lambda record: record.__name__)
def test_a_record_with_an_array_is_not_compared_by_value(record: type) -> None:
    """An array's == is an array; Python would fail to take that for a truth value."""
    holding: set[Any] = {
        records.Embedding,
        records.Embedding | None,
        NDArray[np.uint8],
        NDArray[np.int64] | None,
        tuple[Face, ...],
    }
    holds_array = any(field.type in holding for field in dataclasses.fields(record))
    nested = any(field.type is Face for field in dataclasses.fields(record))
    assert record.__dataclass_params__.eq is not (holds_array or nested)  # type: ignore[attr-defined]


def test_a_face_goes_from_one_process_to_another() -> None:
    face = Face(Box(1, 2, 3, 0), np.arange(4, dtype=np.float32))
    arrived = pickle.loads(pickle.dumps(face))
    assert arrived.box == face.box
    assert arrived.embedding.tolist() == [0, 1, 2, 3]


def test_a_photo_may_say_nothing_of_time_and_place() -> None:
    info = PhotoInfo("a.jpg", 4, 3)
    assert (info.taken_at, info.location) == (None, None)


def test_a_report_counts_every_status_even_where_there_is_none() -> None:
    assert BulkReport(()).counts == dict.fromkeys(FILE_STATUSES, 0)


def test_a_report_counts_its_files() -> None:
    statuses = ["inserted", "failed", "inserted", "skipped"]
    report = BulkReport(tuple(FileReport(f"{n}.jpg", status) for n, status in enumerate(statuses)))
    assert report.counts == {"inserted": 2, "no_face": 0, "duplicate": 0, "failed": 1, "skipped": 1}


def test_an_outcome_gives_its_value_none_too() -> None:
    assert Outcome(7).unwrap() == 7
    nothing: Outcome[None] = Outcome(None)
    assert nothing.unwrap() is None


def test_an_outcome_raises_the_error_that_took_the_place_of_its_value() -> None:
    error = BrokenImage("It ends early.")
    outcome: Outcome[int] = Outcome(error=error)
    with pytest.raises(BrokenImage) as caught:
        outcome.unwrap()
    assert caught.value is error
