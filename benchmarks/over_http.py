"""The labelled photos through the service over HTTP, and through face_recognition's own functions."""

import io
import multiprocessing
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.figures import Photo
from tests.server import Server
from tests.unit.encoders.oracle import face_recognition as face_recognition_module

K = 5
TOLERANCE = 0.6

# The matches of one probe's largest face: (identity of the gallery photo, its path, distance).
Answer = list[tuple[str, str, float]]


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
    models: Path | None = None,
) -> list[Answer]:
    """Enrol and search over HTTP, in a service of its own on an empty database.

    Args:
        models: the folder of installed models that the service takes; by default it has none.
    """
    identities = {photo.path: photo.identity for photo in gallery}
    settings = {"encoder": encoder, "workers": {"processes": 0}}
    with tempfile.TemporaryDirectory() as home:
        if models is not None:
            shutil.copytree(models, Path(home, "facesearch-data", "models"))
        with Server(Path(home), settings) as server:
            paths = _enrolled(server, folder, gallery)
            return [_searched(server, folder / probe.path, tolerance, paths, identities) for probe in probes]


def _enrolled(server: Server, folder: Path, gallery: Sequence[Photo]) -> dict[int, str]:
    """The gallery's paths by the ids that the service gave."""
    answer = server.client.post(
        "/add_faces_in_bulk/", files={"file": ("gallery.zip", zip_of(folder, gallery))}
    )
    result = answer.raise_for_status().json()["result"]
    print(f"enrolled: {result['inserted']} of {len(gallery)}, without a face: {result['no_face']}")
    return {file["id"]: file["file"] for file in result["files"] if file["status"] == "inserted"}


def _searched(
    server: Server, probe: Path, tolerance: float, paths: dict[int, str], identities: dict[str, str]
) -> Answer:
    """The matches of a photo's largest face."""
    found = server.client.post(
        f"/search_faces/?k={K}&tolerance={tolerance}", files={"file": (probe.name, probe.read_bytes())}
    )
    faces = found.raise_for_status().json()["result"]["faces"]
    if not faces:
        return []
    largest = max(faces, key=lambda face: area(face["box"]))
    return [
        (identities[paths[match["id"]]], paths[match["id"]], match["distance"])
        for match in largest["matches"]
    ]


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
