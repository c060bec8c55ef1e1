"""A file server of its own certificate, with the faults that a fetch has to bear."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Made for 127.0.0.1 and these tests alone, with its key; nobody else trusts it."""


class FileServer:
    """Serves `data` to every GET, as its attributes say. Lives as long as `serving`."""

    def __init__(self) -> None:
        self.data = b""
        self.status = 200
        self.redirect: str | None = None
        self.knows_ranges = True
        self.says_length = True
        self.sends_at_most: int | None = None
        self.stalls = False
        self.ranges: list[str | None] = []
        self.url = "https://127.0.0.1:1"
        self.stopping = threading.Event()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        if self.redirect is not None and request.path != "/moved":
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.knows_ranges else 0
        status = 416 if start and start >= len(self.data) else 206 if start else self.status
        body = b"" if status in (404, 416) else self.data[start:]
        request.send_response(status)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        if self.says_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body if self.sends_at_most is None else body[: self.sends_at_most])
        request.wfile.flush()
        if self.stalls:
            self.stopping.wait(30)


@contextmanager
def serving() -> Iterator[FileServer]:
    files = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.answer(self)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        files.url = f"https://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield files
        finally:
            files.stopping.set()
            server.shutdown()
            thread.join()
