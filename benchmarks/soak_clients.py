"""Clients of a service that do everything it offers, and keep account of what they were promised."""

import hashlib
import random
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.archives import lfw_photos, with_comment, zip_bytes
from tests.labelled_photos import FOLDER

TIMEOUT_S = 150.0
PATIENCE_S = 120.0
NEAREST = 1000
BULK_PHOTOS = 12
IMPORT_PHOTOS = 60
CANCELLED_WITHIN_S = 3.0
LISTENS_S = 5.0
REFUSALS = (400, 404, 405, 408, 413, 415, 422)


class Account:
    """What all clients together were told. Lives as long as a soak; any thread may use it."""

    def __init__(self) -> None:
        self.statuses: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []
        self.stored: dict[bytes, int] = {}  # the photo's digest to the id that was promised
        self.sent: set[bytes] = set()
        self.without_face: set[bytes] = set()
        self.jobs: dict[str, dict[str, bytes]] = {}  # the digests of a job's photos by their paths
        self.cancelled: set[str] = set()
        self._lock = threading.Lock()

    def saw(self, what: str, status: int | str) -> None:
        with self._lock:
            self.statuses[what, str(status)] += 1

    def complain(self, wrong: str) -> None:
        with self._lock:
            self.wrong.append(wrong)

    def send(self, *photos: bytes) -> list[bytes]:
        """Note that photos are about to be sent; their digests."""
        digests = [hashlib.sha256(photo).digest() for photo in photos]
        with self._lock:
            self.sent.update(digests)
        return digests

    def promise(self, digest: bytes, face_id: int | None) -> None:
        """Note that a photo was said to be stored under an id, or to have no face."""
        with self._lock:
            if face_id is None:
                self.without_face.add(digest)
            elif self.stored.setdefault(digest, face_id) != face_id:
                self.wrong.append(f"a photo was stored as {self.stored[digest]} and as {face_id}")


class Client(threading.Thread):
    """One thread that does something at random, again and again, until it is asked to end."""

    def __init__(self, url: str, account: Account, seed: int, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._account = account
        self._chance = random.Random(seed)
        self._end = end
        self._paths = lfw_photos()
        self._actions: dict[Callable[[], None], int] = {
            self._search: 30,
            self._add: 20,
            self._bulk: 2,
            self._import: 2,
            self._cancel: 1,
            self._list: 10,
            self._follow: 2,
            self._send_garbage: 10,
            self._leave_half_way: 3,
        }

    def run(self) -> None:
        actions, weights = list(self._actions), list(self._actions.values())
        while not self._end.is_set():
            (action,) = self._chance.choices(actions, weights)
            try:
                action()
            except Exception as error:
                self._account.complain(f"{action.__name__}: {error!r}")
            self._end.wait(self._chance.uniform(0.0, 0.3))

    def _ask(self, what: str, method: str, path: str, **parts: Any) -> httpx2.Response | None:
        """Send a request; None where no answer came, as where a process was killed, or one to come back."""
        try:
            answer = httpx2.request(method, self._url + path, timeout=TIMEOUT_S, **parts)
        except httpx2.TimeoutException:
            self._account.saw(what, "timeout")
            self._account.complain(f"{what}: no answer within {TIMEOUT_S:g} s")
            return None
        except httpx2.TransportError:
            self._account.saw(what, "no answer")
            return None
        self._account.saw(what, answer.status_code)
        if answer.status_code in (429, 503):
            if "retry-after" not in answer.headers:
                self._account.complain(f"{what}: {answer.status_code} without Retry-After")
            return None
        if answer.status_code >= 500:
            self._account.complain(f"{what}: {answer.status_code} {answer.text[:300]}")
            return None
        return answer

    def _insist(self, what: str, path: str, **parts: Any) -> httpx2.Response | None:
        """Post under one Idempotency-Key until there is an answer."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if (answer := self._ask(what, "POST", path, headers=headers, **parts)) is not None:
                return answer
            time.sleep(self._chance.uniform(0.1, 1.0))
        return None

    def _expect(self, answer: httpx2.Response, *statuses: int) -> bool:
        good = answer.status_code in statuses
        if not good:
            self._account.complain(f"{answer.request.url}: {answer.status_code} {answer.text[:300]}")
        return good

    def _photo(self) -> Path:
        return FOLDER / self._chance.choice(self._paths)

    def _new_photo(self) -> tuple[str, bytes]:
        path = self._photo()
        return path.name, with_comment(path.read_bytes(), secrets.token_hex(16))

    def _new_zip(self, photos: int) -> tuple[bytes, dict[str, bytes]]:
        """A zip of photos that were never sent before, and their digests by path."""
        new = [self._new_photo() for _ in range(photos)]
        files = {f"{number}/{name}": data for number, (name, data) in enumerate(new)}
        digests = self._account.send(*files.values())
        return zip_bytes(files.items()), dict(zip(files, digests, strict=True))

    def _search(self) -> None:
        path = self._photo()
        query = {"k": self._chance.choice([1, 5, 100])}
        file = {"file": (path.name, path.read_bytes())}
        answer = self._ask("search", "POST", "/search_faces/", params=query, files=file)
        if answer is not None and self._expect(answer, 200):
            for matches in answer.json()["body"]["matches"].values():
                distances = [match["distance"] for match in matches]
                if distances != sorted(distances) or len(matches) > query["k"]:
                    self._account.complain(f"a search was answered with {matches}")

    def _add(self) -> None:
        name, data = self._new_photo()
        (digest,) = self._account.send(data)
        file = {"file": (name, data)}
        answer = self._insist("add", "/add_face/", files=file)
        if answer is None or not self._expect(answer, 200, 422):
            return
        added = answer.json()["result"].get("id")
        self._account.promise(digest, added)
        if added is None or self._chance.random() < 0.5:
            return
        # As enrolment looked: doubled only where there is none.
        for upsample in (0, 1):
            query = {"k": NEAREST, "upsample": upsample}
            answer = self._ask("search", "POST", "/search_faces/", params=query, files=file)
            if answer is None or not self._expect(answer, 200) or answer.json()["result"]["stale"]:
                return
            faces = answer.json()["body"]["matches"].values()
            if faces:
                break
        ids = [match["id"] for matches in faces for match in matches]
        if added not in ids and len(ids) < NEAREST:
            self._account.complain(f"face {added} of {name} was added, and {answer.text[:300]} found")

    def _bulk(self) -> None:
        archive, digests = self._new_zip(BULK_PHOTOS)
        files = {"file": ("bulk.zip", archive)}
        answer = self._insist("bulk", "/add_faces_in_bulk/", files=files)
        if answer is not None and self._expect(answer, 200):
            for report in answer.json()["result"]["files"]:
                self._take(digests[report["file"]], report)

    def _take(self, digest: bytes, report: dict[str, Any]) -> None:
        if report["status"] in ("inserted", "no_face"):
            self._account.promise(digest, report["id"])
        else:
            self._account.saw("photos given up", f"{report['status']}: {report['reason']}")

    def _import(self) -> None:
        self._start()

    def _start(self) -> str | None:
        archive, digests = self._new_zip(IMPORT_PHOTOS)
        answer = self._insist("import", "/v1/imports", files={"file": ("import.zip", archive)})
        if answer is None or not self._expect(answer, 202):
            return None
        job: str = answer.json()["id"]
        self._account.jobs[job] = digests
        return job

    def _cancel(self) -> None:
        if job := self._start():
            time.sleep(self._chance.uniform(0.0, CANCELLED_WITHIN_S))
            answer = self._ask("cancel", "DELETE", f"/v1/jobs/{job}")
            if answer is None or answer.status_code == 200:
                self._account.cancelled.add(job)
            elif answer.status_code != 409:
                self._expect(answer, 200, 409)

    def _list(self) -> None:
        jobs = self._ask("jobs", "GET", "/v1/jobs", params={"limit": 10})
        if jobs is None or not self._expect(jobs, 200) or not jobs.json()["jobs"]:
            return
        job = self._chance.choice(jobs.json()["jobs"])
        for what in ("", "/files", "/report.csv"):
            answer = self._ask(f"job{what}", "GET", f"/v1/jobs/{job['id']}{what}")
            if answer is not None:
                self._expect(answer, 200)

    def _follow(self) -> None:
        """Listen to a job's events for a while, and go away in the midst of them."""
        if not self._account.jobs:
            return
        job = self._chance.choice(list(self._account.jobs))
        until = time.monotonic() + self._chance.uniform(0.0, LISTENS_S)
        try:
            with httpx2.stream("GET", f"{self._url}/v1/jobs/{job}/events", timeout=TIMEOUT_S) as answer:
                self._account.saw("events", answer.status_code)
                if answer.status_code not in (200, 429, 503):
                    self._account.complain(f"{answer.request.url}: {answer.status_code}")
                for line in answer.iter_lines():
                    if line == "event: end" or time.monotonic() > until:
                        return
        except httpx2.TransportError:
            self._account.saw("events", "no answer")

    def _send_garbage(self) -> None:
        photo = bytearray(self._photo().read_bytes())
        for _ in range(20):
            photo[self._chance.randrange(len(photo))] = self._chance.randrange(256)
        zipped = bytearray(zip_bytes([("a.jpg", bytes(photo))]))
        zipped[self._chance.randrange(len(zipped))] ^= 0xFF
        data = self._chance.choice(
            [b"", self._chance.randbytes(5_000), bytes(photo), bytes(photo[: len(photo) // 2]), bytes(zipped)]
        )
        path = self._chance.choice(
            ["/search_faces/", "/search_faces/?k=0", "/add_faces_in_bulk/", "/v1/imports?faces=none", "/v1/x"]
        )
        answer = self._ask("garbage", "POST", path, files={"file": ("a.jpg", data)})
        if answer is not None:
            self._expect(answer, 200, *REFUSALS)

    def _leave_half_way(self) -> None:
        """Send the beginning of an upload, wait a little, and hang up."""
        host, _, port = self._url.rpartition("/")[2].partition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=10) as line:
                path = self._chance.choice(["/v1/imports", "/add_face/", "/add_faces_in_bulk/"])
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                line.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n".encode())
                line.sendall(b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nPK\3\4')
                line.sendall(self._chance.randbytes(20_000))
                self._end.wait(self._chance.uniform(0.0, 2.0))
        except OSError:
            self._account.saw("left half-way", "no answer")
        else:
            self._account.saw("left half-way", "sent")
