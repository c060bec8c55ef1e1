import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest

from facesearch.config import LimitSettings
from facesearch.errors import BrokenArchive, FacesearchError, NotAnArchive, TooLarge
from facesearch.service.intake.zip_directory import Member, read_directory
from tests.hostile_zips import (
    MIB,
    STORED,
    UTF8,
    end_of,
    file_of,
    many_empty,
    overlapping,
    quoting,
    zeros,
    zip_of,
)

LIMITS = LimitSettings()
NO_RATIO = LIMITS.model_copy(update={"zip_ratio": 1e12, "zip_expanded_bytes": 10**15})
JPG = file_of("a.jpg", b"a photo")


def directory(data: bytes, limits: LimitSettings = LIMITS) -> list[Member]:
    return read_directory(io.BytesIO(data), limits)


def paths(data: bytes) -> list[str]:
    return [member.path for member in directory(data)]


def test_a_packed_gigabyte_is_refused_by_its_ratio() -> None:
    bomb = zip_of([zeros("a.bmp", 1024 * MIB)])
    with pytest.raises(TooLarge, match=r"10\d\d times its size, over the limit of 200 times"):
        directory(bomb)


def test_a_small_archive_may_have_any_ratio() -> None:
    (white,) = directory(zip_of([zeros("white.bmp", 16 * MIB)]))
    assert white.size > 500 * white.packed_size


@pytest.mark.parametrize("make", [overlapping, quoting])
def test_gigabytes_of_42_kb_are_refused_whatever_the_limits(make: Callable[[int, int], bytes]) -> None:
    bomb = make(200, 21 * MIB)
    assert len(bomb) < 43_000
    with pytest.raises(TooLarge, match="times its size"):
        directory(bomb)
    with pytest.raises(BrokenArchive, match="lie upon each other"):
        directory(bomb, NO_RATIO)


def test_two_names_of_one_file_are_no_archive_of_photos() -> None:
    double = zip_of([JPG, file_of("b.jpg", b"a photo", header=False, offset=0)])
    with pytest.raises(BrokenArchive, match="lie upon each other"):
        directory(double)


def test_entries_are_counted_as_they_are_read_and_not_as_they_are_announced() -> None:
    few = LIMITS.model_copy(update={"zip_entries": 10})
    assert len(directory(many_empty(10), few)) == 10
    for announced in (11, 1):
        with pytest.raises(TooLarge, match="10 entries"):
            directory(zip_of([file_of(f"{n}.jpg", b"") for n in range(11)], records=announced), few)


def test_folders_without_end_are_refused_too() -> None:
    few = LIMITS.model_copy(update={"zip_entries": 10})
    assert directory(zip_of([file_of(f"{n}/", b"") for n in range(20)]), few) == []
    with pytest.raises(TooLarge):
        directory(zip_of([file_of(f"{n}/", b"") for n in range(21)], records=1), few)


def test_a_folder_that_holds_bytes_is_a_file() -> None:
    assert paths(zip_of([file_of("a/", b""), file_of("b/", b"a photo")])) == ["b/"]


def test_missing_records_break_the_archive() -> None:
    with pytest.raises(BrokenArchive, match="records are missing"):
        directory(zip_of([JPG], records=2))


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_bytes_missing_anywhere_are_an_error_of_the_whole_archive(cut: int) -> None:
    whole = zip_of([JPG, file_of("b.jpg", b"another")])
    for kept in (whole[:-cut], whole[:20] + whole[20 + cut :]):
        with pytest.raises((BrokenArchive, NotAnArchive)):
            directory(kept)


@pytest.mark.parametrize("length", range(4, 22))
def test_the_end_alone_cut_short_is_an_error(length: int) -> None:
    whole = b"PK\5\6" + bytes(18)
    with pytest.raises(BrokenArchive, match="cut short"):
        directory(whole[:length])


def test_an_archive_may_follow_a_program_that_unpacks_it() -> None:
    (member,) = directory(zip_of([JPG], before=b"MZ" + bytes(5000)))
    assert (member.path, member.offset) == ("a.jpg", 5002)


def test_a_comment_may_look_like_the_end_of_an_archive() -> None:
    for comment in (b"PK\5\6", b"PK\5\6" + bytes(40), b"PK\5\6" * 16_000):
        assert paths(zip_of([JPG], comment=comment)) == ["a.jpg"]


def test_a_comment_may_be_followed_by_bytes_that_it_does_not_announce() -> None:
    assert paths(zip_of([JPG]) + b"\r\n") == ["a.jpg"]


def test_a_part_of_a_split_archive_says_so() -> None:
    data = bytearray(zip_of([JPG]))
    struct.pack_into("<2H", data, len(data) - 18, 1, 1)
    with pytest.raises(BrokenArchive, match="one part of several"):
        directory(bytes(data))


def test_zip64_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.jpg", "w", force_zip64=True) as file:
        file.write(b"a photo")
    assert directory(buffer.getvalue())[0].size == 7
    large = zip_of([JPG], zip64=True)
    assert paths(large) == paths(b"MZ" + large) == ["a.jpg"]


def test_zip64_numbers_beyond_the_file_are_an_error() -> None:
    far = file_of("a.jpg", b"a photo", offset=2**63)
    (member,) = directory(zip_of([far]))
    assert member.offset == 2**63  # its own reader finds nothing there
    data = zip_of([JPG])
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 2**64 - 1, 1)
    with pytest.raises(BrokenArchive):
        directory(data[:-22] + locator + data[-22:])


def test_an_absurd_length_of_the_directory_is_an_error() -> None:
    data = zip_of([JPG])
    for length in (0xFFFFFFFF, len(data), 3):
        with pytest.raises(FacesearchError):
            directory(data[:-10] + struct.pack("<I", length) + data[-6:])


def test_a_record_that_reaches_beyond_the_directory_breaks_it() -> None:
    record = bytearray(JPG.record(0))
    struct.pack_into("<H", record, 30, 60_000)
    with pytest.raises(BrokenArchive, match="directory is damaged"):
        directory(JPG.local_header() + JPG.packed + end_of([bytes(record)], 42))


@pytest.mark.parametrize(
    ("name", "flags", "path"),
    [
        ("Zoë.jpg".encode(), UTF8, "Zoë.jpg"),
        ("Zoë.jpg".encode(), 0, "Zoë.jpg"),
        (b"Zo\x89.jpg", 0, "Zoë.jpg"),
        (b"Zo\x89.jpg", UTF8, "Zo\ufffd.jpg"),
        ("王.jpg".encode("shift-jis"), 0, "ëñ.jpg"),
        (b"\xed\xa0\x80.jpg", UTF8, "\ufffd\ufffd\ufffd.jpg"),
        (b"", 0, ""),
    ],
)
def test_a_name_is_read_in_the_encoding_it_is_in(name: bytes, flags: int, path: str) -> None:
    assert paths(zip_of([file_of(name, b"x", flags=flags)])) == [path]


def test_a_name_that_is_told_twice_counts_in_unicode_while_both_are_of_one_file() -> None:
    raw = "王.jpg".encode("shift-jis")
    told = "王.jpg".encode()
    for checksum, path in ((zlib.crc32(raw), "王.jpg"), (1, "ëñ.jpg")):
        extra = struct.pack("<2HBI", 0x7075, 5 + len(told), 1, checksum) + told
        assert paths(zip_of([file_of(raw, b"x", flags=0, extra=extra)])) == [path]


def test_an_extra_field_that_is_cut_off_costs_nothing() -> None:
    for extra in (b"\1", b"\1\0\xff\xff", struct.pack("<2H", 1, 8)):
        assert paths(zip_of([file_of("a.jpg", b"x", extra=extra)])) == ["a.jpg"]


def test_what_other_programs_write_is_read_as_they_meant_it() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("folder")
        for n in range(50):
            archive.writestr(f"folder/é{n}.jpg", bytes(n))
    found = directory(buffer.getvalue())
    assert [(m.path, m.size, m.method != STORED) for m in found] == [
        (f"folder/é{n}.jpg", n, True) for n in range(50)
    ]


@pytest.mark.parametrize("length", range(4, 22))
def test_an_end_record_that_is_cut_short_is_no_archive(length: int) -> None:
    for before in (b"", b"x", b"PK"):
        with pytest.raises((BrokenArchive, NotAnArchive)):
            directory(before + b"PK\x05\x06".ljust(length, b"\x00"))
