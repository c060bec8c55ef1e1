"""A zip of thousands of photos over HTTP: its speed beside the encoder's own, and what memory it takes.

LFW photos, repeated with other bytes until there are enough, go to /add_faces_in_bulk/ of a service with two
server processes, once with a pool of one process and once with one of two. The encoder's own rate is that of
one process and one thread with the same bytes in memory and nothing else to do: half of the photos before the
services run and half after. Memory is the proportional set size of all processes together, the largest of
the samples taken every second.

    python3 -m benchmarks.bulk [--photos 10000] [--processes 1 2]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import multiprocessing
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.archives import distinct_photos
from benchmarks.machine import describe
from facesearch.config import load_settings
from facesearch.encoders import make_encoder
from facesearch.images import AGTImage
from facesearch.records import PhotoFile
from facesearch.service import EncodePhotos
from tests.server import Server

GROUP = 4  # as an import hands photos to its pool
WARM_UP = 64
SAMPLE_S = 1.0
MOST_BYTES = 1.5e9
LEAST_SHARE = {1: 0.9, 2: 0.8}


@dataclass(frozen=True)
class Bulk:
    """What one zip took: photos per second, and the peak of the memory and by how many processes."""

    rate: float
    peak_bytes: int
    peak_processes: int
    inserted: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="sizes of the pool")
    chosen = parser.parse_args()
    print(describe("onnxruntime", "numpy", "gunicorn", "uvicorn", "SQLAlchemy"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "photos.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for path, data in distinct_photos(chosen.photos):
                file.writestr(path, data)
        half = chosen.photos // 2
        spent = [own_seconds(archive, 0, half)]
        bulks = {processes: over_http(archive, Path(name), processes) for processes in chosen.processes}
        spent.append(own_seconds(archive, half, chosen.photos))
    own = chosen.photos / sum(spent)
    halves = ", ".join(
        f"{count / s:.1f}" for count, s in zip((half, chosen.photos - half), spent, strict=True)
    )
    print(f"\nthe encoder's own rate: {own:.1f} photos per second, {halves} in the two halves")
    print(
        f"\n| {chosen.photos:,} photos | photos per second | of the encoder's own, times processes | least ",
        end="",
    )
    print("| memory of all, peak | most | processes then | inserted |\n|---|---|---|---|---|---|---|---|")
    for processes, bulk in bulks.items():
        share, least = bulk.rate / own / processes, LEAST_SHARE.get(processes)
        cells = [
            f"pool of {processes}",
            f"{bulk.rate:.1f}",
            f"{share:.0%}",
            f"{least:.0%}" if least else "-",
            f"{bulk.peak_bytes / 1e6:,.0f} MB",
            f"{MOST_BYTES / 1e6:,.0f} MB",
            f"{bulk.peak_processes}",
            f"{bulk.inserted:,}",
        ]
        print(f"| {' | '.join(cells)} |")


def own_seconds(archive: Path, first: int, last: int) -> float:
    """How long one fresh process with one thread encodes some of the photos, once it is warm."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_encode, (archive, first, last))


def _encode(archive: Path, first: int, last: int) -> float:
    settings = load_settings({})
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()[first:last]
        photos = [PhotoFile(Path(name).name, file.read(name)) for name in names]
    open_image = partial(AGTImage.open, limits=settings.limits)
    with tempfile.TemporaryDirectory() as models:
        encode = EncodePhotos(open_image, make_encoder, (settings.encoder, Path(models)))
        for group in _groups(photos[:WARM_UP]):
            encode(group)
        begun = time.perf_counter()
        for group in _groups(photos):
            encode(group)
        return time.perf_counter() - begun


def _groups(photos: Sequence[PhotoFile]) -> list[Sequence[PhotoFile]]:
    return [photos[at : at + GROUP] for at in range(0, len(photos), GROUP)]


def over_http(archive: Path, folder: Path, processes: int) -> Bulk:
    """Send the zip to a service of its own, whose pools have worked before."""
    warm = folder / "warm.zip"
    with zipfile.ZipFile(warm, "w", zipfile.ZIP_STORED) as file:
        for path, data in islice(distinct_photos(2 * WARM_UP), WARM_UP, None):
            file.writestr(f"warm/{path}", data)
    with Server(folder / str(processes), {"workers": {"processes": processes}}) as server:
        send(server, warm)
        with Sampler(server) as sampler:
            begun = time.perf_counter()
            result = send(server, archive)
            seconds = time.perf_counter() - begun
        with zipfile.ZipFile(archive) as file:
            count = len(file.namelist())
    assert result["inserted"] + result["no_face"] == count, {**result, "files": None}
    return Bulk(count / seconds, *max(sampler.samples), result["inserted"])


def send(server: Server, archive: Path) -> dict[str, Any]:
    with archive.open("rb") as file:
        answer = server.client.post("/add_faces_in_bulk/", files={"file": (archive.name, file)}, timeout=3600)
    result: dict[str, Any] = answer.raise_for_status().json()["result"]
    return result


class Sampler:
    """Adds up the memory of a service's processes again and again. A context manager with one thread."""

    def __init__(self, server: Server) -> None:
        self.samples: list[tuple[int, int]] = []
        self._server = server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while True:
            sizes = self._server.memory_bytes()
            self.samples.append((sum(sizes.values()), len(sizes)))
            if self._end.wait(SAMPLE_S):
                return

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


if __name__ == "__main__":
    main()
