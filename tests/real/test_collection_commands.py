"""Collections, people and faces on the command line: SQLite with photos, beside a service and through it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from facesearch.cli import main
from tests.real.test_commands import BIDEN, OBAMA, OBAMA_AGAIN, PICTURES, Installation
from tests.server import Server, free_port

GUESTS = ("--collection", "Gäste")
OBAMA_ONCE_MORE = PICTURES / "Barack_Obama_0003.jpg"
LIST = """path,person,external_id,site,age
Barack_Obama_0001.jpg,Barack Obama,b1,Paris,55
Barack_Obama_0002.jpg,Barack Obama,b2,Rome,56
Joe_Biden_0001.jpg,Joe Biden,j1,Rome,70
"""


class InThisProcess(Installation):
    """The same commands without a process for each, which takes seconds to begin."""

    def run(self, *arguments: Any, ends: int = 0) -> Any:
        result = CliRunner().invoke(
            main, [*map(str, arguments)], env={"FACESEARCH_CONFIG": str(self.config), "COLUMNS": "80"}
        )
        assert result.exit_code == ends, result.output
        return result


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Two collections: `Gäste` with three faces, and `default` with none."""
    folder = tmp_path_factory.mktemp("collections")
    folder.chmod(0o700)
    made = InThisProcess(folder, server={"port": free_port()}, crops={"keep_crops": True})
    photos = folder / "photos"
    photos.mkdir()
    for photo in (OBAMA, OBAMA_AGAIN, BIDEN):
        shutil.copy(photo, photos)
    (photos / "people.csv").write_text(LIST)
    made.run("collections", "create", GUESTS[1])
    made.run("import", photos, *GUESTS)
    return made


@pytest.fixture(scope="module")
def server(installed: Installation) -> Iterator[Server]:
    """A service beside the commands that ask the database itself."""
    with Server(installed.folder, installed.settings, 1) as running:
        yield running
        assert "Traceback" not in running.log, running.log


def people(told: list[dict[str, Any]]) -> dict[str, int]:
    return {person["name"]: person["faces"] for person in told}


def test_both_tell_the_same(installed: Installation, server: Server) -> None:
    wanted = (
        ("collections", "list"),
        ("collections", "show", GUESTS[1]),
        ("people", "list", *GUESTS),
        ("people", "show", "Barack Obama", *GUESTS),
        ("faces", "list", "--filter", '{"site": "Rome", "age": {"gte": 60}}', *GUESTS),
        ("faces", "list", "--person", "Barack Obama", *GUESTS),
        ("faces", "list"),
        ("search", OBAMA_ONCE_MORE, "--by-person", "--tolerance", "2", *GUESTS),
        ("search", OBAMA_ONCE_MORE, OBAMA, "--combine", "best", "--filter", '{"site": "Rome"}', *GUESTS),
        ("search", "--face", "1", "-k", "1", *GUESTS),
        ("search", OBAMA_ONCE_MORE),
        ("compare", OBAMA, BIDEN, *GUESTS),
        ("jobs", "list", *GUESTS),
    )
    told = {}
    for words in wanted:
        told[words], there = (installed.told(*words, *at) for at in ((), ("--url", server.url)))
        assert told[words] == there, words
    names = [[match["person_name"] for match in told[words]["faces"][0]["matches"]] for words in wanted[7:11]]
    assert names == [["Barack Obama", "Joe Biden"], ["Barack Obama"], ["Barack Obama"], []]
    assert [face["external_id"] for face in told[wanted[4]]] == ["j1"]
    assert told[wanted[6]] == []


def test_a_picture_comes_from_either(installed: Installation, server: Server) -> None:
    files = [installed.folder / name for name in ("here.jpg", "there.jpg")]
    for file, at in zip(files, ((), ("--url", server.url)), strict=True):
        installed.run("faces", "thumbnail", 1, "-o", file, *GUESTS, *at)
    here, there = (file.read_bytes() for file in files)
    assert here == there
    assert here.startswith(b"\xff\xd8")
    # A face can be found in it again.
    assert installed.told("search", files[0], "--by-person", *GUESTS)["faces"][0]["matches"]


def test_what_is_changed_here_is_seen_there_at_once(installed: Installation, server: Server) -> None:
    at = ("--url", server.url)
    installed.run("people", "rename", "Joe Biden", "Joseph", *GUESTS)
    search = ("search", BIDEN, "--by-person", *GUESTS, *at)
    assert installed.told(*search)["faces"][0]["matches"][0]["person_name"] == "Joseph"
    installed.run("people", "assign", "Joseph", 2, *GUESTS, *at)
    assert people(installed.told("people", "list", *GUESTS)) == {"Barack Obama": 1, "Joseph": 2}
    installed.run("people", "merge", "Barack Obama", "Joseph", "--yes", *GUESTS)
    assert people(installed.told("people", "list", *GUESTS, *at)) == {"Barack Obama": 3}
    installed.run("faces", "unassign", 3, *GUESTS, *at)
    assert [face["id"] for face in installed.told("faces", "list", "--nobody", *GUESTS)] == [3]
    installed.run("faces", "edit", 3, "--metadata", '{"site": "Oslo"}', *GUESTS)
    found = installed.told("search", BIDEN, "--filter", '{"site": "Oslo"}', *GUESTS, *at)
    assert [match["id"] for match in found["faces"][0]["matches"]] == [3]
    installed.run("faces", "delete", 3, "--yes", *GUESTS)
    assert installed.told("search", BIDEN, *GUESTS, *at)["faces"][0]["matches"] == []
    gone = installed.run("faces", "show", 3, *GUESTS, *at, ends=1).stderr
    assert gone == "Error: There is no face with id 3.\n"


def test_a_collection_goes_with_its_copy(installed: Installation, server: Server) -> None:
    at = ("--url", server.url)
    installed.run("collections", "create", "passing", *at)
    installed.run("import", installed.folder / "photos", "--collection", "passing", *at)
    assert installed.told("search", OBAMA, "--collection", "passing")["faces"][0]["matches"]
    checks = installed.doctor()
    assert {name: check["state"] for name, check in checks.items() if check["state"] != "ok"} == {}
    assert "in 3 collections" in checks["tables"]["message"]
    assert checks["index"]["message"].startswith("The copies of 2 collections are in order")
    assert list((installed.data / "index").glob("*.3.*"))
    installed.run("collections", "delete", "passing", "--yes")
    assert not list((installed.data / "index").glob("*.3.*"))
    for words in (("faces", "list"), ("search", OBAMA), ("import", OBAMA.parent)):
        said = installed.run(*words, "--collection", "passing", *at, ends=1).stderr
        assert "There is no such collection." in said
    assert [one["name"] for one in installed.told("collections", "list", *at)] == ["default", GUESTS[1]]


def test_a_collection_whose_model_is_gone_is_told(installed: Installation) -> None:
    code = "import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    change = "UPDATE FACESEARCH_COLLECTION SET model_id = 'lost-mirror' WHERE number = 2"
    subprocess.run([sys.executable, "-c", code, installed.data / "facesearch.db", change], check=True)
    check = installed.doctor(ends=1)["collections"]
    assert check["state"] == "problem"
    assert check["message"].startswith(
        "Gäste holds 2 faces of lost-mirror, and no installed model makes such"
    )
    assert "lost-mirror" in installed.run("search", OBAMA, *GUESTS, ends=1).stderr


def test_a_key_of_a_collection_needs_not_name_it(installed: Installation, server: Server) -> None:
    installed.run("collections", "create", "staff")
    key = installed.told("keys", "create", "--scope", "write", "--collection", "staff")["key"]
    at = ("--url", server.url, "--key", key)
    server.stop()
    server.start()  # so that it has certainly seen that there is a key now
    installed.run("import", installed.folder / "photos", *at)
    assert len(installed.told("faces", "list", "--collection", "staff")) == 3
    assert people(installed.told("people", "list", *at)) == {"Barack Obama": 2, "Joe Biden": 1}
    assert installed.told("search", OBAMA, *at)["collection"] == "staff"
    assert [job["collection"] for job in installed.told("jobs", "list", *at)] == ["staff"]
    assert "another collection" in installed.run("faces", "list", *GUESTS, *at, ends=1).stderr
    installed.run("collections", "delete", "staff", "--yes")
    server.stop()
    server.start()
    assert "The key was revoked." in installed.run("faces", "list", *at, ends=1).stderr
