"""What only a real server shows: memory while a file arrives, clients that go away, and how a stop ends."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server import PROJECT_ROOT, free_port, is_alive, kill, wait_until_gone
from tests.waiting import until

LIMIT_S = 20.0  # below what gunicorn gives its workers before it kills them
eventually = partial(until, limit_s=LIMIT_S)
HEAD = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
TYPE = {"content-type": "multipart/form-data; boundary=x"}


class Service:
    """A server of one process that answers, on the fake API; ended by whoever made it."""

    def __init__(self, kind: str, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = {
            "uvicorn": ["uvicorn", "tests.web.serve:app", "--port", str(self.port)],
            "gunicorn": ["gunicorn", "tests.web.serve:app", "--bind", f"127.0.0.1:{self.port}", "-w", "1"],
        }[kind]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=PROJECT_ROOT, stdout=out, stderr=out
            )
        eventually(self.answers, limit_s=60)
        self.pids = [self.process.pid, *children(self.process.pid)]

    @property
    def pid(self) -> int:
        """The process that answers."""
        return self.pids[-1]

    def answers(self) -> bool:
        assert self.process.poll() is None
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/v1/info", timeout=LIMIT_S).status_code == 200
        return False

    def open_uploads(self) -> int:
        names = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                names.append(str(link.readlink()))
        return sum(name.endswith("(deleted)") and "gunicorn" not in name for name in names)

    def jobs(self) -> int:
        return len(httpx2.get(f"{self.url}/v1/jobs?limit=1000", timeout=LIMIT_S).json()["jobs"])

    def connect(self, head: str, body: bytes) -> socket.socket:
        """Send a request without its end."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        connection.sendall(f"{head}\r\nhost: 127.0.0.1\r\n".encode() + body)
        return connection


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def running(kind: str, folder: Path) -> Iterator[Service]:
    service = Service(kind, folder / f"{kind}.txt")
    try:
        yield service
    finally:
        kill(service.pids)
        service.process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running("uvicorn", tmp_path_factory.mktemp("service")) as service:
        yield service


def peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_a_file_that_arrives_is_never_whole_in_memory(service: Service) -> None:
    def body(megabytes: int) -> Iterator[bytes]:
        yield HEAD
        for _ in range(megabytes):
            yield bytes(1024**2)
        yield b"\r\n--x--\r\n"

    def send(megabytes: int) -> None:
        answer = httpx2.post(f"{service.url}/v1/imports", content=body(megabytes), headers=TYPE, timeout=60)
        assert (answer.status_code, answer.json()["counts"]["total"]) == (202, megabytes * 1024**2)

    send(8)
    before = peak_bytes(service.pid)
    send(120)
    assert peak_bytes(service.pid) - before < 16 * 1024**2


def test_a_client_that_goes_away_leaves_nothing_behind(service: Service) -> None:
    head = f"content-length: 10000000\r\ncontent-type: {TYPE['content-type']}\r\n\r\n"
    connection = service.connect("POST /v1/imports HTTP/1.1", head.encode() + HEAD + bytes(3 * 1024**2))
    eventually(lambda: service.open_uploads() == 1)
    connection.close()
    eventually(lambda: service.open_uploads() == 0)
    assert service.answers()


def test_a_bulk_that_nobody_waits_for_any_more_gives_its_place_back(service: Service) -> None:
    bulk, body = "/add_faces_in_bulk/", HEAD + b"zip\r\n--x--\r\n"
    head = f"content-length: {len(body)}\r\ncontent-type: {TYPE['content-type']}\r\n\r\n"
    before = service.jobs()
    waiting = [service.connect(f"POST {bulk} HTTP/1.1", head.encode() + body) for _ in range(4)]

    def waits(limit_s: float = 1.0) -> bool:
        limits = httpx2.Timeout(LIMIT_S, read=limit_s)
        try:
            answer = httpx2.post(service.url + bulk, content=body, headers=TYPE, timeout=limits)
        except httpx2.ReadTimeout:
            return True
        assert (answer.status_code, answer.json()["result"]) == (503, {"code": "busy"})
        return False

    eventually(lambda: service.jobs() == before + 4)
    assert not waits(LIMIT_S)
    for connection in waiting:
        connection.close()
    eventually(waits)


def test_a_request_beyond_those_in_flight_is_told_so_though_it_still_sends(service: Service) -> None:
    archive = {"file": ("a.zip", b"zip")}
    jobs = httpx2.post(f"{service.url}/v1/imports", files=archive, timeout=LIMIT_S).json()
    uploads = "content-length: 10000000\r\ncontent-type: multipart/form-data; boundary=x\r\n\r\n"
    waiting: list[socket.socket] = []

    def is_full() -> bool:
        # One more each time: whoever comes while the question itself has the last place is refused.
        waiting.append(service.connect("POST /v1/imports HTTP/1.1", uploads.encode() + HEAD))
        return httpx2.get(service.url + jobs["links"]["self"], timeout=LIMIT_S).status_code == 503

    try:
        eventually(is_full)
        photo = {"file": ("a.jpg", bytes(9_000_000))}
        answer = httpx2.post(f"{service.url}/search_faces/", files=photo, timeout=LIMIT_S)
        assert (answer.status_code, answer.json()["result"]) == (503, {"code": "busy"})
        assert answer.headers["retry-after"] == "5"
    finally:
        for connection in waiting:
            connection.close()
    eventually(service.answers)


@pytest.mark.parametrize(
    ("kind", "number"),
    [("uvicorn", signal.SIGTERM), ("gunicorn", signal.SIGTERM), ("gunicorn", signal.SIGINT)],
)
def test_a_stop_ends_what_waits_and_takes_no_time(kind: str, number: int, tmp_path: Path) -> None:
    with running(kind, tmp_path) as service:
        archive = {"file": ("a.zip", b"zip")}
        job = httpx2.post(f"{service.url}/v1/imports", files=archive, timeout=LIMIT_S).json()
        told: dict[str, Any] = {}
        followed = threading.Event()

        def wait() -> None:
            told["bulk"] = httpx2.post(f"{service.url}/add_faces_in_bulk/", files=archive, timeout=60)

        def follow() -> None:
            with httpx2.stream("GET", service.url + job["links"]["events"], timeout=60) as answer:
                lines = answer.iter_lines()
                told["events"] = [next(lines)]
                followed.set()
                told["events"] += list(lines)

        threads = [threading.Thread(target=work) for work in (wait, follow)]
        for thread in threads:
            thread.start()
        head = f"content-length: 10000000\r\ncontent-type: {TYPE['content-type']}\r\n\r\n"
        slow = service.connect("POST /v1/imports HTTP/1.1", head.encode() + HEAD + bytes(1000))
        eventually(lambda: service.jobs() == 2)
        assert followed.wait(LIMIT_S)
        eventually(lambda: service.open_uploads() == 1)

        service.process.send_signal(number)
        service.process.wait(LIMIT_S)
        for thread in threads:
            thread.join(LIMIT_S)
        assert told["bulk"].status_code == 503
        assert told["bulk"].json()["body"] == "The service is stopping. The job job-2 goes on."
        assert ": The service is stopping." in told["events"]
        assert b" 503 " in slow.recv(100)
        slow.close()
        wait_until_gone(service.pids)
        assert not any(is_alive(pid) for pid in service.pids)


def test_an_idle_connection_is_its_clients_to_close_and_delays_no_stop(tmp_path: Path) -> None:
    kept = httpx2.Limits(keepalive_expiry=60)
    with running("gunicorn", tmp_path) as service, httpx2.Client(limits=kept, timeout=LIMIT_S) as client:

        def client_address() -> Any:
            stream = client.get(f"{service.url}/v1/info").extensions["network_stream"]
            return stream.get_extra_info("client_addr")

        first = client_address()
        time.sleep(6)  # many clients keep one for 5 s: it must not be closed just when they send again
        assert client_address() == first
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(LIMIT_S)
