"""Every picture in test_images/ says where it comes from, and is the one that says so."""

import hashlib
import re
from pathlib import Path

import pytest
from PIL import Image

from test_images.make_variants import make_variants

PICTURES = Path(__file__).resolve().parents[2] / "test_images"
SOURCES = (PICTURES / "SOURCES.md").read_text()
LARGEST_BYTES = 150_000


def test_each_picture_is_listed_with_its_checksum() -> None:
    listed = dict(re.findall(r"^\| (\S+\.(?:jpg|png)) \|.*\| ([0-9a-f]{64}) \|$", SOURCES, re.MULTILINE))
    there = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in PICTURES.iterdir() if _is_picture(p)}
    assert listed == there


def test_each_picture_is_small_and_bare_of_metadata() -> None:
    for path in filter(_is_picture, PICTURES.iterdir()):
        assert path.stat().st_size <= LARGEST_BYTES
        with Image.open(path) as image:
            assert max(image.size) <= 800
            assert not image.getexif()


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_variants(tmp_path_factory.mktemp("variants"))


def test_the_variants_are_made_alike_each_time(variants: list[Path], tmp_path: Path) -> None:
    again = make_variants(tmp_path)
    assert [(p.name, p.read_bytes()) for p in again] == [(p.name, p.read_bytes()) for p in variants]


def _is_picture(path: Path) -> bool:
    return path.suffix in {".jpg", ".png"}
