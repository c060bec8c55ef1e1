"""People and filters over HTTP on a large gallery: what they cost beside the plain search.

Fills a MariaDB database with faces whose vectors are drawn with the mean and the covariance of real ones
(gallery.csv of the labelled photos), those of one person nearer to each other, each with metadata; starts
the service with one worker and sends photos of LFW, one after the other: the plain search,
`group_by=person`, and searches whose filter keeps 1, 5 and 50 % of the faces. First what each costs when it
comes for the first time, then in rounds of all of them, and then each right after a face was added. Pages
of faces and people are listed at the end.

    python3 -m benchmarks.people [--faces 1000000] [--people 50000] [--rounds 40]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np

from benchmarks.figures import read_csv
from benchmarks.machine import describe
from benchmarks.serve import ADD, Drawn, K, fill, real_vectors
from facesearch.config import CONFIG_VARIABLE, load_settings
from facesearch.records import Metadata
from tests.labelled_photos import FOLDER
from tests.mariadb import MariaDB
from tests.server import Server

BUFFER_MB = 2048
OWN_SHARE = 0.3
PAGE = 100
FRESH = 3
TWICE = 2.0

Parameters = dict[str, Any]


def percent(number: int) -> Metadata:
    """A number from 0 to 99, each as often, scattered over the faces; and a text."""
    scattered = number * 2_654_435_761 % 2**32
    return {"percent": scattered * 100 >> 32, "site": f"Site {scattered % 7}"}


def searches() -> dict[str, Parameters]:
    plain: Parameters = {"k": K}
    return {
        "plain": plain,
        "group_by=person": plain | {"group_by": "person"},
        **{
            f"filter, {share} %": plain | {"filter": json.dumps({"percent": {"lt": share}})}
            for share in (1, 5, 50)
        },
        "group_by=person, filter, 5 %": plain
        | {"group_by": "person", "filter": json.dumps({"percent": {"lt": 5}})},
    }


class Client:
    """Sends one request after the other. Lives as long as the run."""

    def __init__(self, server: Server, photos: Sequence[str]) -> None:
        self._client: httpx2.Client = server.client
        self._photos = [(Path(path).name, (FOLDER / path).read_bytes()) for path in photos]

    def search(self, parameters: Parameters, at: int) -> float:
        """Milliseconds of a search with the photo of that number."""
        photo = self._photos[at % len(self._photos)]
        start = time.perf_counter()
        answer = self._client.post("/v1/search", params=parameters, files={"file": photo})
        took_ms = 1000 * (time.perf_counter() - start)
        answer.raise_for_status()
        return took_ms

    def page(self, path: str, cursor: str | None) -> tuple[float, str | None]:
        """Milliseconds of a page, and where the next one begins."""
        parameters: Parameters = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
        start = time.perf_counter()
        answer = self._client.get(path, params=parameters)
        took_ms = 1000 * (time.perf_counter() - start)
        answer.raise_for_status()
        return took_ms, answer.json()["next"]

    def add(self, at: int) -> None:
        self._client.post(ADD, files={"file": self._photos[at % len(self._photos)]}).raise_for_status()


def measured(client: Client, rounds: int) -> tuple[dict[str, float], dict[str, list[float]], dict[str, Any]]:
    """Milliseconds of each search: the first time, in each round, and right after a face was added."""
    wanted = searches()
    client.search(wanted["plain"], 0)  # brings the copy level
    client.search(wanted["plain"], 1)
    first = {name: client.search(parameters, 2) for name, parameters in wanted.items()}
    repeated: dict[str, list[float]] = {name: [] for name in wanted}
    for at in range(rounds):
        for name, parameters in wanted.items():
            repeated[name].append(client.search(parameters, at))
    fresh: dict[str, list[float]] = {name: [] for name in wanted}
    for at in range(FRESH):
        for name, parameters in wanted.items():
            client.add(at)
            fresh[name].append(client.search(parameters, at))
    return first, repeated, fresh


def listed(client: Client, path: str, rounds: int) -> str:
    """The row of a list: its pages from the first on."""
    took, cursor = [], None
    for _ in range(rounds):
        took_ms, cursor = client.page(path, cursor)
        took.append(took_ms)
        if cursor is None:
            break
    return f"| GET {path}?limit={PAGE}, {len(took)} pages | {took[0]:,.0f} | {median(took):,.0f} | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--photos", type=int, default=300, help="photos to encode, and to send")
    chosen = parser.parse_args()
    print(describe("httpx2", "numpy", "onnxruntime", "gunicorn", "mysql-connector-python"), flush=True)
    with MariaDB(BUFFER_MB) as mariadb, tempfile.TemporaryDirectory() as name:
        settings = mariadb.new_database()
        database = settings.model_dump() | {"password": settings.password.get_secret_value()}
        server = Server(Path(name) / "service", {"database": database}, workers=1)
        loaded = load_settings({CONFIG_VARIABLE: str(server.config_file)})
        gallery = [photo.path for photo in read_csv(FOLDER, "gallery.csv")]
        real = real_vectors(loaded, gallery[:: max(1, len(gallery) // chosen.photos)])
        drawn = Drawn(max(1, chosen.faces // chosen.people), OWN_SHARE, percent)
        fill(loaded, np.stack(list(real.values())), chosen.faces, drawn)
        with server:
            client = Client(server, list(real))
            first, repeated, fresh = measured(client, chosen.rounds)
            lists = [listed(client, path, chosen.rounds) for path in ("/v1/faces", "/v1/people")]
            if "Traceback" in server.log:
                sys.exit(server.log)
    plain = median(repeated["plain"])
    print(f"\n| {chosen.faces:,} faces of {chosen.people:,} people, ms | first | p50, repeated", end="")
    print(" | beside plain | p50, a face was just added |\n|---|---|---|---|---|")
    for name, took in repeated.items():
        p50 = median(took)
        cells = f"{first[name]:,.0f} | {p50:,.0f} | {p50 / plain:.2f} | {median(fresh[name]):,.0f}"
        print(f"| {name} | {cells} |")
    print("\n".join(lists))
    slow = [name for name, took in repeated.items() if median(took) >= TWICE * plain]
    if slow:
        sys.exit(f"not under {TWICE:g} times the plain search: {', '.join(slow)}")


if __name__ == "__main__":
    main()
