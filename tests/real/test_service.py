"""The whole service in its own processes, spoken to over HTTP as a client would."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from facesearch.config import DatabaseSettings
from facesearch.databases import MySQLImageDatabase
from tests.mariadb import MariaDB, NoServerProgram
from tests.server import PROJECT_ROOT, Server, kill
from tests.unit.encoders.oracle import face_recognition

PICTURES = PROJECT_ROOT / "test_images"
OBAMA, OBAMA_AGAIN = PICTURES / "Barack_Obama_0001.jpg", PICTURES / "Barack_Obama_0002.jpg"
BIDEN, COLLINS = PICTURES / "Joe_Biden_0001.jpg", PICTURES / "Eileen_Collins_0001.jpg"
NO_FACE = PICTURES / "no_face_coffee.jpg"
WORKERS = 4


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Four workers on an empty database, one server for the whole module."""
    settings: dict[str, Any] = {"workers": {"processes": 2}}
    if request.param == "mysql":
        settings["database"] = mysql_settings(request.getfixturevalue("mariadb").new_database())
    with Server(tmp_path_factory.mktemp("service"), settings, workers=WORKERS) as running:
        yield running
        assert "Traceback" not in running.log, running.log


def mysql_settings(database: DatabaseSettings) -> dict[str, Any]:
    """What config.json would hold, the password in the clear as there."""
    return {**database.model_dump(), "password": database.password.get_secret_value()}


def post(server: Server, route: str, path: Path, name: str | None = None) -> dict[str, Any]:
    """Post a photo over a connection of its own, so that any worker that runs may take it."""
    file = (name or path.name, path.read_bytes())
    answer = httpx2.post(server.url + route, files={"file": file}, timeout=60)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def worker_pids(server: Server) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [int(pid) for pid in children.split() if b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_face_is_found_again_and_told_about(server: Server) -> None:
    added = post(server, "/add_face/", OBAMA)["result"]
    post(server, "/add_face/", BIDEN)
    body = post(server, "/search_faces/?k=1000&tolerance=0.6/", OBAMA_AGAIN)["body"]
    matches = body["matches"]["face1"]
    assert added["id"] in [match["id"] for match in matches]
    assert {match["person_name"] for match in matches} == {"Barack Obama"}
    assert matches == sorted(matches, key=lambda match: match["distance"])
    answer = server.client.post("/get_face_info/", data={"api_key": "", "image_id": str(added["id"])})
    info = answer.json()["body"]
    assert (info["person_name"], info["version"]) == ("Barack Obama", "0001")
    assert info["box"] == added["box"]
    assert info["model"].startswith("dlib-resnet-v1")


def test_a_photo_without_a_face_is_told_apart(server: Server) -> None:
    assert post(server, "/search_faces/", NO_FACE)["body"] == {"matches": {}}
    answer = server.client.post("/add_face/", files={"file": ("x.jpg", NO_FACE.read_bytes())})
    assert answer.status_code == 422
    assert "face" in answer.json()["body"]


def test_a_face_added_by_one_worker_is_found_by_each_of_the_others(server: Server) -> None:
    workers = worker_pids(server)
    assert len(workers) == WORKERS
    for number, adding in enumerate(workers):
        name = f"Through_Worker{number}_0001.jpg"
        only(workers, adding)
        added = post(server, "/add_face/", COLLINS, name)["result"]["id"]
        for searching in workers:
            only(workers, searching)
            body = post(server, "/search_faces/?k=1000", COLLINS)["body"]
            assert added in [match["id"] for match in body["matches"]["face1"]]
    for pid in workers:
        os.kill(pid, signal.SIGCONT)


def only(workers: list[int], running: int) -> None:
    """Halt all workers but one, so that it must be the one that answers."""
    os.kill(running, signal.SIGCONT)
    for pid in workers:
        if pid != running:
            os.kill(pid, signal.SIGSTOP)


def test_a_bulk_reports_each_file_and_one_bad_file_costs_no_other(server: Server) -> None:
    jpeg = BIDEN.read_bytes()
    files = {
        "people/Joe_Biden_0002.jpg": jpeg,
        "people/Ana Maria/holiday.jpg": COLLINS.read_bytes(),
        "people/Zoë_0001.jpg": jpeg,
        "people/cut_0001.jpg": jpeg[: len(jpeg) // 2],
        "people/empty_0001.jpg": b"",
        "people/coffee_0001.jpg": NO_FACE.read_bytes(),
        "people/notes.txt": b"not a photo",
        "people/more.zip": zipped({"Joe_Biden_0009.jpg": jpeg}),
        "people/.DS_Store": b"\0\0\0\1Bud1",
        "__MACOSX/people/._Joe_Biden_0002.jpg": b"\0\5\x16\7",
    }
    answer = server.client.post("/add_faces_in_bulk/", files={"file": ("people.zip", zipped(files))})
    content = answer.json()
    assert answer.status_code == 200
    assert content["body"] == "Inserted 3 images in database."
    result = content["result"]
    counts = {key: result[key] for key in ("inserted", "no_face", "failed", "skipped")}
    assert counts == {"inserted": 3, "no_face": 1, "failed": 2, "skipped": 4}
    assert [file["file"] for file in result["files"]] == list(files)
    named = {file["file"]: file["person_name"] for file in result["files"] if file["id"]}
    assert named == {
        "people/Joe_Biden_0002.jpg": "Joe Biden",
        "people/Ana Maria/holiday.jpg": "Ana Maria",
        "people/Zoë_0001.jpg": "Zoë",
    }
    assert all(file["reason"] for file in result["files"] if not file["id"])
    ids = [file["id"] for file in result["files"] if file["id"]]
    matches = post(server, "/search_faces/?k=1000", BIDEN)["body"]["matches"]["face1"]
    assert {ids[0], ids[2]} <= {match["id"] for match in matches}


def test_an_archive_of_nothing_inserts_nothing(server: Server) -> None:
    answer = server.client.post("/add_faces_in_bulk/", files={"file": ("a.zip", zipped({}))})
    assert (answer.status_code, answer.json()["body"]) == (200, "Inserted 0 images in database.")


@pytest.mark.parametrize(
    ("route", "data", "status"),
    [
        ("/add_face/", b"", 415),
        ("/add_face/", b"text", 415),
        ("/search_faces/", b"\xff\xd8\xff\xe0\0\x10JFIF", 400),
        ("/search_faces/?k=0", b"\xff\xd8\xff", 400),
        ("/search_faces/?k=1001", b"\xff\xd8\xff", 400),
        ("/search_faces/?tolerance=2.01", b"\xff\xd8\xff", 400),
        ("/search_faces/?tolerance=nan", b"\xff\xd8\xff", 400),
        ("/add_faces_in_bulk/", b"text", 415),
        ("/add_faces_in_bulk/", b"PK\3\4 and no more", 400),
        ("/add_face/", bytes(30_000_000), 413),
    ],
)
def test_bad_input_is_an_error_with_a_reason(server: Server, route: str, data: bytes, status: int) -> None:
    answer = server.client.post(route, files={"file": ("a.jpg", data)})
    assert answer.status_code == status
    content = answer.json()
    assert content["status"] == "ERROR"
    assert content["body"]


def test_the_driver_is_the_fast_one_while_the_encoder_is_loaded(server: Server) -> None:
    if "mysql" not in server.config_file.read_text():
        pytest.skip("SQLite needs no driver")
    post(server, "/search_faces/", OBAMA)
    for pid in worker_pids(server):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "_dlib_pybind11" in maps
        assert re.search(r"_mysql_connector\.[^/]*\.so", maps)


def test_readme_leads_to_a_first_match(tmp_path: Path) -> None:
    text = (PROJECT_ROOT / "README.md").read_text()
    lines = re.findall(r"^curl .*localhost.*$|^curl .*127\.0\.0\.1.*$", text, re.MULTILINE)
    assert len(lines) >= 4
    with Server(tmp_path) as server:
        answers = []
        for line in lines:
            words = shlex.split(line.replace("http://127.0.0.1:8000", server.url))
            run = subprocess.run(
                [*words, "-sS"], cwd=PROJECT_ROOT, capture_output=True, check=True, timeout=120
            )
            answers.append(json.loads(run.stdout))
    assert [answer["status"] for answer in answers] == ["OK"] * len(lines)
    assert answers[2]["body"]["matches"]["face1"][0]["person_name"] == "Barack Obama"
    shown = re.search(r'^\{"status": "OK", "body": \{"matches".*$', text, re.MULTILINE)
    assert shown
    assert json.loads(shown[0])["body"] == answers[2]["body"]


def test_what_was_acknowledged_survives_kill_9_of_everything(tmp_path: Path) -> None:
    server = Server(tmp_path, {"workers": {"processes": 1}}, workers=2)
    with server:
        added = post(server, "/add_face/", OBAMA)["result"]["id"]
        bulk = server.client.post(
            "/add_faces_in_bulk/", files={"file": ("a.zip", zipped({"Joe_0001.jpg": BIDEN.read_bytes()}))}
        )
        pids = server.processes()
        assert len(pids) > 3  # the pool's processes too
        kill(pids)
        server.process.wait(60)
        server.stop()
        server.start()
        ids = {added, bulk.json()["result"]["files"][0]["id"]}
        found = set()
        for picture in (OBAMA, BIDEN):
            matches = post(server, "/search_faces/?k=1000", picture)["body"]["matches"]["face1"]
            found |= {match["id"] for match in matches}
        assert ids <= found


def test_a_wrong_config_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    server = Server(tmp_path, {"databse": {}})
    with pytest.raises(RuntimeError, match="databse: unknown key"):
        server.start()
    assert "Traceback" not in server.log


def test_the_command_line_serves_and_explains_itself(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "facesearch", "serve", "--port", "70000"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "70000" in run.stderr


@pytest.mark.mysql
def test_with_the_database_away_a_search_is_stale_and_other_requests_are_told_to_come_back(
    tmp_path: Path,
) -> None:
    try:
        database = MariaDB()
    except NoServerProgram as reason:
        pytest.skip(f"No database server: {reason}.")
    with database:
        settings = {"database": mysql_settings(database.new_database(wait_s=3.0))}
        with Server(tmp_path, settings, workers=1) as server:
            added = post(server, "/add_face/", OBAMA)["result"]["id"]
            live = post(server, "/search_faces/", OBAMA)
            assert (live["result"]["stale"], live["result"]["seconds"]) == (False, 0)
            database.stop()
            for _ in range(2):
                stale = post(server, "/search_faces/", OBAMA)
                assert stale["result"]["stale"] is True
                assert 0 < stale["result"]["seconds"] < 600
                (match,) = stale["body"]["matches"]["face1"]
                assert match == {**live["body"]["matches"]["face1"][0], "person_name": None}
            answer = server.client.post("/add_face/", files={"file": ("a_0001.jpg", OBAMA.read_bytes())})
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "database" in answer.json()["body"]
            assert database_secret(settings) not in answer.text
            assert server.client.post("/get_face_info/", data={"image_id": "1"}).status_code == 503
            assert server.client.post("/add_face/", files={"file": ("a", b"text")}).status_code == 415
            database.start()
            assert post(server, "/search_faces/", OBAMA) == live
            assert [match["id"] for match in live["body"]["matches"]["face1"]] == [added]
            assert "Traceback" not in server.log
            assert database_secret(settings) not in server.log


@pytest.mark.mysql
def test_where_no_stale_answers_are_wanted_a_search_is_told_to_come_back(tmp_path: Path) -> None:
    try:
        database = MariaDB()
    except NoServerProgram as reason:
        pytest.skip(f"No database server: {reason}.")
    with database:
        settings = {
            "database": mysql_settings(database.new_database(wait_s=3.0)),
            "search": {"when_database_away": "unavailable"},
        }
        with Server(tmp_path, settings, workers=1) as server:
            post(server, "/add_face/", OBAMA)
            post(server, "/search_faces/", OBAMA)
            database.stop()
            answer = server.client.post("/search_faces/", files={"file": ("a.jpg", OBAMA.read_bytes())})
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0


@pytest.mark.mysql
def test_two_hosts_on_one_database_find_each_others_faces_until_they_are_removed(
    mariadb: MariaDB, tmp_path: Path
) -> None:
    shared = mariadb.new_database(wait_s=30.0)
    settings = {"database": mysql_settings(shared), "workers": {"processes": 1}}
    database = MySQLImageDatabase(shared)
    with (
        Server(tmp_path / "one", settings, workers=1) as one,
        Server(tmp_path / "two", settings, workers=1) as two,
    ):
        hosts = [one, two]
        known: list[int] = []
        for adding in (one, two, one):
            known.append(post(adding, "/add_face/", OBAMA)["result"]["id"])
            assert [found_ids(host) for host in hosts] == [known, known]
        while known:
            gone = known.pop(0)
            assert database.delete_faces([gone]) == [gone]
            assert [found_ids(host) for host in reversed(hosts)] == [known, known]
        known.append(post(two, "/add_face/", OBAMA)["result"]["id"])
        assert [found_ids(host) for host in hosts] == [known, known]
    database.close()


def found_ids(server: Server) -> list[int]:
    (matches,) = post(server, "/search_faces/?k=1000", OBAMA)["body"]["matches"].values()
    return sorted(match["id"] for match in matches)


def database_secret(settings: dict[str, Any]) -> str:
    return str(settings["database"]["password"])


def test_the_older_worker_class_serves_with_a_warning(tmp_path: Path) -> None:
    arguments = ["--worker-class", "uvicorn.workers.UvicornWorker"]
    with Server(
        tmp_path, workers=1, arguments=arguments, environment={"PYTHONWARNINGS": "default"}
    ) as server:
        assert post(server, "/search_faces/", NO_FACE)["body"] == {"matches": {}}
        assert "uvicorn.workers" in server.log
        assert "deprecated" in server.log


def test_a_gallery_of_face_recognition_is_imported_and_searched_as_plain(tmp_path: Path) -> None:
    oracle = face_recognition()
    vectors = {
        name: oracle.face_encodings(oracle.load_image_file(picture))[0]
        for name, picture in (("Barack Obama", OBAMA), ("Joe Biden", BIDEN))
    }
    np.savez(tmp_path / "known.npz", encodings=list(vectors.values()), names=np.array(list(vectors)))
    server = Server(tmp_path / "service", workers=1)
    environment = {**os.environ, "FACESEARCH_CONFIG": str(server.config_file)}
    command = [sys.executable, "-m", "facesearch", "import", str(tmp_path / "known.npz")]
    run = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "Imported 2 faces from known.npz.\n"
    probe = oracle.face_encodings(oracle.load_image_file(OBAMA_AGAIN))[0]
    with server:
        (match,) = post(server, "/search_faces/?k=5", OBAMA_AGAIN)["body"]["matches"]["face1"]
        assert match["person_name"] == "Barack Obama"
        assert match["distance"] == pytest.approx(
            float(np.linalg.norm(vectors["Barack Obama"] - probe)), abs=1e-5
        )
        info = server.client.post("/get_face_info/", data={"image_id": str(match["id"])}).json()["body"]
        assert (info["model"], info["box"], info["size"]) == ("dlib-resnet-v1-plain", None, None)


def test_importing_into_a_gallery_of_another_kind_is_refused_with_the_reason(tmp_path: Path) -> None:
    np.savez(tmp_path / "known.npz", encodings=np.ones((1, 128)), names=np.array(["Ana"]))
    with Server(tmp_path / "service", workers=1) as server:
        post(server, "/add_face/", OBAMA)
        environment = {**os.environ, "FACESEARCH_CONFIG": str(server.config_file)}
        command = [sys.executable, "-m", "facesearch", "import", str(tmp_path / "known.npz")]
        run = subprocess.run(
            command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
    assert run.returncode == 1
    assert run.stderr == (
        "Error: The gallery holds vectors of dlib-resnet-v1-mirror; these are of dlib-resnet-v1-plain.\n"
    )
