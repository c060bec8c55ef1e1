"""Keys on real servers: two workers, peers as the sockets have them, a database that is away."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.mariadb import MariaDB, NoServerProgram
from tests.real.test_service import mysql_settings
from tests.server import PROJECT_ROOT, Server, free_port
from tests.waiting import until

PHOTO = PROJECT_ROOT / "test_images" / "Barack_Obama_0001.jpg"
OTHER = PROJECT_ROOT / "test_images" / "Joe_Biden_0001.jpg"
LIMIT_S = 60.0
eventually = partial(until, limit_s=LIMIT_S)
BURST = 12


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Two workers on an empty database."""
    settings: dict[str, Any] = {"workers": {"processes": 1}}
    settings["access"] = {"requests_per_minute": 0.01, "burst": BURST}
    if request.param == "mysql":
        settings["database"] = mysql_settings(request.getfixturevalue("mariadb").new_database())
    with Server(tmp_path / "service", settings) as running:
        yield running
        assert "Traceback" not in running.log, running.log


def keys(server: Server, *words: str) -> Any:
    """What `facesearch keys` prints, on the server's own configuration."""
    environment = {**os.environ, "FACESEARCH_CONFIG": str(server.config_file)}
    command = [sys.executable, "-m", "facesearch", "keys", *words, "--json"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, check=True)
    return json.loads(done.stdout)


def status(server: Server, key: str | None = None, path: str = "/v1/info") -> int:
    """Asked over a connection of its own, so that either worker may take it."""
    headers = {} if key is None else {"X-API-Key": key}
    return httpx2.get(server.url + path, headers=headers, timeout=60).status_code


def always(server: Server, wanted: int, key: str | None = None) -> bool:
    return all(status(server, key) == wanted for _ in range(8))


def post(server: Server, path: str, photo: Path, **headers: str) -> httpx2.Response:
    files = {"file": (photo.name, photo.read_bytes())}
    return httpx2.post(server.url + path, files=files, headers=headers, timeout=60)


def test_keys_hold_in_every_worker(server: Server) -> None:
    assert always(server, 200)
    added = post(server, "/add_face/", PHOTO)
    reader = keys(server, "create", "--scope", "read", "--name", "Ada")["key"]
    eventually(lambda: always(server, 401))
    assert status(server, path="/docs") == status(server, path="/metrics") == 401
    assert status(server, path="/healthz") == status(server, path="/readyz") == 200
    # A new key is known at once.
    assert status(server, reader) == status(server, reader) == 200
    assert post(server, "/search_faces/", PHOTO, Authorization=f"bearer {reader}").status_code == 200
    assert post(server, "/add_face/", OTHER, **{"X-API-Key": reader}).status_code == 403
    form = {"image_id": str(added.json()["result"]["id"]), "api_key": reader}
    for key, wanted in ((reader, 200), ("", 401)):
        asked = httpx2.post(f"{server.url}/get_face_info/", data=form | {"api_key": key}, timeout=60)
        assert asked.status_code == wanted

    # One client's Idempotency-Key gives no answer of another's.
    writers = [keys(server, "create", "--scope", "write")["key"] for _ in range(2)]
    once = {"Idempotency-Key": "same"}
    ids = [
        post(server, "/add_face/", OTHER, **{"X-API-Key": key}, **once).json()["result"]["id"]
        for key in (*writers, *writers)
    ]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]

    keys(server, "revoke", reader)
    eventually(lambda: always(server, 401, reader))
    known = {key["prefix"]: key for key in keys(server, "list")}
    assert known[reader.split("_")[1]]["state"] == "revoked"
    assert known[reader.split("_")[1]]["last_used_at"]

    log = (server.folder / "facesearch-data" / "access" / "audit.jsonl").read_text()
    entries = [json.loads(line) for line in log.splitlines()]
    whose = {key: key.split("_")[1] for key in (reader, *writers)}
    told = [(entry["who"], entry["what"], entry["ids"], entry["status"]) for entry in entries]
    assert told == [
        ("local", "POST /add_face", [added.json()["result"]["id"]], 200),
        ("local", "keys create", [whose[reader]], None),
        (whose[reader], "POST /add_face", [], 403),
        *(("local", "keys create", [whose[key]], None) for key in writers),
        *((whose[key], "POST /add_face", [face], 200) for key, face in zip(writers * 2, ids, strict=True)),
        ("local", "keys revoke", [whose[reader]], None),
    ]
    for secret in (reader, *writers, "Obama", "Biden"):
        assert secret not in log
        assert secret not in server.log


def test_workers_count_a_key_s_requests_together(server: Server) -> None:
    key, other = (keys(server, "create", "--scope", "read")["key"] for _ in range(2))
    answers = [status(server, key) for _ in range(BURST + 8)]
    assert answers == [200] * BURST + [429] * 8
    assert status(server, other) == 200
    refused = httpx2.get(f"{server.url}/v1/info", headers={"X-API-Key": key}, timeout=60)
    assert int(refused.headers["Retry-After"]) > 60


def address_of_this_computer() -> str | None:
    """One that is no loopback address; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def spoken(connection: socket.socket, *lines: str) -> int:
    """Send the lines of a request for /v1/info; return the status of its answer."""
    with connection:
        connection.settimeout(LIMIT_S)
        text = "\r\n".join(["GET /v1/info HTTP/1.1", *lines, "Connection: close", "", ""])
        connection.sendall(text.encode("latin-1"))
        head = connection.recv(65536)
    return int(head.split()[1])


HOST = "Host: 127.0.0.1"
SPOOFED = [
    [HOST],
    ["Host: localhost"],
    [HOST, "X-Forwarded-For: 127.0.0.1"],
    [HOST, "X-Forwarded-For: ::1", "X-Forwarded-Proto: http"],
    [HOST, "X-Real-IP: 127.0.0.1"],
    [HOST, "Forwarded: for=127.0.0.1;host=localhost"],
    [HOST, "X-API-Key: fs_"],
]


@pytest.mark.parametrize("trusted", [None, "*"])
def test_no_header_changes_whose_socket_it_is(tmp_path: Path, trusted: str | None) -> None:
    """Also where the server in front of the application was told to believe such headers."""
    port, path = free_port(), tmp_path / "socket"
    binds = ["--bind", f"0.0.0.0:{port}", "--bind", f"unix:{path}"]
    environment = {"FORWARDED_ALLOW_IPS": trusted} if trusted else {}
    with Server(tmp_path / "service", {}, 1, binds, environment):

        def local() -> socket.socket:
            return socket.create_connection(("127.0.0.1", port))

        def unix() -> socket.socket:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            return connection

        for connect in (local, unix):
            assert spoken(connect(), HOST) == spoken(connect(), "Host: localhost:1") == 200
            for lines in SPOOFED[2:6]:
                assert spoken(connect(), *lines) == 403
            assert spoken(connect(), "Host: faces.example") == 403
            assert spoken(connect(), HOST, "Origin: https://evil.example") == 403
            assert spoken(connect(), HOST, "Sec-Fetch-Site: cross-site") == 403
            assert spoken(connect(), HOST, HOST) in (400, 403)
            assert spoken(connect()) in (400, 403)
        own = address_of_this_computer()
        if own is None:
            pytest.skip("this computer has no address of its own")
        for lines in SPOOFED:
            assert spoken(socket.create_connection((own, port)), *lines) == 403


@pytest.mark.mysql
def test_keys_that_are_known_outlive_the_database_for_a_while(tmp_path: Path) -> None:
    try:
        database = MariaDB()
    except NoServerProgram as reason:
        pytest.skip(f"No database server: {reason}.")
    with database:
        settings = {
            "database": mysql_settings(database.new_database(wait_s=3)),
            "workers": {"processes": 1},
            # Longer than the database takes to stop on a busy machine, shorter than what is waited for below.
            "access": {"keys_trusted_s": 15},
        }
        with Server(tmp_path / "service", settings, workers=1) as server:
            assert post(server, "/add_face/", PHOTO).status_code == 200
            assert post(server, "/search_faces/", PHOTO).status_code == 200
            database.stop()
            # That there are no keys has been seen.
            assert post(server, "/search_faces/", PHOTO).json()["result"]["stale"] is True
            database.start()
            key = keys(server, "create", "--scope", "read")["key"]
            new = keys(server, "create", "--scope", "read")["key"]
            eventually(lambda: status(server) == 401)
            assert status(server, key) == 200
            database.stop()
            assert post(server, "/search_faces/", PHOTO, **{"X-API-Key": key}).status_code == 200
            assert status(server, new[:12] + key[12:]) == 401
            assert status(server, "fs_00000000_" + key[12:]) == 503
            assert status(server) == 401
            eventually(lambda: status(server, key) == 503)
            assert status(server, path="/healthz") == 200
            database.start()
            eventually(lambda: status(server, key) == 200)
        server = Server(tmp_path / "service", settings, workers=1)
        database.stop()
        with server:
            for sent in (None, key):
                assert status(server, sent) == 503
            assert status(server, path="/healthz") == 200
            database.start()
            eventually(lambda: (status(server), status(server, key)) == (401, 200))
