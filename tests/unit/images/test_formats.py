import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.images.formats import Format, is_cut, sniff
from tests.unit.images.heic import TURNED_HEIC
from tests.unit.images.pictures import drawing, saved


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", Format.JPEG),
        ("MPO", Format.JPEG),
        ("PNG", Format.PNG),
        ("GIF", Format.GIF),
        ("WEBP", Format.WEBP),
        ("BMP", Format.BMP),
        ("TIFF", Format.TIFF),
        ("AVIF", Format.AVIF),
    ],
)
def test_knows_what_pillow_writes(kind: str, expected: Format) -> None:
    assert sniff(saved(drawing(), kind)) is expected


def test_knows_heic_by_its_brand_or_by_those_that_it_is_compatible_with() -> None:
    assert sniff(TURNED_HEIC) is Format.HEIF
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") is Format.HEIF
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif") is Format.AVIF
    assert sniff(b"\0\0\0\x18ftypheix\0\0\0\0mif1miaf") is Format.HEIF


def test_big_and_big_endian_tiff_are_tiff() -> None:
    for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        assert sniff(start + bytes(20)) is Format.TIFF


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\0\0\xff\xe0 a JPEG without its first bytes",
        b"BMW is a maker of cars, and this is a text.",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp41",
        b"PK\x03\x04 a zip",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_everything_else_is_no_image(data: bytes) -> None:
    assert sniff(data) is None


@given(st.binary(max_size=64))
def test_no_bytes_upset_it(data: bytes) -> None:
    sniff(data)
    is_cut(data)


def test_a_file_that_ends_within_its_pixels_is_cut() -> None:
    for data in (TURNED_HEIC, saved(drawing(), "AVIF")):
        assert not is_cut(data)
        assert is_cut(data[:-1])
        assert is_cut(data[: len(data) // 2])


def test_what_cameras_append_does_not_count() -> None:
    assert not is_cut(TURNED_HEIC + b"\xff\xff\xff\xffsefd some notes of a camera")
    assert not is_cut(TURNED_HEIC + b"\0\0\0\0mdat")
