"""Draw README's picture from pictures that may be published, and from the service's own answers.

    python3 -m docs.draw_match

Starts a service on an empty database, enrols test_images/, searches with a photo of two people, and
writes docs/match.jpg: the probe with its boxes, then the ranked matches with their distances.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tests.server import PROJECT_ROOT, Server

PICTURES = PROJECT_ROOT / "test_images"
GALLERY = (
    "Barack_Obama_0001.jpg",
    "Barack_Obama_0003.jpg",
    "Joe_Biden_0001.jpg",
    "Eileen_Collins_0001.jpg",
)
PROBES = ("Barack_Obama_0002.jpg", "Eileen_Collins_0001.jpg")
HEIGHT = 420
TILE = 130
MARGIN = 24
COLOURS = ("#0b6e4f", "#b5460f")
INK, PAPER = "#1c1c1c", "#ffffff"


def probe_photo() -> Image.Image:
    """Two photos side by side, so that one search has two faces; the second is mirrored."""
    photos = [Image.open(PICTURES / name).convert("RGB") for name in PROBES]
    photos[1] = ImageOps.mirror(photos[1])
    photos = [photo.resize((round(photo.width * HEIGHT / photo.height), HEIGHT)) for photo in photos]
    both = Image.new("RGB", (sum(photo.width for photo in photos), HEIGHT))
    left = 0
    for photo in photos:
        both.paste(photo, (left, 0))
        left += photo.width
    return both


def answer_for(probe: Image.Image) -> tuple[list[dict[str, Any]], dict[int, tuple[str, dict[str, int]]]]:
    """The faces of the service's answer, and of each gallery id its picture and box."""
    buffer = io.BytesIO()
    probe.save(buffer, "PNG")
    enrolled = {}
    with tempfile.TemporaryDirectory() as home, Server(Path(home)) as server:
        for name in GALLERY:
            added = server.client.post("/add_face/", files={"file": (name, (PICTURES / name).read_bytes())})
            result = added.raise_for_status().json()["result"]
            enrolled[result["id"]] = (name, result["box"])
        found = server.client.post(
            "/search_faces/?k=3&tolerance=1.2", files={"file": ("probe.png", buffer.getvalue())}
        )
        faces: list[dict[str, Any]] = found.raise_for_status().json()["result"]["faces"]
    return faces, enrolled


def tile_of(name: str, box: dict[str, int]) -> Image.Image:
    side = round(1.5 * (box["right"] - box["left"]))
    x, y = (box["left"] + box["right"]) // 2, (box["top"] + box["bottom"]) // 2
    corner = (x - side // 2, y - side // 2)
    photo = Image.open(PICTURES / name).convert("RGB")
    return photo.crop((*corner, corner[0] + side, corner[1] + side)).resize((TILE, TILE))


def main() -> None:
    probe = probe_photo()
    faces, enrolled = answer_for(probe)
    width = probe.width + 3 * (TILE + MARGIN) + 3 * MARGIN
    sheet = Image.new("RGB", (width, HEIGHT + 2 * MARGIN), PAPER)
    sheet.paste(probe, (MARGIN, MARGIN))
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(17), ImageFont.load_default(14)
    row_height = HEIGHT // len(faces)
    for number, face in enumerate(faces):
        colour, box = COLOURS[number % len(COLOURS)], face["box"]
        corners = [box["left"] + MARGIN, box["top"] + MARGIN, box["right"] + MARGIN, box["bottom"] + MARGIN]
        draw.rectangle(corners, outline=colour, width=4)
        tag = (corners[0], corners[1] - 24, corners[0] + 58, corners[1])
        draw.rectangle(tag, fill=colour)
        draw.text((tag[0] + 6, tag[1] + 2), f"face{number + 1}", PAPER, large)
        top = MARGIN + number * row_height
        left = probe.width + 3 * MARGIN
        draw.text((left, top - 4), f"face{number + 1}: nearest known faces, by distance", colour, large)
        for rank, match in enumerate(face["matches"]):
            x, y = left + rank * (TILE + MARGIN), top + 24
            tile = tile_of(*enrolled[match["id"]])
            near = match["distance"] <= 0.6
            sheet.paste(tile if near else ImageOps.grayscale(tile).convert("RGB"), (x, y))
            if near:
                draw.rectangle([x, y, x + TILE - 1, y + TILE - 1], outline=colour, width=4)
            draw.text((x, y + TILE + 3), match["person_name"], INK if near else "#8a8a8a", small)
            verdict = "" if near else "  beyond 0.6"
            draw.text(
                (x, y + TILE + 20), f"{match['distance']:.3f}{verdict}", INK if near else "#8a8a8a", small
            )
    sheet.save(PROJECT_ROOT / "docs" / "match.jpg", quality=88)


if __name__ == "__main__":
    main()
