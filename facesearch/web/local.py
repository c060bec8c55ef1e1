"""Telling programs on the service's own computer from all others."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from facesearch.errors import LocalOnly

# Whoever forwards for others says so in one of these. uvicorn believes some of them about the peer: where
# there are none, the peer that it names is the socket's own.
_FORWARDING = re.compile(
    r"forwarded|x-forwarded.*|x-real-ip|x-original-.*|x-client-ip|client-ip|true-client-ip|x-cluster-client-ip"
    r"|[a-z0-9]+-connecting-ip(?:v6)?|fastly-client-ip|x-envoy-.*|x-appengine-.*|x-azure-.*|x-proxy.*|via"
    r"|proxy-.*|cdn-loop"
)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::(?P<port>[0-9]{1,5}))?")
_LOOPBACK = IPv4Network("127.0.0.0/8")
_PORTS = {"http": "80", "https": "443"}
_OWN_PAGES = ("none", "same-origin")


def check_local(scope: Scope) -> None:
    """Let a request pass that comes from a program on this computer, on its own behalf.

    Raises:
        LocalOnly: it may not; the message says how to make a key.
    """
    if reason := _reason_against(scope):
        raise LocalOnly(
            f"The service has no keys, so it answers programs on its own computer only, and {reason}. "
            "`python3 -m facesearch keys create --scope read` on its computer makes a key, "
            "to be sent as X-API-Key."
        )


def _reason_against(scope: Scope) -> str | None:
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in scope["headers"]
    ]
    hosts = [value.lower() for name, value in headers if name == "host"]
    origins = [value.lower() for name, value in headers if name == "origin"]
    sites = [value.lower() for name, value in headers if name == "sec-fetch-site"]
    if not _is_local_peer(scope):
        return "this request comes from another one"
    if any(_FORWARDING.fullmatch(name.replace("_", "-")) for name, _ in headers):
        return "this request was forwarded for somebody else"
    # A page of any site may have its own name lead here; the browser still says that name.
    if len(hosts) != 1 or (host := _authority(hosts[0])) is None or not _is_loopback(host[0]):
        return "this request is for a host of another name"
    if any(not _is_same(origin, host) for origin in origins) or any(site not in _OWN_PAGES for site in sites):
        return "this request was made by a page of another site"
    return None


def _is_local_peer(scope: Scope) -> bool:
    client: Sequence[object] | None = scope.get("client")
    if not client or not client[0]:
        # A peer may also be missing because it has gone; the server's own end tells a unix socket.
        server: Sequence[object] | None = scope.get("server")
        return server is not None and str(server[0]).startswith("/") and server[1] is None
    return _is_loopback(str(client[0]))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address: IPv4Address | IPv6Address | None = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        # As a socket for both families names a peer of the older one.
        if address.ipv4_mapped is None:
            return address == IPv6Address("::1")
        address = address.ipv4_mapped
    return address in _LOOPBACK


def _authority(text: str) -> tuple[str, str | None] | None:
    """The host and the port of an authority, None where it is none."""
    found = _AUTHORITY.fullmatch(text)
    return (found["v6"] or found["name"], found["port"]) if found else None


def _is_same(origin: str, host: tuple[str, str | None]) -> bool:
    """Whether an origin is the service itself, by the name that it is asked under."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default = _PORTS.get(parts.scheme)
    its = _authority(parts.netloc)
    if default is None or its is None or f"{parts.scheme}://{parts.netloc}" != origin:
        return False
    return (its[0], its[1] or default) == (host[0], host[1] or default)
