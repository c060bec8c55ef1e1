"""The whole service, killed while its pool works: nothing of it stays, and it starts again on its port."""

import contextlib
import io
import os
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.real.workers.processes import MarkedProcesses, wait_until
from tests.server import PROJECT_ROOT, Server, kill, wait_until_gone

GONE_S = 30.0


@pytest.fixture
def server(tmp_path: Path, marked: MarkedProcesses) -> Iterator[Server]:
    with Server(tmp_path / "server", {"workers": {"processes": 2}}) as server:
        yield server


@pytest.fixture
def bulk(server: Server, marked: MarkedProcesses) -> Iterator[None]:
    """A bulk import that the pool's two children are at."""
    archive = io.BytesIO()
    photos = sorted((PROJECT_ROOT / "test_images").glob("*.jpg"))
    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(200):
            for photo in photos:
                zipped.write(photo, f"{number}_{photo.name}")

    def send() -> None:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.post(
                f"{server.url}/add_faces_in_bulk/",
                files={"file": ("faces.zip", archive.getvalue())},
                timeout=60,
            )

    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: len(marked.children()) == 2, limit_s=60.0)
    yield
    sender.join(60)
    assert not sender.is_alive()


def gunicorns(server: Server) -> list[int]:
    """The master and its workers."""
    master = server.process.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


def holders_of(port: int, pids: list[int]) -> set[int]:
    """Which of the processes have the socket open that listens on a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = {line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}
    return {
        pid for pid in pids for fd in Path(f"/proc/{pid}/fd").iterdir() if _target(fd) == f"socket:[{inode}]"
    }


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""  # closed meanwhile


@pytest.mark.slow
@pytest.mark.parametrize("victims", ["all of gunicorn", "its master"])
def test_a_killed_server_leaves_no_process_and_starts_again_at_once(
    server: Server, bulk: None, marked: MarkedProcesses, victims: str
) -> None:
    everyone = server.processes()
    assert set(marked.children()) < set(everyone)
    killed = gunicorns(server) if victims == "all of gunicorn" else [server.process.pid]
    kill(killed)
    server.process.wait(GONE_S)
    wait_until_gone(everyone, GONE_S)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does
        listener.bind(("127.0.0.1", server.port))
        listener.listen()
    server.start()
    assert len(gunicorns(server)) == 3


@pytest.mark.slow
def test_the_pool_s_processes_do_not_hold_the_port(
    server: Server, bulk: None, marked: MarkedProcesses
) -> None:
    pool = [marked.supervisor(), *marked.children()]
    everyone = server.processes()
    assert holders_of(server.port, everyone) == set(gunicorns(server))
    assert set(pool) < set(everyone)
    server.process.kill()
    wait_until_gone(everyone, GONE_S)
