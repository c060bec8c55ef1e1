"""Fetches a model's file, and nothing else: over https alone, and only the file whose SHA-256 a card gives.

What has arrived is kept, and the next attempt goes on where it ended.
"""

import contextlib
import fcntl
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from facesearch.encoders.cards import ModelCard
from facesearch.encoders.onnx_file import MOST_BYTES
from facesearch.errors import Conflict, Invalid, Unavailable

Progress = Callable[[int, int | None], None]

_BLOCK = 1 << 18
_TIMEOUT_S = 30.0
_ELSEWHERE = "The address of the file leads to one that is not https, or in a circle; it was not followed."


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https addresses."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise Invalid(_ELSEWHERE)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_fetchable(card: ModelCard) -> None:
    """Raise Invalid where a card does not pin what would be fetched; the message says how else to get it."""
    missing = [
        name for name, value in (("address", card.source.url), ("SHA-256", card.sha256)) if value is None
    ]
    if missing:
        how = f" {card.source.obtain}" if card.source.obtain else ""
        raise Invalid(
            f"{card.id} cannot be fetched: no document that was read gives its {' and '.join(missing)}.{how}"
        )
    if urlsplit(card.source.url or "").scheme != "https":
        raise Invalid(f"{card.id} cannot be fetched: its address is not https.")


def fetch(
    card: ModelCard,
    folder: Path,
    progress: Progress | None = None,
    trust: ssl.SSLContext | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Path:
    """Return a file with the card's SHA-256 in `folder`, whose remover is the caller.

    Any process may call it; of two that want one file, the second is refused.

    Args:
        card: with address and SHA-256.
        folder: where the file arrives, and where half of one stays until the next attempt.
        progress: called with the bytes that are there, and how many there will be where that is known.
        trust: the certificates to trust; the system's by default.
        timeout_s: how long to wait for a connection, or for the next bytes.

    Raises:
        Invalid: the card does not pin the file, or what came is not the file.
        Unavailable: there is no connection, or it ended early; another attempt goes on from there.
        Conflict: another process fetches it.
    """
    check_fetchable(card)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f"{card.sha256}.part"
        with part.open("ab+") as file, _alone(file, card):
            if not _is_whole(file, card):
                _receive(file, card, progress, trust, timeout_s)
            _check(file, part, card)
        return part
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in range(300, 400):  # what urllib itself does not follow: no http, or in a circle
            raise Invalid(_ELSEWHERE) from None
        raise Unavailable(f"The server that has {card.id} answers {error.code}.") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise Unavailable(f"{card.id} could not be fetched: {_reason(error)}") from None
    except OSError as error:
        raise Unavailable(f"The file cannot be written: {error.strerror}.") from None


def _receive(
    file: BufferedRandom,
    card: ModelCard,
    progress: Progress | None,
    trust: ssl.SSLContext | None,
    timeout_s: float,
) -> None:
    """Append what the server sends to the file, or start it anew where the server cannot go on."""
    start = file.seek(0, os.SEEK_END)
    handlers = [urllib.request.HTTPSHandler(context=trust or ssl.create_default_context()), _HttpsOnly()]
    headers = {"User-Agent": "facesearch", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(card.source.url or "", headers=headers)  # noqa: S310 - https, checked
    try:
        opened = urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            return  # there is no more than what is here; its SHA-256 says whether it is the file
        raise
    except OSError as error:  # while the server's answer is awaited, some come as they are
        raise _broken(error) from None
    with opened as answer:
        if start and not _goes_on(answer, start):
            file.truncate(0)
            start = 0
        announced = answer.headers.get("Content-Length")
        total = start + int(announced) if announced and announced.isdigit() else card.bytes
        most = card.bytes if card.bytes is not None else MOST_BYTES - 1
        if total is not None and total > most:
            raise _too_large(card, most)
        there = start
        while block := _next(answer):
            there += len(block)
            if there > most:
                file.truncate(0)
                raise _too_large(card, most)
            file.write(block)
            if progress is not None:
                progress(there, total)
        file.flush()
        os.fsync(file.fileno())
        if total is not None and there < total:
            raise Unavailable(
                f"The connection ended after {there:,} of {total:,} bytes; the same command goes on."
            )


def _next(answer: Any) -> bytes:
    try:
        block: bytes = answer.read(_BLOCK)
    except OSError as error:
        raise _broken(error) from None
    return block


def _broken(error: OSError) -> urllib.error.URLError:
    """The same as an error of the network, which is told apart from one of the disk by its type."""
    return error if isinstance(error, urllib.error.URLError) else urllib.error.URLError(error)


def _goes_on(answer: Any, start: int) -> bool:
    """Say whether an answer holds the file from `start` on."""
    return answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _is_whole(file: BufferedRandom, card: ModelCard) -> bool:
    """Say whether an earlier attempt has brought everything, and ended before it could say so."""
    return card.bytes is not None and file.seek(0, os.SEEK_END) >= card.bytes


def _check(file: BufferedRandom, part: Path, card: ModelCard) -> None:
    """Compare the SHA-256; what is not the file is thrown away, so that the next attempt starts anew."""
    file.seek(0)
    if hashlib.file_digest(file, "sha256").hexdigest() != card.sha256:
        part.unlink(missing_ok=True)
        raise Invalid(
            f"What the server sent is not {card.id}: its SHA-256 is not the card's. It was deleted."
        )


@contextlib.contextmanager
def _alone(file: BufferedRandom, card: ModelCard) -> Iterator[None]:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"Another process is fetching {card.id}.") from None
    yield


def _too_large(card: ModelCard, most: int) -> Invalid:
    return Invalid(f"What the server sends is not {card.id}: it is larger than {most:,} bytes.")


def _reason(error: Exception) -> str:
    """Say in a sentence why there is no connection."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({reason.verify_message})."
    if isinstance(reason, TimeoutError):
        return "the server does not answer. The same command goes on from where it ended."
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection ended early. The same command goes on from where it ended."
    if isinstance(reason, OSError):
        return f"there is no connection to the server ({reason.strerror or type(reason).__name__})."
    return f"the server's answer cannot be read ({type(reason).__name__})."
