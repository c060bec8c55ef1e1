"""Encoding beside face_recognition: each step, a whole photo, and a bulk over HTTP.

One process and one thread for the steps, theirs and ours in turn, medians; then gallery.csv's zip over HTTP
beside a multiprocessing.Pool of face_recognition on the same cores; then what a second server process
costs in memory (proportional set size).

    python3 -m benchmarks.encode [--photos 60] [--bulk 400]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import io
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.figures import Photo, read_csv
from benchmarks.machine import describe
from benchmarks.over_http import face_recognition_vector, zip_of
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.images import AGTImage
from facesearch.records import Wanted
from tests.labelled_photos import FOLDER
from tests.server import PROJECT_ROOT, Server
from tests.unit.encoders.oracle import face_recognition as face_recognition_module

LARGEST = Wanted(only_largest=True)
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=60, help="LFW photos for the steps")
    parser.add_argument("--bulk", type=int, default=400, help="LFW photos for the bulk")
    chosen = parser.parse_args()
    print(describe("dlib-bin", "face_recognition", "onnxruntime", "numpy"))
    gallery = read_csv(FOLDER, "gallery.csv")
    with tempfile.TemporaryDirectory() as models:
        steps(gallery[:: len(gallery) // chosen.photos], Path(models))
    bulk(gallery[: chosen.bulk])


def in_turn(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median milliseconds of each work, all of them in turn after a warm-up."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, own in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            own.append(1000 * (time.perf_counter() - start))
    return [statistics.median(own) for own in times]


def row(name: str, theirs: float, ours: float) -> None:
    print(f"| {name} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.1f} |", flush=True)


def steps(photos: Sequence[Photo], models: Path) -> None:
    library = face_recognition_module()
    api = library.api
    kinds = {
        kind: AGTEncoder(EncoderSettings.model_validate({"kind": kind}), models)
        for kind in ("plain", "mirror")
    }
    plain = kinds["plain"]
    files = [(FOLDER / photo.path).read_bytes() for photo in photos]
    opened = [AGTImage.open(data, "x.jpg", LimitSettings()) for data in files]
    crops = np.stack([face.crop for image in opened for face in plain.look(image, LARGEST)[0]])
    model = api.face_encoder
    print("\n| step, one thread, ms | face_recognition | facesearch | ratio |\n|---|---|---|---|")
    one = crops[:1]
    theirs, ours = in_turn(20, lambda: model.compute_face_descriptor(crops[0], 1), lambda: plain.embed(one))
    row("embedding, one face", theirs, ours)
    batch = crops[:BATCH]
    theirs, ours = in_turn(
        5,
        lambda: [model.compute_face_descriptor(crop, 1) for crop in batch],
        lambda: plain.embed(batch),
    )
    row(f"embedding, {BATCH} faces", theirs, ours)
    pixels = picture(512)
    theirs, ours = in_turn(
        3, lambda: api.cnn_face_detector(pixels, 0), lambda: plain._engine.find("cnn", pixels, 0)
    )
    row("CNN detector, 512x512", theirs, ours)

    def whole(data: bytes) -> None:
        photo = library.load_image_file(io.BytesIO(data))
        library.face_encodings(photo)

    def per_photo(work: Callable[[bytes], object]) -> Callable[[], object]:
        return lambda: [work(data) for data in files]

    def encode(kind: str, wanted: Wanted) -> Callable[[bytes], object]:
        return lambda data: kinds[kind].encode(AGTImage.open(data, "x.jpg", LimitSettings()), wanted)

    works = [whole, *(encode(kind, wanted) for wanted in (LARGEST, Wanted()) for kind in kinds)]
    figures = [ms / len(files) for ms in in_turn(3, *(per_photo(work) for work in works))]
    names = [f"LFW photo, {way}, {kind}" for way in ("enrolling", "searching") for kind in kinds]
    for name, ms in zip(names, figures[1:], strict=True):
        row(name, figures[0], ms)


def picture(side: int) -> Any:
    with Image.open(PROJECT_ROOT / "test_images" / "Eileen_Collins_0001.jpg") as photo:
        return np.array(photo.convert("RGB").resize((side, side)))


def bulk(photos: Sequence[Photo]) -> None:
    archive = zip_of(FOLDER, photos)
    names = [str(FOLDER / photo.path) for photo in photos]
    context = multiprocessing.get_context("spawn")
    with context.Pool() as pool:
        pool.map(face_recognition_vector, names[:8], chunksize=1)
        start = time.perf_counter()
        pool.map(face_recognition_vector, names, chunksize=4)
        theirs = len(photos) / (time.perf_counter() - start)
    print(
        f"\n| bulk of {len(photos)} LFW photos, photos per second | face_recognition | facesearch | ratio |"
    )
    print("|---|---|---|---|")
    warm = zip_of(FOLDER, photos[:64])
    for kind in ("plain", "mirror"):
        settings = {"encoder": {"kind": kind}, "workers": {"processes": 0}}
        with tempfile.TemporaryDirectory() as home, Server(Path(home), settings, workers=2) as server:
            before = dict(server.memory_bytes())
            send(server, warm)  # the pool's processes start
            start = time.perf_counter()
            result = send(server, archive)
            ours = result["inserted"] / (time.perf_counter() - start)
            print(f"| {kind} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.1f} |", flush=True)
    workers = sorted(before.values())[1:]
    print(f"\nserver processes after their start, MiB of their own each: {[b >> 20 for b in workers]}")


def send(server: Server, archive: bytes) -> Any:
    """A bulk through whichever worker takes it; one connection, so the same one each time."""
    answer = server.client.post("/add_faces_in_bulk/", files={"file": ("bulk.zip", archive)})
    return answer.raise_for_status().json()["result"]


if __name__ == "__main__":
    main()
