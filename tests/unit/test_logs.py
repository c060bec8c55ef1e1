import io
import json
import logging
import sys
from typing import Any

import pytest

from facesearch.logs import JSON, ROOT, TEXT, LogSetup, lines
from facesearch.timings import noted


def record(
    message: str, *arguments: object, error: Exception | None = None, **more: Any
) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("facesearch.some", logging.WARNING, "x.py", 1, message, arguments, exc_info)
    vars(made).update(more)
    return made


def raised(message: str) -> Exception:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_a_line_of_json_says_when_who_for_whom_and_what() -> None:
    with noted("request-7"):
        told = json.loads(lines(JSON).format(record("%d faces", 3)))
    when = told.pop("time")
    assert when.endswith("+00:00")
    assert told.pop("process") > 0
    assert told == {
        "level": "warning",
        "logger": "facesearch.some",
        "request_id": "request-7",
        "message": "3 faces",
    }


def test_what_is_told_beside_the_message_becomes_keys_and_hides_none() -> None:
    told = json.loads(lines(JSON).format(record("x", told={"route": "/v1/info", "ms": 1.5, "message": "y"})))
    assert (told["route"], told["ms"], told["message"]) == ("/v1/info", 1.5, "x")
    assert told["request_id"] is None


def test_a_line_of_text_says_the_same() -> None:
    with noted("request-7"):
        line = lines(TEXT).format(record("%d faces", 3))
    assert line.endswith("request-7] facesearch.some: 3 faces")
    assert " warning [" in line
    assert "[None" not in lines(TEXT).format(record("x"))


@pytest.mark.parametrize("form", [TEXT, JSON])
def test_a_record_is_one_line_whatever_it_says(form: str) -> None:
    line = lines(form).format(record("a\nb\r\n\ud800 \u2028c"))
    assert len(line.splitlines()) == 1
    line.encode("utf-8")


@pytest.mark.parametrize("form", [TEXT, JSON])
def test_of_an_exception_the_type_and_the_place_are_told_and_no_more(form: str) -> None:
    line = lines(form).format(record("It failed:", error=raised("a secret")))
    assert "It failed: ValueError in raised, line " in line
    assert "secret" not in line
    assert "Traceback" not in line
    assert __file__ not in line


def test_lines_go_to_standard_error_from_the_level_on_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    setup = LogSetup(JSON, "info")
    log = logging.getLogger(f"{ROOT}.some")
    before = logging.getLogger(ROOT).level
    setup.begin()
    try:
        log.debug("too quiet")
        log.info("told")
        assert not logging.getLogger("uvicorn.access").isEnabledFor(logging.INFO)
    finally:
        setup.end()
    log.error("too late")
    assert [json.loads(line)["message"] for line in written.getvalue().splitlines()] == ["told"]
    assert logging.getLogger(ROOT).level == before


def test_the_server_beside_it_takes_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(io.StringIO())
    monkeypatch.setattr(logging.getLogger("uvicorn"), "handlers", [handler])
    setup = LogSetup(JSON, "info")
    setup.begin()
    setup.end()
    assert json.loads(handler.format(record("up")))["message"] == "up"
