"""Looks at a copy of the gallery as it lies on the disk; changes nothing."""

import os
from pathlib import Path

from facesearch.records import OK, PROBLEM, WARNING, Finding
from facesearch.search.exact import ExactIndex
from facesearch.search.layout import Damaged, Missing, record_type

_REBUILT = "The next search builds it anew from the database, which takes a few seconds for a million faces."


def inspect_index(index: ExactIndex, database_id: str | None, newest: int | None, faces: int) -> Finding:
    """Say whether a copy can be used, and is level with the database.

    Args:
        database_id, newest: the database's id and newest change; None where that is not known.
        faces: how many the database holds.
    """
    path = index.matrix.path
    if (finding := _folder(path.parent)) is not None:
        return finding
    try:
        snapshot = index.matrix.snapshot()
    except Missing:
        return Finding("index", OK, "There is no copy of the gallery yet; the first search makes it.")
    except Damaged as damage:
        return Finding("index", WARNING, f"The copy of the gallery cannot be used: {damage}.", _REBUILT)
    except OSError as error:
        return Finding(
            "index",
            PROBLEM,
            f"The copy of the gallery cannot be read: {error.strerror}.",
            f"Give the service's user the files in {path.parent}, or delete them: they are made anew.",
        )
    if not os.access(path, os.W_OK):
        return Finding(
            "index",
            PROBLEM,
            "The copy of the gallery cannot be written by this user.",
            f"Give the service's user the files in {path.parent}, or delete them: they are made anew.",
        )
    held = f"{snapshot.faces:,} faces, each with the right checksum"
    if newest is None:
        return Finding("index", OK, f"{held}; the database was not there to compare it with.")
    if snapshot.database_id != database_id:
        return Finding("index", WARNING, "The copy is another database's.", _REBUILT)
    if snapshot.last_number > newest:
        return Finding("index", WARNING, "The copy is newer than the database, a restored one.", _REBUILT)
    behind = newest - snapshot.last_number
    if behind:
        return Finding("index", OK, f"{held}; {behind:,} changes behind, which the next search takes over.")
    if snapshot.faces != faces:
        return Finding(
            "index",
            PROBLEM,
            f"The copy holds {snapshot.faces:,} faces, and the database {faces:,}.",
            f"Stop the service and delete the files in {path.parent}: they are made anew.",
        )
    return Finding("index", OK, f"{held}, level with the database.")


def index_bytes(dimension: int, faces: int, coded_from: int) -> int:
    """How large the copy of so many faces is; from `coded_from` faces on it has codes beside the vectors."""
    row = record_type(dimension).itemsize
    # Of each number a code of one byte, for most models.
    return faces * (row + (dimension + 8 if faces >= coded_from else 0))


def _folder(folder: Path) -> Finding | None:
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "index",
            PROBLEM,
            "This user may not write the index's folder.",
            f"Give {folder} to the user that the service runs as.",
        )
    return None
