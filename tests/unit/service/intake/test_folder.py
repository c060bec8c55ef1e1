import os
import tracemalloc
from pathlib import Path

import pytest

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, FacesearchError, Invalid, TooLarge
from facesearch.service.intake.folder import PhotoFolder
from facesearch.service.intake.people_list import Person

LIMITS = LimitSettings()
MIB = 1024**2


def filled(folder: Path, files: dict[str, bytes]) -> PhotoFolder:
    for path, data in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return PhotoFolder(folder, LIMITS)


def test_files_come_in_the_order_of_their_names_with_their_bytes(tmp_path: Path) -> None:
    source = filled(tmp_path, {"b.jpg": b"4", "a/z.jpg": b"2", "a/b/c.jpg": b"1", "a0.jpg": b"3"})
    found = [(entry.path, entry.read()) for entry in source]
    assert found == [("a/b/c.jpg", b"1"), ("a/z.jpg", b"2"), ("a0.jpg", b"3"), ("b.jpg", b"4")]
    assert len(source) == 4


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["x/a.jpg", "x/y/b.jpg", ".DS_Store"], "x"),
        (["x/a.jpg", "people.csv"], "x"),
        (["x/a.jpg", "b.jpg"], None),
        (["a.jpg"], None),
    ],
)
def test_the_only_top_folder_is_that_of_a_zip(files: list[str], expected: str | None, tmp_path: Path) -> None:
    assert filled(tmp_path, dict.fromkeys(files, b"path\n")).only_top_folder == expected


def test_a_list_says_who_is_in_the_photos(tmp_path: Path) -> None:
    source = filled(tmp_path, {"x/a.jpg": b"1", "people.csv": b"path,person\nx/a.jpg,Ana\nb.jpg,Ben\n"})
    assert source.people is not None
    assert source.people.of("x/a.jpg") == Person("Ana", None, {})
    assert source.people.unused(entry.path for entry in source) == ["b.jpg"]
    assert [entry.path for entry in source] == ["x/a.jpg"]


def test_links_and_pipes_are_skipped_and_never_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    inside.mkdir()
    (inside / "file.jpg").symlink_to(outside / "secret.jpg")
    (inside / "folder").symlink_to(outside)
    (inside / "round").symlink_to(inside)
    (inside / "broken.jpg").symlink_to("nowhere")
    os.mkfifo(inside / "pipe.jpg")
    reasons = {entry.path: entry.reason_to_skip for entry in PhotoFolder(inside, LIMITS)}
    link = "A link, not a file."
    assert reasons.pop("pipe.jpg") == "A device or a pipe, not a file."
    assert reasons == dict.fromkeys(["file.jpg", "folder", "round", "broken.jpg"], link)


def test_a_file_that_becomes_a_pipe_or_a_link_is_not_read(tmp_path: Path) -> None:
    source = filled(tmp_path, {"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3", "d.jpg": b"4"})
    for name in "abc":
        (tmp_path / f"{name}.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "d.jpg")
    *gone, left = source
    for entry in gone:
        with pytest.raises(Invalid):
            entry.read()
    assert left.read() == b"4"


def test_files_that_cannot_be_photos_say_why(tmp_path: Path) -> None:
    source = filled(tmp_path, {"a.jpg": b"", "b.txt": b"", ".DS_Store": b"x", "Thumbs.db": b"x"})
    reasons = {entry.path: entry.reason_to_skip for entry in source}
    assert reasons["a.jpg"] is None
    assert reasons["b.txt"] == "The file is empty."
    assert reasons[".DS_Store"] == reasons["Thumbs.db"] == "A file that an operating system left there."
    with pytest.raises(BrokenImage, match="empty"):
        next(entry for entry in source if entry.path == "a.jpg").read()


def test_a_file_over_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(2**40)
    (entry,) = PhotoFolder(tmp_path, LIMITS.model_copy(update={"photo_bytes": 1000}))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            entry.read()
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_says_so(tmp_path: Path) -> None:
    filled(tmp_path, {"a.jpg": b"1", "x/b.jpg": b"2"})
    for path in ("a.jpg", "x"):
        (tmp_path / path).chmod(0)
    try:
        for entry in PhotoFolder(tmp_path, LIMITS):
            with pytest.raises(FacesearchError, match="cannot be read"):
                entry.read()
    finally:
        (tmp_path / "x").chmod(0o700)


def test_a_folder_that_cannot_be_read_is_an_entry_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, {"a.jpg": b"1", "x/b.jpg": b"2"})
    names = os.listdir

    def refused(path: str) -> list[str]:
        if path.endswith("x"):
            raise PermissionError(13, "Permission denied")
        return names(path)

    monkeypatch.setattr(os, "listdir", refused)
    photo, folder = PhotoFolder(tmp_path, LIMITS)
    assert (photo.path, folder.path, folder.reason_to_skip) == ("a.jpg", "x", None)
    with pytest.raises(Invalid, match="folder cannot be read"):
        folder.read()


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    for path in ("nowhere", "a.jpg"):
        with pytest.raises(Invalid, match="folder cannot be read"):
            PhotoFolder(tmp_path / path, LIMITS)


def test_names_of_other_encodings_are_shown_as_far_as_they_can_be(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/Zo\xeb\n.jpg"
    with open(name, "wb") as file:
        file.write(b"a photo")
    (entry,) = PhotoFolder(tmp_path, LIMITS)
    assert (entry.path, entry.read()) == ("Zo\ufffd.jpg", b"a photo")


def test_a_deep_folder_is_read(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("x" * 300)
    deep.mkdir(parents=True)
    (deep / "a.jpg").write_bytes(b"a photo")
    (entry,) = PhotoFolder(tmp_path, LIMITS)
    assert entry.read() == b"a photo"
