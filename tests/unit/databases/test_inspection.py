"""What is seen of a database, on each engine, and that seeing changes nothing."""

import shutil
from contextlib import closing
from dataclasses import replace
from typing import cast

import pytest

from facesearch.config import DatabaseSettings, ServerSettings, Settings
from facesearch.databases import SQLImageDatabase, open_collection_store, open_image_database
from facesearch.databases.inspection import (
    CollectionState,
    granted,
    inspect_file,
    inspect_server,
    inspect_tables,
    state_of,
    why_unreachable,
)
from facesearch.databases.tables import SCHEMA_VERSION, VERSIONS
from facesearch.errors import Conflict, DatabaseUnavailable, FacesearchError
from facesearch.records import OK, PROBLEM, WARNING
from tests.contracts.new_faces import new_face
from tests.mariadb import MariaDB

ALL = {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX"}


def opened(settings: Settings, *, read_only: bool = True) -> closing[SQLImageDatabase]:
    return closing(cast(SQLImageDatabase, open_image_database(settings, read_only=read_only)))


@pytest.fixture
def prepared(database_settings: Settings) -> Settings:
    with opened(database_settings, read_only=False) as database:
        database.prepare()
    return database_settings


def test_what_a_database_holds(prepared: Settings) -> None:
    with opened(prepared) as database:
        empty = state_of(database)
        assert (empty.version, empty.faces) == (SCHEMA_VERSION, 0)
        assert empty.collections == (CollectionState(1, "default", None, 0, 0, 0),)
    with opened(prepared, read_only=False) as database:
        database.add_faces([new_face(), new_face()], "m")
    with opened(prepared) as database:
        state = state_of(database)
        dimension = len(new_face().face.embedding)
        assert state.collections == (CollectionState(1, "default", "m", dimension, 2, 2),)
        assert state.database_id == database.database_id()
        if prepared.database.engine == "mysql":
            # Zero is as good as any: both clocks are this machine's.
            assert state.clock_ahead_s is not None
            assert abs(state.clock_ahead_s) < 5
    assert inspect_tables(state, "x").message == f"x: version {SCHEMA_VERSION}, 2 faces of m."
    one = replace(state.collections[0], faces=1_000)
    for other, said in ((None, "1,002 faces in 2 collections of m"), ("n", "1,002 faces in 2 collections")):
        two = replace(state, collections=(*state.collections, replace(one, model_id=other)))
        assert inspect_tables(two, "x").message == f"x: version {SCHEMA_VERSION}, {said}."
    assert inspect_tables(replace(state, version="0001"), "x").state == WARNING
    assert inspect_tables(replace(state, version=""), "x").state == PROBLEM
    assert inspect_tables(replace(state, version=None), "x").state == OK


def test_what_several_collections_hold(prepared: Settings) -> None:
    with opened(prepared, read_only=False) as database:
        store = open_collection_store(database)
        store.add("empty", "n", 7)
        store.add("gone")
        guests = store.add("Gäste").number
        store.faces(guests).add_faces([new_face(), new_face(), new_face()], "m")
        database.add_faces([new_face()], "m")
        store.delete("gone")
        state = state_of(database)
    held = [(one.name, one.model_id, one.faces, one.newest_change) for one in state.collections]
    assert held == [("default", "m", 1, 4), ("empty", "n", 0, 0), ("Gäste", "m", 3, 3)]
    assert state.collections[1].dimension == 7
    assert state.faces == 4


def test_a_database_that_is_only_read_refuses_changes(prepared: Settings) -> None:
    with opened(prepared) as database, pytest.raises(FacesearchError):
        database.add_faces([new_face()], "m")
    with opened(prepared) as database:
        assert state_of(database).faces == 0


def test_older_tables_are_neither_migrated_nor_used(prepared: Settings) -> None:
    with opened(prepared, read_only=False) as database:
        database.update(VERSIONS, {"version_num": "0002"}, {"version_num": SCHEMA_VERSION})
    with opened(prepared) as database:
        assert state_of(database).version == "0002"
        with pytest.raises(Conflict, match="version 0002, and this program needs"):
            database.newest_change()
        assert state_of(database).version == "0002"


def test_no_tables_are_made(database_settings: Settings) -> None:
    if database_settings.database.engine == "sqlite":
        with (
            opened(database_settings) as database,
            pytest.raises(DatabaseUnavailable, match="no database yet"),
        ):
            state_of(database)
        assert not database_settings.data_dir.exists()
        return
    with opened(database_settings) as database:
        assert state_of(database).version is None
        with pytest.raises(Conflict, match="no tables yet"):
            database.newest_change()
        assert state_of(database).version is None


def test_a_newer_programs_database_is_refused(prepared: Settings) -> None:
    with opened(prepared, read_only=False) as database:
        database.update(VERSIONS, {"version_num": "9999"}, {"version_num": SCHEMA_VERSION})
    with opened(prepared) as database, pytest.raises(Conflict, match="newer version"):
        state_of(database)


def test_reading_sqlite_leaves_its_folder_as_it_was(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with opened(settings, read_only=False) as database:
        database.prepare()
    before = {path.name: path.read_bytes() for path in settings.data_dir.iterdir()}
    with opened(settings) as database:
        state_of(database)
        assert inspect_file(database, settings.data_dir / "facesearch.db").state == OK
    assert {path.name: path.read_bytes() for path in settings.data_dir.iterdir()} == before
    # And where a service holds it open, or was killed: the log stays, and what is in it is seen.
    with opened(settings, read_only=False) as service:
        service.add_faces([new_face()], "m")
        before = {path.name: path.read_bytes() for path in settings.data_dir.iterdir()}
        assert "facesearch.db-wal" in before
        with opened(settings) as database:
            assert state_of(database).faces == 1
        after = {path.name: path.read_bytes() for path in settings.data_dir.iterdir()}
        assert {n: c for n, c in after.items() if not n.endswith("-shm")} == {
            n: c for n, c in before.items() if not n.endswith("-shm")
        }


def test_the_log_of_a_service_that_was_killed_is_read_and_left(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    running, killed = (Settings(data_dir=tmp_path_factory.mktemp(name)) for name in ("running", "killed"))
    with opened(running, read_only=False) as service:
        service.prepare()
        service.add_faces([new_face()], "m")
        shutil.copytree(running.data_dir, killed.data_dir, dirs_exist_ok=True)
    before = {name: (killed.data_dir / name).read_bytes() for name in ("facesearch.db", "facesearch.db-wal")}
    with opened(killed) as database:
        assert state_of(database).faces == 1
    assert {name: (killed.data_dir / name).read_bytes() for name in before} == before


def test_a_damaged_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with opened(settings, read_only=False) as database:
        database.prepare()
        database.add_faces([new_face() for _ in range(200)], "m")
    file = settings.data_dir / "facesearch.db"
    content = bytearray(file.read_bytes())
    content[-8 * 4096 :] = bytes(8 * 4096)
    file.write_bytes(content)
    with opened(settings) as database:
        assert inspect_file(database, file).message == "The file is damaged."
    file.write_bytes(b"no database at all" * 400)
    with opened(settings) as database, pytest.raises(Conflict, match="damaged"):
        state_of(database)


@pytest.mark.mysql
def test_a_server_that_is_well(mariadb: MariaDB) -> None:
    settings = Settings(database=mariadb.new_database(), server=ServerSettings(workers=1))
    with opened(settings) as database:
        rights, server = inspect_server(database, settings)
    assert (rights.state, server.state) == (OK, OK), server
    assert "MariaDB" in server.message


@pytest.mark.mysql
def test_a_user_without_rights(mariadb: MariaDB) -> None:
    settings = Settings(database=mariadb.new_database())
    name = settings.database.user
    mariadb.execute(
        f"REVOKE ALL ON {name}.* FROM '{name}'@'%'", f"GRANT SELECT, INSERT ON {name}.* TO '{name}'@'%'"
    )
    with opened(settings) as database:
        rights, _ = inspect_server(database, settings)
    assert rights.state == PROBLEM
    assert rights.message == "This user lacks ALTER, CREATE, DELETE, INDEX, UPDATE."


@pytest.mark.mysql
def test_a_server_with_few_connections_and_another_collation(mariadb: MariaDB) -> None:
    settings = Settings(database=mariadb.new_database(), server=ServerSettings(workers=100))
    with opened(settings, read_only=False) as database:
        database.prepare()
        _, server = inspect_server(database, settings)
        assert (server.state, "max_connections" in server.message) == (WARNING, True)
        mariadb.execute(
            f"ALTER TABLE {settings.database.database}.FACESEARCH_PERSON"
            " CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
        )
        _, server = inspect_server(database, settings)
        assert (server.state, "another collation" in server.message) == (WARNING, True)


@pytest.mark.parametrize(
    ("lines", "rights"),
    [
        (["GRANT USAGE ON *.* TO `u`@`%`", "GRANT ALL PRIVILEGES ON `faces`.* TO `u`@`%`"], ALL),
        (["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], ALL),
        (["GRANT SELECT, INSERT ON `faces`.* TO `u`@`%`"], {"SELECT", "INSERT"}),
        (["GRANT SELECT ON `fa\\_ces`.* TO `u`@`%`"], set()),
        (["GRANT ALL PRIVILEGES ON `other`.* TO `u`@`%`"], set()),
        (["GRANT ALL PRIVILEGES ON `faces`.`one` TO `u`@`%`"], set()),
        (["GRANT `role`@`%` TO `u`@`%`"], set()),
    ],
)
def test_rights_are_read_from_grants(lines: list[str], rights: set[str]) -> None:
    assert granted(lines, "faces") & ALL == rights


def test_what_to_do_about_a_database_that_is_away() -> None:
    database = DatabaseSettings(engine="mysql", host="db.example", port=3307)
    finding = why_unreachable(DatabaseUnavailable(), Settings(database=database))
    assert finding.state == PROBLEM
    assert "db.example:3307" in (finding.advice or "")
    assert "facesearch.db" in (why_unreachable(DatabaseUnavailable(), Settings()).advice or "")
