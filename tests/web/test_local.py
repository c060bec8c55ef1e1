"""Who counts as a program on the service's own computer."""

from typing import Any

import pytest

from facesearch.errors import LocalOnly
from facesearch.web.local import check_local

LOCAL_HOST = (b"host", b"127.0.0.1:8000")
TCP, UNIX = ("127.0.0.1", 8000), ("/run/facesearch.sock", None)


def scope(*headers: tuple[bytes, bytes], client: Any = ("127.0.0.1", 50_000), server: Any = TCP) -> Any:
    return {"type": "http", "client": client, "server": server, "headers": list(headers)}


def passes(scope: Any) -> bool:
    try:
        check_local(scope)
    except LocalOnly:
        return False
    return True


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("128.0.0.1", False),
        ("10.0.0.1", False),
        ("192.168.1.2", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::2", False),
        ("::ffff:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("fe80::1%lo", False),
        ("2130706433", False),
        ("127.1", False),
        ("testclient", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_the_peer_has_an_address_of_this_computer(address: str, is_local: bool) -> None:
    assert passes(scope(LOCAL_HOST, client=(address, 1))) is is_local


@pytest.mark.parametrize(
    ("client", "server", "is_local"),
    [
        (None, UNIX, True),
        (("", 0), UNIX, True),
        (None, TCP, False),
        (None, None, False),
        (None, ("", None), False),
        (None, ("127.0.0.1", None), False),
        (("10.0.0.1", 1), UNIX, False),
    ],
)
def test_no_peer_is_one_on_a_unix_socket_alone(client: Any, server: Any, is_local: bool) -> None:
    assert passes(scope((b"host", b"localhost"), client=client, server=server)) is is_local


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-FORWARDED-PROTO",
        "x-forwarded-anything",
        "X_Forwarded_For",
        "X-Real-IP",
        "Via",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Connecting-IPv6",
        "X-Original-URL",
        "X-Original-Forwarded-For",
        "X-Envoy-External-Address",
        "X-Cluster-Client-Ip",
        "CDN-Loop",
        "Proxy-Connection",
    ],
)
@pytest.mark.parametrize("value", [b"127.0.0.1", b"", b"localhost"])
def test_what_was_forwarded_is_not_local(name: str, value: bytes) -> None:
    assert not passes(scope(LOCAL_HOST, (name.encode(), value)))


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        (b"127.0.0.1", True),
        (b"127.0.0.1:8000", True),
        (b"127.5.5.5:1", True),
        (b"localhost", True),
        (b"LocalHost:8000", True),
        (b"[::1]", True),
        (b"[::1]:8000", True),
        (b"[::ffff:127.0.0.1]:8000", True),
        (b"", False),
        (b"evil.example", False),
        (b"evil.example:8000", False),
        (b"localhost.evil.example", False),
        (b"127.0.0.1.evil.example", False),
        (b"evil.example:127.0.0.1", False),
        (b"user@localhost", False),
        (b"localhost/evil", False),
        (b"localhost evil", False),
        (b"localhost,evil.example", False),
        (b"localhost:", False),
        (b"localhost:80:80", False),
        (b"::1", False),
        (b"[::1", False),
        (b"[::2]", False),
        (b"0.0.0.0", False),
        (b"2130706433", False),
        (b"0x7f.1", False),
        (b"192.168.1.2", False),
        (b"localhost\xe9", False),
    ],
)
def test_the_host_is_a_name_of_this_computer(host: bytes, is_local: bool) -> None:
    assert passes(scope((b"Host", host))) is is_local


def test_there_is_one_host() -> None:
    assert not passes(scope())
    assert not passes(scope(LOCAL_HOST, LOCAL_HOST))
    assert not passes(scope(LOCAL_HOST, (b"host", b"evil.example")))


@pytest.mark.parametrize(
    ("host", "origin", "is_local"),
    [
        (b"localhost:8000", b"http://localhost:8000", True),
        (b"localhost:8000", b"HTTP://LOCALHOST:8000", True),
        (b"localhost:8000", b"https://localhost:8000", True),
        (b"localhost", b"http://localhost:80", True),
        (b"localhost:80", b"http://localhost", True),
        (b"localhost", b"https://localhost", True),
        (b"[::1]:8000", b"http://[::1]:8000", True),
        (b"localhost:8000", b"http://localhost:3000", False),
        (b"localhost:8000", b"http://127.0.0.1:8000", False),
        (b"localhost:8000", b"http://localhost", False),
        (b"localhost:8000", b"https://evil.example", False),
        (b"localhost:8000", b"http://localhost:8000.evil.example", False),
        (b"localhost:8000", b"http://evil.example@localhost:8000", False),
        (b"localhost:8000", b"http://localhost:8000/", False),
        (b"localhost:8000", b"http://localhost:8000 http://evil.example", False),
        (b"localhost:8000", b"null", False),
        (b"localhost:8000", b"", False),
        (b"localhost:8000", b"http://[::1", False),
        (b"localhost:8000", b"ftp://localhost:8000", False),
        (b"localhost:8000", b"chrome-extension://abc", False),
    ],
)
def test_a_page_is_the_service_s_own(host: bytes, origin: bytes, is_local: bool) -> None:
    assert passes(scope((b"host", host), (b"origin", origin))) is is_local
    own = (b"origin", b"http://" + host)
    assert passes(scope((b"host", host), own, (b"origin", origin))) is is_local


@pytest.mark.parametrize(
    ("site", "is_local"),
    [(b"none", True), (b"same-origin", True), (b"same-site", False), (b"cross-site", False), (b"", False)],
)
def test_a_browser_s_word_about_the_page_counts(site: bytes, is_local: bool) -> None:
    assert passes(scope(LOCAL_HOST, (b"sec-fetch-site", site))) is is_local


def test_the_sentence_says_how_to_make_a_key() -> None:
    with pytest.raises(LocalOnly, match=r"facesearch keys create --scope read.*X-API-Key"):
        check_local(scope(LOCAL_HOST, client=("10.0.0.1", 1)))
