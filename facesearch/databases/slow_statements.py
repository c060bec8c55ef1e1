"""Telling the log which statements take long; of their values nothing."""

import logging
import time
from typing import Any

from sqlalchemy import Engine, event

_LONGEST_TEXT = 500
_BEGUN = "facesearch_begun"

_log = logging.getLogger(__name__)


def tell_slow_statements(engine: Engine, limit_ms: float) -> None:
    """Have statements that take longer logged as a warning, by the text that the database was sent.

    Values are bound, and so no part of that text.
    """

    def begin(connection: Any, *_: Any) -> None:
        connection.info[_BEGUN] = time.perf_counter()

    def end(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        took_ms = (time.perf_counter() - connection.info.pop(_BEGUN, time.perf_counter())) * 1000
        if took_ms > limit_ms:
            text = " ".join(statement[:_LONGEST_TEXT].split())
            cut = "..." if len(statement) > _LONGEST_TEXT else ""
            told = {"ms": round(took_ms, 1), "statement": f"{text}{cut}"}
            _log.warning("Slow statement, %.0f ms: %s%s", took_ms, text, cut, extra={"told": told})

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
