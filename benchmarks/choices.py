"""What was measured before the encoder's ways were chosen; docs/encoding.md draws the conclusions.

python3 -m benchmarks.choices [twice] [batch] [threads] [draft] [smallest]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import describe
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.encoders.model_files import EMBEDDING, model_path
from facesearch.encoders.resnet_embedder import ResNetEmbedder
from facesearch.images import AGTImage
from facesearch.records import Box, Wanted
from tests.labelled_photos import FOLDER

LARGEST = Wanted(only_largest=True)
SECONDS = 4.0


def opened(path: Path) -> AGTImage:
    return AGTImage.open(path.read_bytes(), path.name, LimitSettings())


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    height = min(a.bottom, b.bottom) - max(a.top, b.top) + 1
    width = min(a.right, b.right) - max(a.left, b.left) + 1
    shared = max(0, height) * max(0, width)
    return shared / (a.area + b.area - shared)


def twice(models: Path) -> None:
    """Enrolment that looks without doubling first: how often is another face, or another box, enrolled?"""
    once, both = (AGTEncoder(EncoderSettings(look_twice=look_twice), models) for look_twice in (False, True))
    print(
        "\n| photos | | same box | another box of that face | another face | ms doubled | ms looked twice |"
    )
    print("|---|---|---|---|---|---|---|")
    for part, step in (("lfw", 4), ("lowres", 1), ("hires", 1), ("group", 1)):
        paths = [p for p in sorted((FOLDER / part).rglob("*")) if p.is_file()][::step]
        same = moved = other = 0
        times: tuple[list[float], list[float]] = ([], [])
        for path in paths:
            image = opened(path)
            boxes: list[Box | None] = []
            for encoder, own in zip((once, both), times, strict=True):
                start = time.perf_counter()
                aligned, _ = encoder.look(image, LARGEST)
                own.append(1000 * (time.perf_counter() - start))
                boxes.append(aligned[0].box if aligned else None)
            first, second = boxes
            if first == second:
                same += 1
            elif first and second and overlap(first, second) > 0.4:
                moved += 1
            else:
                other += 1
        medians = " | ".join(f"{statistics.median(own):.1f}" for own in times)
        print(f"| {part} | {len(paths)} | {same} | {moved} | {other} | {medians} |", flush=True)


def embed_for(seconds: float, threads: int, batch: int, models: Path) -> int:
    """How many crops one process embeds in that time."""
    network = ResNetEmbedder(model_path(EMBEDDING), models, threads, batch)
    crops = np.zeros((batch, 150, 150, 3), np.uint8)
    network.embed(crops)
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        network.embed(crops)
        done += batch
    return done


def batch(models: Path) -> None:
    """Which batch is best for one core."""
    print("\n| faces together, one thread | faces per second |\n|---|---|")
    for size in (1, 2, 4, 8, 16, 32):
        rates = [embed_for(SECONDS / 4, 1, size, models) / (SECONDS / 4) for _ in range(5)]
        print(f"| {size} | {statistics.median(rates):.0f} |", flush=True)


def threads(models: Path) -> None:
    """Processes and threads on all cores, as under several gunicorn workers; and HOG in threads."""
    print("\n| processes | network's threads in each | faces per second in all |\n|---|---|---|")
    for processes in (1, 2, 4):
        for each in (1, 2):
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                pool.starmap(embed_for, [(0.2, each, 2, models)] * processes, chunksize=1)
                done = pool.starmap(embed_for, [(SECONDS, each, 2, models)] * processes, chunksize=1)
            print(f"| {processes} | {each} | {sum(done) / SECONDS:.0f} |", flush=True)
    encoder = AGTEncoder(EncoderSettings(), models)
    image = opened(next((FOLDER / "group").glob("*bbt1.jpg")))
    encoder.detect(image)
    print("\n| threads that detect with HOG in one process | photos per second |\n|---|---|")
    for count in (1, 2, 4):
        with ThreadPoolExecutor(count) as pool:
            start = time.perf_counter()
            photos = len(list(pool.map(encoder.detect, [image] * 12)))
            print(f"| {count} | {photos / (time.perf_counter() - start):.1f} |", flush=True)


def median_ms(work: Callable[[], object], rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def draft(models: Path) -> None:
    """Decoding a large JPEG at half its scale: what it saves, and what it does to the vector."""
    encoder = AGTEncoder(EncoderSettings(kind="plain"), models)
    print("\n| JPEG | decode, ms | at half scale | whole enrolment | distance of the two vectors |")
    print("|---|---|---|---|---|")
    large = sorted((FOLDER / "hires").rglob("*.jp*g"), key=lambda p: -p.stat().st_size)[:4]
    for path in [*large, FOLDER / "odd" / "huge_6500x6500.jpg"]:
        data = path.read_bytes()

        def half(data: bytes = data) -> Image.Image:
            photo = Image.open(io.BytesIO(data))
            photo.draft("RGB", (photo.width // 2, photo.height // 2))
            return photo.convert("RGB")

        full, reduced = opened(path), half()
        buffer = io.BytesIO()
        reduced.save(buffer, "PNG")
        both = [
            encoder.encode(image, LARGEST).faces
            for image in (full, AGTImage.open(buffer.getvalue(), "x.png", LimitSettings()))
        ]
        apart = (
            f"{np.linalg.norm(both[0][0].embedding - both[1][0].embedding):.3f}" if all(both) else "no face"
        )
        figures = (
            median_ms(lambda path=path: opened(path)),  # type: ignore[misc]
            median_ms(half),
            median_ms(lambda path=path: encoder.encode(opened(path), LARGEST), 3),  # type: ignore[misc]
        )
        size = f"{full.info.width}x{full.info.height}"
        print(f"| {size} | {' | '.join(f'{ms:.0f}' for ms in figures)} | {apart} |", flush=True)


def smallest(models: Path) -> None:
    """Searching with a smallest face: pyramid levels that only hold smaller ones are not looked at."""
    encoder = AGTEncoder(EncoderSettings(), models)
    path = max((FOLDER / "group").glob("*.jpg"), key=lambda p: p.stat().st_size)
    image = opened(path)
    print(f"\n| smallest face, {image.info.width}x{image.info.height} | HOG, ms | CNN, ms | faces by HOG |")
    print("|---|---|---|---|")
    for side in (0, 60, 80, 120, 160):
        by = [
            median_ms(
                lambda name=name, side=side: encoder.detect(  # type: ignore[misc]
                    image, Wanted(detector=name, min_face_px=side)
                ),
                3,
            )
            for name in ("hog", "cnn")
        ]
        faces = len(encoder.detect(image, Wanted(min_face_px=side)))
        print(f"| {side} | {by[0]:.0f} | {by[1]:.0f} | {faces} |", flush=True)


PARTS = {part.__name__: part for part in (twice, batch, threads, draft, smallest)}


def main() -> None:
    print(describe("dlib-bin", "onnxruntime", "pillow", "numpy"))
    with tempfile.TemporaryDirectory() as models:
        for name in sys.argv[1:] or PARTS:
            PARTS[name](Path(models))


if __name__ == "__main__":
    main()
