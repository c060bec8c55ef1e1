import inspect
import pickle
import re

import pytest

from facesearch import errors
from facesearch.errors import FaceNotFound, FacesearchError, Invalid, NotFound, TooLarge

ALL = [
    error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, FacesearchError)
]
FAMILIES = {"Invalid", "NotAllowed", "NotAuthenticated", "NotFound", "Conflict", "Unavailable"}


def test_the_drawn_tree_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = {}
    above: dict[int, str] = {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"(?:FacesearchError|([│ ]*[├└]── )(\w+))", line):
            depth, name = len(match[1] or "") // 4, match[2] or "FacesearchError"
            above[depth] = name
            drawn[name] = above[depth - 1] if depth else "Exception"
    assert drawn == {error.__name__: error.__bases__[0].__name__ for error in ALL}


def test_there_are_six_families() -> None:
    assert {error.__name__ for error in ALL if error.__bases__ == (FacesearchError,)} == FAMILIES


def test_codes_are_unique_and_stand_in_the_class_itself() -> None:
    codes = [error.__dict__["code"] for error in ALL]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_the_default_message_is_one_sentence(error: type[FacesearchError]) -> None:
    message = error().message
    assert message == str(error()) == (error.__doc__ or "").strip()
    assert re.fullmatch(r"[A-Z][^\n]*\.", message)


def test_a_message_of_its_own_takes_the_place_of_the_default() -> None:
    error = TooLarge("The photo has 9 bytes; 8 are allowed.")
    assert (error.message, str(error)) == ("The photo has 9 bytes; 8 are allowed.",) * 2


def test_a_family_catches_its_leaves() -> None:
    with pytest.raises(NotFound):
        raise FaceNotFound
    assert not issubclass(FaceNotFound, Invalid)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_an_error_keeps_its_message_from_one_process_to_another(error: type[FacesearchError]) -> None:
    arrived = pickle.loads(pickle.dumps(error("Seven is too many.")))
    assert (type(arrived), arrived.message) == (error, "Seven is too many.")


def test_an_error_comes_back_from_its_code_with_its_message() -> None:
    assert type(errors.error_of("broken_archive", "Cut.")) is errors.BrokenArchive
    assert errors.error_of("broken_archive", "Cut.").message == "Cut."
    assert type(errors.error_of("of a later version")) is errors.Unavailable
