"""A file that is written to disk while it arrives."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

import anyio
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from facesearch.errors import InvalidParameter, StorageFull, TooLarge
from facesearch.web.parameters import FORM, given_twice, unknown

FIELD = "file"

# What a request holds in memory is about this, and what the server reads at a time.
_WRITE_BYTES = 1024**2
_OTHER_PARTS = 100
_OTHER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived whole, at its first byte.

    `file_name` is the client's, never opened. `sha256` is in hexadecimal, None where nobody asked for it.
    `fields` are those form fields that were asked for and came.
    """

    file: BinaryIO
    file_name: str
    sha256: str | None
    fields: Mapping[str, str]


@asynccontextmanager
async def uploaded(
    request: Request,
    new_file: Callable[[], BinaryIO],
    file_bytes: int,
    limiter: anyio.CapacityLimiter,
    *,
    digest: bool,
    fields: Sequence[str] | None = None,
) -> AsyncIterator[Upload]:
    """Write the part `file` of a multipart request to a new file, which is closed at the end.

    Reading goes on once what was read is written, so a slow disk slows the
    client down; memory stays bounded.

    Args:
        new_file: makes the file; called in a thread, as is all that touches the disk.
        file_bytes: how long the file may be.
        limiter: of those threads.
        digest: whether the file's SHA-256 is wanted.
        fields: names of form fields whose text is wanted, and no others are taken; None passes all over.

    Raises:
        InvalidParameter: it is no multipart request, or a broken one, or has not exactly one such file, or
            one of the fields twice, or another one.
        TooLarge: the file is longer.
        StorageFull: there is no room for it; an OSError says so too.
    """
    parts = _Parts(file_bytes, fields)
    parser = _parser(request.headers.get("content-type"), parts)
    file = await anyio.to_thread.run_sync(new_file, limiter=limiter)
    writer = _Writer(file, digest)
    try:
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                _parse(parser, chunk)
                if parts.waiting_bytes >= _WRITE_BYTES:
                    await anyio.to_thread.run_sync(writer.write, parts.take(), limiter=limiter)
        parts.check_complete()
        await anyio.to_thread.run_sync(writer.finish, parts.take(), limiter=limiter)
        yield Upload(file, parts.file_name, writer.sha256, parts.fields())
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_close, file)


class _Parts:
    """What the parser says of a body, in its order. Lives as long as one request.

    Holds the file's bytes until they are taken, and of the other parts the wanted fields.
    """

    def __init__(self, file_bytes: int, fields: Sequence[str] | None) -> None:
        self.file_name = ""
        self.waiting_bytes = 0
        self._file_bytes = file_bytes
        self._waiting: list[bytes] = []
        self._length = 0
        self._others = 0
        self._other_length = 0
        self._fields = {name.encode(): bytearray() for name in fields or ()}
        self._takes_others = fields is None
        self._field: bytearray | None = None
        self._given: set[bytes] = set()
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._in_file = False
        self._seen = False
        self._ended = False

    def on_part_begin(self) -> None:
        self._disposition = b""
        self._in_file = False
        self._field = None

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if name != FIELD.encode():
            self._begin_field(name)
            self._others += 1
            self._other_length = 0
            if self._others > _OTHER_PARTS:
                raise InvalidParameter("The multipart body has too many parts.")
            return
        if b"filename" not in options:
            raise InvalidParameter(f"{FIELD} must be a file.", [FIELD])
        if self._seen:
            raise given_twice(FIELD)
        self._seen = self._in_file = True
        self.file_name = _decoded(options[b"filename"])

    def _begin_field(self, name: bytes) -> None:
        self._field = self._fields.get(name)
        if self._field is None and not self._takes_others:
            raise unknown(_decoded(name), map(_decoded, self._fields), FORM)
        if name in self._given:
            raise given_twice(_decoded(name))
        if self._field is not None:
            self._given.add(name)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            self._other_length += end - start
            if self._other_length > _OTHER_BYTES:
                raise InvalidParameter("A part of the multipart body beside the file is too long.")
            if self._field is not None:
                self._field += data[start:end]
            return
        self._length += end - start
        if self._length > self._file_bytes:
            raise TooLarge(f"The file is over the limit of {self._file_bytes} bytes.")
        self._waiting.append(data[start:end])
        self.waiting_bytes += end - start

    def on_end(self) -> None:
        self._ended = True

    def fields(self) -> dict[str, str]:
        """The wanted fields that came."""
        return {_decoded(name): _decoded(bytes(self._fields[name])) for name in sorted(self._given)}

    def take(self) -> list[bytes]:
        """The bytes that nobody has taken yet."""
        taken, self._waiting, self.waiting_bytes = self._waiting, [], 0
        return taken

    def check_complete(self) -> None:
        """Raise InvalidParameter where the body has ended too early, or without the file."""
        if not self._ended:
            raise InvalidParameter("The multipart body is damaged or cut short.")
        if not self._seen:
            raise InvalidParameter(f"{FIELD} is missing.", [FIELD])


class _Writer:
    """Writes one file, in whichever thread. Lives as long as one request."""

    def __init__(self, file: BinaryIO, digest: bool) -> None:
        self._file = file
        self._digest = hashlib.sha256() if digest else None

    @property
    def sha256(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()

    def write(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            if self._file.write(chunk) != len(chunk):
                raise StorageFull
            if self._digest is not None:
                self._digest.update(chunk)

    def finish(self, chunks: Sequence[bytes]) -> None:
        self.write(chunks)
        self._file.flush()
        self._file.seek(0)


def _parser(content_type: str | None, parts: _Parts) -> MultipartParser:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise InvalidParameter(f"{FIELD} is missing.", [FIELD])
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidParameter("The multipart body has no boundary.")
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": parts.on_part_begin,
                "on_part_data": parts.on_part_data,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_headers_finished": parts.on_headers_finished,
                "on_end": parts.on_end,
            },
        )
    except FormParserError:
        raise InvalidParameter("The multipart body's boundary is too long.") from None


def _parse(parser: MultipartParser, chunk: bytes) -> None:
    try:
        parser.write(chunk)
    except FormParserError:
        raise InvalidParameter("The multipart body is damaged.") from None


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _close(file: BinaryIO) -> None:
    # Where the disk is full, what is still in the file's buffer cannot be written, and need not be.
    with contextlib.suppress(OSError):
        file.close()
