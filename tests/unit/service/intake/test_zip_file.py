import bz2
import io
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, Invalid
from facesearch.service.intake.zip_directory import read_directory
from facesearch.service.intake.zip_file import unpack
from tests.hostile_zips import (
    BZIP2,
    DEFLATE64,
    DEFLATED,
    ENCRYPTED,
    LZMA,
    MIB,
    STORED,
    ZSTANDARD,
    Member,
    deflated,
    file_of,
    lzma_of,
    zeros,
    zip_of,
)

LIMITS = LimitSettings()
TEXT = b"a photo, or what stands for one " * 100


def unpacked(data: bytes, number: int = 0) -> bytes:
    file = io.BytesIO(data)
    return unpack(file, read_directory(file, LIMITS)[number])


@pytest.mark.parametrize("method", [STORED, DEFLATED, BZIP2, LZMA])
def test_a_file_comes_out_as_it_went_in(method: int) -> None:
    assert unpacked(zip_of([file_of("a.jpg", TEXT, method), file_of("b.jpg", b"b")])) == TEXT


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_what_pythons_zipfile_writes_into_a_pipe_is_read(method: int) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    buffer = Pipe()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.jpg", TEXT)
        archive.writestr("b.jpg", TEXT[::-1])
    assert unpacked(buffer.getvalue(), 1) == TEXT[::-1]


@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")
def test_what_info_zip_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "Zoë.jpg").write_bytes(TEXT)
    subprocess.run(["zip", "-q", "-r", "a.zip", "Zoë.jpg"], cwd=tmp_path, check=True)
    assert unpacked((tmp_path / "a.zip").read_bytes()) == TEXT


@pytest.mark.parametrize(
    "change",
    [
        {"flags": ENCRYPTED},
        {"flags": 0x41},
        {"flags": 0x2000},
        {"method": 99},
        {"local": {"flags": ENCRYPTED}},
    ],
)
def test_an_encrypted_file_says_so(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="encrypted"):
        unpacked(zip_of([file_of("a.jpg", TEXT, **change)]))


@pytest.mark.parametrize(
    ("method", "name"), [(DEFLATE64, "Deflate64"), (ZSTANDARD, "Zstandard"), (98, "PPMd"), (1, "method 1")]
)
def test_an_unknown_way_of_packing_is_named(method: int, name: str) -> None:
    with pytest.raises(Invalid, match=rf"not supported \({name}\)"):
        unpacked(zip_of([file_of("a.jpg", TEXT, method=method)]))


def test_patched_data_is_not_supported() -> None:
    with pytest.raises(Invalid, match="not supported"):
        unpacked(zip_of([file_of("a.jpg", TEXT, flags=0x20)]))


@pytest.mark.parametrize("method", [STORED, DEFLATED, BZIP2, LZMA])
def test_a_wrong_checksum_says_so(method: int) -> None:
    with pytest.raises(BrokenImage, match="checksum is wrong"):
        unpacked(zip_of([file_of("a.jpg", TEXT, method, crc=1)]))


@pytest.mark.parametrize("method", [STORED, DEFLATED, BZIP2, LZMA])
@pytest.mark.parametrize("told", [10, len(TEXT) - 1, len(TEXT) + 1])
def test_a_wrong_size_says_so(method: int, told: int) -> None:
    with pytest.raises(BrokenImage, match=r"another size|checksum"):
        unpacked(zip_of([file_of("a.jpg", TEXT, method, size=told)]))


@pytest.mark.parametrize("method", [DEFLATED, BZIP2, LZMA])
def test_damaged_data_says_so(method: int) -> None:
    packed = bytes(range(256)) * 4
    with pytest.raises(BrokenImage, match="damaged"):
        unpacked(zip_of([Member(b"a.jpg", packed, method, 3000, 1)]))


@pytest.mark.parametrize("packed", [b"", b"\t", b"\t\x14\x05\x00\xff", b"\t\x14\x04\x00\x5d\0\0\1\0zzzzzzz"])
def test_a_damaged_head_of_lzma_says_so(packed: bytes) -> None:
    with pytest.raises(BrokenImage, match="damaged"):
        unpacked(zip_of([Member(b"a.jpg", packed, LZMA, 3000, 1)]))


def test_sizes_of_the_local_header_do_not_count() -> None:
    odd = file_of("a.jpg", TEXT, local={"size": 1, "packed_size": 2, "crc": 3})
    assert unpacked(zip_of([odd])) == TEXT


@pytest.mark.parametrize("local", [{"name": b"b.jpg"}, {"method": DEFLATED}])
def test_another_file_than_the_directorys_is_not_read(local: dict[str, object]) -> None:
    with pytest.raises(BrokenImage, match="not that of the directory"):
        unpacked(zip_of([file_of("a.jpg", TEXT, local=local)]))


@pytest.mark.parametrize("offset", [1, 3_000, 2**31, 2**63, 2**64 - 1])
def test_a_file_that_is_elsewhere_says_so(offset: int) -> None:
    with pytest.raises(BrokenImage, match="not where it should be"):
        unpacked(zip_of([file_of("a.jpg", TEXT, offset=offset)]))


def test_a_local_header_may_not_reach_into_the_next_file() -> None:
    stretched = file_of("a.jpg", b"x", local={"extra": bytes(100)})
    whole = zip_of([stretched, file_of("b.jpg", TEXT)])
    assert unpacked(whole) == b"x"
    cut = bytearray(whole)
    struct.pack_into("<H", cut, 28, 101)
    with pytest.raises(BrokenImage, match="cut short"):
        unpacked(bytes(cut))
    assert unpacked(bytes(cut), 1) == TEXT


def test_the_last_file_may_not_reach_into_the_directory() -> None:
    with pytest.raises(BrokenImage, match="cut short"):
        unpacked(zip_of([file_of("a.jpg", TEXT, packed_size=len(TEXT) + 1, size=len(TEXT) + 1)]))


def empty_blocks(size: int) -> bytes:
    """Deflate's blocks of nothing, and nothing at their end."""
    return b"\0\0\0\xff\xff" * (size // 5) + deflated(b"")


BOMBS: dict[str, Callable[[], Member]] = {
    "deflate": lambda: zeros("a.jpg", 1024 * MIB, told=MIB),
    "deflate that says little": lambda: zeros("a.jpg", 512 * MIB, told=10),
    "bzip2": lambda: Member(b"a.jpg", bz2.compress(bytes(64 * MIB)), BZIP2, MIB, 1),
    "lzma": lambda: Member(b"a.jpg", lzma_of(bytes(64 * MIB)), LZMA, MIB, 1),
    "lzma's dictionary": lambda: Member(b"a.jpg", lzma_of(TEXT, 2**32 - 1), LZMA, 1, 1),
    "nothing": lambda: Member(b"a.jpg", empty_blocks(16 * MIB), DEFLATED, 1, 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_more_is_unpacked_than_was_declared(name: str) -> None:
    archive = zip_of([BOMBS[name]()])
    tracemalloc.start()
    try:
        with pytest.raises(BrokenImage):
            unpacked(archive)
        assert tracemalloc.get_traced_memory()[1] - len(archive) < 6 * MIB
    finally:
        tracemalloc.stop()


def test_a_large_dictionary_is_no_obstacle() -> None:
    lavish = replace(file_of("a.jpg", TEXT, LZMA), packed=lzma_of(TEXT, 2**32 - 1))
    assert unpacked(zip_of([lavish])) == TEXT


def test_nothing_comes_out_as_nothing() -> None:
    assert unpacked(zip_of([file_of("a.jpg", b"", DEFLATED)])) == b""
