"""What whoever runs the service sees of it: a real gunicorn with two workers, its probes, figures and log."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.mariadb import MariaDB, NoServerProgram
from tests.server import PROJECT_ROOT, Server, free_port, is_alive
from tests.waiting import until

PICTURES = PROJECT_ROOT / "test_images"
OBAMA = PICTURES / "Barack_Obama_0001.jpg"
LIMIT_S = 60.0
eventually = partial(until, limit_s=LIMIT_S)
PARTS = ["database", "index", "encoder", "pool"]
TEMPORARY = "facesearch-metrics-*"
SECRETS = ("Obama", str(PROJECT_ROOT), str(Path.home()), "Traceback", 'File "')


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def servers_temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, servers_temporary: Path) -> Iterator[Server]:
    """Two workers that write JSON and call everything slow; the last test that takes them ends them."""
    settings = {"log": {"format": "json", "slow_ms": 0, "slow_statement_ms": 0}}
    environment = {"TMPDIR": str(servers_temporary)}
    with Server(tmp_path_factory.mktemp("service"), settings, environment=environment) as running:
        yield running


def ask(server: Server, method: str, path: str, **more: Any) -> httpx2.Response:
    """Send a request over a connection of its own, so that any worker may take it."""
    return httpx2.request(method, server.url + path, timeout=60, **more)


def search(server: Server, request_id: str = "some") -> httpx2.Response:
    photo = {"file": (OBAMA.name, OBAMA.read_bytes())}
    return ask(server, "POST", "/search_faces/", files=photo, headers={"X-Request-ID": request_id})


def add(server: Server) -> httpx2.Response:
    return ask(server, "POST", "/add_face/", files={"file": (OBAMA.name, OBAMA.read_bytes())})


def samples(server: Server) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(ask(server, "GET", "/metrics").text)
    found = [sample for family in families for sample in family.samples]
    return {(s.name, tuple(s.labels.values())): s.value for s in found}


def lines(server: Server) -> list[dict[str, Any]]:
    """Each line of the log, which has to be an object of JSON."""
    return [json.loads(line) for line in server.log.splitlines()]


def workers(server: Server) -> list[int]:
    pid = server.process.pid
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid for pid in children if is_alive(pid)]


def both_answer(server: Server, request: Callable[[str], None]) -> None:
    """Send requests until the log says that each worker has answered one."""
    pids: set[int] = set()
    for number in range(100):
        request(f"both-{number}")
        eventually(lambda n=number: any(line["request_id"] == f"both-{n}" for line in lines(server)))  # type: ignore[misc]
        pids |= {line["process"] for line in lines(server) if str(line["request_id"]).startswith("both-")}
        if len(pids) == 2:
            return
    raise AssertionError("one worker did everything")


def test_probes_tell_what_works(server: Server) -> None:
    assert ask(server, "GET", "/healthz").json() == {"status": "ok"}
    eventually(lambda: ask(server, "GET", "/readyz").json()["status"] == "ok")  # each part in two seconds
    ready = ask(server, "GET", "/readyz")
    assert ready.status_code == 200
    assert [(part["name"], part["state"]) for part in ready.json()["parts"]] == [
        (name, "ok") for name in PARTS
    ]
    search(server)
    # A request is counted once it has been answered.
    eventually(lambda: samples(server).get(("facesearch_stage_seconds_count", ("embed",)), 0) >= 1)
    found = samples(server)
    assert found["facesearch_faces", ()] == 0
    assert found["facesearch_database_answers", ()] == 1


def test_every_line_is_json_and_has_the_id_of_its_request_and_no_secret(server: Server) -> None:
    answer = search(server, "my-search")
    assert answer.headers["x-request-id"] == "my-search"
    stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(stages) == ["decode", "detect", "embed", "search", "database", "total"]
    assert sum(float(ms) for name, ms in stages.items() if name != "total") <= float(stages["total"])
    photo = {"file": (OBAMA.name, OBAMA.read_bytes()[:2000])}
    assert ask(server, "POST", "/add_face/", files=photo).status_code == 400
    assert add(server).status_code == 200
    ask(server, "GET", "/Obama?Obama=Obama", headers={"X-Request-ID": "un sane"})
    eventually(lambda: any(line.get("route") == "unmatched" for line in lines(server)))
    mine = [line for line in lines(server) if line["request_id"] == "my-search"]
    (access,) = [line for line in mine if line["logger"] == "facesearch.access"]
    (slow,) = [line for line in mine if line["logger"] == "facesearch.slow"]
    assert (access["method"], access["route"], access["status"]) == ("POST", "/search_faces", 200)
    assert list(slow["stages"]) == ["decode", "detect", "embed", "search", "database"]
    statements = [line for line in mine if line["logger"].endswith("slow_statements")]
    assert statements
    assert all(line["statement"] for line in statements)
    (refused,) = [
        line for line in lines(server) if line.get("code") == "broken_image" and "slow" in line["logger"]
    ]
    assert re.fullmatch("[0-9a-f]{32}", refused["request_id"])
    assert {"gunicorn.error", "uvicorn.error", "facesearch.access"} <= {
        line["logger"] for line in lines(server)
    }
    for secret in SECRETS:
        assert secret not in server.log


def test_what_the_workers_count_is_added_up_and_survives_one_of_them(
    server: Server, servers_temporary: Path
) -> None:
    sent = 0

    def tell(request_id: str) -> None:
        nonlocal sent
        sent += 1
        assert ask(server, "GET", "/v1/info", headers={"X-Request-ID": request_id}).status_code == 200

    both_answer(server, tell)
    counted = ("facesearch_requests_total", ("GET", "/v1/info", "200"))
    assert [samples(server)[counted] for _ in range(5)] == [sent] * 5
    (folder,) = servers_temporary.glob(TEMPORARY)
    before = workers(server)
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(workers(server)) == 2 and before[0] not in workers(server))
    eventually(lambda: not (folder / f"gauge_livesum_{before[0]}.db").exists())
    eventually(lambda: len(list(folder.glob("gauge_livesum_*.db"))) == 2)
    after = samples(server)
    assert after[counted] == sent
    assert after["facesearch_requests_in_flight", ()] == 1  # the question itself
    server.stop()
    assert list(servers_temporary.glob(TEMPORARY)) == []


@pytest.mark.faults
def test_a_full_temporary_folder_costs_no_worker(tmp_path: Path, temporary: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={16 * 1024**2}", "tmpfs", str(temporary)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=30)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("nothing may be mounted here")
    try:
        with Server(tmp_path / "service", environment={"TMPDIR": str(temporary)}) as server:
            before = workers(server)
            fill(temporary)
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                for path in ("v1/info", "v1/jobs", "v1/jobs/a", "v1/models", "readyz", "metrics", "none"):
                    assert ask(server, method, f"/{path}").status_code < 500
            assert workers(server) == before
            # One more has no room left, and counts for itself.
            server.process.send_signal(signal.SIGTTIN)
            eventually(lambda: server.log.count("Application startup complete.") == 3)
            assert "counts for itself: No space left on device in the temporary folder." in server.log
            assert {ask(server, "GET", "/metrics").status_code for _ in range(20)} == {200}
            assert set(before) < set(workers(server))
            # What a dead one leaves is no longer than what it has counted.
            os.kill(before[0], signal.SIGKILL)
            eventually(lambda: server.log.count("Application startup complete.") == 4)
            (folder,) = temporary.glob(TEMPORARY)
            assert 0 < (folder / f"counter_{before[0]}.db").stat().st_size < 100_000
            assert {ask(server, "GET", "/metrics").status_code for _ in range(20)} == {200}
            assert "SIGBUS" not in server.log
            assert "Traceback" not in server.log
    finally:
        subprocess.run(["umount", "-l", str(temporary)], check=True, capture_output=True, timeout=30)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"\1" * 4096)


def test_what_a_killed_master_left_is_cleaned_up_by_the_next(tmp_path: Path, temporary: Path) -> None:
    server = Server(tmp_path / "service", workers=1, environment={"TMPDIR": str(temporary)})
    server.start()
    try:
        (left,) = temporary.glob(TEMPORARY)
        server.stop(signal.SIGKILL)
        assert left.exists()
        held = Path(tempfile.mkdtemp(prefix=TEMPORARY[:-1], dir=temporary))
        descriptor = os.open(held, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for folder in (left, held):
            os.utime(folder, (0, 0))
        server.start()
        os.close(descriptor)
        there = set(temporary.glob(TEMPORARY))
        assert left not in there
        assert held in there
        assert len(there) == 2
    finally:
        server.client.close()
        server.stop()


@pytest.mark.mysql
def test_a_database_that_goes_away_is_told_and_searches_go_on(tmp_path: Path) -> None:
    try:
        database = MariaDB()
    except NoServerProgram as reason:
        pytest.skip(f"No database server: {reason}.")
    with database:
        away = database.new_database(wait_s=1.0)
        password = away.password.get_secret_value()
        settings = {"database": {**away.model_dump(), "password": password}, "log": {"format": "json"}}
        with Server(tmp_path / "service", settings, workers=1) as server:
            assert add(server).status_code == 200
            assert search(server).status_code == 200
            eventually(lambda: ask(server, "GET", "/readyz").json()["status"] == "ok")
            database.stop()
            told = ask(server, "GET", "/readyz")
            assert (told.status_code, told.json()["status"]) == (200, "stale")
            failed = {part["name"]: part["error"]["code"] for part in told.json()["parts"] if part["error"]}
            assert failed == {"database": "database_unavailable"}
            assert search(server).json()["result"]["stale"] is True
            figures = samples(server)
            assert (figures["facesearch_database_answers", ()], figures["facesearch_faces", ()]) == (0, 1)
            assert ask(server, "GET", "/healthz").status_code == 200
            for secret in (password, away.user, f"{away.host}:{away.port}"):
                assert secret not in server.log + told.text
            database.start()
            eventually(lambda: ask(server, "GET", "/readyz").json()["status"] == "ok")


def test_plain_uvicorn_tells_the_same_of_its_one_process(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"log": {"format": "json"}}))
    log = tmp_path / "log.txt"
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    environment = {**os.environ, "FACESEARCH_CONFIG": str(config)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=out, stderr=out, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(process, f"{url}/readyz"))
        httpx2.get(f"{url}/v1/info", timeout=60)
        counted = 'facesearch_requests_total{method="GET",route="/v1/info",status="200"} 1.0'
        eventually(lambda: counted in httpx2.get(f"{url}/metrics", timeout=60).text)
    finally:
        process.terminate()
        process.wait(LIMIT_S)
    told = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["route"] for line in told if line["logger"] == "facesearch.access"] == ["/v1/info"]
    assert "GET /v1/info HTTP" not in log.read_text()  # uvicorn's own access line would be a second one


def answers(process: subprocess.Popen[bytes], url: str) -> bool:
    assert process.poll() is None
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(url).status_code == 200
    return False
