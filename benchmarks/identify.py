"""Identification on labelled photos: this service over HTTP beside face_recognition itself.

Enrols gallery.csv through one zip, searches every probe with k=5 and tolerance 0.6, and does the same
with face_recognition's functions. Prints rank-1 identification, the share of unknown probes that match
somebody, known probes found at 1, 3 and 10 % false alarms, and where the two answers differ.

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from tests.server import PROJECT_ROOT, Server
from tests.unit.encoders.oracle import face_recognition as face_recognition_module

K = 5
TOLERANCE = 0.6
FALSE_ALARM_RATES = (0.01, 0.03, 0.10)


@dataclass(frozen=True)
class Photo:
    path: str
    identity: str
    known: bool


# The matches of one probe's largest face: (identity of the gallery photo, its path, distance).
Answer = list[tuple[str, str, float]]


def read_csv(folder: Path, name: str) -> list[Photo]:
    with (folder / name).open(encoding="utf-8") as file:
        return [Photo(r["path"], r["identity"], r["role"] != "unknown") for r in csv.DictReader(file)]


def zip_of(folder: Path, photos: Sequence[Photo]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for photo in photos:
            archive.write(folder / photo.path, photo.path)
    return buffer.getvalue()


def with_service(
    folder: Path, gallery: Sequence[Photo], probes: Sequence[Photo], settings: dict[str, object]
) -> list[Answer]:
    """Enrol and search over HTTP, in a service of its own on an empty database."""
    identities = {photo.path: photo.identity for photo in gallery}
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
                f"/search_faces/?k={K}&tolerance={TOLERANCE}",
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


def rank_1(probes: Sequence[Photo], answers: Sequence[Answer], limit: float = TOLERANCE) -> float:
    known = [(p, a) for p, a in zip(probes, answers, strict=True) if p.known]
    hits = sum(bool(a) and a[0][0] == p.identity and a[0][2] <= limit for p, a in known)
    return hits / len(known)


def unknown_with_a_match(probes: Sequence[Photo], answers: Sequence[Answer]) -> float:
    unknown = [a for p, a in zip(probes, answers, strict=True) if not p.known]
    return sum(map(bool, unknown)) / len(unknown)


def found_at(probes: Sequence[Photo], answers: Sequence[Answer], rate: float) -> float:
    """Known probes ranked first within the distance that lets `rate` of the unknown probes through."""
    unknown = sorted(a[0][2] if a else np.inf for p, a in zip(probes, answers, strict=True) if not p.known)
    let_through = int(rate * len(unknown))
    limit = np.nextafter(unknown[let_through], -np.inf)
    return rank_1(probes, answers, min(limit, TOLERANCE))


def report(name: str, probes: Sequence[Photo], answers: Sequence[Answer]) -> str:
    cells = [rank_1(probes, answers), unknown_with_a_match(probes, answers)]
    cells += [found_at(probes, answers, rate) for rate in FALSE_ALARM_RATES]
    return f"| {name} | " + " | ".join(f"{100 * cell:.1f} %" for cell in cells) + " |"


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


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT_ROOT.parent / "shared" / "faces"
    gallery, probes = read_csv(folder, "gallery.csv"), read_csv(folder, "probes.csv")
    print(describe("dlib-bin", "face_recognition", "numpy"))
    print(f"gallery: {len(gallery)} photos; probes: {len(probes)}; k={K}, tolerance={TOLERANCE}\n")
    ours = with_service(folder, gallery, probes, {})
    theirs = with_face_recognition(folder, gallery, probes)
    print("\n| | rank-1 | unknown with a match | found at 1 % | 3 % | 10 % |\n|---|---|---|---|---|---|")
    print(report("facesearch", probes, ours))
    print(report("face_recognition 1.3.0", probes, theirs))
    other, largest = differences(ours, theirs)
    print(f"\nprobes whose matches differ: {other}; largest difference of a distance: {largest:.1e}")


if __name__ == "__main__":
    main()
