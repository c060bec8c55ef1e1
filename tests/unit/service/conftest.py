from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from facesearch.service import AGTAPI
from tests.unit.service.parts import Parts, SwitchedDatabase

NewDatabase = Callable[..., SwitchedDatabase]
Opened = Callable[..., AGTAPI]


def without_tidying(api: AGTAPI) -> AGTAPI:
    """Wait for its first tidying, which ends erasures and makes copies level, and have it do so no more."""
    api.imports.stop()
    api.imports.join()
    return api


@pytest.fixture
def new_database(tmp_path: Path) -> Iterator[NewDatabase]:
    """A function that makes an empty database; each is closed in the end."""
    with ExitStack() as made:

        def new(**arguments: Any) -> SwitchedDatabase:
            number = len(list(tmp_path.glob("*.db")))
            database = SwitchedDatabase(tmp_path / f"faces-{number}.db", **arguments)
            made.callback(database.close)
            database.prepare()
            return database

        yield new


@pytest.fixture
def opened(new_database: NewDatabase, tmp_path: Path) -> Iterator[Opened]:
    """A function that makes and opens an API of `Parts`; each is closed in the end."""
    with ExitStack() as made:

        def new(**parts: Any) -> AGTAPI:
            api = Parts(**{"database": parts.pop("database", None) or new_database(), **parts}).make(
                tmp_path / "imports"
            )
            made.callback(api.close)
            api.open()
            return api

        yield new
