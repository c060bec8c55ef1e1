"""What was measured before the encoder's ways were chosen; docs/encoding.md draws the conclusions.

python3 -m benchmarks.choices [twice] [batch] [threads] [draft] [smallest] [int8]
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
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import describe
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.encoders.dlib_stream import DETECTOR_SHA256, read_network
from facesearch.encoders.mmod_detector import _largest_level
from facesearch.encoders.model_files import CNN_DETECTOR, EMBEDDING, model_path
from facesearch.encoders.onnx_graphs import build_detector
from facesearch.encoders.onnx_session import open_graph
from facesearch.encoders.resnet_embedder import ResNetEmbedder
from facesearch.encoders.tiled_pyramid import fill, lay_out
from facesearch.images import AGTImage
from facesearch.records import Box, Wanted
from tests.labelled_photos import FOLDER
from tests.server import PROJECT_ROOT

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


class Planes:
    """What the quantiser calibrates on."""

    def __init__(self, planes: list[NDArray[np.float32]]) -> None:
        self._rest = iter(planes)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        plane = next(self._rest, None)
        return None if plane is None else {"pixels": plane}


def int8(models: Path) -> None:
    """The CNN detector's network with 8-bit weights and activations, calibrated on the measured photos."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    floats, ints = models / "float32.onnx", models / "int8.onnx"
    floats.write_bytes(build_detector(read_network(model_path(CNN_DETECTOR), DETECTOR_SHA256)))
    photos = [opened(path) for path in sorted((PROJECT_ROOT / "test_images").glob("*.jpg"))]
    planes = []
    for photo in photos:
        level = _largest_level(photo.reduced(512 * 512)[0], 0, 0)
        planes.append(fill(level, lay_out(*level.shape[1:]))[None])
    quantize_static(
        floats,
        ints,
        Planes(planes),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    first, second = open_graph(floats.read_bytes(), 1), open_graph(ints.read_bytes(), 1)
    print(
        "\n| CNN network on about 512x512 | ms | int8, ms | score moved by at most | windows gained or lost |"
    )
    print("|---|---|---|---|---|")
    for photo, plane in zip(photos, planes, strict=True):
        a, b = (session.run(None, {"pixels": plane})[0] for session in (first, second))
        times = [
            median_ms(lambda s=s, plane=plane: s.run(None, {"pixels": plane}))  # type: ignore[misc]
            for s in (first, second)
        ]
        moved, changed = np.abs(a - b)[a > -0.5].max(initial=0), int(((a > 0) != (b > 0)).sum())
        name = photo.info.file_name
        print(f"| {name} | {times[0]:.0f} | {times[1]:.0f} | {moved:.2f} | {changed} of {(a > 0).sum()} |")


PARTS = {part.__name__: part for part in (twice, batch, threads, draft, smallest, int8)}


def main() -> None:
    print(describe("dlib-bin", "onnxruntime", "pillow", "numpy"))
    with tempfile.TemporaryDirectory() as models:
        for name in sys.argv[1:] or PARTS:
            PARTS[name](Path(models))


if __name__ == "__main__":
    main()
