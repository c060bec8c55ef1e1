"""Identification and verification figures out of vectors, with every distance in float64."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoded import Encoded
from benchmarks.verify import FOLDS, ten_folds
from facesearch.encoders.calibration import fit
from facesearch.records import Calibration
from facesearch.service.auto_tolerance import tolerance_for

FALSE_ALARM_RATES = (0.01, 0.03, 0.10)
RESAMPLES = 2_000
SEED = 5
DRAWS = 50

Floats = NDArray[np.float64]


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


@dataclass(frozen=True)
class Nearest:
    """Of each probe its nearest gallery face.

    `distance` is infinite without a face; `known` says whether the gallery has the probe's person at all.
    """

    distance: Floats
    is_right: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def only(self, rows: NDArray[np.bool_]) -> "Nearest":
        return Nearest(self.distance[rows], self.is_right[rows], self.known[rows])

    @property
    def strangers(self) -> Floats:
        return np.sort(self.distance[~self.known])

    def rank_1(self, limit: float = np.inf) -> float:
        """The share of known probes whose nearest face within the limit is the right one."""
        return float(self.hits(limit)[self.known].mean())

    def hits(self, limit: float) -> NDArray[np.bool_]:
        return self.is_right & (self.distance <= limit)


def read_csv(folder: Path, name: str) -> list[Photo]:
    with (folder / name).open(encoding="utf-8") as file:
        return [Photo(r["path"], r["identity"], r["role"]) for r in csv.DictReader(file)]


def same_people(folder: Path) -> dict[str, str]:
    """People who are in two lists under two labels: one label for both."""
    with (folder / "same_person.csv").open(encoding="utf-8") as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    return {str(row[0]): str(row[1]) for row in rows}


def nearest(
    gallery: Floats, gallery_names: Sequence[str], probes: Floats, photos: Sequence[Photo]
) -> Nearest:
    """Scan the gallery for each probe; rows that are not finite have no face."""
    there = np.isfinite(gallery).all(axis=1)
    vectors, names = gallery[there], np.array(gallery_names)[there]
    squares = (vectors**2).sum(axis=1)
    distance, is_right = np.full(len(probes), np.inf), np.zeros(len(probes), bool)
    for row in np.flatnonzero(np.isfinite(probes).all(axis=1)):
        squared = squares - 2 * vectors @ probes[row] + probes[row] @ probes[row]
        best = int(np.argmin(squared))
        distance[row] = np.linalg.norm(vectors[best] - probes[row])
        is_right[row] = names[best] == photos[int(row)].identity
    return Nearest(distance, is_right, np.array([photo.known for photo in photos]))


def limit_at(strangers: Sequence[float] | Floats, rate: float) -> float:
    """The distance that lets `rate` of the unknown probes through; they are sorted."""
    return float(np.nextafter(strangers[int(rate * len(strangers))], -np.inf))


def interval(found: Nearest, strangers: Floats, rate: float) -> tuple[float, float]:
    """Where 95 % of the shares lie that are found at a rate, when known and unknown probes are drawn anew."""
    random = np.random.default_rng(SEED)
    known = found.only(found.known)
    shares = []
    for _ in range(RESAMPLES):
        limit = limit_at(np.sort(random.choice(strangers, len(strangers))), rate)
        drawn = random.integers(0, len(known.distance), len(known.distance))
        shares.append(known.hits(limit)[drawn].mean())
    low, high = np.percentile(shares, (2.5, 97.5))
    return float(low), float(high)


def pair_accuracy(folder: Path, vectors: Encoded, kind: str) -> float:
    """Ten folds of pairs_dev.csv; a photo without a face counts as "different"."""
    with (folder / "pairs_dev.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first, second = (vectors.of(kind, [row[name] for row in rows]) for name in ("path1", "path2"))
    both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    distances = np.full(len(rows), 1e3)
    distances[both] = np.linalg.norm(first[both] - second[both], axis=1)
    same = np.array([row["same"] == "1" for row in rows])
    return ten_folds(distances, same, np.arange(len(rows)) * 7919 % FOLDS)


def calibrated(vectors: Encoded, kind: str, paths: Sequence[str], note: str) -> Calibration:
    """Fit all pairs of those photos that have a face; who is on them is their folder."""
    found = [path for path in paths if vectors.found[vectors.rows[path]]]
    return fit(vectors.of(kind, found).astype(np.float32), [Path(path).parent.name for path in found], note)


@dataclass(frozen=True)
class Gallery:
    """What is enrolled and searched for: vectors of gallery and probes, and who they are."""

    enrolled: Floats
    names: list[str]
    searched: Floats
    probes: list[Photo]

    def only(self, rows: NDArray[np.int64]) -> "Gallery":
        return replace(self, enrolled=self.enrolled[rows], names=[self.names[row] for row in rows])

    def drawn(self, faces: int) -> "list[Gallery]":
        """Fifty galleries of so many faces; the whole one alone where it has no more."""
        if faces >= len(self.names):
            return [self]
        random = np.random.default_rng(SEED)
        return [self.only(random.choice(len(self.names), faces, replace=False)) for _ in range(DRAWS)]


def observed(
    calibration: Calibration, rate: float, gallery: Gallery, faces: int
) -> tuple[float, float, bool]:
    """What tolerance=auto does in galleries of so many faces.

    Returns:
        The share of unknown probes that get a match, the share of probes found whose person is there, and
        whether the tolerance was extrapolated.
    """
    chosen = tolerance_for(calibration, rate, faces)
    alarms: list[float] = []
    hits: list[bool] = []
    for drawn in gallery.drawn(faces):
        found = nearest(drawn.enrolled, drawn.names, drawn.searched, drawn.probes)
        is_there = np.array([photo.identity in set(drawn.names) for photo in drawn.probes])
        alarms.append(float((found.strangers <= chosen.tolerance).mean()))
        hits += found.hits(chosen.tolerance)[is_there].tolist()
    return float(np.mean(alarms)), float(np.mean(hits)), chosen.extrapolated
