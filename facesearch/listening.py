"""Whether a server could listen at an address."""

import socket


def try_address(host: str, port: int) -> None:
    """Take an address as a server does, and let it go.

    Raises:
        OSError: a server could not take it either; socket.gaierror where it is none.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As gunicorn has it: connections that are ending do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
