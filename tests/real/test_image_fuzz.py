"""Damaged photos, made by changing bytes of real ones: each is opened, or refused with a reason."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.labelled_photos import FOLDER
from tests.real.image_opener import FORESEEN, ImageOpener
from tests.server import PROJECT_ROOT

SECONDS = 45.0
BATCH = settings(
    max_examples=500,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
LARGEST_BYTES = 200_000
MOST_PEAK_BYTES = 2 * 1024**3
# Lengths, sizes and counts as headers hold them.
NUMBERS = [
    number.to_bytes(width, order)
    for width in (1, 2, 4)
    for order in ("big", "little")
    for number in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1)
]


def _bases() -> list[Path]:
    """Pictures of every format: our own, and the odd ones where they are."""
    folders = [PROJECT_ROOT / "test_images", FOLDER / "odd"]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return [path for path in files if path.suffix != ".md" and 0 < path.stat().st_size <= LARGEST_BYTES]


class Damaged:
    """A photo that was changed; its bytes are too many to be shown."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data

    def __repr__(self) -> str:
        return f"Damaged({self.name}, {len(self.data)} bytes)"


@st.composite
def damaged(draw: st.DrawFn) -> Damaged:
    """A photo with some of them overwritten, put in, left out, doubled or cut off."""
    base = draw(st.sampled_from(_bases()))
    data = bytearray(base.read_bytes())
    for _ in range(draw(st.integers(1, 6))):
        # Most of what a decoder believes stands near the beginning.
        reach = draw(st.sampled_from([64, 1024, len(data)]))
        at = draw(st.integers(0, max(0, min(reach, len(data)) - 1)))
        piece = draw(st.sampled_from(NUMBERS) | st.binary(min_size=1, max_size=8))
        length = draw(st.integers(1, 4096))
        match draw(st.sampled_from(["overwrite", "insert", "remove", "double", "cut", "move"])):
            case "overwrite":
                data[at : at + len(piece)] = piece
            case "insert":
                data[at:at] = piece
            case "remove":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "cut":
                del data[max(at, 1) :]
            case "move":
                other = draw(st.integers(0, max(0, len(data) - 1)))
                data[at : at + length] = data[other : other + length]
        if not data:
            break
    return Damaged(base.name, bytes(data))


@pytest.mark.fuzz
def test_a_damaged_photo_is_opened_or_refused_with_a_reason(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = random.SystemRandom().getrandbits(32)
    end = time.monotonic() + SECONDS
    opened: Counter[str] = Counter()
    with ImageOpener() as opener:

        def open_one(photo: Damaged) -> None:
            found = opener.open(photo.data, photo.name)
            opened[found.how] += 1
            if found.how == FORESEEN and found.peak_bytes <= MOST_PEAK_BYTES:
                return
            last = tmp_path / "damaged"
            last.write_bytes(photo.data)
            pytest.fail(f"{found} of {last}, which was {photo.name}")

        batch = first
        try:
            # In batches, since hypothesis ends at a number of examples and not at a time.
            while time.monotonic() < end:
                seed(batch)(settings(BATCH)(given(damaged())(open_one)))()
                batch += 1
        finally:
            with capfd.disabled():
                print(f"\n{opened.total()} damaged photos, seeds {first} to {batch}", flush=True)
    assert opened.total() > 100
