"""Identification on labelled photos: this service over HTTP, beside face_recognition itself.

First the comparison: enrols gallery.csv through one zip, searches every probe with k=5 and tolerance 0.6
as `plain`, HOG upsampled once, and does the same with face_recognition's functions. Then the kinds: for
`plain` and `mirror` with the default settings, on gallery.csv and the gallery of hires.csv together, the
probes of each list that are ranked first while 1, 3 and 10 % of the unknown probes are let through.

    python3 -m benchmarks.identify [FACES_FOLDER]
"""

import csv
import io
import multiprocessing
import os
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from tests.labelled_photos import FOLDER
from tests.server import Server
from tests.unit.encoders.oracle import face_recognition as face_recognition_module

K = 5
TOLERANCE = 0.6
FALSE_ALARM_RATES = (0.01, 0.03, 0.10)


@dataclass(frozen=True)
class Photo:
    """A labelled photo: `path` in the folder, who it is, and its role in its list."""

    path: str
    identity: str
    role: str

    @property
    def known(self) -> bool:
        return self.role != "unknown"

    def renamed(self, labels: dict[str, str]) -> "Photo":
        return replace(self, identity=labels.get(self.identity, self.identity))


# The matches of one probe's largest face: (identity of the gallery photo, its path, distance).
Answer = list[tuple[str, str, float]]


def read_csv(folder: Path, name: str) -> list[Photo]:
    with (folder / name).open(encoding="utf-8") as file:
        return [Photo(r["path"], r["identity"], r["role"]) for r in csv.DictReader(file)]


def zip_of(folder: Path, photos: Sequence[Photo]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for photo in photos:
            archive.write(folder / photo.path, photo.path)
    return buffer.getvalue()


def with_service(
    folder: Path,
    gallery: Sequence[Photo],
    probes: Sequence[Photo],
    encoder: dict[str, object],
    tolerance: float = TOLERANCE,
) -> list[Answer]:
    """Enrol and search over HTTP, in a service of its own on an empty database."""
    identities = {photo.path: photo.identity for photo in gallery}
    settings = {"encoder": encoder, "workers": {"processes": 0}}
    with tempfile.TemporaryDirectory() as home, Server(Path(home), settings) as server:
        answer = server.client.post(
            "/add_faces_in_bulk/", files={"file": ("gallery.zip", zip_of(folder, gallery))}
        )
        result = answer.raise_for_status().json()["result"]
        paths = {file["id"]: file["file"] for file in result["files"] if file["status"] == "inserted"}
        print(f"enrolled: {result['inserted']} of {len(gallery)}, without a face: {result['no_face']}")
        answers = []
        for probe in probes:
            found = server.client.post(
                f"/search_faces/?k={K}&tolerance={tolerance}",
                files={"file": (Path(probe.path).name, (folder / probe.path).read_bytes())},
            )
            faces = found.raise_for_status().json()["result"]["faces"]
            answers.append(
                [
                    (identities[paths[match["id"]]], paths[match["id"]], match["distance"])
                    for match in max(faces, key=lambda face: area(face["box"]))["matches"]
                ]
                if faces
                else []
            )
    return answers


def area(box: dict[str, int]) -> int:
    return (box["bottom"] - box["top"] + 1) * (box["right"] - box["left"] + 1)


def face_recognition_vector(path: str) -> np.ndarray | None:
    """The vector of the largest face by face_recognition's own defaults."""
    face_recognition = face_recognition_module()
    pixels = face_recognition.load_image_file(path)
    raw = face_recognition.api._raw_face_locations(pixels)
    vectors = face_recognition.face_encodings(pixels)
    if not vectors:
        return None
    order = sorted(range(len(raw)), key=lambda i: (raw[i].left(), raw[i].top()))
    largest = max(order, key=lambda i: raw[i].area())
    return np.asarray(vectors[largest])


def with_face_recognition(folder: Path, gallery: Sequence[Photo], probes: Sequence[Photo]) -> list[Answer]:
    """The same with face_recognition's functions and a plain scan."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool() as pool:
        names = [str(folder / photo.path) for photo in (*gallery, *probes)]
        vectors = pool.map(face_recognition_vector, names, chunksize=8)
    enrolled = [(p, v) for p, v in zip(gallery, vectors, strict=False) if v is not None]
    matrix = np.stack([vector for _, vector in enrolled])
    answers: list[Answer] = []
    for vector in vectors[len(gallery) :]:
        if vector is None:
            answers.append([])
            continue
        distances = np.linalg.norm(matrix - vector, axis=1)
        order = np.argsort(distances, kind="stable")[:K]
        answers.append(
            [
                (enrolled[i][0].identity, enrolled[i][0].path, float(distances[i]))
                for i in order
                if distances[i] <= TOLERANCE
            ]
        )
    return answers


def is_hit(probe: Photo, answer: Answer, limit: float) -> bool:
    return bool(answer) and answer[0][0] == probe.identity and answer[0][2] <= limit


def rank_1(probes: Sequence[Photo], answers: Sequence[Answer], limit: float = TOLERANCE) -> float:
    """The share of known probes whose nearest face within the limit is the right one."""
    known = [(p, a) for p, a in zip(probes, answers, strict=True) if p.known]
    return sum(is_hit(p, a, limit) for p, a in known) / len(known)


def nearest_of_unknown(probes: Sequence[Photo], answers: Sequence[Answer]) -> list[float]:
    return sorted(a[0][2] if a else np.inf for p, a in zip(probes, answers, strict=True) if not p.known)


def limit_at(unknown: Sequence[float], rate: float) -> float:
    """The distance that lets `rate` of the unknown probes through."""
    return float(np.nextafter(unknown[int(rate * len(unknown))], -np.inf))


def differences(ours: Sequence[Answer], theirs: Sequence[Answer]) -> tuple[int, float]:
    """How many probes have other matches, and the largest difference of a distance."""
    other, largest = 0, 0.0
    for mine, peer in zip(ours, theirs, strict=True):
        if [m[1] for m in mine] != [p[1] for p in peer]:
            other += 1
            continue
        for m, p in zip(mine, peer, strict=True):
            largest = max(largest, abs(m[2] - p[2]))
    return other, largest


def compare(folder: Path) -> None:
    gallery, probes = read_csv(folder, "gallery.csv"), read_csv(folder, "probes.csv")
    print(f"gallery: {len(gallery)} photos; probes: {len(probes)}; k={K}, tolerance={TOLERANCE}")
    ours = with_service(folder, gallery, probes, {"kind": "plain", "look_twice": False})
    theirs = with_face_recognition(folder, gallery, probes)
    print("\n| `plain`, HOG upsampled once | rank-1 | unknown probes with a match |\n|---|---|---|")
    for name, answers in (("facesearch", ours), ("face_recognition 1.3.0", theirs)):
        matched = np.mean([d <= TOLERANCE for d in nearest_of_unknown(probes, answers)])
        print(f"| {name} | {100 * rank_1(probes, answers):.1f} % | {100 * matched:.1f} % |")
    other, largest = differences(ours, theirs)
    print(f"\nprobes whose matches differ: {other}; largest difference of a distance: {largest:.1e}\n")


def kinds(folder: Path) -> None:
    hires = read_csv(folder, "hires.csv")
    same = same_people(folder)
    gallery = read_csv(folder, "gallery.csv") + [p for p in hires if p.role == "gallery"]
    lists = {
        "probes": read_csv(folder, "probes.csv"),
        "lowres": read_csv(folder, "lowres.csv"),
        "hires": [p for p in hires if p.role != "gallery"],
    }
    lists = {name: [p.renamed(same) for p in photos] for name, photos in lists.items()}
    gallery = [p.renamed(same) for p in gallery]
    everything = [probe for photos in lists.values() for probe in photos]
    rows = []
    for kind in ("plain", "mirror"):
        answers = with_service(folder, gallery, everything, {"kind": kind}, tolerance=2.0)
        by_probe = dict(zip(everything, answers, strict=True))
        unknown = nearest_of_unknown(everything, answers)
        for name, probes in lists.items():
            own = [by_probe[probe] for probe in probes]
            figures = [rank_1(probes, own)] + [
                rank_1(probes, own, limit_at(unknown, rate)) for rate in FALSE_ALARM_RATES
            ]
            cells = " | ".join(f"{100 * figure:.1f} %" for figure in figures)
            rows.append(f"| {kind} | {name} ({sum(p.known for p in probes)}) | {cells} |")
        within = np.mean([distance <= TOLERANCE for distance in unknown])
        rows.append(
            f"| {kind} | {len(unknown)} unknown with a match within 0.6 | {100 * within:.1f} % | | | |"
        )
    print("\n| kind | probes (known) | rank-1 within 0.6 | found at 1 % | 3 % | 10 % |")
    print("|---|---|---|---|---|---|\n" + "\n".join(rows))


def same_people(folder: Path) -> dict[str, str]:
    """People who are in two lists under two labels: one label for both."""
    with (folder / "same_person.csv").open(encoding="utf-8") as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    return {str(row[0]): str(row[1]) for row in rows}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    print(describe("dlib-bin", "face_recognition", "onnxruntime", "numpy"))
    compare(folder)
    kinds(folder)


if __name__ == "__main__":
    main()
