import logging
from contextlib import closing
from pathlib import Path

import pytest

from facesearch.config import LogSettings, Settings
from facesearch.databases import SQLiteDatabase, open_image_database
from facesearch.timings import noted


@pytest.mark.parametrize("limit_ms", [0.0, 60_000.0])
def test_a_statement_over_the_limit_is_told_without_its_values(
    tmp_path: Path, limit_ms: float, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(SQLiteDatabase(tmp_path / "some.db")) as database:
        database.tell_slow_statements(limit_ms)
        database.create("PEOPLE", {"NAME": "VARCHAR(40)"})
        database.insert("PEOPLE", [{"NAME": "Ada Lovelace"}])
        with caplog.at_level(logging.WARNING):
            database.select("PEOPLE", where={"NAME": ["Ada Lovelace", "Bob"]}, limit=77)
    told = [record for record in caplog.records if record.name.endswith("slow_statements")]
    assert bool(told) == (limit_ms == 0)
    for record in told:
        assert "Slow statement, " in record.getMessage()
        assert vars(record)["told"]["statement"] in record.getMessage()
    assert "Ada" not in caplog.text
    assert "77" not in caplog.text


def test_a_long_statement_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(SQLiteDatabase(tmp_path / "some.db")) as database:
        database.tell_slow_statements(0.0)
        database.create("NUMBERS", {"N": "INTEGER"})
        with caplog.at_level(logging.WARNING):
            database.select("NUMBERS", where={"N": list(range(2000))})
    (told,) = [
        record.getMessage()
        for record in caplog.records
        if "FROM" in record.getMessage() and "IN" in record.getMessage()
    ]
    assert told.endswith("...")
    assert len(told) < 600


def test_the_limit_is_the_configurations(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(data_dir=tmp_path, log=LogSettings(slow_statement_ms=0))
    with closing(open_image_database(settings)) as database, caplog.at_level(logging.WARNING):
        database.prepare()
    assert "Slow statement" in caplog.text


def test_verbs_and_transactions_are_a_stage_of_their_request(tmp_path: Path) -> None:
    with closing(SQLiteDatabase(tmp_path / "some.db")) as database:
        for work in (
            lambda: database.create("T", {"N": "INTEGER"}),
            lambda: database.insert("T", [{"N": 1}]),
            lambda: database.select("T"),
            lambda: database.update("T", {"N": 2}, {"N": 1}),
            lambda: database.delete("T", {"N": 2}),
            database.ping,
        ):
            with noted("a") as note:
                work()
            assert note.seconds["database"] > 0
        with noted("b") as note, database.transaction():
            begun = note.seconds["database"]
            assert begun > 0
        assert note.seconds["database"] > begun
