import struct
from pathlib import Path

import pytest

from facesearch.errors import BrokenImage
from facesearch.images import tiff
from tests.unit.images.pictures import drawing, opened, saved

_SHORT, _COMPRESSION, _LZW, _WEBP = 3, 259, 5, 50001


def damaged() -> list[bytes]:
    """A TIFF whose codes mean nothing, and one that is said to be packed as it is not."""
    packed = saved(drawing(), "TIFF", compression="tiff_lzw")
    is_lzw, is_webp = (struct.pack("<HHIH", _COMPRESSION, _SHORT, 1, kind) for kind in (_LZW, _WEBP))
    assert packed.count(is_lzw) == 1
    return [packed[:30] + bytes([255]) * 60 + packed[90:], packed.replace(is_lzw, is_webp)]


def test_the_tiff_decoder_writes_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    for data in damaged():
        with pytest.raises(BrokenImage):
            opened(data)
    assert capfd.readouterr().err == ""


def test_where_its_library_is_not_found_tiff_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "libtiff.so").write_bytes(b"no library")
    for maps in (f"0-1 r--p 0 0:0 1   {tmp_path}/libtiff.so\n", "0-1 r--p 0 0:0 0 \n"):
        (tmp_path / "maps").write_text(maps)
        monkeypatch.setattr(tiff, "_MAPPED", tmp_path / "maps")
        tiff.silence_libtiff.__wrapped__()
    monkeypatch.setattr(tiff, "_MAPPED", tmp_path / "nothing")
    tiff.silence_libtiff.__wrapped__()
    assert opened(saved(drawing(), "TIFF")).pixels.shape == drawing().shape
