from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Exif
from PIL.TiffImagePlugin import IFDRational

from facesearch.images.metadata import Metadata, read_metadata
from facesearch.records import Location
from tests.unit.images.pictures import drawing, exif, opened, saved

ORIGINAL, DIGITIZED, ZONE, ORIGINAL_ZONE = 0x9003, 0x9004, 0x9010, 0x9011
SECOND = Image.fromarray(drawing())
NORTH_EAST = ("N", (48, 30, 56.25), "E", (2, 15, 0))


def read(fields: Exif) -> Metadata:
    """What is read after a round trip through a file."""
    copy = Exif()
    copy.load(fields.tobytes())
    return read_metadata(lambda: copy)


def taken_at(**fields: Any) -> str | None:
    return read(exif(**fields)).taken_at


def location(*place: Any) -> Location | None:
    return read(exif(place=place)).location


def test_no_exif_tells_nothing() -> None:
    assert read_metadata(lambda: None) == Metadata(1, None, None)


def test_the_shutter_counts_before_the_scanner_and_the_last_edit() -> None:
    dates = {ORIGINAL: "2001:02:03 04:05:06", DIGITIZED: "2002:02:03 04:05:06"}
    assert taken_at(details=dates, edited_at="2003:02:03 04:05:06") == "2001-02-03T04:05:06"
    del dates[ORIGINAL]
    assert taken_at(details=dates, edited_at="2003:02:03 04:05:06") == "2002-02-03T04:05:06"
    assert taken_at(edited_at="2003:02:03 04:05:06") == "2003-02-03T04:05:06"


def test_a_zone_counts_where_the_camera_wrote_one() -> None:
    date = {ORIGINAL: "2001:02:03 04:05:06"}
    assert taken_at(details=date | {ORIGINAL_ZONE: "-03:30"}) == "2001-02-03T04:05:06-03:30"
    assert taken_at(details=date | {ORIGINAL_ZONE: "   :  "}) == "2001-02-03T04:05:06"
    assert taken_at(details=date | {ZONE: "+02:00"}) == "2001-02-03T04:05:06"


@pytest.mark.parametrize(
    "text",
    ["", " ", "0000:00:00 00:00:00", "    :  :     :  :  ", "2001:02:30 04:05:06", "yesterday", "2001:02:03"],
)
def test_a_date_that_makes_no_sense_gives_way_to_the_next(text: str) -> None:
    assert taken_at(details={ORIGINAL: text}) is None
    assert taken_at(details={ORIGINAL: text}, edited_at="2003:02:03 04:05:06") == "2003-02-03T04:05:06"


def test_a_date_of_another_type_is_no_date() -> None:
    assert taken_at(details={ORIGINAL: 20010203}) is None


def test_padding_around_a_date_does_not_count() -> None:
    assert taken_at(details={ORIGINAL: "2001:02:03 04:05:06 \0\0"}) == "2001-02-03T04:05:06"


def test_south_and_west_are_negative() -> None:
    assert location(*NORTH_EAST) == Location(48.515625, 2.25)
    assert location("S", (33, 45, 0), "W", (70, 30, 0)) == Location(-33.75, -70.5)


def test_decimal_degrees_and_minutes_are_places_too() -> None:
    assert location("N", (48.5,), "E", (2, 7.5)) == Location(48.5, 2.125)


@pytest.mark.parametrize(
    "place",
    [
        (None, (48, 30, 56.25), "E", (2, 15, 0)),
        ("N", (48, 30, 56.25), None, (2, 15, 0)),
        ("N", (48, 30, 56.25), "E", None),
        ("X", (48, 30, 56.25), "E", (2, 15, 0)),
        ("N", (90, 0, 1), "E", (2, 15, 0)),
        ("N", (48, 30, 56.25), "E", (181, 0, 0)),
        ("N", (IFDRational(0, 0), 0, 0), "E", (2, 15, 0)),
        ("N", (48, IFDRational(1, 0), 0), "E", (2, 15, 0)),
        ("N", (48, 51, 36, 7), "E", (2, 15, 0)),
    ],
)
def test_a_place_that_makes_no_sense_is_no_place(place: tuple[Any, ...]) -> None:
    assert location(*place) is None


@pytest.mark.parametrize("value", [0, 9, 65535, "6", (6, 6)])
def test_an_orientation_that_is_none_turns_nothing(value: Any) -> None:
    fields = exif()
    fields[0x0112] = value
    assert read_metadata(lambda: fields).orientation == 1


def test_one_broken_field_does_not_cost_the_others() -> None:
    fields = exif(
        6, {ORIGINAL: "2001:02:03 04:05:06"}, place=("N", (IFDRational(0, 0), 0, 0), "E", (2, 15, 0))
    )
    assert read(fields) == Metadata(6, "2001-02-03T04:05:06", None)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=20))
def test_damaged_exif_never_costs_the_picture(damages: list[tuple[int, int]]) -> None:
    block = bytearray(exif(1, {ORIGINAL: "2001:02:03 04:05:06"}, "2003:02:03 04:05:06", NORTH_EAST).tobytes())
    for at, value in damages:
        # from the tags on; an orientation that is damaged into another one may turn the picture
        block[14 + at % (len(block) - 14)] = value
    assert opened(saved(drawing(), "JPEG", exif=bytes(block))).pixels.size == drawing().size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_that_carries_exif_is_read(kind: str) -> None:
    fields = exif(1, {ORIGINAL: "2001:02:03 04:05:06"}, place=NORTH_EAST)
    info = opened(saved(drawing(), kind, exif=fields.tobytes())).info
    assert info.taken_at == "2001-02-03T04:05:06"
    assert info.location == Location(48.515625, 2.25)


def test_a_place_in_words_is_no_place() -> None:
    assert read_metadata(lambda: exif(place=("N", "48 degrees", "E", (2, 15, 0)))).location is None


@pytest.mark.parametrize(
    "options", [{"save_all": True, "append_images": [SECOND]}, {"compression": "tiff_lzw"}]
)
def test_tiffs_of_several_pages_and_with_compression_are_turned_once(options: dict[str, Any]) -> None:
    info = opened(saved(drawing(), "TIFF", exif=exif(6, edited_at="2001:02:03 04:05:06"), **options)).info
    assert info.taken_at == "2001-02-03T04:05:06"
    assert (info.width, info.height) == (48, 64)
