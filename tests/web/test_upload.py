import contextlib
import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from starlette.types import Message

from facesearch.config import Settings
from facesearch.errors import InvalidParameter, StorageFull
from facesearch.web.upload import uploaded
from tests.web.conftest import FakeAPI

ROUTES = ["/v1/imports", "/v1/imports/", "/add_faces_in_bulk/", "/add_faces_in_bulk"]
BOUNDARY = "limit"
TYPE = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
END = f"\r\n--{BOUNDARY}--\r\n".encode()


def part(name: str = "file", file_name: str | None = "a.zip", more: str = "") -> bytes:
    label = "" if file_name is None else f'; filename="{file_name}"'
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{label}\r\n{more}\r\n'.encode()


def zip_of(length: int) -> bytes:
    return part() + bytes(length) + END


class FullDisk(io.BytesIO):
    """A file on a disk that has room for some bytes."""

    def __init__(self, room: int, number: int) -> None:
        super().__init__()
        self._room = room
        self._number = number

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._room:
            raise OSError(self._number, os.strerror(self._number))
        return super().write(data)


def receive_all(messages: list[Message], room: int = 10**9, most: int = 10**9) -> tuple[bytes, str, BinaryIO]:
    """Upload what a server would hand over message by message; with the file, closed by now."""
    files: list[BinaryIO] = []

    def new_file() -> BinaryIO:
        files.append(FullDisk(room, errno.ENOSPC))
        return files[0]

    async def receive() -> Message:
        return messages.pop(0)

    async def upload() -> tuple[bytes, str]:
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(k.encode(), v.encode()) for k, v in TYPE.items()],
        }
        limiter = anyio.CapacityLimiter(1)
        async with uploaded(Request(scope, receive), new_file, most, limiter, digest=True) as done:
            data = done.file.read()
            assert done.sha256 == hashlib.sha256(data).hexdigest()
            return data, done.file_name

    try:
        data, name = anyio.run(upload)
    finally:
        assert all(file.closed for file in files)
    return data, name, files[0]


def chunked(body: bytes, length: int) -> list[Message]:
    starts = range(0, len(body), length)
    return [
        {"type": "http.request", "body": body[at : at + length], "more_body": at != starts[-1]}
        for at in starts
    ]


@given(
    data=st.binary(max_size=300) | st.text("\r\n-limt", max_size=200).map(str.encode),
    length=st.integers(1, 80),
    before=st.integers(0, 2),
)
def test_a_file_arrives_as_it_was_sent_however_it_is_cut(data: bytes, length: int, before: int) -> None:
    if b"\r\n--limit" in b"\r\n" + data:
        return
    fields = b"".join(part(f"field{n}", None) + b"value\r\n" for n in range(before))
    body = fields + part(file_name="Ünï.zip") + data + END
    received, name, _ = receive_all(chunked(body, length))
    assert (received, name) == (data, "Ünï.zip")


@given(body=st.binary(max_size=200), cut=st.integers(0, 60), length=st.integers(1, 40))
def test_whatever_is_sent_is_taken_or_refused_and_the_file_closed(body: bytes, cut: int, length: int) -> None:
    whole = part() + body + END
    for sent in (whole[:cut], part()[:cut] + body, whole[: len(whole) - cut]):
        if sent:
            with contextlib.suppress(InvalidParameter):
                receive_all(chunked(sent, length))


def test_a_client_that_goes_away_leaves_no_file() -> None:
    with pytest.raises(ClientDisconnect):
        receive_all([*chunked(part() + bytes(2 * 1024**2), 65536)[:-1], {"type": "http.disconnect"}])


def test_a_full_disk_is_told_and_the_file_closed() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        receive_all(chunked(zip_of(3 * 1024**2), 65536), room=1024**2)


def test_a_write_that_takes_a_part_only_is_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FullDisk, "write", lambda self, data: len(data) - 1)
    with pytest.raises(StorageFull):
        receive_all(chunked(zip_of(1000), 65536))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (zip_of(9), "multipart/form-data", "The multipart body has no boundary."),
        (zip_of(9), "multipart/form-data; boundary=", "The multipart body has no boundary."),
        (
            zip_of(9),
            "multipart/form-data; boundary=" + "x" * 300,
            "The multipart body's boundary is too long.",
        ),
        (zip_of(9), "multipart/form-data; boundary=other", "The multipart body is damaged."),
        (zip_of(9), "application/zip", "file is missing."),
        (zip_of(9), "", "file is missing."),
        (b"", TYPE["content-type"], "The multipart body is damaged or cut short."),
        (zip_of(9)[:-8], TYPE["content-type"], "The multipart body is damaged or cut short."),
        (part(file_name=None) + b"zip" + END, TYPE["content-type"], "file must be a file."),
        (part() + b"\r\n" + zip_of(9), TYPE["content-type"], "file is given more than once."),
        (part("faces") + bytes(70_000) + b"\r\n" + zip_of(9), TYPE["content-type"], "is too long."),
        (END, TYPE["content-type"], "file is missing."),
        (part(more="x: y\r\n" * 9) + END, TYPE["content-type"], "The multipart body is damaged."),
        (part(more=f"x: {'y' * 5000}\r\n") + END, TYPE["content-type"], "The multipart body is damaged."),
        (part(more="no colon\r\n") + END, TYPE["content-type"], "The multipart body is damaged."),
    ],
)
def test_an_upload_that_cannot_be_used_is_400_with_its_reason(
    client: TestClient, api: FakeAPI, route: str, body: bytes, content_type: str, reason: str
) -> None:
    answer = client.post(route, content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    told = answer.json()
    assert (told["message"] if route.startswith("/v1") else told["body"]).endswith(reason)
    assert all(file.closed for file in api.fake_imports.files_made)
    assert not api.fake_imports.started


def test_other_small_parts_are_passed_over_on_the_old_route(client: TestClient, api: FakeAPI) -> None:
    files: Any = {"api_key": (None, "x"), "photo": ("b.jpg", b"other"), "file": ("a.zip", b"zip")}
    assert client.post("/add_faces_in_bulk/", files=files).status_code == 200
    assert [started[0] for started in api.fake_imports.started] == [b"zip"]
    many = (part("o") + b"\r\n") * 101 + zip_of(9)
    answer = client.post("/add_faces_in_bulk/", content=many, headers=TYPE)
    assert answer.json()["body"] == "The multipart body has too many parts."


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("photo", "photo is not a field of this route's form."),
        ("facse", "facse is not a field of this route's form; faces is."),
        ("", "An empty name is not a field of this route's form."),
    ],
)
def test_other_parts_are_refused_below_v1(client: TestClient, api: FakeAPI, name: str, reason: str) -> None:
    answer = client.post("/v1/imports", content=part(name) + b"x\r\n" + zip_of(9), headers=TYPE)
    assert (answer.status_code, answer.json()["message"]) == (400, reason)
    assert answer.json()["details"] == {"parameters": [name]}
    assert not api.fake_imports.started


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("over", [1, 100_000])
@pytest.mark.parametrize("declared", [True, False])
def test_a_zip_over_its_limit_is_413_whether_its_length_is_declared_or_not(
    client: TestClient, api: FakeAPI, settings: Settings, route: str, over: int, declared: bool
) -> None:
    body = zip_of(settings.limits.zip_bytes + over)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), 50_000):
            yield body[at : at + 50_000]

    answer = client.post(route, content=body if declared else pieces(), headers=TYPE)
    assert answer.status_code == 413
    assert str(settings.limits.zip_bytes) in answer.text
    assert not answer.json().get("details")
    assert all(file.closed for file in api.fake_imports.files_made)
    assert client.post(route, content=zip_of(settings.limits.zip_bytes), headers=TYPE).status_code < 300


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("route", ROUTES)
def test_a_full_disk_is_503_and_the_next_upload_is_taken(
    client: TestClient, api: FakeAPI, route: str, number: int
) -> None:
    api.fake_imports.make_file = lambda: FullDisk(1000, number)
    answer = client.post(route, content=zip_of(100_000), headers=TYPE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    told = answer.json()
    assert (told["code"] if route.startswith("/v1") else told["result"]["code"]) == "storage_full"
    api.fake_imports.make_file = tempfile.TemporaryFile
    assert client.post(route, content=zip_of(100_000), headers=TYPE).status_code < 300


def test_a_disk_that_fails_otherwise_is_500(client: TestClient, api: FakeAPI) -> None:
    api.fake_imports.make_file = lambda: FullDisk(1000, errno.EIO)
    answer = client.post("/v1/imports", content=zip_of(100_000), headers=TYPE)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


@pytest.mark.parametrize("route", ["/add_face/", "/search_faces/"])
def test_no_room_for_a_photo_is_503(client: TestClient, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.write", full)
    answer = client.post(route, files={"file": ("a.jpg", b"photo")})
    assert (answer.status_code, answer.json()["result"]) == (503, {"code": "storage_full"})
    assert answer.headers["retry-after"] == "5"
