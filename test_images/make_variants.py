"""Make the forms of test_images/ in which photos reach the service.

    python3 test_images/make_variants.py FOLDER

The same versions of Pillow and its codecs give the same bytes. HEIC is missing: pi-heif reads only.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

PICTURES = Path(__file__).resolve().parent
ONE_FACE = "Barack_Obama_0001.jpg"
# How the pixels are stored for a viewer that obeys each EXIF orientation to see them upright.
TURNS: dict[int, Image.Transpose | None] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
# Degrees, minutes and seconds north or south, then east or west.
TAKEN_AT = "2019:07:20 14:30:05"
PARIS = ("N", (48.0, 51.0, 29.6), "E", (2.0, 17.0, 40.2))
SANTIAGO = ("S", (33.0, 27.0, 0.0), "W", (70.0, 40.0, 0.0))
TWO_FACES = ("Barack_Obama_0002.jpg", "Joe_Biden_0001.jpg")


def make_variants(folder: Path) -> list[Path]:
    """Write all variants into an existing folder and return their paths, sorted by name.

    Names that end in a number belong to the person as in test_images/; `two_faces` has Barack Obama
    left of Joe Biden; `broken_*` and `not_an_image.jpg` cannot be decoded.
    """
    photo = picture(ONE_FACE)
    for write in (_turned, _with_place, _modes, _formats, _broken):
        write(photo, folder)
    two_faces().save(folder / "two_faces.jpg", quality=88)
    picture("no_face_coffee.jpg").save(folder / "no_face.png")
    return sorted(folder.iterdir())


def picture(name: str) -> Image.Image:
    """A picture of test_images/ as RGB."""
    with Image.open(PICTURES / name) as image:
        return image.convert("RGB")


def two_faces() -> Image.Image:
    """Two people side by side at one height, RGB."""
    halves = [ImageOps.contain(picture(name), (800, 600)) for name in TWO_FACES]
    both = Image.new("RGB", (sum(half.width for half in halves), 600))
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (halves[0].width, 0))
    return both


def _turned(photo: Image.Image, folder: Path) -> None:
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        stored = photo if turn is None else photo.transpose(turn)
        stored.save(folder / f"turned_{orientation}.jpg", quality=88, exif=exif)


def _with_place(photo: Image.Image, folder: Path) -> None:
    for name, where in (("north_east", PARIS), ("south_west", SANTIAGO)):
        south_north, latitude, west_east, longitude = where
        exif = Image.Exif()
        exif[ExifTags.Base.DateTime] = "2020:01:01 00:00:00"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = TAKEN_AT
        place = exif.get_ifd(ExifTags.IFD.GPSInfo)
        place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSLatitude] = south_north, latitude
        place[ExifTags.GPS.GPSLongitudeRef], place[ExifTags.GPS.GPSLongitude] = west_east, longitude
        photo.save(folder / f"place_{name}.jpg", quality=88, exif=exif)


def _modes(photo: Image.Image, folder: Path) -> None:
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
    alpha.save(folder / "alpha.png")
    photo.quantize(256).save(folder / "palette.png")
    photo.convert("L").save(folder / "grey.jpg", quality=88)
    photo.convert("LA").save(folder / "grey_alpha.png")
    photo.convert("CMYK").save(folder / "cmyk.jpg", quality=88)
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "grey_16_bit.png")
    Image.fromarray(deep).save(folder / "grey_16_bit.tiff", compression="tiff_deflate")


def _formats(photo: Image.Image, folder: Path) -> None:
    photo.save(folder / "format.bmp")
    photo.save(folder / "format.webp", quality=88)
    photo.save(folder / "format.tiff", compression="tiff_lzw")
    photo.save(folder / "format.avif", quality=80)
    photo.save(folder / "progressive.jpg", quality=88, progressive=True)
    grey = Image.new("RGB", photo.size, "grey")
    photo.save(folder / "first_of_two.gif", save_all=True, append_images=[grey], duration=500)


def _broken(photo: Image.Image, folder: Path) -> None:
    whole = (PICTURES / ONE_FACE).read_bytes()
    (folder / "broken_cut_in_half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "broken_header_only.jpg").write_bytes(whole[:20])
    photo.save(folder / "broken_cut_in_half.png")
    data = (folder / "broken_cut_in_half.png").read_bytes()
    (folder / "broken_cut_in_half.png").write_bytes(data[: len(data) // 2])
    (folder / "not_an_image.jpg").write_bytes(b"These are words, whatever the name says.\n")
    (folder / "empty.jpg").write_bytes(b"")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_variants.py FOLDER")
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    make_variants(target)
