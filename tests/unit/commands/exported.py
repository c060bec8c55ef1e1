"""A command line on a data folder of its own, with a collection in its database."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from facesearch.bootstrap import reencoding
from facesearch.cli import main
from facesearch.databases import SQLImageDatabase, SQLiteImageDatabase
from facesearch.service import EncodePhotos
from facesearch.service.encoders import Encoders
from facesearch.workers import InlinePool
from tests.unit.service.parts import FakeKinds, open_image

Run = Callable[..., Result]


def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line on a folder."""
    config = folder / "config.json"
    config.write_text(json.dumps({"data_dir": "data"}))
    monkeypatch.setenv("FACESEARCH_CONFIG", str(config))

    def invoke(*arguments: Any, ends: int = 0, answers: str | None = None) -> Result:
        result = CliRunner().invoke(main, [*map(str, arguments)], input=answers, terminal_width=100)
        assert result.exit_code == ends, result.output
        return result

    return invoke


@contextmanager
def database_in(folder: Path) -> Iterator[SQLImageDatabase]:
    """The database of such a folder."""
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    with closing(SQLiteImageDatabase(folder / "data" / "facesearch.db")) as database:
        database.prepare()
        yield database


def with_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have reencodings made with two spaces of colours."""
    encoder = FakeKinds()
    monkeypatch.setattr(reencoding, "model_encoders", lambda _: Encoders(encoder))
    monkeypatch.setattr(reencoding, "worker_pool", lambda _: InlinePool())
    monkeypatch.setattr(
        reencoding, "EncodePhotos", lambda *_, **__: EncodePhotos(open_image, lambda: encoder)
    )
