"""LFW verification on pairs_dev.csv: is it the same person, for each engine, detector and kind.

Prints for each the accuracy at the best threshold (10 folds: chosen on nine, counted on the tenth) and at
0.6, and for `mirror` the length that makes 0.6 the most accurate tolerance on all pairs. A photo in which
no face is found counts as "different".

    python3 -m benchmarks.verify [--engine onnx|dlib|both] [--detector hog|cnn|both] [--pairs N]
"""

import argparse
import csv
import multiprocessing
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.encoders.kinds import MIRROR_LENGTH
from facesearch.images import AGTImage
from tests.labelled_photos import FOLDER

FOLDS = 10
TOLERANCE = 0.6


@dataclass(frozen=True)
class Task:
    """One photo for one engine and detector; `models` is where graphs are kept."""

    engine: str
    detector: str
    models: Path
    path: str


@lru_cache(maxsize=1)
def encoder(engine: str, detector: str, models: Path) -> AGTEncoder:
    settings = EncoderSettings.model_validate(
        {"engine": engine, "kind": "plain", "detector": detector, "look_twice": False}
        | ({"upsample": 0} if detector == "cnn" else {})
    )
    return AGTEncoder(settings, models)


def vectors_of(task: Task) -> NDArray[np.float32] | None:
    """The network's vectors of the largest face's crop and of its mirror image, (2, 128)."""
    made = encoder(task.engine, task.detector, task.models)
    image = AGTImage.open((FOLDER / task.path).read_bytes(), task.path, LimitSettings())
    found = made.detect(image)
    if not found:
        return None
    (face,) = made.align(image, [max(found, key=lambda d: d.box.area)])
    return made.embed(np.stack([face.crop, face.crop[:, ::-1]]))


def unit_sums(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Crop and mirror image added and brought to length 1."""
    sums = vectors.astype(np.float64).sum(axis=1)
    unit: NDArray[np.float64] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return unit


def best_threshold(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[float, float]:
    """The threshold with the most pairs right, in the middle of the best interval; and that share."""
    order = np.argsort(distances)
    right = np.cumsum(same[order]) + (len(same) - same.sum()) - np.cumsum(~same[order])
    best = np.flatnonzero(right == right.max())
    at = best[len(best) // 2]
    upper = distances[order[at + 1]] if at + 1 < len(order) else distances[order[at]]
    return float((distances[order[at]] + upper) / 2), float(right[at] / len(same))


def accuracy(distances: NDArray[np.float64], same: NDArray[np.bool_], threshold: float) -> float:
    return float(((distances <= threshold) == same).mean())


def ten_folds(distances: NDArray[np.float64], same: NDArray[np.bool_], folds: NDArray[np.int_]) -> float:
    scores = []
    for fold in range(FOLDS):
        held_out = folds == fold
        threshold, _ = best_threshold(distances[~held_out], same[~held_out])
        scores.append(accuracy(distances[held_out], same[held_out], threshold))
    return float(np.mean(scores))


def read_pairs(limit: int | None) -> tuple[list[tuple[str, str]], NDArray[np.bool_]]:
    with (FOLDER / "pairs_dev.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if limit:
        rows = rows[:: len(rows) // limit]
    return [(r["path1"], r["path2"]) for r in rows], np.array([r["same"] == "1" for r in rows])


def measure(engine: str, detector: str, models: Path, limit: int | None) -> None:
    pairs, same = read_pairs(limit)
    paths = sorted({path for pair in pairs for path in pair})
    encoder(engine, detector, models).ping()
    with multiprocessing.get_context("spawn").Pool() as pool:
        found = pool.map(vectors_of, [Task(engine, detector, models, p) for p in paths], chunksize=16)
    rows = {path: vectors for path, vectors in zip(paths, found, strict=True) if vectors is not None}
    missed = len(paths) - len(rows)
    folds = np.arange(len(pairs)) * 7919 % FOLDS
    nothing = np.full((2, 128), np.inf, np.float32)
    first = np.stack([rows.get(a, nothing) for a, _ in pairs])
    second = np.stack([rows.get(b, nothing) for _, b in pairs])
    with np.errstate(invalid="ignore"):
        plain = np.linalg.norm(first[:, 0].astype(np.float64) - second[:, 0], axis=1)
        unit = np.linalg.norm(unit_sums(first) - unit_sums(second), axis=1)
    plain, unit = np.nan_to_num(plain, nan=np.inf), np.nan_to_num(unit, nan=np.inf)
    for kind, distances in (("plain", plain), ("mirror", unit * MIRROR_LENGTH)):
        finite = np.where(np.isfinite(distances), distances, 10.0)
        threshold, _ = best_threshold(finite, same)
        print(
            f"| {engine} | {detector} | {kind} | {100 * ten_folds(finite, same, folds):.2f} % "
            f"| {100 * accuracy(finite, same, TOLERANCE):.2f} % | {threshold:.4f} | {missed} |",
            flush=True,
        )
    best, _ = best_threshold(np.where(np.isfinite(unit), unit, 10.0), same)
    print(f"length of `mirror` for which {TOLERANCE} is the best tolerance: {TOLERANCE / best:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("onnx", "dlib", "both"), default="both")
    parser.add_argument("--detector", choices=("hog", "cnn", "both"), default="both")
    parser.add_argument("--pairs", type=int, help="take only about so many pairs")
    chosen = parser.parse_args()
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    print("\n| engine | detector | kind | 10-fold | at 0.6 | best tolerance | photos without a face |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as models:
        for engine in ("onnx", "dlib") if chosen.engine == "both" else (chosen.engine,):
            for detector in ("hog", "cnn") if chosen.detector == "both" else (chosen.detector,):
                measure(engine, detector, Path(models), chosen.pairs)


if __name__ == "__main__":
    main()
