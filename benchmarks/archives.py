"""Zips of labelled photos, with what has to become of each of their files."""

import hashlib
import io
import random
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.labelled_photos import FOLDER

PHOTO, NO_FACE, BROKEN, TEXT = "photo", "no face", "broken", "text"
WITHOUT_FACE = ("odd/flat_gray.jpg", "odd/one_pixel.png", "odd/thin_1x8000.png")
DAMAGED = ("odd/truncated_half.jpg", "odd/broken.png")
DUPLICATES = 3


@dataclass(frozen=True)
class ZippedFile:
    """One file of a zip: its bytes, and of which kind it is."""

    data: bytes
    kind: str

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()


def lfw_photos() -> list[Path]:
    """The paths of all LFW photos below the labelled photos' folder, sorted."""
    return sorted(path.relative_to(FOLDER) for path in (FOLDER / "lfw").glob("*/*.jpg"))


def mixed_files(photos: int, chance: random.Random) -> dict[str, ZippedFile]:
    """So many LFW photos and a few other files among them, by their paths in the zip."""
    chosen = chance.sample(lfw_photos(), photos)
    files = [(str(path), ZippedFile((FOLDER / path).read_bytes(), PHOTO)) for path in chosen]
    for number, (path, file) in enumerate(chance.sample(files, min(DUPLICATES, photos))):
        files.append((f"again/Copy_{number}_of_{Path(path).name}", file))
    for kind, paths in ((NO_FACE, WITHOUT_FACE), (BROKEN, DAMAGED)):
        for odd in paths:
            files.append((odd, ZippedFile((FOLDER / odd).read_bytes(), kind)))
    files.append(("notes.txt", ZippedFile(b"not a photo", TEXT)))
    chance.shuffle(files)
    return dict(files)


def zip_bytes(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files:
            archive.writestr(path, data)
    return buffer.getvalue()


def with_comment(jpeg: bytes, comment: str) -> bytes:
    """The same picture in other bytes: a JPEG with a comment segment behind its first marker."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def distinct_photos(count: int) -> Iterator[tuple[str, bytes]]:
    """So many LFW photos with their paths, repeated under other names and with other bytes."""
    paths = lfw_photos()
    for number in range(count):
        path = paths[number % len(paths)]
        name = f"{path.parent}/{path.stem.rpartition('_')[0]}_{number % 10_000:04}.jpg"
        yield f"{number // len(paths)}/{name}", with_comment((FOLDER / path).read_bytes(), str(number))
