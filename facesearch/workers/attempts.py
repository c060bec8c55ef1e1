"""One try of a task, and how it travels from a pool's child to the server.

The children import this before anything else: it must not pull in numeric libraries.
"""

import os.path
import pickle
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from facesearch.errors import FacesearchError

FRAMES_NAMED = 5


class Attempt(NamedTuple):
    """A task's value, or its error of `facesearch.errors`, or a line for the log about any other failure."""

    value: Any = None
    error: FacesearchError | None = None
    failure: str | None = None


def attempt(task: Callable[[Any], Any], item: Any) -> Attempt:
    """Run a task on one item; nothing that it raises gets out."""
    try:
        return Attempt(value=task(item))
    except FacesearchError as error:
        return Attempt(error=error)
    except (Exception, SystemExit) as error:  # libraries that miss a file call exit()
        return Attempt(failure=describe(error))


def describe(error: BaseException) -> str:
    """Say what was raised and where, without the message: it may quote a password or a client's data."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_NAMED:]
    places = " > ".join(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places or 'an unknown place'}"


def name_of(task: Callable[..., Any]) -> str:
    """Return a task's name for the log: of the function, or of the object's class."""
    return str(getattr(task, "__qualname__", None) or type(task).__qualname__)


def pack(done: Attempt) -> bytes:
    """Turn an attempt into bytes; one that cannot be turned becomes a failure that says so."""
    try:
        return pickle.dumps((done.value, _take_apart(done.error), done.failure), protocol=5)
    except Exception as error:
        return pickle.dumps((None, None, f"its result cannot be sent: {describe(error)}"), protocol=5)


def unpack(packed: bytes) -> Attempt:
    """Turn bytes of `pack` into the attempt; what cannot be read becomes a failure that says so."""
    try:
        value, parts, failure = pickle.loads(packed)  # noqa: S301  written by our own child
        return Attempt(value, _put_together(*parts) if parts else None, failure)
    except Exception as error:
        return Attempt(failure=f"its result cannot be read: {describe(error)}")


def _take_apart(error: FacesearchError | None) -> tuple[type, tuple[Any, ...], dict[str, Any]] | None:
    """Split an error into class, args and attributes: plain pickling would call `__init__` with the args,
    which fails for a subclass whose `__init__` takes something else."""
    if error is None:
        return None
    family = next(base for base in type(error).__mro__ if _can_be_sent(base))
    sendable = {name: value for name, value in vars(error).items() if _can_be_sent(value)}
    args = error.args if _can_be_sent(error.args) else (error.message,)
    return family, args, sendable


def _put_together(
    family: type[FacesearchError], args: tuple[Any, ...], rest: dict[str, Any]
) -> FacesearchError:
    error = family.__new__(family, *args)
    vars(error).update(rest)
    return error


def _can_be_sent(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:
        return False
    return True
