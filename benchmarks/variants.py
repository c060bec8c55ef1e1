"""What else the same weights could give: sums of the vectors of several crops of one face.

Enrols gallery.csv and searches probes.csv in memory. For each way to make a vector: known probes ranked
first while 1, 3 and 10 % of the unknown are let through, and how many crops go through the network.

    python3 -m benchmarks.variants
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import multiprocessing
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import FALSE_ALARM_RATES, limit_at, read_csv
from benchmarks.machine import describe
from benchmarks.over_http import Answer, nearest_of_unknown, rank_1
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.encoders.model_files import LANDMARKS, model_path
from facesearch.images import AGTImage
from tests.labelled_photos import FOLDER

PADDINGS = (0.25, 0.15, 0.35)
# Each way: which of the vectors (padding, mirrored or not) are added; the sum is brought to length 1.
WAYS: dict[str, list[tuple[int, int]]] = {
    "unit length": [(0, 0)],
    "mirror": [(0, 0), (0, 1)],
    "mirror and a closer crop": [(0, 0), (0, 1), (1, 0), (1, 1)],
    "mirror and a wider crop": [(0, 0), (0, 1), (2, 0), (2, 1)],
    "mirror, closer and wider": [(p, m) for p in range(3) for m in range(2)],
}


@lru_cache(maxsize=1)
def parts(models: Path) -> tuple[AGTEncoder, Any]:
    encoder = AGTEncoder(EncoderSettings(kind="plain", look_twice=False), models)
    return encoder, dlib.shape_predictor(str(model_path(LANDMARKS)))


def vectors_of(task: tuple[Path, str]) -> NDArray[np.float32] | None:
    """Vectors of the largest face, (paddings, 2, 128): the crop's and its mirror image's."""
    models, path = task
    encoder, predictor = parts(models)
    image = AGTImage.open((FOLDER / path).read_bytes(), path, LimitSettings())
    found = encoder.detect(image)
    if not found:
        return None
    box = max(found, key=lambda d: d.box.area).box
    shape = predictor(image.pixels, dlib.rectangle(box.left, box.top, box.right, box.bottom))
    crops = [dlib.get_face_chip(image.pixels, shape, size=150, padding=padding) for padding in PADDINGS]
    both = [side for crop in crops for side in (crop, crop[:, ::-1])]
    return encoder.embed(np.stack(both)).reshape(len(PADDINGS), 2, 128)


def main() -> None:
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    gallery, probes = read_csv(FOLDER, "gallery.csv"), read_csv(FOLDER, "probes.csv")
    with tempfile.TemporaryDirectory() as home, multiprocessing.get_context("spawn").Pool() as pool:
        tasks = [(Path(home), photo.path) for photo in (*gallery, *probes)]
        found = pool.map(vectors_of, tasks, chunksize=16)
    enrolled = [(p, v) for p, v in zip(gallery, found, strict=False) if v is not None]
    print("\n| way | crops | found at 1 % | 3 % | 10 % |\n|---|---|---|---|---|")
    for name, chosen in WAYS.items():

        def vector(own: NDArray[np.float32], chosen: list[tuple[int, int]] = chosen) -> NDArray[np.float64]:
            total = np.sum([own[p, m].astype(np.float64) for p, m in chosen], axis=0)
            unit: NDArray[np.float64] = total / np.linalg.norm(total)
            return unit

        matrix = np.stack([vector(v) for _, v in enrolled])
        answers: list[Answer] = []
        for own in found[len(gallery) :]:
            if own is None:
                answers.append([])
                continue
            distances = np.linalg.norm(matrix - vector(own), axis=1)
            first = int(distances.argmin())
            photo = enrolled[first][0]
            answers.append([(photo.identity, photo.path, float(distances[first]))])
        unknown = nearest_of_unknown(probes, answers)
        cells = [100 * rank_1(probes, answers, limit_at(unknown, rate)) for rate in FALSE_ALARM_RATES]
        print(f"| {name} | {len(chosen)} | " + " | ".join(f"{cell:.1f} %" for cell in cells) + " |")


if __name__ == "__main__":
    main()
