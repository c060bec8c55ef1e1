"""dlib's two networks beside the same weights under ONNX Runtime: time per face and per photo, and memory.

Times are the best of several runs, dlib and ours in turn, in one process, one thread each unless said
otherwise. Memory is what a second process adds (proportional set size) once both networks are loaded
and have run, while a first process has them loaded too.

    python3 -m benchmarks.networks
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dlib
import face_recognition_models
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import describe
from facesearch.encoders.mmod_detector import MmodDetector
from facesearch.encoders.resnet_embedder import ResNetEmbedder

EMBEDDING_FILE = Path(face_recognition_models.face_recognition_model_location())
DETECTOR_FILE = Path(face_recognition_models.cnn_face_detector_model_location())
PHOTO = Path(__file__).resolve().parent.parent / "test_images" / "Barack_Obama_0001.jpg"
TURN_S = 0.1
BATCHES = (1, 2, 4, 8, 16, 32)

_MEASURE = """
import sys
from pathlib import Path
def pss_mb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
import numpy, dlib, PIL.Image
from facesearch.encoders.mmod_detector import MmodDetector
from facesearch.encoders.resnet_embedder import ResNetEmbedder
before = pss_mb()
embedder = ResNetEmbedder(Path(sys.argv[1]), Path(sys.argv[3]))
detector = MmodDetector(Path(sys.argv[2]), Path(sys.argv[3]))
embedder.embed(numpy.zeros((8, 150, 150, 3), numpy.uint8))
detector.detect(numpy.zeros((200, 200, 3), numpy.uint8))
print("ready", flush=True)
sys.stdin.readline()
print(f"{before:.0f} {pss_mb():.0f}", flush=True)
sys.stdin.readline()
"""


def main() -> None:
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    with tempfile.TemporaryDirectory() as cache:
        embedding(Path(cache))
        detection(Path(cache))
        memory(Path(cache))


def embedding(cache: Path) -> None:
    crops = photo(1200, 800)[:600, :750].reshape(4, 150, 5, 150, 3).swapaxes(1, 2).reshape(20, 150, 150, 3)
    crops = np.concatenate([crops, crops[:12]])
    model = dlib.face_recognition_model_v1(str(EMBEDDING_FILE))
    ours = {
        threads: ResNetEmbedder(EMBEDDING_FILE, cache, threads, batch_size=max(BATCHES)) for threads in (1, 2)
    }
    print("embedding, ms per face\nfaces together   dlib   ours  ratio   ours on two threads")
    for batch in BATCHES:
        some = crops[:batch]
        by_dlib, one, two = best(
            lambda some=some: model.compute_face_descriptor(list(some)),  # type: ignore[misc]
            lambda some=some: ours[1].embed(some),  # type: ignore[misc]
            lambda some=some: ours[2].embed(some),  # type: ignore[misc]
            rounds=6 if batch < 8 else 3,
        )
        figures = [1000 * seconds / batch for seconds in (by_dlib, one, two)]
        print(
            f"{batch:14} {figures[0]:6.1f} {figures[1]:6.2f} {figures[0] / figures[1]:6.1f} {figures[2]:8.2f}"
        )


def detection(cache: Path) -> None:
    model = dlib.cnn_face_detection_model_v1(str(DETECTOR_FILE))
    ours = {threads: MmodDetector(DETECTOR_FILE, cache, threads) for threads in (1, 2)}
    print("CNN detection, ms per photo\nphoto, upsampled     dlib   ours  ratio   ours on two threads")
    for side, upsample in ((512, 0), (256, 1)):
        pixels = photo(side, side)
        by_dlib, one, two = best(
            lambda p=pixels, u=upsample: model(p, u),  # type: ignore[misc]
            lambda p=pixels, u=upsample: ours[1].detect(p, u),  # type: ignore[misc]
            lambda p=pixels, u=upsample: ours[2].detect(p, u),  # type: ignore[misc]
            rounds=3,
        )
        figures = [1000 * seconds for seconds in (by_dlib, one, two)]
        print(
            f"{side}x{side}, {upsample} {figures[0]:14.0f} {figures[1]:6.1f} "
            f"{figures[0] / figures[1]:6.1f} {figures[2]:8.1f}"
        )


def memory(cache: Path) -> None:
    command = [sys.executable, "-c", _MEASURE, str(EMBEDDING_FILE), str(DETECTOR_FILE), str(cache)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for process in processes:
            _answer(process)
        imports, loaded = ask(processes[1]).split()
        print(f"memory of a second process: {imports} MB with the imports, {loaded} MB after both have run")
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ask(process: "subprocess.Popen[str]") -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return _answer(process)


def _answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def best(*works: Callable[[], object], rounds: int) -> list[float]:
    """The shortest time of each work in seconds, all of them in turn; short works run several times each.

    The shortest, because other work on the machine can only add; the first round is not counted.
    """
    shortest = [float("inf")] * len(works)
    for number in range(rounds + 1):
        for at, work in enumerate(works):
            begin = time.perf_counter()
            while True:
                start = time.perf_counter()
                work()
                end = time.perf_counter()
                if number:
                    shortest[at] = min(shortest[at], end - start)
                if end - begin > TURN_S:
                    break
    return shortest


def photo(width: int, height: int) -> NDArray[np.uint8]:
    with Image.open(PHOTO) as opened:
        return np.array(opened.convert("RGB").resize((width, height)))


if __name__ == "__main__":
    main()
