"""What a running service answers: its limits, jobs and reports, and what it refuses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from facesearch.config import KEY_VARIABLE
from facesearch.errors import Conflict, FacesearchError, Invalid, NotAllowed, NotFound, Unavailable, error_of
from facesearch.records import CANCELLED, DONE, FAILED, FILE_STATUSES, Box, FileReport, ReportedFace

_KINDS: Mapping[int, type[FacesearchError]] = {
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    429: Unavailable,
}


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """What the service takes at most."""

    zip_bytes: int
    zip_entries: int
    zip_expanded_bytes: int
    photo_bytes: int


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """An import as the service tells of it."""

    id: str
    state: str
    total: int
    counts: Mapping[str, int]
    error: str | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in (DONE, FAILED, CANCELLED)


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Turn an answer that has another shape into a sentence."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unavailable(
            f"What {name} answers is not understood: is it a facesearch of this version?"
        ) from None


def job_of(answer: Mapping[str, Any]) -> RemoteJob:
    """A job."""
    counts = answer["counts"]
    return RemoteJob(
        str(answer["id"]),
        str(answer["state"]),
        int(counts["total"]),
        {status: int(counts[status]) for status in FILE_STATUSES},
        answer["error"] and str(answer["error"]["message"]),
    )


def report_of(answer: Mapping[str, Any]) -> FileReport:
    """What became of a file."""
    return FileReport(
        str(answer["path"]),
        str(answer["status"]),
        answer["id"],
        answer["person_name"],
        answer["reason"],
        tuple(ReportedFace(Box(**face["box"]), face["id"]) for face in answer["faces"]),
        answer["duplicate_of"],
    )


def retry_after(response: httpx2.Response) -> float:
    """After how many seconds a service wants to be asked again, 0 where it does not say."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def problem_of(response: httpx2.Response, name: str, has_key: bool) -> FacesearchError:
    """The service's own sentence, or one about whoever answered in its place."""
    status = response.status_code
    try:
        said = response.json()
        message, code = said.get("message") or said.get("body"), said.get("code")
    except (ValueError, AttributeError):
        message = code = None
    if response.is_redirect:
        message = f"The service is at another address: {response.headers.get('Location', '')}"
    if not isinstance(message, str) or not message:
        message = f"The service at {name} answered {status} {response.reason_phrase}."
    if status == 401 and not has_key:
        message += f" Give it with --key or {KEY_VARIABLE}."
    kind = _KINDS.get(status, Invalid if status < 500 else Unavailable)
    exactly = error_of(str(code), message)
    return exactly if isinstance(exactly, kind) else kind(message)
