import errno
import fcntl
import hashlib
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch.encoders import fetch as module
from facesearch.encoders.cards import Licence, ModelCard, Source
from facesearch.encoders.fetch import check_fetchable, fetch
from facesearch.errors import Conflict, Invalid, Unavailable
from tests.unit.encoders.https_server import CERTIFICATE, FileServer, serving

DATA = bytes(range(256)) * 4000


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as files:
        files.data = DATA
        yield files


@pytest.fixture
def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


def _card(server: FileServer, **changes: Any) -> ModelCard:
    given = {
        "id": "some-model",
        "name": "Some model",
        "task": "detection",
        "family": "yunet",
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "licence": Licence(name="MIT", commercial_use=True),
        "source": Source(document="a test", url=f"{server.url}/model.onnx"),
    }
    return ModelCard.model_validate(given | changes)


def test_a_file_arrives_whole(server: FileServer, trust: ssl.SSLContext, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    file = fetch(_card(server), tmp_path / "new", lambda there, total: seen.append((there, total)), trust)
    assert file.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert [there for there, _ in seen] == sorted(there for there, _ in seen)


def test_a_fetch_that_ended_early_goes_on_where_it_ended(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    server.sends_at_most = 300_000
    with pytest.raises(Unavailable, match="goes on"):
        fetch(_card(server), tmp_path, trust=trust)
    server.sends_at_most = None
    assert fetch(_card(server), tmp_path, trust=trust).read_bytes() == DATA
    assert server.ranges == [None, "bytes=300000-"]


def test_a_server_that_knows_no_ranges_sends_it_anew(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    server.sends_at_most, server.knows_ranges = 300_000, False
    with pytest.raises(Unavailable):
        fetch(_card(server), tmp_path, trust=trust)
    server.sends_at_most = None
    assert fetch(_card(server), tmp_path, trust=trust).read_bytes() == DATA


def test_a_file_that_was_whole_is_not_fetched_again(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    fetch(_card(server, bytes=len(DATA)), tmp_path, trust=trust)
    assert fetch(_card(server, bytes=len(DATA)), tmp_path, trust=trust).read_bytes() == DATA
    assert len(server.ranges) == 1


def test_a_file_that_was_whole_is_known_by_its_hash_where_its_size_is_not(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    fetch(_card(server), tmp_path, trust=trust)
    assert fetch(_card(server), tmp_path, trust=trust).read_bytes() == DATA
    assert server.ranges == [None, f"bytes={len(DATA)}-"]


def test_another_file_is_refused_and_deleted(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    server.data = DATA[:-1] + b"?"
    with pytest.raises(Invalid, match="SHA-256"):
        fetch(_card(server), tmp_path, trust=trust)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_more_bytes_than_the_card_says_are_refused(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path, says_length: bool
) -> None:
    server.data, server.says_length = DATA + b"!", says_length
    with pytest.raises(Invalid, match="larger"):
        fetch(_card(server, bytes=len(DATA)), tmp_path, trust=trust)


def test_a_file_without_end_is_refused(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    server.says_length = False
    with pytest.raises(Invalid, match="larger"):
        fetch(_card(server), tmp_path, trust=trust)


def test_a_redirect_to_https_is_followed(server: FileServer, trust: ssl.SSLContext, tmp_path: Path) -> None:
    server.redirect = f"{server.url}/moved"
    assert fetch(_card(server), tmp_path, trust=trust).read_bytes() == DATA


@pytest.mark.parametrize("address", ["http://127.0.0.1/model.onnx", "file:///etc/hostname", "ftp://host/x"])
def test_a_redirect_to_anything_else_is_not(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path, address: str
) -> None:
    server.redirect = address
    with pytest.raises(Invalid, match="not https"):
        fetch(_card(server), tmp_path, trust=trust)


def test_a_certificate_that_nobody_trusts_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="certificate"):
        fetch(_card(server), tmp_path)


def test_an_answer_that_is_no_file_is_named(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    server.status = 404
    with pytest.raises(Unavailable, match="404"):
        fetch(_card(server), tmp_path, trust=trust)


def test_a_server_that_falls_silent_is_given_up(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    server.sends_at_most, server.stalls = 300_000, True
    with pytest.raises(Unavailable, match="goes on"):
        fetch(_card(server), tmp_path, trust=trust, timeout_s=0.2)


@pytest.mark.parametrize(
    "error", [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError(1, "bad record mac")]
)
def test_a_connection_that_breaks_is_not_taken_for_a_disk_that_is_full(
    server: FileServer,
    trust: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
) -> None:
    def breaks(answer: http.client.HTTPResponse, size: int) -> bytes:
        raise error

    monkeypatch.setattr(http.client.HTTPResponse, "read", breaks)
    with pytest.raises(Unavailable, match="no connection"):
        fetch(_card(server), tmp_path, trust=trust)


def test_without_a_connection_the_reason_is_said(tmp_path: Path, trust: ssl.SSLContext) -> None:
    with serving() as gone:
        pass
    with pytest.raises(Unavailable, match="no connection"):
        fetch(_card(gone), tmp_path, trust=trust)


def test_a_second_fetch_of_the_same_file_is_refused(
    server: FileServer, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    card = _card(server)
    with (tmp_path / f"{card.sha256}.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            fetch(card, tmp_path, trust=trust)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": None}, "gives its SHA-256"),
        ({"source": Source(document="a test", obtain="Ask Ada.")}, "gives its address.*Ask Ada"),
    ],
)
def test_what_no_document_pins_is_not_fetched(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        check_fetchable(_card(FileServer(), **changes))
