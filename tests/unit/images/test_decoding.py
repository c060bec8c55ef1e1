import contextlib
import hashlib
import io
import random
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, NotAnImage, TooLarge
from facesearch.images.decoding import turned
from tests.unit.images.heic import TURNED_HEIC
from tests.unit.images.pictures import as_pillow_has_it, drawing, exif, opened, saved

WRITERS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "GIF": {},
    "WEBP": {},
    "BMP": {},
    "TIFF": {},
    "AVIF": {},
}


def noisy(height: int = 300, width: int = 200) -> NDArray[np.uint8]:
    """Enough detail that no format can leave out half of the file without a trace."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


class TestFormats:
    @pytest.mark.parametrize("kind", WRITERS)
    def test_pixels_are_those_of_pillow(self, kind: str) -> None:
        data = saved(noisy(), kind, **WRITERS[kind])
        assert np.array_equal(opened(data).pixels, as_pillow_has_it(data))

    @pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"quality": 3}])
    def test_every_kind_of_jpeg_is_exactly_as_pillow_has_it(self, options: dict[str, Any]) -> None:
        data = saved(noisy(1100, 1300), "JPEG", **options)
        assert np.array_equal(opened(data).pixels, as_pillow_has_it(data))

    @pytest.mark.parametrize("kind", ["MPO", "GIF", "WEBP", "TIFF", "PNG", "AVIF"])
    def test_of_several_pictures_the_first_counts(self, kind: str) -> None:
        other = Image.fromarray(255 - drawing())
        data = saved(drawing(), kind, save_all=True, append_images=[other])
        assert np.abs(opened(data).pixels.astype(int) - drawing()).mean() < 20

    def test_the_name_does_not_matter_and_neither_does_what_follows_the_picture(self) -> None:
        data = saved(drawing(), "JPEG")
        assert np.array_equal(opened(data + b"\0garbage" * 400).pixels, as_pillow_has_it(data))


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "kind"),
        [
            ("L", "JPEG"),
            ("CMYK", "JPEG"),
            ("1", "PNG"),
            ("L", "PNG"),
            ("LA", "PNG"),
            ("P", "PNG"),
            ("RGBA", "PNG"),
            ("RGBA", "WEBP"),
            ("CMYK", "TIFF"),
            ("YCbCr", "TIFF"),
        ],
    )
    def test_modes_are_converted_as_pillow_does_it(self, mode: str, kind: str) -> None:
        data = saved(Image.fromarray(noisy(1100, 1000)).convert(mode), kind)
        assert np.array_equal(opened(data).pixels, as_pillow_has_it(data))

    def test_a_palette_with_transparency_gives_its_colours_without_a_warning(self) -> None:
        image = Image.fromarray(drawing()).quantize(16)
        data = saved(image, transparency=bytes(range(0, 160, 10)))
        assert np.array_equal(opened(data).pixels, np.array(image.convert("RGB")))

    def test_alpha_is_dropped(self) -> None:
        alpha = np.zeros((48, 64, 1), dtype=np.uint8)
        data = saved(np.concatenate([drawing(), alpha], axis=2))
        assert np.array_equal(opened(data).pixels, drawing())

    @pytest.mark.parametrize("byte_order", ["<", ">"])
    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bit_greys_are_scaled(self, kind: str, byte_order: str) -> None:
        greys = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(f"{byte_order}u2")
        mode = "I;16" if byte_order == "<" or kind == "PNG" else "I;16B"
        raw = greys.astype("<u2" if mode == "I;16" else ">u2").tobytes()
        data = saved(Image.frombytes(mode, (64, 48), raw), kind)
        assert np.array_equal(opened(data).pixels[:, :, 1], (greys >> 8).astype(np.uint8))

    def test_thirty_two_bit_greys_are_stretched_from_the_darkest_to_the_brightest(self) -> None:
        values = np.linspace(-3000.0, 70_000.0, 48 * 64).reshape(48, 64)
        for dtype in (np.int32, np.float32):
            pixels = opened(saved(values.astype(dtype), "TIFF")).pixels
            assert (pixels[0, 0].tolist(), pixels[-1, -1].tolist()) == ([0] * 3, [255] * 3)
            assert abs(int(pixels[24, 0, 0]) - 127) <= 2

    def test_thirty_two_bit_greys_within_a_byte_stay_as_they_are(self) -> None:
        values = np.full((48, 64), 77, dtype=np.int32)
        assert (opened(saved(values, "TIFF")).pixels == 77).all()

    def test_values_that_are_no_numbers_are_black(self) -> None:
        values = np.full((48, 64), np.nan, dtype=np.float32)
        assert (opened(saved(values, "TIFF")).pixels == 0).all()
        values[0, :2] = (1.0, np.inf)
        values[1, 0] = 3.0
        assert opened(saved(values, "TIFF")).pixels[:2, :2, 0].tolist() == [[0, 255], [255, 0]]


class TestTurning:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_every_orientation_is_turned_as_pillow_does_it(self, orientation: int, kind: str) -> None:
        data = saved(noisy(), kind, exif=exif(orientation))
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            upright = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        pixels = opened(data).pixels
        assert np.array_equal(pixels, upright)
        assert pixels.flags.c_contiguous

    def test_avif_is_turned(self) -> None:
        image = opened(saved(drawing(), "AVIF", exif=exif(6).tobytes()))
        assert (image.info.width, image.info.height) == (48, 64)

    def test_what_needs_no_turning_is_not_copied(self) -> None:
        pixels = drawing()
        assert turned(pixels, 1) is pixels


class TestLimits:
    def test_bytes(self) -> None:
        data = saved(drawing())
        assert opened(data, LimitSettings(photo_bytes=len(data)))
        with pytest.raises(TooLarge, match=f"{len(data)} bytes"):
            opened(data, LimitSettings(photo_bytes=len(data) - 1))

    @pytest.mark.parametrize("kind", WRITERS)
    def test_pixels_and_sides(self, kind: str) -> None:
        data = saved(drawing(), kind)
        assert opened(data, LimitSettings(photo_pixels=48 * 64, photo_side=64))
        with pytest.raises(TooLarge, match="64 x 48 pixels"):
            opened(data, LimitSettings(photo_pixels=48 * 64 - 1))
        with pytest.raises(TooLarge, match="64 x 48 pixels"):
            opened(data, LimitSettings(photo_side=63))

    def test_they_count_before_anything_is_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(_: Any) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr(ImageFile.ImageFile, "load", load)
        with pytest.raises(TooLarge):
            opened(claiming(30_000, 30_000))

    def test_those_of_pillow_do_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = saved(np.zeros((1600, 1500, 3), dtype=np.uint8), "JPEG")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_050_000)
        with pytest.raises(Image.DecompressionBombError), Image.open(io.BytesIO(data)):
            pass
        assert opened(data).info.height == 1600

    def test_a_gif_frame_larger_than_its_screen_counts_as_what_it_is(self) -> None:
        data = bytearray(saved(drawing(), "GIF"))
        at = data.index(b",", 13 + 3 * 64)
        data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
        with pytest.raises((TooLarge, BrokenImage)):
            opened(bytes(data))

    def test_a_jpeg_of_endless_scans_is_refused(self) -> None:
        data = saved(drawing(), "JPEG", progressive=True)
        assert opened(data)
        at = data.rindex(b"\xff\xda")
        with pytest.raises(TooLarge, match="scans"):
            opened(data[:at] + data[at:-2] * 1000 + data[-2:])


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few pixels whose header claims more."""
    data = saved(drawing())
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


class TestErrors:
    @pytest.mark.parametrize("data", [b"", b"just text", bytes(5000)])
    def test_what_is_no_picture_is_told_apart_from_a_broken_one(self, data: bytes) -> None:
        with pytest.raises(NotAnImage):
            opened(data)

    @pytest.mark.parametrize("kind", WRITERS)
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_picture_cut_short_is_broken(self, kind: str, share: float) -> None:
        data = saved(noisy(), kind, **WRITERS[kind])
        with pytest.raises(BrokenImage):
            opened(data[: int(len(data) * share)])

    @pytest.mark.parametrize("start", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"])
    def test_a_picture_of_a_few_bytes_is_broken(self, start: bytes) -> None:
        with pytest.raises(BrokenImage):
            opened(start)

    @pytest.mark.parametrize("size", [(0, 48), (64, 0), (0, 0)])
    def test_no_pixels_are_broken(self, size: tuple[int, int]) -> None:
        with pytest.raises(BrokenImage):
            opened(claiming(*size))

    def test_messages_name_neither_paths_nor_pillow(self) -> None:
        with pytest.raises(BrokenImage) as caught:
            opened(b"\xff\xd8\xff\xe0")
        assert (
            str(caught.value) == "The JPEG image is damaged, cut short, or of a variant that cannot be read."
        )
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("raised", [MemoryError(), Image.DecompressionBombError("bomb")])
    def test_what_exhausts_memory_is_too_large(
        self, raised: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(_: Any) -> None:
            raise raised

        monkeypatch.setattr(ImageFile.ImageFile, "load", load)
        with pytest.raises(TooLarge):
            opened(saved(drawing(), "JPEG"))

    @pytest.mark.parametrize("kind", [*WRITERS, "HEIC"])
    def test_damaged_bytes_give_a_picture_or_our_errors(self, kind: str) -> None:
        """The same two hundred damages at each run, of headers more than of pixels."""
        whole = TURNED_HEIC if kind == "HEIC" else saved(noisy(40, 50), kind, **WRITERS[kind])
        rolls = random.Random(hashlib.sha256(kind.encode()).digest())
        for _ in range(200):
            data = bytearray(whole)
            reach = min(len(data), rolls.choice([64, 600, len(data)]))
            for _ in range(rolls.choice([1, 3, 10])):
                data[rolls.randrange(reach)] = rolls.choice([0, 255, 127, rolls.randrange(256)])
            with contextlib.suppress(NotAnImage, BrokenImage, TooLarge):
                opened(bytes(data))


def test_careless_metadata_is_not_remarked_on() -> None:
    block = exif(1, {0x9003: "2001:02:03 04:05:06"}).tobytes()
    data = saved(drawing(), "JPEG", exif=block[:-24])
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        opened(data)
        opened(data)
        added = [entry for entry in warnings.filters if entry[0] == "ignore" and "PIL" in str(entry[3])]
    assert remarks == []
    assert len(added) == 1
