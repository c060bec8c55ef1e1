"""dlib's CNN detector beside the same weights under ONNX Runtime: the same faces, and how much sooner.

Every photo of group/ and hires/ is reduced to at most SIDE pixels on its longer side (dlib takes about
eight seconds per megapixel) and goes through both, one thread each, in one process. A face counts as the
same where the boxes' intersection is at least 0.8 of their union.

    python3 -m benchmarks.compare_detectors [FACES_FOLDER] [--side 640] [--upsample 0]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import dlib
import face_recognition_models
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.machine import describe
from facesearch.encoders.mmod_detector import MmodDetector
from facesearch.records import Box, Detection

SAME_FACE = 0.8
FACES_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "faces"

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FACES_FOLDER)
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--upsample", type=int, default=0)
    options = parser.parse_args()
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    model_file = face_recognition_models.cnn_face_detector_model_location()
    dlib_model = dlib.cnn_face_detection_model_v1(model_file)
    files = sorted(f for part in ("group", "hires") for f in (options.folder / part).rglob("*.*"))
    with tempfile.TemporaryDirectory() as cache:
        detector = MmodDetector(Path(model_file), Path(cache))
        detector.load()
        counts, seconds, worst_score, equal = [0, 0, 0], [0.0, 0.0], 0.0, 0
        for file in files:
            pixels = read(file, options.side)
            expected, s = timed(lambda p=pixels: by_dlib(dlib_model, p, options.upsample))  # type: ignore[misc]
            seconds[0] += s
            found, s = timed(lambda p=pixels: detector.detect(p, options.upsample))  # type: ignore[misc]
            seconds[1] += s
            pairs = matched(expected, found)
            counts = [counts[0] + len(expected), counts[1] + len(found), counts[2] + len(pairs)]
            equal += sum(a.box == b.box for a, b in pairs)
            worst_score = max([worst_score, *(abs(a.score - b.score) for a, b in pairs)])
            if not len(expected) == len(found) == len(pairs):
                print(f"differs: {file.relative_to(options.folder)}: dlib {expected}, ours {found}")
    print(f"photos: {len(files)}, longest side {options.side}, upsampled {options.upsample} times")
    print(f"faces: dlib {counts[0]}, ours {counts[1]}, the same {counts[2]}, with equal boxes {equal}")
    print(f"largest difference of a score: {worst_score:.1e}")
    print(f"seconds: dlib {seconds[0]:.1f}, ours {seconds[1]:.1f}, ratio {seconds[0] / seconds[1]:.1f}")


def read(file: Path, side: int) -> NDArray[np.uint8]:
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
        image.thumbnail((side, side))
        return np.array(image)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def by_dlib(
    model: dlib.cnn_face_detection_model_v1, pixels: NDArray[np.uint8], upsample: int
) -> list[Detection]:
    found = []
    for face in model(pixels, upsample):
        r = face.rect
        found.append(Detection(Box(r.top(), r.right(), r.bottom(), r.left()), face.confidence))
    return found


def matched(expected: list[Detection], found: list[Detection]) -> list[tuple[Detection, Detection]]:
    """Pair each face of the first list with one of the second that is the same, each once."""
    left = list(found)
    pairs = []
    for face in expected:
        for other in left:
            if shared(face.box, other.box) >= SAME_FACE:
                pairs.append((face, other))
                left.remove(other)
                break
    return pairs


def shared(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left) + 1
    height = min(a.bottom, b.bottom) - max(a.top, b.top) + 1
    inner = max(width, 0) * max(height, 0)
    return inner / (a.area + b.area - inner)


if __name__ == "__main__":
    main()
