"""How soon a gallery can be searched after a restart: its copy good, or gone and built out of MariaDB again.

Starts a MariaDB of its own, stores faces whose vectors are drawn with the mean and the covariance of real
ones, and measures, each in a process of its own: reading all changes and nothing more; building the copy
from an empty folder, first search included; and a first search with the copy as that left it. Server and
service share the cores, as on one host.

    python3 -m benchmarks.rebuild [--faces 1000000] [--times 3] [--embeddings FILE]

`--embeddings` as for benchmarks.search.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np

from benchmarks.machine import describe
from benchmarks.search import photo_vectors
from benchmarks.serve import fill
from facesearch.config import DatabaseSettings, Settings
from facesearch.databases import open_image_database
from facesearch.encoders import KINDS
from facesearch.search import ExactIndex
from facesearch.search.exact import NEVER
from facesearch.workers import InlinePool
from tests.mariadb import MariaDB

MODEL = KINDS["mirror"].model_id
LONGEST_S = 600


def read(database: DatabaseSettings, _: Path, faces: int) -> float:
    source = open_image_database(Settings(database=database))
    source.prepare()
    start = time.perf_counter()
    count = sum(len(batch) for batch in source.changes_after(0, MODEL))
    assert count == faces
    return time.perf_counter() - start


def search(database: DatabaseSettings, folder: Path, faces: int) -> float:
    source = open_image_database(Settings(database=database))
    source.prepare()
    probe = np.zeros((1, 128), np.float32)
    start = time.perf_counter()
    index = ExactIndex(folder, MODEL, 128, InlinePool(), NEVER)
    index.catch_up(source)
    index.search(probe, 5, 2.0)
    took = time.perf_counter() - start
    assert index.count() == faces
    index.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--embeddings", type=Path)
    chosen = parser.parse_args()
    print(describe("mysql-connector-python", "SQLAlchemy", "numpy"), flush=True)
    kept = chosen.embeddings
    real = np.load(kept) if kept is not None and kept.exists() else photo_vectors("mirror")
    spawn = multiprocessing.get_context("spawn")
    with MariaDB() as server, tempfile.TemporaryDirectory() as name:
        database, copy = server.new_database(), Path(name) / "index"
        fill(Settings(data_dir=Path(name), database=database), real, chosen.faces)
        for what, task, afresh in (
            ("reading all changes", read, False),
            ("an empty folder, first search included", search, True),
            ("a good copy, first search included", search, False),
        ):
            took = []
            for _ in range(chosen.times):
                if afresh:
                    shutil.rmtree(copy, ignore_errors=True)
                with spawn.Pool(1) as process:
                    arguments = (database, copy, chosen.faces)
                    took.append(process.apply_async(task, arguments).get(LONGEST_S))
            print(
                f"{chosen.faces:,} faces, {what}: median {median(took):.2f} s, least {min(took):.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
