"""Searches byte by byte, wherever a service keeps anything, for what is to be gone."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mysql.connector
import numpy as np
from numpy.typing import NDArray

from facesearch.config import DatabaseSettings

Traces = Mapping[str, Iterable[bytes]]


def of_vector(embedding: NDArray[np.float32]) -> list[bytes]:
    """Every two consecutive numbers of an embedding, as they lie in a row, and as they lie in a column."""
    data = embedding.astype("<f4").tobytes()
    return [data[at : at + 8] for at in range(0, len(data) - 4, 4)]


def of_bytes(data: bytes) -> list[bytes]:
    """Samples of a file's bytes, from its middle: its head may be that of many files."""
    first, last = len(data) // 8, len(data) - 16
    return [data[at : at + 16] for at in range(first, last, max(1, (last - first) // 20))]


def of_text(text: str) -> list[bytes]:
    """A text as it may be written down."""
    escaped = text.encode("ascii", "backslashreplace")
    return [text.encode(), escaped, text.encode("utf-16-le")]


def in_files(folder: Path, traces: Traces) -> dict[str, list[str]]:
    """Return which traces are in which files, of all that lie in a folder.

    But for networks, which are large, and there before any face.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".onnx", ".weights"):
            _note(found, str(path.relative_to(folder)), path.read_bytes(), traces)
    return found


def in_tables(settings: DatabaseSettings, traces: Traces) -> dict[str, list[str]]:
    """Return which traces are in which tables of a database of a server, as a query of each tells."""
    found: dict[str, list[str]] = {}
    connection = mysql.connector.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password.get_secret_value(),
        database=settings.database,
    )
    try:
        cursor: Any = connection.cursor(raw=True)
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM `{table.decode()}`")
            values: list[bytes] = [value for row in cursor.fetchall() for value in row if value is not None]
            _note(found, table.decode(), b"\n".join(values), traces)
    finally:
        connection.close()
    return found


def _note(found: dict[str, list[str]], where: str, content: bytes, traces: Traces) -> None:
    for name, parts in traces.items():
        if any(part in content for part in parts):
            found.setdefault(name, []).append(where)
