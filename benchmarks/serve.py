"""The service over HTTP on a large gallery: searches alone, and faces added while searches run.

Fills the SQLite database of a service with faces whose vectors are drawn with the mean and the covariance
of real ones (gallery.csv of the labelled photos), starts the service, lets its first search build the copy,
and sends photos of LFW from threads of two processes, each with its own connection and the next photo as
soon as the last is answered. Each figure is of the requests that began within the measured time, after some
seconds of the same load; what the service and the clients had of the cores is printed beside it. With few
faces the same run tells what encoding costs.

    python3 -m benchmarks.serve [--faces 1000000] [--seconds 20] [--clients 16] [--workers 4]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import contextlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import read_csv
from benchmarks.machine import describe
from facesearch.config import CONFIG_VARIABLE, Settings, load_settings
from facesearch.databases import open_image_database
from facesearch.encoders import AGTEncoder
from facesearch.images import AGTImage
from facesearch.records import Box, Face, Metadata, NewFace, PhotoInfo, Wanted
from tests.labelled_photos import FOLDER
from tests.server import Server

SEARCH = "/search_faces/"
ADD = "/add_face/"
K = 5
BATCH = 10_000
FACES_A_PERSON = 4
CLIENT_PROCESSES = 2
WARM_UP_S = 12.0  # the clients start, each worker checks the whole copy once, the pools start


@dataclass(frozen=True)
class Share:
    """What one client process does: per client the path that it posts to, and when to count."""

    url: str
    paths: tuple[str, ...]
    photos: tuple[str, ...]
    start: float
    end: float


@dataclass(frozen=True)
class Answered:
    """A request that began in the measured time."""

    path: str
    seconds: float
    status: int


def send(share: Share) -> tuple[list[Answered], float]:
    """Run the clients of one process; their answers, and how busy they kept this process, 0 to 1."""
    photos = [(Path(path).name, (FOLDER / path).read_bytes()) for path in share.photos]

    def client(number: int) -> list[Answered]:
        path = share.paths[number]
        answers = []
        own = islice(cycle(photos), number * len(photos) // len(share.paths), None)
        with httpx2.Client(base_url=share.url, timeout=120) as connection:
            for photo in own:
                begun = time.monotonic()
                if begun > share.end:
                    break
                query = {"k": K} if path == SEARCH else {}
                answer = connection.post(path, params=query, files={"file": photo})
                ended = time.monotonic()
                if begun >= share.start:
                    answers.append(Answered(path, ended - begun, answer.status_code))
        return answers

    begun, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(len(share.paths)) as threads:
        answers = [one for some in threads.map(client, range(len(share.paths))) for one in some]
    return answers, (time.process_time() - cpu) / (time.monotonic() - begun)


def under_load(
    pool: Pool, server: Server, paths: Sequence[str], photos: Sequence[str], seconds: float
) -> list[Answered]:
    """Let one client per path send for some seconds; say what the clients themselves cost."""
    start = time.monotonic() + WARM_UP_S
    shares = [
        Share(
            server.url,
            tuple(paths[at::CLIENT_PROCESSES]),
            tuple(photos[at::CLIENT_PROCESSES]),
            start,
            start + seconds,
        )
        for at in range(min(CLIENT_PROCESSES, len(paths)))
    ]
    begun, cpu_s = time.monotonic(), cpu_seconds(server)
    results = pool.map(send, shares, chunksize=1)
    service = (cpu_seconds(server) - cpu_s) / (time.monotonic() - begun)
    clients = sum(busy for _, busy in results)
    print(
        f"cores in use: service {service:.2f}, clients {clients:.2f}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return [answer for answers, _ in results for answer in answers]


def cpu_seconds(server: Server) -> float:
    """User and system time of all processes of the service, from the fields 14 and 15 of /proc/PID/stat."""
    ticks = 0
    for pid in server.processes():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def row(title: str, clients: int, answers: Sequence[Answered], seconds: float) -> str:
    good = [1000 * answer.seconds for answer in answers if answer.status == 200]
    cells = [f"{value:,.0f} ms" for value in np.percentile(good, [50, 95, 99])] if good else ["-"] * 3
    rate = f"{len(good) / seconds:.1f}"
    return f"| {title} | {clients} | {rate} | {' | '.join(cells)} | {len(answers) - len(good)} |"


def real_vectors(settings: Settings, photos: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The embedding of each photo's largest face, by path; photos without a face are left out."""
    encoder = AGTEncoder(settings.encoder, settings.data_dir / "models")
    vectors = {}
    for path in photos:
        image = AGTImage.open((FOLDER / path).read_bytes(), Path(path).name, settings.limits)
        for face in encoder.encode(image, Wanted(only_largest=True)).faces:
            vectors[path] = face.embedding
    return vectors


@dataclass(frozen=True)
class Drawn:
    """How the faces of a gallery are drawn.

    Args:
        faces_a_person: each person's.
        own_share: of the variance, what is each face's own; the rest is the person's.
        metadata: of the face of a number.
    """

    faces_a_person: int = FACES_A_PERSON
    own_share: float = 1.0
    metadata: Callable[[int], Metadata] = lambda number: {}


def fill(settings: Settings, real: NDArray[np.float32], faces: int, drawn: Drawn | None = None) -> None:
    """Store that many faces, drawn with the mean and the covariance of real ones."""
    drawn = drawn or Drawn()
    database = open_image_database(settings)
    model_id = AGTEncoder(settings.encoder, settings.data_dir / "models").model_id
    mean = real.mean(axis=0)
    # From the spread itself: the covariance of fewer photos than dimensions has no root of Cholesky's.
    _, sizes, axes = np.linalg.svd(real.astype(np.float64) - mean, full_matrices=False)
    spread = sizes[:, np.newaxis] * axes / np.sqrt(len(real) - 1)
    photo = PhotoInfo("drawn.png", 250, 250)
    start = time.monotonic()
    database.prepare()
    stored = database.newest_change()
    for first in range(stored, faces, BATCH):
        count = min(BATCH, faces - first)
        chance = np.random.default_rng(first)
        deviates = chance.standard_normal((count, len(spread)))
        if drawn.own_share < 1:
            of_people = chance.standard_normal((-(-count // drawn.faces_a_person), len(spread)))
            shared = np.repeat(of_people, drawn.faces_a_person, axis=0)[:count]
            deviates = np.sqrt(drawn.own_share) * deviates + np.sqrt(1 - drawn.own_share) * shared
        vectors = (mean + deviates @ spread).astype(np.float32)
        database.add_faces(
            [
                NewFace(
                    f"Person {number // drawn.faces_a_person}",
                    "",
                    photo,
                    Face(Box(70, 179, 179, 70), vector),
                    metadata=drawn.metadata(number),
                )
                for number, vector in enumerate(vectors, first)
            ],
            model_id,
        )
    database.close()
    took_s = time.monotonic() - start
    print(f"{max(0, faces - stored):,} faces stored in {took_s:.0f} s, {stored:,} were there", flush=True)


def first_search(server: Server, photo: str) -> None:
    start = time.monotonic()
    answer = server.client.post(SEARCH, files={"file": (Path(photo).name, (FOLDER / photo).read_bytes())})
    answer.raise_for_status()
    print(f"first search, which brings the copy level: {time.monotonic() - start:.1f} s", flush=True)


def memory(server: Server) -> str:
    """The proportional set size of all processes together, and of each."""
    sizes = [size >> 20 for size in server.memory_bytes().values()]
    return f"{len(sizes)} processes, {sum(sizes):,} MiB in all; each: {sorted(sizes, reverse=True)}"


def measure(server: Server, photos: Sequence[str], chosen: argparse.Namespace) -> list[str]:
    """The rows of the table."""
    adding = max(1, chosen.clients // 8)
    searching = chosen.clients - adding
    with multiprocessing.get_context("spawn").Pool(CLIENT_PROCESSES) as pool:
        alone = under_load(pool, server, [SEARCH] * chosen.clients, photos, chosen.seconds)
        print(f"memory (PSS) after searches: {memory(server)}", flush=True)
        paths = [ADD] * adding + [SEARCH] * searching
        both = under_load(pool, server, paths, photos, chosen.seconds)
        print(f"memory (PSS) at the end: {memory(server)}", flush=True)
    searches = [answer for answer in both if answer.path == SEARCH]
    adds = [answer for answer in both if answer.path == ADD]
    return [
        row(f"{SEARCH} alone", chosen.clients, alone, chosen.seconds),
        row(f"{SEARCH} while faces are added", searching, searches, chosen.seconds),
        row(f"{ADD} while searches run", adding, adds, chosen.seconds),
    ]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument(
        "--photos", type=int, default=600, help="photos to encode for the vectors, and to send"
    )
    parser.add_argument(
        "--parallel-from", type=int, help="the setting of that name; by default the service's"
    )
    parser.add_argument("--folder", type=Path, help="where the gallery lies, and stays for the next run")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    print(describe("httpx2", "numpy", "onnxruntime", "gunicorn", "uvicorn"), flush=True)
    settings: dict[str, Any] = {}
    if chosen.parallel_from is not None:
        settings["search"] = {"parallel_from": chosen.parallel_from}
    with tempfile.TemporaryDirectory() as temporary:
        server = Server(chosen.folder or Path(temporary) / "service", settings, workers=chosen.workers)
        loaded = load_settings({CONFIG_VARIABLE: str(server.config_file)})
        gallery = [photo.path for photo in read_csv(FOLDER, "gallery.csv")]
        real = real_vectors(loaded, gallery[:: max(1, len(gallery) // chosen.photos)])
        fill(loaded, np.stack(list(real.values())), chosen.faces)
        with server:
            first_search(server, next(iter(real)))
            rows = measure(server, list(real), chosen)
            if "Traceback" in server.log:
                sys.exit(server.log)
    print(f"\n| {chosen.faces:,} faces, {chosen.workers} workers | clients | answers per second", end="")
    print(" | p50 | p95 | p99 | refused |\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
