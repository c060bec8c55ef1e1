import threading

import pytest

from facesearch.errors import BrokenImage, Invalid
from facesearch.workers.attempts import Attempt, attempt, name_of, pack, unpack
from tests.contracts import worker_tasks as tasks


def test_an_attempt_is_the_same_after_its_journey() -> None:
    assert unpack(pack(Attempt(value={"a": (1, b"x")}))) == Attempt(value={"a": (1, b"x")})
    assert unpack(pack(Attempt(failure="ValueError"))) == Attempt(failure="ValueError")


def test_an_error_of_a_class_that_cannot_be_sent_arrives_as_its_nearest_family() -> None:
    class Local(BrokenImage):
        """A class that no other process can import."""

    error = unpack(pack(Attempt(error=Local("cut")))).error
    assert type(error) is BrokenImage
    assert error.message == "cut"


def test_an_attribute_that_cannot_be_sent_is_left_behind() -> None:
    error = Invalid("no")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    arrived = unpack(pack(Attempt(error=error))).error
    assert type(arrived) is Invalid
    assert arrived.message == "no"
    assert not hasattr(arrived, "lock")


def test_a_value_that_cannot_be_sent_is_a_failure() -> None:
    failure = unpack(pack(attempt(tasks.return_unpicklable, 1))).failure
    assert failure is not None
    assert "cannot be sent" in failure


def test_bytes_that_cannot_be_read_are_a_failure() -> None:
    failure = unpack(b"\x80garbage").failure
    assert failure is not None
    assert "cannot be read" in failure


def test_a_failure_names_the_exception_and_its_place_and_not_its_message() -> None:
    failure = attempt(tasks.raise_with_secret, 1).failure
    assert failure is not None
    assert failure.startswith("ValueError at ")
    assert "raise_with_secret" in failure
    assert "hunter2" not in failure


def test_an_interrupt_is_not_a_task_that_failed() -> None:
    def interrupted(_: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted, 1)


def test_tasks_are_named_by_function_or_class() -> None:
    assert name_of(tasks.double) == "double"
    assert name_of(tasks.Adder(1)) == "Adder"
