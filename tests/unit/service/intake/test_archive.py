import errno
import hashlib
import io
import os
import random
import stat
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesearch.config import LimitSettings
from facesearch.errors import (
    BrokenArchive,
    BrokenImage,
    FacesearchError,
    Invalid,
    NotAnArchive,
    TooLarge,
    Unavailable,
)
from facesearch.service.intake.archive import PhotoArchive, is_archive
from facesearch.service.intake.people_list import Person
from tests.hostile_zips import (
    DEVICE,
    LINK,
    MIB,
    PIPE,
    SOCKET,
    Member,
    file_of,
    many_empty,
    nested,
    special,
    zeros,
    zip_of,
)

KIB = 1024
FOLDER = stat.S_IFDIR

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


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(LINK, "link"), (PIPE, "pipe"), (DEVICE, "device"), (SOCKET, "device"), (FOLDER, "folder")],
)
def test_what_is_no_file_is_skipped(kind: int, reason: str) -> None:
    (entry,) = opened(zip_of([special("a.jpg", kind)]))
    assert reason in (entry.reason_to_skip or "")


def test_an_empty_photo_fails_and_another_empty_file_is_skipped() -> None:
    photo, other = opened(zipped({"a.jpg": b"", "__init__.py": b""}))
    assert photo.reason_to_skip is None
    with pytest.raises(BrokenImage, match="empty"):
        photo.read()
    assert other.reason_to_skip == "The file is empty."


def test_an_archive_in_the_archive_is_handed_out_as_the_bytes_it_is() -> None:
    (inner, *_) = opened(nested(2, MIB))
    assert is_archive(inner.read())


def test_a_disk_that_fails_is_not_called_a_damaged_photo() -> None:
    class FailingFile(io.BytesIO):
        most = 2**30  # what is longer cannot be read

        def read(self, size: int | None = -1, /) -> bytes:
            if size is None or size > self.most:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    file = FailingFile(zipped({"a.jpg": bytes(100)}, zipfile.ZIP_STORED))
    (entry,) = PhotoArchive(file, LIMITS)
    for most in (50, 0):
        file.most = most
        with pytest.raises(Unavailable):
            entry.read()
    with pytest.raises(Unavailable):
        PhotoArchive(file, LIMITS)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../etc/cron.d/Ana_0001.jpg", "etc/cron.d/Ana_0001.jpg"),
        ("/etc/Ana_0001.jpg", "etc/Ana_0001.jpg"),
        ("C:\\Users\\Ana_0001.jpg", "Users/Ana_0001.jpg"),
        ("\\\\server\\share\\Ana_0001.jpg", "server/share/Ana_0001.jpg"),
        ("./a//b/./Ana_0001.jpg", "a/b/Ana_0001.jpg"),
        ("a\0b\x1b[2J\n.jpg", "ab[2J.jpg"),
        ("Ana\u202egpj.exe", "Anagpj.exe"),
        ("Zoe\u0308.jpg", "Zo\u00eb.jpg"),
    ],
)
def test_a_path_that_leads_elsewhere_is_one_below_the_archive(name: str, path: str) -> None:
    (entry,) = opened(zip_of([file_of(name, b"a photo")]))
    assert (entry.path, entry.read()) == (path, b"a photo")


def test_a_path_without_end_is_shortened_and_its_file_not_read() -> None:
    long, longest = opened(zip_of([file_of("x/" * 5000 + "a.jpg", b"x"), file_of("b" * 1024, b"x")]))
    assert len(long.path) == 1024
    with pytest.raises(Invalid, match="path has more than 1024"):
        long.read()
    assert longest.read() == b"x"


@pytest.mark.parametrize("name", ["", "..", "C:\\", "./\0"])
def test_a_file_without_a_name_is_not_read(name: str) -> None:
    (entry,) = opened(zip_of([file_of(name, b"x")]))
    assert entry.path == "(no name)"
    with pytest.raises(Invalid, match="no name"):
        entry.read()


def test_files_of_one_name_are_files_of_their_own() -> None:
    archive = opened(zip_of([file_of("a.jpg", b"1"), file_of("a.jpg", b"2"), file_of("./A.jpg", b"3")]))
    assert [entry.read() for entry in archive] == [b"1", b"2", b"3"]


def test_many_empty_photos_take_little_memory() -> None:
    data = many_empty(10_000)
    tracemalloc.start()
    try:
        archive = opened(data)
        assert tracemalloc.get_traced_memory()[1] - len(data) < 10_000 * KIB
    finally:
        tracemalloc.stop()
    assert len(archive) == 10_000


def test_a_directory_of_the_longest_names_takes_little_memory() -> None:
    few = LIMITS.model_copy(update={"zip_entries": 1000})
    data = zip_of([file_of(b"\xb2" * 460, b"x", flags=0) for _ in range(1000)])
    tracemalloc.start()
    try:
        assert len(opened(data, few)) == 1000
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()


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


def test_a_list_at_the_root_says_who_is_in_the_photos_and_is_none_of_them() -> None:
    archive = opened(zipped({"x/a.jpg": b"1", "People.CSV": b"path,person\nx/a.jpg,Ana", "x/b.jpg": b"2"}))
    assert [entry.path for entry in archive] == ["x/a.jpg", "x/b.jpg"]
    assert len(archive) == 2
    assert archive.only_top_folder == "x"
    assert archive.people is not None
    assert archive.people.of("x/a.jpg") == Person("Ana", None, {})
    assert archive.people.of("x/b.jpg") is None


@pytest.mark.parametrize("path", ["a.jpg", "x/a.jpg", "./a.jpg", ".\\x\\a.jpg"])
def test_a_list_in_the_only_top_folder_names_files_from_there_or_from_the_root(path: str) -> None:
    archive = opened(zipped({"x/people.csv": f"path,person\n{path},Ana".encode(), "x/a.jpg": b"1"}))
    assert archive.people is not None
    assert archive.people.of("x/a.jpg") == Person("Ana", None, {})
    assert archive.people.unused(entry.path for entry in archive) == []


def test_a_list_elsewhere_is_a_file_as_any_other() -> None:
    archive = opened(zipped({"x/people.csv": b"nonsense", "y/a.jpg": b"1", "__MACOSX/people.csv": b"x"}))
    assert (len(archive), archive.people) == (3, None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([file_of("people.csv", b"nothing")], "column"),
        ([file_of("people.csv", b"path\nb.jpg"), file_of("PEOPLE.csv", b"path\n")], "2 files"),
        ([file_of("people.csv", b"path\n", flags=1)], "people.csv cannot be used: The file is encrypted"),
        ([file_of("people.csv", b"path\n", crc=1)], "people.csv cannot be used: .* checksum"),
        ([file_of("people.csv", b"")], "people.csv cannot be used: The file is empty"),
        ([special("people.csv", LINK)], "people.csv cannot be used: A link"),
    ],
)
def test_a_list_that_cannot_be_used_refuses_the_archive(bad: list[Member], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        opened(zip_of([file_of("a.jpg", b"x"), *bad]))


def test_a_list_may_be_larger_than_a_photo_but_has_a_limit() -> None:
    small = LIMITS.model_copy(update={"photo_bytes": 10})
    archive = opened(zip_of([file_of("people.csv", b"path,person\nsome/where/a.jpg,Ana Maria")]), small)
    assert archive.people is not None
    with pytest.raises(TooLarge, match=r"people\.csv .*33554432"):
        opened(zip_of([zeros("people.csv", 33 * MIB)]), LIMITS.model_copy(update={"zip_ratio": 1e9}))


@settings(max_examples=300, deadline=20_000, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_bytes_changed_anywhere_end_in_a_reason_or_in_the_right_bytes(
    data: st.DataObject,
) -> None:
    files = {"x/a.jpg": b"first" * 20, "x/b.png": b"second", "people.csv": b"path,person\nx/a.jpg,Ana\n"}
    whole = bytearray(zipped(files, data.draw(st.sampled_from([0, 8, 12, 14]))))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        how = data.draw(st.sampled_from(["set", "insert", "cut", "repeat"]))
        if how == "set":
            whole[at] = data.draw(st.integers(0, 255))
        elif how == "insert":
            whole[at:at] = data.draw(st.binary(max_size=40))
        elif how == "cut" and len(whole) > 100:
            del whole[at : at + data.draw(st.integers(1, 40))]
        else:
            whole[at:at] = whole[max(0, at - data.draw(st.integers(1, 80))) : at]
    with suppress(FacesearchError):
        archive = opened(bytes(whole))
        for entry in archive:
            assert len(entry.path) <= 1024
            if entry.reason_to_skip is None:
                with suppress(FacesearchError):
                    entry.read()


def test_archives_are_known_by_their_bytes() -> None:
    assert is_archive(zipped({"a": b""}))
    assert is_archive(zipped({}))
    assert is_archive(b"\x1f\x8b" + zlib.compress(b"x"))
    assert is_archive(bytes(257) + b"ustar")
    assert not is_archive(b"\xff\xd8\xff")


def digests(*photos: bytes) -> dict[bytes, int | None]:
    return {hashlib.sha256(photo).digest(): len(photo) for photo in photos}


# Always the same: now and then a name would be found in what is drawn.
ADA, BOB, CLEO = (bytes([n]) + random.Random(n).randbytes(3000) for n in range(3))


def erased(data: bytes, *photos: bytes) -> tuple[list[int], bytes]:
    """Erase photos from an archive; return their positions and the archive."""
    file = io.BytesIO(data)
    # BytesIO has no descriptor to be synchronised.
    file.fileno = os.memfd_create("archive").__index__  # type: ignore[method-assign]
    archive = PhotoArchive(file, LIMITS)
    positions = archive.positions_of(digests(*photos))
    archive.erase(positions)
    return positions, file.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_erased_photos_are_gone_with_their_names_and_the_others_stay(compression: int) -> None:
    files = {"notes.txt": b"n", "Ada/1.jpg": ADA, "Bob/1.jpg": BOB, "Ada/again.jpg": ADA, "Cleo.jpg": CLEO}
    before = zipped(files, compression)
    positions, after = erased(before, ADA, CLEO)
    assert positions == [1, 3, 4]
    assert len(after) == len(before)
    for gone in (b"Ada", b"Cleo", b"again", *(photo[1000:1100] for photo in (ADA, CLEO))):
        assert gone not in after
    left = list(opened(after))
    assert [entry.path for entry in left[::2]] == ["notes.txt", "Bob/1.jpg", "x" * 8]
    assert (left[0].read(), left[2].read()) == (b"n", BOB)
    for position in positions:
        with pytest.raises(BrokenImage):
            left[position].read()
    assert erased(after, ADA, CLEO) == ([], after)


def test_erasing_leaves_the_folder_that_the_others_get_their_names_from() -> None:
    _, after = erased(zipped({"photos/Ada/1.jpg": ADA, "photos/Bob/1.jpg": BOB}), ADA)
    archive = opened(after)
    assert archive.only_top_folder == "photos"
    assert [entry.path for entry in archive] == ["photos/" + "x" * 9, "photos/Bob/1.jpg"]


def test_erasing_leaves_names_where_a_list_says_whose_they_are() -> None:
    files = {"people.csv": b"path,person\nAda.jpg,Ada\nBob.jpg,Bob\n", "Ada.jpg": ADA, "Bob.jpg": BOB}
    positions, after = erased(zipped(files), ADA)
    assert positions == [0]
    archive = opened(after)
    assert [entry.path for entry in archive] == ["Ada.jpg", "Bob.jpg"]
    assert archive.people is not None
    assert archive.people.unused(entry.path for entry in archive) == []
    assert ADA[1000:1100] not in zipped(files, zipfile.ZIP_STORED).replace(ADA, b"")


def test_a_photo_whose_size_is_not_known_is_found_by_its_digest_alone() -> None:
    archive = opened(zipped({"a.jpg": ADA, "b.jpg": BOB, "empty.jpg": b""}))
    assert archive.positions_of(dict.fromkeys(digests(BOB), None)) == [1]
    assert archive.positions_of({}) == []
    assert archive.positions_of(digests(CLEO)) == []


def test_names_that_are_written_twice_are_erased_twice() -> None:
    """Info-ZIP writes names once more, in UTF-8, into extra fields of header and directory."""
    name, told = b"M\x94ller.jpg", "Möller.jpg".encode()
    field = struct.pack("<BI", 1, zlib.crc32(name)) + told
    member = Member(
        name, ADA, 0, len(ADA), zlib.crc32(ADA), extra=struct.pack("<2H", 0x7075, len(field)) + field
    )
    positions, after = erased(zip_of([member, Member(b"b.jpg", BOB, 0, len(BOB), zlib.crc32(BOB))]), ADA)
    assert positions == [0]
    assert b"ller" not in after
    assert [entry.path for entry in opened(after)] == ["x" * 10, "b.jpg"]
