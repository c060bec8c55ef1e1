"""What stands behind the choices for recognition networks, on MobileFaceNet: crops, batches, threads, int8.

    python3 -m benchmarks.recognition [crops] [batch] [threads] [int8]

`crops` cuts the same faces in several ways. `int8` prints what 8-bit integers cost in accuracy. Both compare
all pairs of photos: the share of pairs of one person within the distance that a share of the others keeps.
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from benchmarks.figures import read_csv
from benchmarks.machine import describe
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders.alignment import cut_out, inverse, similarity
from facesearch.encoders.cards import ARCFACE_TEMPLATE, ModelCard
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_embedder import OnnxEmbedder
from facesearch.encoders.onnx_encoder import ONNXEncoder
from facesearch.encoders.onnx_session import open_file
from facesearch.encoders.quantise import quantise, quantised_card
from facesearch.images import AGTImage
from facesearch.records import Wanted
from tests.labelled_photos import FOLDER
from tests.server import PROJECT_ROOT
from tests.weights import centerface_file, mobilefacenet_file

SIDE = 112
TEMPLATE = np.array(ARCFACE_TEMPLATE)
LARGEST = Wanted(only_largest=True)
SECONDS = 4.0

Crops = NDArray[np.uint8]
Floats = NDArray[np.float64]
Cut = Callable[[Crops, Floats, Floats], Crops]


def ours(pixels: Crops, points: Floats, targets: Floats) -> Crops:
    return cut_out(pixels, similarity(points, targets), SIDE, SIDE)


def bilinear(pixels: Crops, points: Floats, targets: Floats) -> Crops:
    """Nothing is reduced beforehand: each pixel of the crop comes of four of the photo."""
    back = inverse(similarity(points, targets))
    turn, shift = back[:, :2], back[:, 2] + 0.5 - back[:, :2] @ (0.5, 0.5)
    data = (*turn[0], shift[0], *turn[1], shift[1])
    crop = Pillow.fromarray(pixels).transform(
        (SIDE, SIDE), Pillow.Transform.AFFINE, data, Pillow.Resampling.BILINEAR
    )
    return np.asarray(crop)


def dlib_chip(pixels: Crops, points: Floats, targets: Floats) -> Crops:
    """dlib's own: halved until it fits, then bilinear."""
    there, here = (dlib.dpoints([dlib.dpoint(x, y) for x, y in some.tolist()]) for some in (targets, points))
    details = dlib.chip_details(there, here, dlib.chip_dims(SIDE, SIDE))
    chip: Crops = dlib.extract_image_chip(pixels, details)
    return chip


WAYS: dict[str, Cut] = {"reduced, then bilinear (ours)": ours, "bilinear": bilinear, "dlib's chip": dlib_chip}
THREE = "dlib's three points from CenterFace's box"


def opened(path: str) -> AGTImage:
    return AGTImage.open((FOLDER / path).read_bytes(), path, LimitSettings())


def installed(models: Path) -> ModelStore:
    store = ModelStore(models)
    for name, file in (("centerface", centerface_file), ("mobilefacenet", mobilefacenet_file)):
        store.add(file(), store.card(name))
    return store


def network(store: ModelStore, model: str, threads: int = 1) -> OnnxEmbedder:
    card, file = store.weights(model)
    return OnnxEmbedder(card, partial(open_file, file, threads))


@lru_cache(maxsize=1)
def encoder(models: Path) -> ONNXEncoder:
    settings = {"model": "mobilefacenet", "detector": "centerface", "kind": "plain"}
    return ONNXEncoder(EncoderSettings.model_validate(settings), models)


def cut_in_all_ways(task: tuple[Path, str]) -> list[Crops] | None:
    """The largest face of a photo, cut in each of the ways, and by dlib's landmarks."""
    made, image = encoder(task[0]), opened(task[1])
    found = made.detect(image, LARGEST)
    if not found:
        return None
    face = max(found, key=lambda one: one.box.area)
    points = np.array(face.landmarks)
    (by_three,) = made.align(image, [type(face)(face.box, face.score)])
    return [*(cut(image.pixels, points, TEMPLATE) for cut in WAYS.values()), by_three.crop]


def vectors_of(embedder: OnnxEmbedder, crops: Crops) -> Floats:
    """The sum of a crop's vector and that of its mirror image, of length 1."""
    sums = embedder.embed(crops).astype(np.float64) + embedder.embed(crops[:, :, ::-1])
    unit: Floats = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return unit


def accepted(vectors: Floats, names: NDArray[np.str_], rates: tuple[float, ...]) -> list[float]:
    """The share of pairs of one person that each share of false matches lets through."""
    first, second = np.triu_indices(len(names), k=1)
    similar = (vectors @ vectors.T)[first, second]
    same = names[first] == names[second]
    others = np.sort(similar[~same])[::-1]
    return [float((similar[same] > others[int(rate * len(others))]).mean()) for rate in rates]


def photos_of(*lists: str) -> tuple[list[str], NDArray[np.str_]]:
    photos = [photo for name in lists for photo in read_csv(FOLDER, name)]
    return [photo.path for photo in photos], np.array([photo.identity for photo in photos])


def cells(shares: list[float]) -> str:
    return " | ".join(f"{100 * share:.1f} %" for share in shares)


def crops(store: ModelStore) -> None:
    """Is it worth to reduce a face before it is interpolated, and are five landmarks better than three?"""
    print("\n| photos | crop | accepted at 1e-2 | 1e-3 | 1e-4 |\n|---|---|---|---|---|")
    embedder = network(store, "mobilefacenet")
    for title, lists in (("LFW", ("gallery.csv", "probes.csv")), ("hires", ("hires.csv",))):
        paths, names = photos_of(*lists)
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            cut = pool.map(cut_in_all_ways, [(store.directory, path) for path in paths], chunksize=8)
        there = np.array([one is not None for one in cut])
        for row, way in enumerate((*WAYS, THREE)):
            some = np.stack([one[row] for one in cut if one is not None])
            shares = accepted(vectors_of(embedder, some), names[there], (1e-2, 1e-3, 1e-4))
            print(f"| {title} ({there.sum()}) | {way} | {cells(shares)} |", flush=True)
    paths, _ = photos_of("hires.csv")
    image = opened(max(paths, key=lambda path: (FOLDER / path).stat().st_size))
    points = np.array(encoder(store.directory).detect(image, LARGEST)[0].landmarks)
    print(f"\n| one crop out of {image.info.width} x {image.info.height} | ms |\n|---|---|")
    works = [partial(cut_one, image.pixels, points, TEMPLATE) for cut_one in WAYS.values()]
    for way, ms in zip(WAYS, in_turn(works), strict=True):
        print(f"| {way} | {ms:.2f} |")


def in_turn(works: Sequence[Callable[[], object]], rounds: int = 60) -> list[float]:
    """Median milliseconds of each work, all of them in turn, so that a shared machine is as slow for each."""
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(rounds):
        for work, own in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            own.append(1000 * (time.perf_counter() - start))
    return [statistics.median(own) for own in times]


def noise(count: int) -> Crops:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def batch(store: ModelStore) -> None:
    """How many faces go through the network together?"""
    print("\n| faces together, one thread | faces per second |\n|---|---|")
    card, file = store.weights("mobilefacenet")
    counts = (1, 2, 4, 8, 16, 32)
    embedders = [OnnxEmbedder(card, partial(open_file, file, 1), batch_size=count) for count in counts]
    works = [partial(one.embed, noise(count)) for one, count in zip(embedders, counts, strict=True)]
    for count, ms in zip(counts, in_turn(works, rounds=20), strict=True):
        print(f"| {count} | {1000 * count / ms:.0f} |")


def embedded_for_a_while(task: tuple[Path, int]) -> float:
    """Faces per second of one process."""
    embedder, some = network(ModelStore(task[0]), "mobilefacenet", task[1]), noise(4)
    embedder.embed(some)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        embedder.embed(some)
        done += len(some)
    return done / (time.perf_counter() - start)


def threads(store: ModelStore) -> None:
    """Is a network faster on several threads, or are several callers?"""
    print("\n| processes | network's threads in each | faces per second in all |\n|---|---|---|")
    for processes in (1, 2, 4):
        for count in (1, 2):
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                speeds = pool.map(embedded_for_a_while, [(store.directory, count)] * processes, chunksize=1)
            print(f"| {processes} | {count} | {sum(speeds):.0f} |", flush=True)
    print("\n| threads that share one session | network's threads | faces per second in all |\n|---|---|---|")
    for callers in (1, 2, 4):
        for count in (1, 2):
            embedder, some = network(store, "mobilefacenet", count), noise(4)
            embedder.embed(some)
            with ThreadPoolExecutor(callers) as pool_of_threads:
                start = time.perf_counter()
                runs = list(pool_of_threads.map(embedder.embed, [some] * 40 * callers))
                speed = len(runs) * len(some) / (time.perf_counter() - start)
            print(f"| {callers} | {count} | {speed:.0f} |", flush=True)


def test_photo_crops(store: ModelStore) -> Crops:
    """The faces that `facesearch models quantise` measures its ranges on."""
    made = encoder(store.directory)
    images = (
        AGTImage.open(path.read_bytes(), path.name, LimitSettings())
        for path in sorted((PROJECT_ROOT / "test_images").glob("*.jpg"))
    )
    return np.stack([face.crop for image in images for face in made.look(image)[0]])


def dynamic(file: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(file), str(out), weight_type=QuantType.QUInt8)


def networks(store: ModelStore, folder: Path) -> Iterator[tuple[str, Path, ModelCard]]:
    card, file = store.weights("mobilefacenet")
    yield "float32", file, card
    quantise(file, folder / "static.onnx", card, test_photo_crops(store))
    yield "int8, ranges from the test photos", folder / "static.onnx", quantised_card(card)
    dynamic(file, folder / "dynamic.onnx")
    yield "int8, ranges found while it runs", folder / "dynamic.onnx", quantised_card(card)


def int8(store: ModelStore) -> None:
    """What do 8-bit integers save, and what do they cost?"""
    paths, names = photos_of("gallery.csv", "probes.csv")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        cut = pool.map(cut_in_all_ways, [(store.directory, path) for path in paths], chunksize=8)
    there = np.array([one is not None for one in cut])
    some = np.stack([one[0] for one in cut if one is not None])
    print("\n| network | MB | ms per face | cosine to floats | least | accepted at 1e-3 | 1e-4 | 1e-5 |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        made = list(networks(store, Path(folder)))
        embedders = [OnnxEmbedder(card, partial(open_file, file, 1)) for _, file, card in made]
        times = in_turn([partial(embedder.embed, some[:1]) for embedder in embedders])
        vectors = [vectors_of(embedder, some) for embedder in embedders]
        for (title, file, _), ms, own in zip(made, times, vectors, strict=True):
            cosines = (own * vectors[0]).sum(axis=1)
            shares = accepted(own, names[there], (1e-3, 1e-4, 1e-5))
            print(
                f"| {title} | {file.stat().st_size / 1e6:.1f} | {ms:.1f} "
                f"| {np.median(cosines):.3f} | {cosines.min():.3f} | {cells(shares)} |",
                flush=True,
            )


def main() -> None:
    print(describe("dlib-bin", "onnxruntime", "numpy", "pillow"))
    parts = {"crops": crops, "batch": batch, "threads": threads, "int8": int8}
    with tempfile.TemporaryDirectory() as models:
        store = installed(Path(models))
        for name in sys.argv[1:] or parts:
            parts[name](store)


if __name__ == "__main__":
    main()
