"""The approximate index beside the exact one: recall, milliseconds per query, build time and memory.

The gallery and the probes are those of benchmarks.search: embeddings of labelled photos, and vectors drawn
with their mean and covariance. Everything runs in one thread. Prints, per size, how long the graph takes
to build and to open and what it takes on the disk and in each process; then for each expansion the share
of the exact 1, 5 and 10 nearest that is found, and the median and the least time of a query.

    python3 -m benchmarks.hnsw [--sizes 100000 1000000] [--expansions 64 128 256 512]
        [--kind plain|mirror] [--embeddings FILE]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.search import (
    PROBES,
    SOME_PEOPLE,
    TOLERANCE,
    Gallery,
    K,
    Vectors,
    draw,
    environment,
    open_index,
    photo_vectors,
    some,
    timed,
)
from facesearch.interfaces import FaceIndex
from facesearch.records import FaceFilter, Match
from facesearch.search import HNSWIndex
from facesearch.search.exact import NEVER
from facesearch.workers import InlinePool

DEEPEST = 10
FAR = 4.0
MIB = 2**20


def open_hnsw(folder: Path, gallery: Vectors, expansion: int) -> HNSWIndex:
    """The index with its graph, built where it is not there yet."""
    index = HNSWIndex(
        folder / "index",
        "benchmark",
        gallery.shape[1],
        InlinePool(),
        NEVER,
        expansion=expansion,
        graph_from=1,
        on_the_side=False,
    )
    index.catch_up(Gallery(gallery))
    return index


def own_kb() -> int:
    """This process's memory that it shares with no other, in KiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


class Peak:
    """The most memory of its own that this process has while the block runs, in MiB above the start."""

    def __enter__(self) -> "Peak":
        self._start = self._most = own_kb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.mib = (self._most - self._start) / 1024

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self._most = max(self._most, own_kb())


def recall(found: list[list[Match]], expected: list[list[Match]], k: int) -> float:
    shares = [
        len({m.face_id for m in mine[:k]} & {m.face_id for m in theirs[:k]}) / len(theirs[:k])
        for mine, theirs in zip(found, expected, strict=True)
    ]
    return float(np.mean(shares))


def ask(index: FaceIndex, probes: Vectors, only: FaceFilter | None = None) -> list[list[Match]]:
    return [index.search(probe[np.newaxis], DEEPEST, FAR, only)[0] for probe in probes]


def show(label: str, index: FaceIndex, probes: Vectors, exact: Any, only: FaceFilter | None = None) -> None:
    found = ask(index, probes, only)
    shares = " ".join(f"{100 * recall(found, exact, k):8.2f}" for k in (1, 5, 10))
    took = timed(lambda at: index.search(some(probes, at), K, TOLERANCE, only), most=1000)
    print(f"{label:42} {shares} {took}", flush=True)


def child(folder: Path, rows: int, expansions: list[int]) -> None:
    gallery = np.load(folder / "gallery.npy", mmap_mode="r")[:rows]
    probes = np.load(folder / "probes.npy")
    exact = open_index(folder, gallery)
    expected = ask(exact, probes)
    for what in ("build", "memory"):
        command = [sys.executable, "-m", "benchmarks.hnsw", "--child", what, str(folder), str(rows)]
        subprocess.run(command, check=True, env=environment(1))
    only = FaceFilter(persons=SOME_PEOPLE)
    by_person = ask(exact, probes, only)
    show(f"{rows:9,} exact", exact, probes, expected)
    show(f"{rows:9,} exact, a person filter of 5 %", exact, probes, by_person, only)
    exact.close()
    for expansion in expansions:
        hnsw = open_hnsw(folder, gallery, expansion)
        show(f"{rows:9,} expansion {expansion}", hnsw, probes, expected)
        show(f"{rows:9,} expansion {expansion}, a person filter of 5 %", hnsw, probes, by_person, only)
        hnsw.close()


def child_build(folder: Path, rows: int) -> None:
    """How long the graph takes to build beside a matrix that is there, and what it takes meanwhile."""
    gallery = np.load(folder / "gallery.npy", mmap_mode="r")[:rows]
    start = time.perf_counter()
    with Peak() as peak:
        open_hnsw(folder, gallery, 64)
    took = time.perf_counter() - start
    (file,) = (folder / "index").glob("*.graph")
    print(
        f"{rows:9,} faces: built in {took:.0f} s, {rows / took:.0f} faces/s, "
        f"{peak.mib:.0f} MiB meanwhile; the file {file.stat().st_size / MIB:.0f} MiB",
        flush=True,
    )


def child_memory(folder: Path, rows: int) -> None:
    """What one more process takes for itself once it has searched, and how long it takes to open."""
    gallery = np.load(folder / "gallery.npy", mmap_mode="r")[:rows]
    probes = np.load(folder / "probes.npy")
    before, start = own_kb(), time.perf_counter()
    index = open_hnsw(folder, gallery, 64)
    took = time.perf_counter() - start
    ask(index, probes[:50])
    print(
        f"{rows:9,} faces: another process opens both files in {took:.2f} s, "
        f"takes {(own_kb() - before) / 1024:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--expansions", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--kind", choices=["plain", "mirror"], default="mirror")
    parser.add_argument("--embeddings", type=Path)
    options = parser.parse_args()
    print(describe("numpy", "usearch"), flush=True)
    kept: Path | None = options.embeddings
    real = np.load(kept) if kept is not None and kept.exists() else photo_vectors(options.kind)
    if kept is not None and not kept.exists():
        np.save(kept, real)
    print(f"{'faces':>9} {'':32} {'at 1':>8} {'at 5':>8} {'at 10':>8} {'median':>9} {'least':>9} ms")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "probes.npy", real[:PROBES])
        np.save(folder / "gallery.npy", draw(real[PROBES:], max(options.sizes), options.kind))
        for rows in options.sizes:
            home = folder / str(rows)
            home.mkdir()
            for name in ("gallery.npy", "probes.npy"):
                os.symlink(folder / name, home / name)
            expansions = [str(e) for e in options.expansions]
            command = [sys.executable, "-m", "benchmarks.hnsw", "--child", "size", str(home), str(rows)]
            subprocess.run([*command, *expansions], check=True, env=environment(1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        what, home, count, *rest = sys.argv[2:]
        if what == "size":
            child(Path(home), int(count), [int(e) for e in rest])
        else:
            {"build": child_build, "memory": child_memory}[what](Path(home), int(count))
    else:
        main()
