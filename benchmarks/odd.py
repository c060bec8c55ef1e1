"""Odd and hostile files over HTTP: how long each is worked on, and what all processes take together.

Sends every file of the labelled photos' odd/ to /search_faces/ and /add_face/ of a service with two
workers, and prints the slowest answers and the largest proportional set size that was seen.

    python3 -m benchmarks.odd
"""

import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import describe
from tests.labelled_photos import FOLDER
from tests.server import Server

SLOWEST = 5
EVERY_S = 0.05


def main() -> None:
    print(describe("dlib-bin", "onnxruntime", "pillow", "pi-heif"))
    times: list[tuple[float, str, str]] = []
    peak = 0
    done = threading.Event()
    with tempfile.TemporaryDirectory() as home, Server(Path(home)) as server:
        start_bytes = sum(server.memory_bytes().values())

        def watch() -> None:
            nonlocal peak
            while not done.wait(EVERY_S):
                peak = max(peak, sum(server.memory_bytes().values()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for path in sorted((FOLDER / "odd").iterdir()):
            for route in ("/search_faces/", "/add_face/"):
                begun = time.perf_counter()
                answer = server.client.post(route, files={"file": (path.name, path.read_bytes())})
                times.append((time.perf_counter() - begun, route, f"{path.name}: {answer.status_code}"))
        done.set()
        watcher.join()
    print(f"\n{len(times)} requests; the slowest:\n| seconds | route | file and status |\n|---|---|---|")
    for seconds, route, file in sorted(times, reverse=True)[:SLOWEST]:
        print(f"| {seconds:.1f} | {route} | {file} |")
    print(f"\nall processes together: {start_bytes >> 20} MiB at the start, {peak >> 20} MiB at most")


if __name__ == "__main__":
    main()
