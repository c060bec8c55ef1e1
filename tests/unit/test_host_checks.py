"""Checks of a host, each where it is well and where it is not."""

import json
import os
import resource
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from facesearch.bootstrap import host_checks
from facesearch.config import DatabaseSettings, ServerSettings, Settings
from facesearch.records import OK, PROBLEM, WARNING, Finding
from tests.server import free_port

GIB = 1024**3


@contextmanager
def answering(content: Any, status: int = 200) -> Iterator[int]:
    """Somebody who answers every request in the same way; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_where_the_settings_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    for name in [name for name in os.environ if name.startswith("FACESEARCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FACESEARCH_CONFIG", str(file))
    assert host_checks.check_config(Settings()).message == f"{file}, every key known."
    for key in ("PORT", "HOST", "THREADS", "WORKERS"):
        monkeypatch.setenv(f"FACESEARCH_SERVER__{key}", "1")
    monkeypatch.setenv("FACESEARCH_API_KEY", "secret")
    said = host_checks.check_config(Settings())
    assert said.state == OK
    assert said.message.endswith(
        ": FACESEARCH_SERVER__HOST, FACESEARCH_SERVER__PORT, FACESEARCH_SERVER__THREADS and 1 more."
    )


def test_a_password_that_everybody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    monkeypatch.setenv("FACESEARCH_CONFIG", str(file))
    monkeypatch.delenv("FACESEARCH_DATABASE__PASSWORD", raising=False)
    database = DatabaseSettings.model_validate({"engine": "mysql", "password": "swordfish"})
    file.chmod(0o644)
    finding = host_checks.check_config(Settings(database=database))
    assert finding.state == WARNING
    assert "swordfish" not in f"{finding.message} {finding.advice}"
    file.chmod(0o600)
    assert host_checks.check_config(Settings(database=database)).state == OK
    file.chmod(0o644)
    monkeypatch.setenv("FACESEARCH_DATABASE__PASSWORD", "swordfish")
    assert host_checks.check_config(Settings(database=database)).state == OK


def test_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    missing = host_checks.check_data_folder(folder, 0)
    assert (missing.state, folder.exists()) == (OK, False)
    folder.mkdir(mode=0o755)
    assert "may look into" in host_checks.check_data_folder(folder, 0).message
    folder.chmod(0o700)
    assert host_checks.check_data_folder(folder, 0).state == OK
    assert "limits.zip_bytes" in host_checks.check_data_folder(folder, 1 << 60).message
    file = tmp_path / "file"
    file.write_text("")
    assert host_checks.check_data_folder(file, 0).state == PROBLEM
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    finding = host_checks.check_data_folder(folder, 0)
    assert finding.state == WARNING
    assert "user 4321" in finding.message


@pytest.mark.parametrize(("free", "state"), [(3 * GIB, OK), (GIB, WARNING), (10, PROBLEM)])
def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    tmp_path.chmod(0o700)
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert host_checks.check_data_folder(tmp_path, 0).state == state


def test_a_network_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(host_checks, "_file_system", lambda _: "nfs4")
    finding = host_checks.check_data_folder(tmp_path, 0)
    assert (finding.state, "nfs4" in finding.message) == (WARNING, True)


@pytest.mark.parametrize(("has", "state"), [(64 * GIB, OK), (2 * GIB, WARNING), (GIB // 2, PROBLEM)])
def test_memory(monkeypatch: pytest.MonkeyPatch, has: int, state: str) -> None:
    monkeypatch.setattr(host_checks, "memory_bytes", lambda: has)
    finding = host_checks.check_memory(Settings(), GIB // 2, 700_000)
    assert finding.state == state
    assert "512 MiB for the index of 700,000 faces" in finding.message


def test_the_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "memory.max"
    monkeypatch.setattr(host_checks, "_CONTROL_GROUP", (group,))
    whole = host_checks.memory_bytes()
    assert whole > 64 * 1024**2
    group.write_text("max\n")
    assert host_checks.memory_bytes() == whole
    group.write_text("67108864\n")
    assert host_checks.memory_bytes() == 64 * 1024**2


def test_a_free_port_stays_free() -> None:
    port = free_port()
    assert host_checks.check_port("127.0.0.1", port).state == OK
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
    assert host_checks.check_port("127.0.0.1", 0).state == OK


def test_a_facesearch_is_known_by_its_answer() -> None:
    with answering({"version": "0.1.0", "limits": {}}) as port:
        finding = host_checks.check_port("127.0.0.1", port)
        assert finding.message == f"A facesearch 0.1.0 answers at http://127.0.0.1:{port}."
        assert host_checks.check_port("0.0.0.0", port).state == OK
    with answering({"code": "key_needed", "message": "A key is needed.", "details": {}}, 401) as port:
        finding = host_checks.check_port("127.0.0.1", port)
        assert (finding.state, "A key is needed." in finding.message) == (OK, True)


@pytest.mark.parametrize("content", [b"<html>", {"hello": 1}, [1], {"version": "1"}])
def test_somebody_else_at_the_port_is_a_problem(content: Any) -> None:
    with answering(content) as port:
        finding = host_checks.check_port("127.0.0.1", port)
    assert finding.state == PROBLEM
    assert "Address already in use" in finding.message


def test_an_address_that_is_none() -> None:
    assert host_checks.check_port("no.such.host.invalid", 8000).state == PROBLEM
    assert host_checks.check_port("192.0.2.1", 8000).state == PROBLEM


def test_the_clock() -> None:
    now = time.time()
    assert clock(now, None).state == OK
    assert clock(now, 0.2).state == OK
    assert clock(now, -3.0).message == "The database server's clock is 3.0 s behind this host's."
    assert clock(now, 1.5, lease_s=3).state == WARNING
    assert clock(now + 3600, None).state == PROBLEM


def clock(newest: float, ahead_s: float | None, lease_s: float = 15.0) -> Finding:
    return host_checks.check_clock(newest, ahead_s, lease_s)


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert host_checks.check_open_files(Settings()).state == OK
    many = Settings(server=ServerSettings(requests_in_flight=1000))
    finding = host_checks.check_open_files(many)
    assert (finding.state, finding.advice) == (
        WARNING,
        "ulimit -n 4096, or LimitNOFILE= in its unit (the most here is 4,096).",
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert host_checks.check_open_files(many).state == OK
