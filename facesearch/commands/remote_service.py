"""A running service over HTTP, as an import on the command line needs it."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, cast

import httpx2

from facesearch.commands.remote_answers import (
    RemoteJob,
    RemoteLimits,
    job_of,
    problem_of,
    report_of,
    retry_after,
    understood,
)
from facesearch.config import KEY_VARIABLE
from facesearch.errors import FacesearchError, Invalid, NotFound, Unavailable
from facesearch.records import FileReport, ImportOptions

Query = Mapping[str, str | int | float | None]

PATIENCE_S = 600.0

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
# The service reads the directory of an archive, and has the archive on its disk, before it answers.
_UPLOAD_TIMEOUT = httpx2.Timeout(60.0, connect=10.0, read=600.0)
_GOODBYE = httpx2.Timeout(5.0)
_TRY_AGAIN = frozenset({408, 429, 502, 503, 504})
_PAGE = 1000


class RemoteService:
    """A client of a service. Lives for one command, and belongs to its thread.

    What cannot be answered right now (connections that fail, 429, 503) is asked again, after the pause that
    the service names where it does, until `patience_s` have passed since it first failed.

    Args:
        url: where the service is.
        on_wait: called with the reason, before a pause.
        key: what the service knows this client by; by default what FACESEARCH_API_KEY holds.
    """

    def __init__(
        self,
        url: str,
        on_wait: Callable[[str], None] = lambda _: None,
        patience_s: float = PATIENCE_S,
        key: str | None = None,
    ) -> None:
        try:
            address = httpx2.URL(url)
        except httpx2.InvalidURL:
            address = httpx2.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise Invalid("--url takes the address of a service, such as http://127.0.0.1:8000")
        self.name = str(address.copy_with(userinfo=b"")).rstrip("/")
        key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
        if not (key.isascii() and key.isprintable()):
            raise Invalid("The service's key has characters that no key has.")
        self._has_key = bool(key)
        headers = {"X-API-Key": key} if key else {}
        self._client = httpx2.Client(base_url=address, timeout=_TIMEOUT, headers=headers)
        self._on_wait = on_wait
        self._patience_s = patience_s

    def limits(self) -> RemoteLimits:
        """Return the service's limits; a service that is not there is not waited for.

        Raises:
            Unavailable: there is no service of this kind.
        """
        try:
            answer = self._ask(lambda: self._client.get("v1/info"), waits=False)
        except NotFound:
            raise Unavailable(f"There is no facesearch at {self.name}, or one without imports.") from None
        with understood(self.name):
            limits = answer.json()["limits"]
            return RemoteLimits(**{name: int(limits[name]) for name in RemoteLimits.__annotations__})

    def start(
        self,
        archive: BinaryIO,
        name: str,
        options: ImportOptions,
        key: str,
        on_sent: Callable[[int, int], None],
        collection: str | None = None,
    ) -> RemoteJob:
        """Send an archive as it streams from the disk, and return its job; once under one key.

        Args:
            archive: an open zip.
            name: what to call it.
            on_sent: called with the bytes that were sent, and how many there are.
            collection: None for the key's own, whatever the options say.
        """
        file = cast(BinaryIO, _Upload(archive, on_sent))
        query = _given(
            {
                "faces": options.faces,
                "duplicates": "skip" if options.skip_duplicates else "store",
                "collection": collection,
            }
        )
        label = _label(name)

        def send() -> httpx2.Response:
            return self._client.post(
                "v1/imports",
                params=query,
                files={"file": (label, file, "application/zip")},
                headers={"Idempotency-Key": key},
                timeout=_UPLOAD_TIMEOUT,
            )

        answer = self._ask(send)
        with understood(self.name):
            return job_of(answer.json())

    def job(self, job_id: str) -> RemoteJob:
        """Return a job as it stands."""
        answer = self._ask(lambda: self._client.get(f"v1/jobs/{job_id}"))
        with understood(self.name):
            return job_of(answer.json())

    def files(self, job_id: str) -> Iterator[FileReport]:
        """Yield what became of each file of a job."""
        cursor: str | None = None
        while True:
            query = {"limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
            answer = self._ask(partial(self._client.get, f"v1/jobs/{job_id}/files", params=query))
            with understood(self.name):
                page = answer.json()
                reports, cursor = [report_of(file) for file in page["files"]], page["next"]
            yield from reports
            if cursor is None:
                return

    def cancel(self, job_id: str) -> None:
        """Cancel a job, without waiting for a service that is busy.

        Raises:
            FacesearchError: it goes on, or was over before.
        """
        self._ask(lambda: self._client.delete(f"v1/jobs/{job_id}", timeout=_GOODBYE), waits=False)

    def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        files: Sequence[tuple[str, tuple[str, bytes]]] = (),
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object that the service answers with; one that is busy is not waited for.

        Args:
            path: without a slash before it.
            query: what is None is left out.
            files: of a form: a field, and the name and the bytes of a file.
            body: a JSON object, where no files are sent.

        Raises:
            FacesearchError: the service's own sentence, or one about whoever answered in its place.
        """
        named = [(field, (_label(name), data)) for field, (name, data) in files]
        # Only its JSON tells that an erasure is over.
        timeout = _TIMEOUT if method == "GET" else _UPLOAD_TIMEOUT
        answer = self._ask(
            lambda: self._client.request(
                method, path, params=_given(query), files=named or None, json=body, timeout=timeout
            ),
            waits=False,
        )
        with understood(self.name):
            said = answer.json()
            if not isinstance(said, dict):
                raise ValueError
            return said

    def listed(self, path: str, field: str, query: Query, most: int | None) -> Iterator[dict[str, Any]]:
        """Yield what a list of the service holds, page by page, as `ask` does.

        Args:
            field: of the answer, that holds a page.
            most: how many are wanted, None for all.
        """
        cursor: str | None = None
        left = most
        while left is None or left > 0:
            limit = _PAGE if left is None else min(left, _PAGE)
            page = self.ask("GET", path, {**query, "limit": limit, "cursor": cursor})
            with understood(self.name):
                items, cursor = list(page[field]), page["next"]
            yield from items
            if cursor is None:
                return
            left = None if left is None else left - len(items)

    def fetched(self, path: str, query: Query) -> tuple[str, bytes]:
        """Return the media type and the bytes of what is no JSON, as `ask` does."""
        answer = self._ask(lambda: self._client.get(path, params=_given(query)), waits=False)
        return answer.headers.get("Content-Type", "").partition(";")[0], answer.content

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, send: Callable[[], httpx2.Response], waits: bool = True) -> httpx2.Response:
        pause, deadline = _FIRST_PAUSE_S, None
        while True:
            wait = pause
            try:
                response = send()
            except httpx2.TransportError as error:
                problem: FacesearchError = Unavailable(self._no_answer(error))
            else:
                if response.is_success:
                    return response
                problem = problem_of(response, self.name, self._has_key)
                if response.status_code not in _TRY_AGAIN:
                    raise problem
                wait = max(wait, retry_after(response))
            # Counted from here: an archive may take hours to send before a connection breaks off.
            deadline = deadline or time.monotonic() + (self._patience_s if waits else 0)
            if time.monotonic() + wait > deadline:
                raise problem
            self._on_wait(problem.message)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _no_answer(self, error: httpx2.TransportError) -> str:
        if isinstance(error, httpx2.TimeoutException):
            return f"The service at {self.name} does not answer in time."
        if isinstance(error, httpx2.ConnectError):
            return f"The service at {self.name} cannot be reached: {error}."
        return f"The connection to the service at {self.name} broke off."


class _Upload:
    """An open file that stays as long as it is; tells how much was read. Belongs to one request at a time."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int, int], None]) -> None:
        self._file = file
        self._on_read = on_read
        self._size = file.seek(0, 2)
        self._sent = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._size - self._sent))
        self._sent += len(data)
        if not data and self._sent < self._size:
            raise Invalid("The file changed while it was sent.")
        self._on_read(self._sent, self._size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._sent = self._file.seek(offset, whence)
        return self._sent

    def tell(self) -> int:
        return self._file.tell()


def _given(query: Query | None) -> dict[str, str | int | float]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _label(name: str) -> str:
    return name.encode("utf-8", "replace").decode()
