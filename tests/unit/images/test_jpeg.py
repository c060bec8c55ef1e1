from hypothesis import given
from hypothesis import strategies as st

from facesearch.images.jpeg import has_more_scans_than
from tests.unit.images.pictures import drawing, opened, saved


def scans(data: bytes) -> int:
    return next(most for most in range(100) if not has_more_scans_than(data, most))


def test_baseline_has_one_scan_and_progressive_has_ten() -> None:
    assert scans(saved(drawing(), "JPEG")) == 1
    assert scans(saved(drawing(), "JPEG", progressive=True)) == 10


def test_repeated_scans_count() -> None:
    data = saved(drawing(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    assert scans(data[:at] + data[at:-2] * 31 + data[-2:]) == 40


def test_thumbnails_and_what_follows_the_image_do_not_count() -> None:
    thumbnail = saved(drawing(), "JPEG", progressive=True)
    data = saved(drawing(), "JPEG", exif=b"Exif\0\0" + thumbnail * 3) + b"\xff\xda" * 1000
    assert scans(data) == 1
    assert opened(data).info.width == 64


@given(st.lists(st.sampled_from([b"\xff", b"\xda", b"\xd9", b"\0", b"\xd8", b"\x01\x02"]), max_size=40))
def test_no_bytes_upset_it(parts: list[bytes]) -> None:
    has_more_scans_than(b"\xff\xd8" + b"".join(parts), 2)
