"""What a client of imports does over HTTP, each request on a connection of its own."""

import time
from pathlib import Path
from typing import Any

import httpx2

OVER = ("done", "failed", "cancelled")
LOOK_S = 0.1
PAGE = 1000
TIMEOUT_S = 60.0


class WrongAnswer(Exception):
    """The service answered what it must never answer."""


class ImportClient:
    """Speaks to one service. Safe from any thread.

    `None` stands for an answer that said to come back later, and for none at all, as while processes of
    the service are being killed.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def start(self, archive: bytes | Path, key: str | None = None, **options: str) -> dict[str, Any] | None:
        """Post a zip; the job that was queued."""
        headers = {"Idempotency-Key": key} if key else {}
        data = archive.read_bytes() if isinstance(archive, Path) else archive
        files = {"file": ("photos.zip", data)}
        return self.ask("POST", "/v1/imports", files=files, params=options, headers=headers)

    def job(self, job_id: str) -> dict[str, Any] | None:
        return self.ask("GET", f"/v1/jobs/{job_id}")

    def files(self, job_id: str) -> list[dict[str, Any]] | None:
        """Every report of a job, page by page."""
        reports: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page = self.ask("GET", f"/v1/jobs/{job_id}/files", params=query)
            if page is None:
                return None
            reports += page["files"]
            if page.get("next") is None:
                return reports
            query["cursor"] = page["next"]

    def wait(self, job_id: str, limit_s: float) -> dict[str, Any]:
        """Look at a job until it is over.

        Raises:
            WrongAnswer: it is not over after the limit.
        """
        deadline = time.monotonic() + limit_s
        job = None
        while time.monotonic() < deadline:
            job = self.job(job_id)
            if job is not None and job["state"] in OVER:
                return job
            time.sleep(LOOK_S)
        raise WrongAnswer(f"the job is not over after {limit_s:g} s: {job}")

    def ask(self, method: str, path: str, **parts: Any) -> dict[str, Any] | None:
        """The result of a request.

        Raises:
            WrongAnswer: a status of 500 and above but 503, one of 429 or 503 without Retry-After, or an
                error of the client's own.
        """
        try:
            answer = httpx2.request(method, self._url + path, timeout=TIMEOUT_S, **parts)
        except httpx2.TransportError:
            return None
        if answer.status_code in (429, 503) and "retry-after" in answer.headers:
            return None
        if answer.status_code >= 400:
            raise WrongAnswer(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        content: dict[str, Any] = answer.json()
        return content
