"""Files that are wiped beside processes that write, by processes that die."""

import sqlite3
from contextlib import ExitStack
from pathlib import Path

from facesearch.config import DatabaseSettings, Settings
from tests.contracts.image_database import all_changes
from tests.real.databases.processes import add_and_remove, child, heard, opened, wipe_often


def test_whoever_dies_while_it_wipes_damages_nothing_and_blocks_nobody(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database=DatabaseSettings(engine="sqlite"))
    database = opened(settings)
    database.prepare()
    own: set[int] = set()
    with ExitStack() as stack:
        writers = [
            stack.enter_context(child(add_and_remove, settings, 30, name))[1] for name in ("one", "other")
        ]
        assert [heard(writer) for writer in writers] == ["ready", "ready"]
        for writer in writers:
            writer.send("go")
        for wipes in (1, 2, 4):
            with child(wipe_often, settings) as (process, wiper):
                for _ in range(wipes):
                    assert heard(wiper) == "wiped"
                process.kill()
                process.join(30)
        for writer in writers:
            while (said := heard(writer))[0] != "done":
                own = own | set(said[1]) if said[0] == "added" else own - set(said[1])
    database.wipe()
    assert set(database.get_faces(sorted(own))) == own
    assert {change.face_id for change in all_changes(database) if change.embedding is not None} == own
    database.close()
    connection = sqlite3.connect(settings.data_dir / "facesearch.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
