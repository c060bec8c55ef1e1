"""What a line of the log looks like: text for people, or one JSON object for programs.

A line says when, how grave, who, for which request, and what. Of an exception it has the type and the
place: its message may quote what a client sent, and its traceback names folders of the host. What a caller
hands over as `extra={"told": {...}}` becomes keys of the object.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from facesearch.timings import current

TEXT, JSON = FORMATS = ("text", "json")
ROOT = "facesearch"


class TextLines(logging.Formatter):
    """One line a record. Any thread may use it."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        request = _request_id()
        place = f"{record.process} {request}" if request else str(record.process)
        line = f"{when}Z {record.levelname.lower()} [{place}] {record.name}: {_message(record)}"
        return line if line.isprintable() else "".join(map(_printable, line))


class JsonLines(logging.Formatter):
    """One JSON object a record. Any thread may use it."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "request_id": _request_id(),
            "message": _message(record),
        }
        told = getattr(record, "told", None)
        if isinstance(told, dict):
            content |= {name: value for name, value in told.items() if name not in content}
        return json.dumps(content, default=str)


def lines(form: str) -> logging.Formatter:
    """The formatter of `text` or `json`."""
    return JsonLines() if form == JSON else TextLines()


class LogSetup:
    """This program's lines on standard error. Lives as long as the application that it was made for.

    What the server beside it says takes the same form. Whoever embeds the application and has handlers of
    their own at the root gets this program's lines there too.

    Args:
        form: `text` or `json`.
        level: the lowest level that is told: `debug`, `info`, `warning` or `error`.
    """

    def __init__(self, form: str, level: str) -> None:
        self._handler = logging.StreamHandler(sys.stderr)
        self._handler.setFormatter(lines(form))
        self._level = level
        self._before = logging.NOTSET

    def begin(self) -> None:
        """Begin to tell."""
        own = logging.getLogger(ROOT)
        self._before = own.level
        own.setLevel(self._level.upper())
        own.addHandler(self._handler)
        # uvicorn's own would say of each request what the access line of this program says.
        logging.getLogger("uvicorn.access").disabled = True
        for handler in logging.getLogger("uvicorn").handlers:
            handler.setFormatter(self._handler.formatter)

    def end(self) -> None:
        """Tell no more."""
        own = logging.getLogger(ROOT)
        own.removeHandler(self._handler)
        own.setLevel(self._before)
        logging.getLogger("uvicorn.access").disabled = False


def _request_id() -> str | None:
    note = current()
    return note.request_id if note is not None else None


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    return message if error is None else f"{message} {where(error)}"


def where(error: BaseException) -> str:
    """The type of an exception and where it was raised, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
