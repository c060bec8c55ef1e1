import io
import struct
import zipfile
import zlib

import pytest

from facesearch.config import LimitSettings
from facesearch.errors import BrokenArchive, BrokenImage, FacesearchError, Invalid, NotAnArchive, TooLarge
from facesearch.service.archive import PhotoArchive, is_archive

LIMITS = LimitSettings()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def opened(data: bytes, limits: LimitSettings = LIMITS) -> PhotoArchive:
    return PhotoArchive(io.BytesIO(data), limits)


def test_entries_come_in_the_archives_order_with_their_bytes() -> None:
    archive = opened(zipped({"b.jpg": b"2", "a/c.jpg": b"1"}))
    assert [(entry.path, entry.read()) for entry in archive] == [("b.jpg", b"2"), ("a/c.jpg", b"1")]


def test_folders_are_no_entries() -> None:
    assert len(opened(zipped({"folder/": b"", "folder/a.jpg": b"1"}))) == 1


def test_an_empty_archive_has_no_entries() -> None:
    assert len(opened(zipped({}))) == 0


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0 a photo", b"text"])
def test_other_bytes_are_no_archive(data: bytes) -> None:
    with pytest.raises(NotAnArchive):
        opened(data)


@pytest.mark.parametrize("kept", [4, 10, 50, -1, -10, -30])
def test_a_cut_archive_is_broken(kept: int) -> None:
    with pytest.raises(BrokenArchive):
        opened(zipped({"a.jpg": bytes(100), "b.jpg": bytes(100)})[:kept])


def test_too_many_entries_are_refused() -> None:
    data = zipped({f"{n}.jpg": b"" for n in range(5)})
    assert len(opened(data, LIMITS.model_copy(update={"zip_entries": 5}))) == 5
    with pytest.raises(TooLarge, match="4 entries"):
        opened(data, LIMITS.model_copy(update={"zip_entries": 4}))


def test_too_many_expanded_bytes_are_refused_before_anything_is_expanded() -> None:
    data = zipped({f"{n}.bmp": bytes(1000) for n in range(3)})
    with pytest.raises(TooLarge, match="2999 bytes"):
        opened(data, LIMITS.model_copy(update={"zip_expanded_bytes": 2999}))


def test_a_directory_of_unlikely_size_is_refused_before_it_is_read() -> None:
    data = zipped({"n" * 60_000: b"", "m" * 60_000: b""})
    with pytest.raises(TooLarge):
        opened(data, LIMITS.model_copy(update={"zip_entries": 100}))


def test_a_photo_over_the_limit_costs_only_itself() -> None:
    archive = opened(zipped({"a": bytes(11), "b": bytes(10)}), LIMITS.model_copy(update={"photo_bytes": 10}))
    large, small = archive
    with pytest.raises(TooLarge):
        large.read()
    assert small.read() == bytes(10)


def test_a_wrong_checksum_costs_only_its_file() -> None:
    data = bytearray(zipped({"a": b"first file", "b": b"second file"}, zipfile.ZIP_STORED))
    data[data.index(b"first")] ^= 1
    bad, good = opened(bytes(data))
    with pytest.raises(BrokenImage):
        bad.read()
    assert good.read() == b"second file"


def test_an_encrypted_file_says_so() -> None:
    data = bytearray(zipped({"a": b"secret"}))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, directory + 8, 1)
    (entry,) = opened(bytes(data))
    with pytest.raises(Invalid, match="encrypted"):
        entry.read()


def test_an_unknown_compression_says_so() -> None:
    data = bytearray(zipped({"a": b"text"}))
    struct.pack_into("<H", data, 8, 97)
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 10, 97)
    (entry,) = opened(bytes(data))
    with pytest.raises(Invalid, match="not supported"):
        entry.read()


def test_a_lie_about_the_size_yields_no_more_than_was_declared() -> None:
    data = bytearray(zipped({"a": bytes(1_000_000)}))
    for offset in (22, data.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", data, offset, 10)
    (entry,) = opened(bytes(data))
    with pytest.raises(FacesearchError):
        entry.read()


@pytest.mark.parametrize(
    "path", ["__MACOSX/._a.jpg", "x/.DS_Store", "Thumbs.db", "x/thumbs.db", "._a.jpg", "desktop.ini"]
)
def test_files_of_operating_systems_are_skipped_by_name(path: str) -> None:
    (entry,) = opened(zipped({path: b"x"}))
    assert entry.reason_to_skip


def test_a_photo_is_not_skipped_by_name() -> None:
    (entry,) = opened(zipped({"MACOSX/a.jpg": b"x"}))
    assert entry.reason_to_skip is None


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["photos/a.jpg", "photos/x/b.jpg"], "photos"),
        (["photos/a.jpg", "__MACOSX/photos/._a.jpg"], "photos"),
        (["photos/a.jpg", "b.jpg"], None),
        (["Ana/a.jpg", "Ben/b.jpg"], None),
        (["a.jpg"], None),
        ([], None),
    ],
)
def test_the_only_top_folder(paths: list[str], expected: str | None) -> None:
    assert opened(zipped(dict.fromkeys(paths, b"x"))).only_top_folder == expected


def test_a_utf8_name_without_its_flag_is_read_as_utf8() -> None:
    data = zipped({"Zoë_0001.jpg": b"x"})
    flags = data.index(b"PK\x01\x02") + 8
    unflagged = data[:6] + b"\0\0" + data[8:flags] + b"\0\0" + data[flags + 2 :]
    (entry,) = opened(unflagged)
    assert entry.path == "Zoë_0001.jpg"


def test_a_name_in_an_old_code_page_is_kept_as_zip_says() -> None:
    data = zipped({"Zo?_0001.jpg": b"x"}).replace(b"Zo?", b"Zo\x89")
    (entry,) = opened(data)
    assert entry.path == "Zoë_0001.jpg"


def test_archives_are_known_by_their_bytes() -> None:
    assert is_archive(zipped({"a": b""}))
    assert is_archive(zipped({}))
    assert is_archive(b"\x1f\x8b" + zlib.compress(b"x"))
    assert is_archive(bytes(257) + b"ustar")
    assert not is_archive(b"\xff\xd8\xff")
