"""Commands as somebody types them, on a real installation: with its service and without, whole and broken."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from facesearch.config import PREFIX
from facesearch.databases.tables import SCHEMA_VERSION
from tests.mariadb import MariaDB
from tests.real.test_service import mysql_settings
from tests.server import PROJECT_ROOT, Server, free_port

PICTURES = PROJECT_ROOT / "test_images"
OBAMA, OBAMA_AGAIN = PICTURES / "Barack_Obama_0001.jpg", PICTURES / "Barack_Obama_0002.jpg"
BIDEN = PICTURES / "Joe_Biden_0001.jpg"
LIMIT_S = 180
ON_SQLITE = pytest.mark.parametrize("installed", ["sqlite"], indirect=True)


class Installation:
    """A folder with its config file, and the commands of that place."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.data = folder / "facesearch-data"
        self.config = folder / "config.json"
        self.settings: dict[str, Any] = {"workers": {"processes": 1}, **settings}
        self.write()

    def write(self) -> None:
        self.config.write_text(json.dumps(self.settings))
        self.config.chmod(0o600)

    def run(self, *arguments: Any, ends: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        done = subprocess.run(
            [sys.executable, "-m", "facesearch", *map(str, arguments)],
            cwd=PROJECT_ROOT,
            env=environment | {"FACESEARCH_CONFIG": str(self.config), "COLUMNS": "80"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == ends, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def told(self, *arguments: Any, ends: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", ends=ends).stdout)

    def doctor(self, ends: int = 0) -> dict[str, dict[str, Any]]:
        """What each check came to, by its name."""
        return {check["check"]: check for check in self.told("doctor", ends=ends)["checks"]}

    def files(self) -> dict[str, bytes]:
        """What lies in the folder, but for what a service that runs writes of its own accord."""
        found = {str(p.relative_to(self.folder)): p for p in self.folder.rglob("*") if p.is_file()}
        own = ("log.txt", "facesearch.db-shm", "workers/")
        return {name: path.read_bytes() for name, path in found.items() if not any(o in name for o in own)}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation with three faces, whose service does not run."""
    folder = tmp_path_factory.mktemp("installed")
    folder.chmod(0o700)
    settings: dict[str, Any] = {"server": {"port": free_port()}}
    if request.param == "mysql":
        settings["database"] = mysql_settings(request.getfixturevalue("mariadb").new_database())
    made = Installation(folder, **settings)
    photos = folder / "photos"
    photos.mkdir()
    for photo in (OBAMA, OBAMA_AGAIN, BIDEN):
        shutil.copy(photo, photos)
    made.data.mkdir(mode=0o700)
    made.run("import", photos)
    return made


@pytest.fixture
def server(installed: Installation) -> Iterator[Server]:
    """Its service, at the port that its config names."""
    port = installed.settings["server"]["port"]
    running = Server(installed.folder, installed.settings, 1, ["--bind", f"127.0.0.1:{port}"])
    running.client.base_url = f"http://127.0.0.1:{port}"
    running.url = str(running.client.base_url).rstrip("/")
    with running:
        yield running
        assert "Traceback" not in running.log, running.log


def _beside_each_other(into: Path, large: Path, small: Path) -> None:
    """Write a photo of two faces."""
    with Image.open(large) as one, Image.open(small) as other:
        both = Image.new("RGB", (one.width + 300, one.height))
        both.paste(one, (0, 0))
        both.paste(other.resize((300, 400)), (one.width, 0))
        both.save(into)


def test_without_its_service_all_is_well_and_nothing_is_changed(installed: Installation) -> None:
    assert installed.told("search", OBAMA)["faces"]  # makes the copy
    before = installed.files()
    checks = installed.doctor()
    assert {name: check["state"] for name, check in checks.items() if check["state"] != "ok"} == {}
    assert "3 faces" in checks["tables"]["message"]
    assert "level with the database" in checks["index"]["message"]
    assert "is free" in checks["port"]["message"]
    installed.run("jobs", "list")
    installed.run("migrate", "--check")
    installed.run("compare", OBAMA, BIDEN)
    installed.run("search", OBAMA)
    assert installed.files() == before


def test_beside_its_service_too_and_both_answer_the_same(installed: Installation, server: Server) -> None:
    before = installed.files()
    checks = installed.doctor()
    assert {name: check["state"] for name, check in checks.items() if check["state"] != "ok"} == {}
    assert f"answers at {server.url}" in checks["port"]["message"]
    assert installed.files() == before
    here, there = (installed.told("search", OBAMA, "-k", 2, *at) for at in ((), ("--url", server.url)))
    assert here == there
    assert [match["person_name"] for match in here["faces"][0]["matches"]] == ["Barack Obama"] * 2
    assert "Barack Obama" in installed.run("search", OBAMA, "--url", server.url).stdout
    here, there = (installed.told("compare", OBAMA, BIDEN, *at) for at in ((), ("--url", server.url)))
    assert here == there
    assert not here["match"]
    both = installed.folder / "both.jpg"
    _beside_each_other(both, OBAMA, BIDEN)
    largest = ("compare", "--largest", both, BIDEN)
    here, there = (installed.told(*largest, *at) for at in ((), ("--url", server.url)))
    assert here == there
    assert len(here["source"]["faces"]) == len(here["pairs"]) == 1
    both.unlink()
    here, there = (installed.told("jobs", "list", *at) for at in ((), ("--url", server.url)))
    assert here == there
    [job] = here
    target = installed.folder / "r.csv"
    installed.run("jobs", "report", job["id"], "--url", server.url, "--csv", target)
    assert target.read_bytes() == server.client.get(f"/v1/jobs/{job['id']}/report.csv").content
    target.unlink()
    refused = installed.run("jobs", "cancel", job["id"], "--url", server.url, ends=1).stderr
    assert refused == "Error: The job is over and cannot be cancelled any more.\n"


@ON_SQLITE
def test_a_damaged_copy_is_told_and_left_to_the_next_search(installed: Installation) -> None:
    installed.run("search", OBAMA)
    [copy] = (installed.data / "index").glob("*.matrix")
    whole = copy.read_bytes()
    copy.write_bytes(whole[:8200] + b"\xff" * 64 + whole[8264:])
    damaged = copy.read_bytes()
    check = installed.doctor()["index"]
    assert (check["state"], "cannot be used" in check["message"]) == ("warning", True)
    assert copy.read_bytes() == damaged
    assert len(installed.told("search", OBAMA)["faces"][0]["matches"]) == 2
    assert installed.doctor()["index"]["state"] == "ok"


def test_older_tables_are_brought_here_by_migrate_alone(installed: Installation, request: Any) -> None:
    """A migration makes what it does not find, so an older number makes older tables of these."""
    if installed.settings.get("database"):
        name = installed.settings["database"]["database"]
        request.getfixturevalue("mariadb").execute(
            f"UPDATE {name}.FACESEARCH_VERSION SET version_num = '0003'"
        )
    else:
        code = "import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
        change = "UPDATE FACESEARCH_VERSION SET version_num = '0003'"
        subprocess.run([sys.executable, "-c", code, installed.data / "facesearch.db", change], check=True)
    assert installed.told("migrate", "--check", ends=1)["from"] == "0003"
    for command in (("search", OBAMA), ("jobs", "list"), ("jobs", "cancel", "x"), ("keys", "list")):
        assert "`facesearch migrate` brings them there." in installed.run(*command, ends=1).stderr
    assert installed.doctor()["tables"]["state"] == "warning"
    assert installed.told("migrate", "--check", ends=1)["from"] == "0003"
    assert f"from version 0003 to version {SCHEMA_VERSION}" in installed.run("migrate").stdout
    assert "There is nothing to do" in installed.run("migrate").stdout
    assert installed.told("search", OBAMA)["faces"][0]["matches"]


@ON_SQLITE
def test_a_service_that_wants_a_key(installed: Installation, server: Server) -> None:
    key = installed.told("keys", "create", "--scope", "read", "--name", "commands")["key"]
    server.stop()
    server.start()  # so that it has certainly seen that there is a key now
    said = installed.run("search", OBAMA, "--url", server.url, ends=1).stderr
    assert "--key" in said
    assert installed.told("search", OBAMA, "--url", server.url, "--key", key)["faces"]
    assert installed.told("jobs", "list", "--url", server.url, "--key", key)
    assert installed.told("compare", OBAMA, BIDEN, "--url", server.url, "--key", key)["pairs"]
    check = installed.doctor()["port"]
    assert (check["state"], "facesearch" in check["message"]) == ("ok", True)


@ON_SQLITE
def test_bench_measures_and_leaves_nothing(installed: Installation) -> None:
    installed.run("search", OBAMA)
    before = installed.files()
    told = installed.told("bench", "--faces", 3000, "--photos", 4)
    assert installed.files() == before
    assert {name for name, figure in told["figures"].items() if not figure["value"] > 0} == set()
    assert told["figures"]["search_gallery"]["note"].startswith("one face in this gallery, 3 faces")
    assert {"processor", "cores", "python", "facesearch", "onnxruntime"} <= told["machine"].keys()


def test_a_place_where_nothing_is_yet(tmp_path: Path) -> None:
    fresh = Installation(tmp_path, server={"port": free_port()})
    checks = fresh.doctor()
    assert {name: check["state"] for name, check in checks.items() if check["state"] != "ok"} == {}
    assert not fresh.data.exists()
    assert "There is no database yet" in fresh.run("search", OBAMA, ends=1).stderr
    figures = fresh.told("bench", "--faces", 100, "--photos", 1)["figures"]
    assert figures["search_gallery"]["value"] is None
    assert list(fresh.files()) == ["config.json"]
    assert fresh.told("compare", OBAMA, OBAMA_AGAIN)["match"]  # needs no database, and keeps its graphs
    assert not (fresh.data / "facesearch.db").exists()


def test_a_broken_config(tmp_path: Path) -> None:
    broken = Installation(tmp_path, server={"prot": 1})
    checks = broken.doctor(ends=1)
    assert list(checks) == ["config"]
    assert "server.prot: unknown key" in checks["config"]["message"]
    broken.config.write_text("{")
    assert "is not JSON" in broken.doctor(ends=1)["config"]["message"]
    broken.config.unlink()
    assert "There is no config file" in broken.doctor(ends=1)["config"]["message"]
    assert "There is no config file" in broken.run("search", OBAMA, ends=1).stderr


def test_a_database_that_is_away_costs_no_other_check(tmp_path: Path) -> None:
    database = {"engine": "mysql", "port": free_port(), "password": "swordfish", "wait_s": 1}
    away = Installation(tmp_path, database=database, server={"port": free_port()})
    done = away.run("doctor", ends=1)
    assert "swordfish" not in done.stdout
    assert "-> See that a server listens on 127.0.0.1:" in done.stdout
    assert "1 problem in " in done.stdout
    assert "encoder          dlib" in done.stdout
    for command in (("search", OBAMA), ("jobs", "list"), ("migrate",), ("migrate", "--check")):
        assert away.run(*command, ends=1).stderr == "Error: The database cannot be reached right now.\n"


@pytest.mark.mysql
def test_a_user_that_the_server_does_not_know(tmp_path: Path, mariadb: MariaDB) -> None:
    database = mysql_settings(mariadb.new_database()) | {"password": "swordfish"}
    refused = Installation(tmp_path, database=database, server={"port": free_port()})
    check = refused.doctor(ends=1)["database"]
    assert "refuses this service's user, password or database" in check["message"]


def test_a_model_that_is_not_installed(tmp_path: Path) -> None:
    without = Installation(tmp_path, encoder={"model": "mobilefacenet"}, server={"port": free_port()})
    checks = without.doctor(ends=1)
    assert [name for name, check in checks.items() if check["state"] == "problem"] == ["models"]
    assert "facesearch models add" in checks["models"]["message"]
    assert "Not tried" in checks["encoder"]["message"]
    assert "pool" not in checks
