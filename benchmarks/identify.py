"""Identification on labelled photos.

`compare`: the service over HTTP beside face_recognition's own functions. Enrols gallery.csv through one zip
and searches every probe with k=5 and tolerance 0.6 as `plain`, HOG upsampled once.
`table`: one row per encoder, kind and detector, on gallery.csv and the gallery of hires.csv together: known
probes ranked first, and found while 1, 3 and 10 % of the unknown probes are let through; verification on
pairs_dev.csv and on all pairs of lfw/; faces missed; time on one thread and memory.
`auto`: what tolerance=auto lets through, beside what was wanted, on gallery.csv and probes.csv.
`http`: one row of the table again, by the service over HTTP.

    python3 -m benchmarks.identify [--parts NAME ...] [--models ID ...] [--detectors NAME ...]

Networks and detectors that are installed in the folder `models` of the cache take part; those of the tests'
weights are installed there. Vectors are made once per cache.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoded import DLIB_DETECTORS, KINDS, Combination, Cost, Encoded, combinations, cost, encoded
from benchmarks.figures import (
    FALSE_ALARM_RATES,
    Gallery,
    Nearest,
    Photo,
    calibrated,
    interval,
    limit_at,
    nearest,
    observed,
    pair_accuracy,
    read_csv,
    same_people,
)
from benchmarks.machine import describe
from benchmarks.over_http import (
    TOLERANCE,
    K,
    differences,
    nearest_of_unknown,
    rank_1,
    with_face_recognition,
    with_service,
)
from tests.labelled_photos import FOLDER


def compare(chosen: argparse.Namespace) -> None:
    folder = chosen.faces
    gallery, probes = read_csv(folder, "gallery.csv"), read_csv(folder, "probes.csv")
    print(f"gallery: {len(gallery)} photos; probes: {len(probes)}; k={K}, tolerance={TOLERANCE}")
    ours = with_service(folder, gallery, probes, {"kind": "plain", "look_twice": False})
    theirs = with_face_recognition(folder, gallery, probes)
    print("\n| `plain`, HOG upsampled once | rank-1 | unknown probes with a match |\n|---|---|---|")
    for name, answers in (("facesearch", ours), ("face_recognition 1.3.0", theirs)):
        matched = float(np.mean([d <= TOLERANCE for d in nearest_of_unknown(probes, answers)]))
        print(f"| {name} | {percent(rank_1(probes, answers))} % | {percent(matched)} % |")
    other, largest = differences(ours, theirs)
    print(f"\nprobes whose matches differ: {other}; largest difference of a distance: {largest:.1e}\n")


@dataclass(frozen=True)
class Task:
    """What is enrolled and searched for in the table: `lists` by name, one label for each person."""

    gallery: list[Photo]
    lists: dict[str, list[Photo]]
    lfw: list[str]

    @property
    def probes(self) -> list[Photo]:
        return [photo for photos in self.lists.values() for photo in photos]

    @property
    def paths(self) -> list[str]:
        return sorted({*self.lfw, *(photo.path for photo in (*self.gallery, *self.probes))})


def read_task(folder: Path) -> Task:
    same = same_people(folder)
    hires = [photo.renamed(same) for photo in read_csv(folder, "hires.csv")]
    lists = {name: read_csv(folder, f"{name}.csv") for name in ("probes", "lowres")}
    lists["hires"] = [photo for photo in hires if photo.role != "gallery"]
    gallery = read_csv(folder, "gallery.csv") + [photo for photo in hires if photo.role == "gallery"]
    lfw = sorted(str(path.relative_to(folder)) for path in (folder / "lfw").rglob("*.jpg"))
    return Task(gallery, lists, lfw)


@dataclass(frozen=True)
class Vectors:
    """Vectors of all photos as a search looks at them, and of the gallery's as enrolment does."""

    searched: Encoded
    enrolled: Encoded


def vectors_of(combination: Combination, task: Task, chosen: argparse.Namespace) -> Vectors:
    def made(paths: Sequence[str], enrolling: bool) -> Encoded:
        return encoded(combination, chosen.faces, paths, enrolling, chosen.cache, chosen.processes)

    searched = made(task.paths, False)
    looks_twice = combination.detector in DLIB_DETECTORS
    return Vectors(searched, made([p.path for p in task.gallery], True) if looks_twice else searched)


def nearest_of(
    task: Task, vectors: Vectors, kind: str, gallery: Sequence[Photo], probes: Sequence[Photo]
) -> Nearest:
    return nearest(
        vectors.enrolled.of(kind, [photo.path for photo in gallery]),
        [photo.identity for photo in gallery],
        vectors.searched.of(kind, [photo.path for photo in probes]),
        probes,
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def found_at(found: Sequence[Nearest], strangers: NDArray[np.float64], rate: float | None) -> str:
    """The shares of each list's known probes that are found at a rate; at any distance where it is None."""
    limit = np.inf if rate is None else limit_at(strangers, rate)
    cells = [percent(one.rank_1(limit)) for one in found]
    if rate == FALSE_ALARM_RATES[0]:
        low, high = interval(found[0], strangers, rate)
        cells[0] += f" ({100 * low:.0f} to {100 * high:.0f})"
    return " / ".join(cells)


def row(
    combination: Combination, kind: str, task: Task, vectors: Vectors, measured: Cost, faces: Path
) -> str:
    strangers = nearest_of(task, vectors, kind, task.gallery, task.probes).strangers
    found = [nearest_of(task, vectors, kind, task.gallery, photos) for photos in task.lists.values()]
    calibration = calibrated(vectors.searched, kind, task.lfw, "LFW.")
    rates = [point for point in calibration.rates if point.false_match_rate < 1e-2]
    cells = [
        f"{combination.model} {kind}, {combination.detector}",
        *(found_at(found, strangers, rate) for rate in (None, *FALSE_ALARM_RATES)),
        percent(pair_accuracy(faces, vectors.searched, kind)),
        " / ".join(percent(point.true_accept_rate) for point in rates),
        str(vectors.searched.missed(task.paths)),
        f"{measured.photo_ms[kind]:.1f}",
        f"{measured.face_ms[kind]:.1f}",
        f"{measured.memory_mib:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def table(chosen: argparse.Namespace) -> None:
    task = read_task(chosen.faces)
    known = ", ".join(f"{name} {sum(p.known for p in photos)}" for name, photos in task.lists.items())
    print(f"\nenrolled: {len(task.gallery)}; known probes: {known}; unknown: {len(unknown(task.probes))};")
    print(
        f"faces looked for in {len(task.paths)} photos; true accept of all pairs of {len(task.lfw)} of lfw/\n"
    )
    heads = ["encoder, detector", "rank-1, %", *(f"found at {100 * rate:g} %" for rate in FALSE_ALARM_RATES)]
    heads += ["pairs right, %", "true accept at 1e-3 / 1e-4 / 1e-5, %", "photos missed"]
    heads += ["ms per photo", "ms per face", "process, MiB"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for combination in combinations(chosen.cache / "models", chosen.models, chosen.detectors):
        vectors = vectors_of(combination, task, chosen)
        measured = cost(combination, chosen.faces, task.lfw[::97])
        for kind in KINDS:
            print(row(combination, kind, task, vectors, measured, chosen.faces), flush=True)


def unknown(photos: Sequence[Photo]) -> list[Photo]:
    return [photo for photo in photos if not photo.known]


def auto(chosen: argparse.Namespace) -> None:
    task = read_task(chosen.faces)
    gallery, probes = read_csv(chosen.faces, "gallery.csv"), read_csv(chosen.faces, "probes.csv")
    used = {photo.identity for photo in (*gallery, *probes)}
    others = [path for path in task.lfw if Path(path).parent.name not in used]
    print(f"\ntolerance=auto, calibrated on lfw/, and on its {len(others)} photos of other people (2)\n")
    heads = ["encoder, detector", "stored faces", "wanted, %", "let through, %", "found, %"]
    heads += ["let through (2), %", "found (2), %"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for combination in combinations(chosen.cache / "models", chosen.models, chosen.detectors):
        vectors = vectors_of(combination, task, chosen)
        for kind in KINDS:
            there = Gallery(
                vectors.enrolled.of(kind, [photo.path for photo in gallery]),
                [photo.identity for photo in gallery],
                vectors.searched.of(kind, [photo.path for photo in probes]),
                probes,
            )
            fits = [calibrated(vectors.searched, kind, paths, "LFW.") for paths in (task.lfw, others)]
            for faces, rate in product((100, len(gallery)), FALSE_ALARM_RATES):
                shares = [observed(fitted, rate, there, faces) for fitted in fits]
                cells = [f"{percent(a)}{'*' if beyond else ''} | {percent(h)}" for a, h, beyond in shares]
                name = f"{combination.model} {kind}, {combination.detector}"
                print(f"| {name} | {faces} | {100 * rate:g} | {' | '.join(cells)} |", flush=True)
    print("\n*: the tolerance was extrapolated")


def http(chosen: argparse.Namespace) -> None:
    """The first combination that is chosen, `mirror`, in a service of its own."""
    task = read_task(chosen.faces)
    combination = combinations(chosen.cache / "models", chosen.models, chosen.detectors)[0]
    answers = with_service(
        chosen.faces,
        task.gallery,
        task.probes,
        combination.settings(),
        tolerance=2.0,
        models=combination.models,
    )
    strangers = np.array(nearest_of_unknown(task.probes, answers))
    print(f"\n| {combination.name} mirror | rank-1 | found at 1 % | 3 % | 10 % |\n|---|---|---|---|---|")
    by_probe = dict(zip(task.probes, answers, strict=True))
    for label, photos in task.lists.items():
        own = [by_probe[photo] for photo in photos]
        limits = [np.inf, *(limit_at(strangers, rate) for rate in FALSE_ALARM_RATES)]
        print(f"| {label} | {' | '.join(percent(rank_1(photos, own, limit)) for limit in limits)} |")
    found = nearest_of(task, vectors_of(combination, task, chosen), "mirror", task.gallery, task.probes)
    distance = np.array([answer[0][2] if answer else np.inf for answer in answers])
    both = np.isfinite(distance) & np.isfinite(found.distance)
    apart = np.abs(distance[both] - found.distance[both]).max()
    print(f"\nlargest difference to the table's nearest distances: {apart:.1e}; of {both.sum()} probes")


PARTS = {"compare": compare, "table": table, "auto": auto, "http": http}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=("compare", "table", "auto"))
    parser.add_argument("--faces", type=Path, default=FOLDER, help="the labelled photos")
    parser.add_argument("--models", nargs="*", default=(), help="ids of networks; all that are installed")
    parser.add_argument("--detectors", nargs="*", default=(), help="all that are installed, but for cnn")
    parser.add_argument("--cache", type=Path, default=Path("build/identify"), help="for vectors and models")
    parser.add_argument("--processes", type=int, default=1, help="that encode")
    chosen = parser.parse_args()
    chosen.cache.mkdir(parents=True, exist_ok=True)
    print(describe("dlib-bin", "face_recognition", "onnxruntime", "numpy"))
    for part in chosen.parts:
        PARTS[part](chosen)


if __name__ == "__main__":
    main()
