import zlib

from PIL.PngImagePlugin import PngInfo

from facesearch.images.png import without_extras
from tests.unit.images.pictures import drawing, exif, opened, saved


def chunk(kind: bytes, content: bytes, damage: int = 0) -> bytes:
    check = zlib.crc32(kind + content) ^ damage
    return len(content).to_bytes(4, "big") + kind + content + check.to_bytes(4, "big")


def with_chunk(extra: bytes) -> bytes:
    """A PNG with one more chunk right after its header."""
    plain = saved(drawing())
    return plain[:33] + extra + plain[33:]


def test_a_plain_file_has_nothing_to_leave_out() -> None:
    assert without_extras(saved(drawing())) is None


def test_texts_go_and_the_picture_stays() -> None:
    texts = PngInfo()
    texts.add_text("Comment", "hello", zip=True)
    assert without_extras(saved(drawing(), pnginfo=texts)) == saved(drawing())


def test_whole_exif_stays_and_damaged_exif_goes() -> None:
    data = saved(drawing(), exif=exif(6))
    assert without_extras(data) is None
    at = data.index(b"eXIf")
    damaged = data[: at + 6] + b"\xee" + data[at + 7 :]
    assert without_extras(damaged) == saved(drawing())


def test_a_text_that_inflates_without_end_costs_nothing_but_itself() -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    assert (opened(with_chunk(bomb)).pixels == drawing()).all()


def test_a_text_with_a_wrong_checksum_costs_nothing_but_itself() -> None:
    assert (opened(with_chunk(chunk(b"tEXt", b"Comment\0hello", damage=1))).pixels == drawing()).all()
