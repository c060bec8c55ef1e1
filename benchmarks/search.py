"""Search: milliseconds per query of this index and of what people would use instead, on the same vectors.

The gallery holds the embeddings of labelled photos and vectors drawn with their mean and covariance; the
probes are embeddings of other photos. Every library answers in a process of its own that may use one
thread or all cores. Prints, per size, the median and the least time of a query; worst cases; batches;
how long a build and a warm start take; memory; and searches while four processes search at once.

    python3 -m benchmarks.search [--sizes 10000 100000 1000000] [--kind plain|mirror] [--parts PART ...]
        [--embeddings FILE]

`--embeddings` keeps the photos' vectors between runs, float32 (photos, 128).
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.images import AGTImage
from facesearch.records import FaceChanges, FaceFilter
from facesearch.search import ExactIndex
from facesearch.search.exact import NEVER
from facesearch.workers import InlinePool, ProcessPool
from tests.contracts.face_history import FaceHistory
from tests.labelled_photos import FOLDER

K = 5
TOLERANCE = 0.6
PROBES = 400
PEOPLE = 50_000
SOME_PEOPLE = frozenset(range(7, PEOPLE, 20))
PARTS = ("peers", "worst", "batches", "start", "memory", "load")
PEERS = ("this index", "FAISS IndexFlatL2", "usearch exact", "numpy", "face_distance")
Vectors = NDArray[np.float32]


class Gallery(FaceHistory):
    """The history of a gallery that lies in one array; person numbers repeat every PEOPLE faces."""

    def __init__(self, vectors: Vectors) -> None:
        super().__init__(batch=2_000)
        self.vectors = vectors
        self.newest = len(vectors)

    def changes_after(self, number: int, model_id: str) -> Iterator[FaceChanges]:
        for first in range(number, self.newest, self.batch):
            last = min(first + self.batch, self.newest)
            at = np.arange(first, last)
            yield FaceChanges(
                at + 1, at + 1, 1 + at % PEOPLE, np.zeros(len(at), bool), self.vectors[first:last]
            )


def photo_vectors(kind: str) -> Vectors:
    """The embeddings of all photos of gallery.csv and probes.csv in which a face is found."""
    found = []
    with tempfile.TemporaryDirectory() as models:
        settings = EncoderSettings.model_validate({"kind": kind, "upsample": 0})
        encoder = AGTEncoder(settings, Path(models))
        for name in ("probes.csv", "gallery.csv"):
            with (FOLDER / name).open(encoding="utf-8") as file:
                paths = [row["path"] for row in csv.DictReader(file)]
            for path in paths:
                image = AGTImage.open((FOLDER / path).read_bytes(), path, LimitSettings())
                if faces := encoder.encode(image).faces:
                    found.append(max(faces, key=lambda face: face.box.area).embedding)
    return np.stack(found)


def draw(real: Vectors, rows: int, kind: str) -> Vectors:
    """`rows` vectors: the real ones, and drawn ones of their mean and covariance."""
    random, wide = np.random.default_rng(1), real.astype(np.float64)
    root = np.linalg.cholesky(np.cov(wide.T) + 1e-9 * np.eye(real.shape[1]))
    drawn = np.empty((rows, real.shape[1]), np.float32)
    for first in range(0, rows, 100_000):
        part = drawn[first : first + 100_000]
        part[...] = wide.mean(axis=0) + random.standard_normal(part.shape) @ root.T
    if kind == "mirror":
        drawn *= np.linalg.norm(wide, axis=1).mean() / np.linalg.norm(drawn, axis=1, keepdims=True)
    kept = min(len(real), rows)
    drawn[:kept] = real[:kept]
    return drawn


def unit(rows: int) -> Vectors:
    vectors = np.random.default_rng(2).standard_normal((rows, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def make_index(folder: Path, dimension: int, mode: str, threads: int | None = None) -> ExactIndex:
    """An index that searches in the calling thread, in threads or in processes, whatever its size."""
    pool = ProcessPool(2, 8, 60.0, folder / "slots") if mode == "processes" else InlinePool()
    lines = (0 if mode == name else NEVER for name in ("processes", "threads"))
    return ExactIndex(folder / "index", "benchmark", dimension, pool, *lines, threads=threads)


def open_index(folder: Path, gallery: Vectors, threads: int = 1) -> ExactIndex:
    index = make_index(folder, gallery.shape[1], "threads" if threads > 1 else "inline", threads)
    index.catch_up(Gallery(gallery))
    return index


def searcher(name: str, folder: Path, gallery: Vectors, threads: int) -> Callable[[Vectors, int, float], Any]:
    """A function (probes, k, tolerance) of one library."""
    if name == "this index":
        return open_index(folder, gallery, threads).search
    if name == "FAISS IndexFlatL2":
        import faiss

        faiss.omp_set_num_threads(threads)
        flat = faiss.IndexFlatL2(gallery.shape[1])
        flat.add(gallery)
        return lambda probes, k, _: flat.search(probes, k)
    if name == "usearch exact":
        from usearch.index import MetricKind, search  # type: ignore[attr-defined]

        return lambda probes, k, _: search(gallery, probes, k, MetricKind.L2sq, exact=True, threads=threads)
    if name == "numpy":
        squares = np.einsum("ij,ij->i", gallery, gallery)

        def nearest(probes: Vectors, k: int, _: float) -> list[NDArray[np.intp]]:
            answers = []
            for scores in squares - 2 * (probes @ gallery.T):
                best = np.argpartition(scores, k)[:k]
                answers.append(best[np.argsort(scores[best])])
            return answers

        return nearest
    return lambda probes, *_: [np.linalg.norm(gallery - probe, axis=1) for probe in probes]


def timed(call: Callable[[int], object], seconds: float = 3.0, most: int = 100) -> str:
    """Run `call` with 0, 1, ... for some seconds; the median and the least time in milliseconds."""
    call(0)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        call(len(times) + 1)
        times.append(1000 * (time.perf_counter() - start))
    return f"{np.median(times):9.2f} {min(times):9.2f}"


def some(probes: Vectors, at: int, count: int = 1) -> Vectors:
    return np.ascontiguousarray(probes[(at * count + np.arange(count)) % len(probes)])


def child_peer(folder: Path, gallery: Vectors, probes: Vectors, name: str, threads: int, parts: str) -> None:
    search = searcher(name, folder, gallery, threads)
    label = f"{len(gallery):9,} {name:18} {threads} "

    def show(case: str, cases: Vectors, k: int, tolerance: float, count: int = 1) -> None:
        took = timed(lambda at: search(some(cases, at, count), k, tolerance))
        print(f"{label} {case:34} {took}", flush=True)

    if "peers" in parts:
        show("k 5, tolerance 0.6", probes, K, TOLERANCE)
    if "batches" in parts and name != "face_distance":
        for count in (8, 64):
            show(f"{count} probes at once", probes, K, TOLERANCE, count)
    if "worst" in parts and name in ("this index", "numpy"):
        far = probes + np.float32(0.5)
        show("far from everything", far, K, TOLERANCE)
        show("far from everything, tolerance 2", far, K, 2.0)
        show("tolerance 2", probes, K, 2.0)
        show("k 1000, tolerance 0.6", probes, 1000, TOLERANCE)
        show("k 1000, tolerance 2", probes, 1000, 2.0)
    if "unit" in parts and name in ("this index", "numpy"):
        show("random unit vectors, tolerance 2", unit(50), K, 2.0)
    if name == "this index" and threads == 1:
        if "worst" in parts:
            index = open_index(folder, gallery)
            for share in (0.5, 0.05, 0.001):
                ids = 1 + np.flatnonzero(np.random.default_rng(4).random(len(gallery)) < share)
                only = FaceFilter(face_ids=ids)
                took = timed(partial(filtered, index, probes, only))
                print(f"{label} {f'a filter that keeps {share:.1%}':34} {took}")
                took = timed(partial(filtered_but_one, index, probes, ids))
                print(f"{label} {'the same, without one face':34} {took}")
            took = timed(partial(filtered, index, probes, FaceFilter(persons=SOME_PEOPLE)))
            print(f"{label} {'a person filter that keeps 5 %':34} {took}")
            took = timed(lambda at: index.search_people(some(probes, at), K, TOLERANCE))
            print(f"{label} {'people':34} {took}")
            took = timed(lambda at: index.search_people(some(probes, at, 3), K, TOLERANCE, pooled=True))
            print(f"{label} {'people, 3 probes of one person':34} {took}")
        confirm(search, gallery, probes, label)


def filtered(index: ExactIndex, probes: Vectors, only: FaceFilter, at: int) -> object:
    return index.search(some(probes, at), K, TOLERANCE, only)


def filtered_but_one(index: ExactIndex, probes: Vectors, ids: NDArray[np.int64], at: int) -> object:
    only = FaceFilter(face_ids=ids, without=frozenset([at]))
    return index.search(some(probes, at), K, TOLERANCE, only)


def confirm(search: Callable[..., Any], gallery: Vectors, probes: Vectors, label: str) -> None:
    """Compare with a scan in float64."""
    same = 0
    for at in range(10):
        wide = probes[at].astype(np.float64)
        parts = [gallery[first : first + 50_000] for first in range(0, len(gallery), 50_000)]
        distances = np.concatenate([np.sqrt(((part - wide) ** 2).sum(axis=1)) for part in parts])
        order = np.lexsort((np.arange(len(gallery)), distances))[:20]
        expected = [(int(i) + 1, float(distances[i])) for i in order if distances[i] <= 0.8]
        (found,) = search(probes[at : at + 1], 20, 0.8)
        same += [(match.face_id, match.distance) for match in found] == expected
    print(f"{label} same answer as a scan in float64: {same} of 10 queries")


def child_start(folder: Path, gallery: Vectors, probes: Vectors) -> None:
    for what in ("build from changes in memory", "warm start"):
        start = time.perf_counter()
        index = open_index(folder / "start", gallery)
        index.search(probes[:1], K, TOLERANCE)
        print(f"{len(gallery):9,} {what}, first search included: {time.perf_counter() - start:.2f} s")
        index.close()


def child_worker(folder: Path, gallery: Vectors, probes: Vectors, mode: str) -> None:
    """Tell memory, search on being told, and tell times: one line each for the parent."""
    rows = len(gallery)
    print(pss_kb(), flush=True)
    input()
    index = make_index(folder, gallery.shape[1], mode)
    assert index.count() == rows
    for at in range(5):
        index.search(some(probes, at), K, TOLERANCE)
    print("ready", flush=True)
    input()
    print(pss_kb(), flush=True)
    times: list[float] = []
    end = time.perf_counter() + float(input())
    while time.perf_counter() < end:
        start = time.perf_counter()
        index.search(some(probes, len(times)), K, TOLERANCE)
        times.append(1000 * (time.perf_counter() - start))
    print(" ".join(f"{t:.3f}" for t in times), flush=True)
    index.close()


def pss_kb() -> int:
    """This process's memory, what it shares divided by how many share it, in KiB."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel tells no proportional set size")


def with_workers(folder: Path, rows: int, mode: str, count: int, seconds: float) -> tuple[float, list[float]]:
    """Start searching processes; return what the index adds to the memory of all, MiB, and their times."""
    command = command_of(folder, rows, "worker", mode)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, env=environment(1), **pipes) for _ in range(count)]

    def ask(text: str) -> None:
        for worker in workers:
            worker.stdin.write(text + "\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]

    def answers() -> list[str]:
        return [worker.stdout.readline() for worker in workers]  # type: ignore[union-attr]

    before = sum(map(int, answers()))
    ask("")
    answers()
    ask("")
    after = sum(map(int, answers()))
    ask(str(seconds))
    times = [float(text) for line in answers() for text in line.split()]
    for worker in workers:
        worker.wait(60)
    return (after - before) / 1024, times


def environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads))}


def command_of(folder: Path, rows: int, *what: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.search", "--child", str(folder), str(rows), *what]


def child(folder: str, rows: str, what: str, *rest: str) -> None:
    home = Path(folder)
    gallery = np.load(home / "gallery.npy", mmap_mode="r")[: int(rows)]
    probes = np.load(home / "probes.npy")
    if what == "worker":
        child_worker(home, gallery, probes, *rest)
        return
    here = np.ascontiguousarray(gallery)
    if what == "start":
        child_start(home, here, probes)
    else:
        child_peer(home, here, probes, rest[0], int(rest[1]), rest[2])


def run_all(folder: Path, sizes: list[int], parts: list[str]) -> None:
    cores = len(os.sched_getaffinity(0))
    print(f"{'faces':>9} {'library':18} threads {'query':32} {'median':>9} {'least':>9} ms")
    for rows in sizes:
        home = folder / str(rows)
        home.mkdir()
        for name in ("gallery.npy", "probes.npy"):
            (home / name).symlink_to(folder / name)
        for name in PEERS:
            for threads in sorted({1, cores}):
                asked = [p for p in parts if threads == 1 or p in ("peers", "batches")]
                command = command_of(home, rows, "peer", name, str(threads), ",".join(asked))
                subprocess.run(command, check=True, env=environment(threads))
        if "start" in parts:
            subprocess.run(command_of(home, rows, "start"), check=True, env=environment(cores))
        if "memory" in parts:
            (file,) = (home / "index").glob("*.matrix")
            print(f"{rows:9,} the file: {file.stat().st_blocks * 512 / 2**20:.0f} MiB")
            for count in (1, 2, 4):
                added, _ = with_workers(home, rows, "inline", count, 0.1)
                print(f"{rows:9,} {count} searching processes: {added:.0f} MiB for the index in all")
        for mode in ("inline", "threads", "processes") if "load" in parts else ():
            _, times = with_workers(home, rows, mode, 4, 5.0)
            p50, p95 = np.percentile(times, [50, 95])
            print(
                f"{rows:9,} four busy processes, {mode}: {len(times) / 5:.0f} searches/s, "
                f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kind", choices=["plain", "mirror"], default="mirror")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--embeddings", type=Path)
    options = parser.parse_args()
    print(describe("numpy", "numkong", "faiss-cpu", "usearch"), flush=True)
    kept: Path | None = options.embeddings
    if kept is not None and kept.exists():
        real = np.load(kept)
    else:
        real = photo_vectors(options.kind)
        if kept is not None:
            np.save(kept, real)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "probes.npy", real[:PROBES])
        np.save(folder / "gallery.npy", draw(real[PROBES:], max(options.sizes), options.kind))
        run_all(folder, options.sizes, options.parts)
        if "worst" in options.parts:
            rows = max(options.sizes)
            np.save(folder / "gallery.npy", unit(rows))
            for library in ("this index", "numpy"):
                command = command_of(folder, rows, "peer", library, "1", "unit")
                subprocess.run(command, check=True, env=environment(1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
