"""Requests made from the service's own OpenAPI document, valid ones and others, with real and damaged files.

Whatever comes: an answer in time, never an error of the service's own, no traceback, no growth.
"""

import contextlib
import io
import random
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tests.server import PROJECT_ROOT, Server

SECONDS = 60.0
ANSWER_S = 90.0  # a hang is a failure
EXAMPLES = 15
MOST_GROWTH_BYTES = 250 * 1024**2
PICTURES = PROJECT_ROOT / "test_images"
PHOTO = PICTURES / "Barack_Obama_0001.jpg"
FILE_FIELDS = {"file", "source", "target"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"photo_pixels": 4_000_000, "zip_expanded_bytes": 50_000_000}
    sizes = {"limits": limits, "workers": {"processes": 1}, "intake": {"imports_queued": 20}}
    with Server(tmp_path_factory.mktemp("fuzz"), sizes) as running:
        yield running


@pytest.fixture(scope="module")
def schemathesis() -> Any:
    return pytest.importorskip("schemathesis", reason="schemathesis is missing (requirements-dev.txt)")


@pytest.mark.fuzz
def test_no_request_breaks_the_service(
    server: Server, schemathesis: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    load = Load(server, schemathesis)
    load.warm_up()
    before = sum(server.memory_bytes().values())
    first = load.run(SECONDS)
    after = sum(server.memory_bytes().values())
    with capfd.disabled():
        told = ", ".join(f"{count} of {status}" for status, count in sorted(load.statuses.items()))
        print(
            f"\nrequests by status: {told}; seeds from {first}; {after - before >> 20} MiB more", flush=True
        )
    assert load.seen == load.labels
    assert after - before <= MOST_GROWTH_BYTES
    assert "Traceback" not in server.log, server.log
    assert "Unforeseen" not in server.log, server.log
    found = server.client.post("/search_faces/", files={"file": (PHOTO.name, PHOTO.read_bytes())})
    assert found.json()["body"]["matches"]["face1"]


class Load:
    """Sends generated requests to one service. Lives as long as a test; one thread."""

    def __init__(self, server: Server, schemathesis: Any) -> None:
        schema = schemathesis.openapi.from_url(server.url + "/openapi.json")
        self._modes = list(schemathesis.GenerationMode)
        self._operations = [result.ok() for result in schema.get_all_operations()]
        self._server = server
        self._jobs: list[str] = []
        self.labels = {operation.label for operation in self._operations}
        self.seen: set[str] = set()
        self.statuses: Counter[int] = Counter()

    def warm_up(self) -> None:
        """Let every process load what it needs, and have jobs and faces to ask for."""
        client = self._server.client
        photos = sorted(PICTURES.glob("*.jpg"))
        for _ in range(3):
            archive = zipped({path.name: path.read_bytes() for path in photos})
            job = client.post("/v1/imports?duplicates=store", files={"file": ("a.zip", archive)})
            self._jobs.append(job.raise_for_status().json()["id"])
            with httpx2.Client(base_url=self._server.url, timeout=ANSWER_S) as other:
                for path in photos:
                    other.post("/search_faces/", files={"file": (path.name, path.read_bytes())})
        client.post("/add_faces_in_bulk/", files={"file": ("a.zip", archive)}).raise_for_status()

    def run(self, seconds: float) -> int:
        """Send requests of every operation in turn, valid and invalid; return the first seed."""
        first = batch = random.SystemRandom().getrandbits(32)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for operation in self._operations:
                for mode in self._modes:
                    self._send_batch(operation, mode, batch)
            batch += 1
        return first

    def _send_batch(self, operation: Any, mode: Any, batch: int) -> None:
        cases = operation.as_strategy(generation_mode=mode)

        def send(case: Any, file: bytes | None, job: str | None) -> None:
            if file is not None and isinstance(case.body, dict):
                case.body |= dict.fromkeys(case.body.keys() & FILE_FIELDS, file)
            if job is not None and "job_id" in case.path_parameters:
                case.path_parameters["job_id"] = job
            self._judge(case.call(timeout=ANSWER_S))
            self.seen.add(operation.label)

        few = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        jobs = st.none() | st.sampled_from(self._jobs)
        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a route that takes nothing
            seed(batch)(few(given(cases, st.none() | files(), jobs)(send)))()

    def _judge(self, answer: Any) -> None:
        status = answer.status_code
        self.statuses[status] += 1
        if status in (429, 503):
            assert int(answer.headers["retry-after"][0]) > 0
        else:
            request = f"{answer.request.method} {answer.request.url} {answer.request.headers}"
            assert status < 500, f"{request}\n{answer.request.body!r:.500}\n{self._server.log[-3000:]}"
        if status == 202:
            self._jobs.append(answer.json()["id"])


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in entries.items():
            archive.writestr(path, data)
    return buffer.getvalue()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A photo, or a zip of some, as it is or with a few bytes overwritten or cut off."""
    photos = sorted(PICTURES.glob("*.jpg"))
    texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
    names = texts | st.sampled_from([path.name for path in photos])
    if draw(st.booleans()):
        chosen = draw(st.dictionaries(names, st.sampled_from(photos), max_size=3))
        data = bytearray(zipped({name: path.read_bytes() for name, path in chosen.items() if name}))
    else:
        data = bytearray(draw(st.sampled_from(photos)).read_bytes())
    if draw(st.booleans()):
        for at, value in draw(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=5)):
            data[at % len(data)] = value
    if draw(st.integers(0, 3)) == 3:
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)
