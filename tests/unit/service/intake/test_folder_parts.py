"""Folders as archives of a bounded size."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from facesearch.config import LimitSettings
from facesearch.errors import StorageFull
from facesearch.records import FileReport
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.folder import PhotoFolder
from facesearch.service.intake.folder_parts import FolderParts, Part
from facesearch.service.intake.naming import Naming

MOST = 10**9
LIMITS = LimitSettings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "wedding"
    made.mkdir()
    return made


def put(folder: Path, *paths: str) -> None:
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"photo {path}".encode())


def packed(folder: Path, most_files: int = 2, most_bytes: int = MOST) -> Iterator[Part]:
    with PhotoFolder(folder, LIMITS) as photos:
        yield from FolderParts(photos, folder.name, most_files, most_bytes)


def namings(part: Part) -> dict[str, Naming]:
    """Who each photo is, as a service reads it in a part."""
    assert part.file is not None
    with part.file, PhotoArchive(part.file, LIMITS) as photos:
        assert photos.people is not None
        assert photos.people.unused(entry.path for entry in photos) == []
        return {entry.path: Naming.in_source(entry.path, photos) for entry in photos}


def test_photos_are_named_in_parts_as_they_are_in_the_whole_folder(folder: Path) -> None:
    put(folder, "2024/Ada/a.jpg", "2024/Ada_Lovelace_0003.jpg", '2024/Äda/ü, "b".jpg', "2024/c.jpg")
    put(folder, "2024/IMG_0007.jpg", "2024/ blank .jpg ", "2024/x;y/=1.jpg", "2024/d", "2024/listed.jpg")
    people = 'path;person;external_id;Born in;note\nlisted.jpg;Müller, Jo;17;Ulm;"two\nlines; ""x"""\n'
    (folder / "2024/people.csv").write_text(people + "d;;;;only noted\n")
    with PhotoFolder(folder, LIMITS) as photos:
        wanted = {entry.path.strip(): Naming.in_source(entry.path, photos) for entry in photos}
    assert wanted["2024/c.jpg"].person_name == "c"  # and not 2024, which all photos lie in
    assert wanted["2024/Ada_Lovelace_0003.jpg"].version == "0003"
    assert wanted["2024/listed.jpg"].metadata == {"Born in": "Ulm", "note": 'two lines; "x"'}
    for most_files in (1, 2, 100):
        found: dict[str, Naming] = {}
        for part in packed(folder, most_files):
            found |= namings(part)
        assert found == wanted


def test_parts_keep_to_their_most_files_and_bytes(folder: Path) -> None:
    put(folder, *(f"{number}.jpg" for number in range(7)))
    (folder / "5.jpg").write_bytes(bytes(1000))
    names = [
        [list(namings(part)) for part in packed(folder, 3)],
        [list(namings(p)) for p in packed(folder, 9, 25)],
    ]
    assert names == [
        [["0.jpg", "1.jpg", "2.jpg"], ["3.jpg", "4.jpg", "5.jpg"], ["6.jpg"]],
        [["0.jpg", "1.jpg"], ["2.jpg", "3.jpg"], ["4.jpg"], ["5.jpg"], ["6.jpg"]],
    ]


def test_photos_arrive_as_they_are(folder: Path) -> None:
    put(folder, "a/b.jpg")
    (part,) = packed(folder)
    assert part.file is not None
    with part.file, ZipFile(part.file) as archive:
        assert archive.read("a/b.jpg") == b"photo a/b.jpg"
        assert all(info.compress_size == info.file_size for info in archive.infolist())
    assert part.name == "wedding (part 1).zip"


def test_what_cannot_be_a_photo_is_reported_and_not_sent(folder: Path) -> None:
    put(folder, "a.jpg", "c.jpg", "Thumbs.db")
    (folder / "b.jpg").symlink_to(folder / "a.jpg")
    (folder / "inner.zip").write_bytes(b"PK\x03\x04 and so on")
    (folder / "people.csv").write_text("path,person\na.jpg,Ada\nz.jpg,Zoe\n")
    with PhotoFolder(folder, LimitSettings(photo_bytes=60)) as photos:
        (folder / "long.jpg").write_bytes(bytes(61))
        assert len(FolderParts(photos, "x", 9, MOST)) == 6
    with PhotoFolder(folder, LimitSettings(photo_bytes=60)) as photos:
        (part,) = FolderParts(photos, "x", 9, MOST)
    assert list(namings(part)) == ["a.jpg", "c.jpg"]
    assert {position: (report.path, report.status) for position, report in part.reports.items()} == {
        0: ("Thumbs.db", "skipped"),
        2: ("b.jpg", "skipped"),
        4: ("inner.zip", "skipped"),
        5: ("long.jpg", "failed"),
        6: ("z.jpg", "failed"),
    }
    assert part.reports[6] == FileReport(
        "z.jpg", "failed", reason="people.csv names this file, but it is not there."
    )


def test_a_folder_without_a_photo_is_a_part_without_an_archive(folder: Path) -> None:
    assert list(packed(folder)) == []
    put(folder, "Thumbs.db")
    (part,) = packed(folder)
    assert part.file is None
    assert list(part.reports) == [0]


def test_an_archive_that_is_not_finished_is_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.jpg", "b.jpg")
    file = io.BytesIO()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: file)

    def interrupted(archive: ZipFile, *_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ZipFile, "writestr", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(packed(folder))
    assert file.closed


def test_no_room_for_an_archive_is_an_error_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.jpg")

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(StorageFull, match="temporary files"):
        list(packed(folder))
