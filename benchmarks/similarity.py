"""What a similarity of 80 lets through: pairs_dev.csv of the labelled photos, compared as /v1/compare does.

Prints for each kind of dlib's vectors how many pairs of one person and of two reach a similarity. First with
the calibration of the card, which was fitted on all of lfw/, these photos among them; then with one that has
not seen the people of the pair: LFW's folds have no person in common, so each fold is judged by a fit of the
photos of all the others. The largest face of a photo counts; a photo without a face reaches nothing.

    python3 -m benchmarks.similarity [--processes N] [--cache FOLDER] [--faces FOLDER]
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoded import KINDS, Combination, Encoded, encoded
from benchmarks.figures import calibrated
from benchmarks.machine import describe
from facesearch.encoders.cards import ALL_KINDS, built_in_cards
from facesearch.records import Calibration
from facesearch.service.similarity import similarity_at
from tests.labelled_photos import FOLDER

SIMILARITIES = (50.0, 80.0, 90.0, 95.0)


@dataclass(frozen=True)
class Pairs:
    """Pairs of photos, whether they are of one person, and LFW's fold of each."""

    first: list[str]
    second: list[str]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> "Pairs":
        with (folder / "pairs_dev.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return cls(
            [row["path1"] for row in rows],
            [row["path2"] for row in rows],
            np.array([row["same"] == "1" for row in rows]),
            np.array([int(row["lfw_fold"] or 0) for row in rows]),
        )

    def people(self, fold: int) -> set[str]:
        rows = np.flatnonzero(self.folds == fold)
        return {Path(side[row]).parent.name for side in (self.first, self.second) for row in rows}


def similarities(calibration: Calibration, distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each pair; -1 where a photo has no face."""
    found = [similarity_at(calibration, float(distance)) for distance in distances]
    return np.array([-1.0 if value is None else value for value in found])


def measured(vectors: Encoded, kind: str, pairs: Pairs) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The similarities of all pairs by the card's calibration, and by one of other people."""
    sides = [vectors.of(kind, paths) for paths in (pairs.first, pairs.second)]
    there = np.isfinite(sides[0]).all(axis=1) & np.isfinite(sides[1]).all(axis=1)
    distances = np.full(len(pairs.same), np.inf)
    distances[there] = np.linalg.norm(sides[0][there] - sides[1][there], axis=1)
    card = {name: built_in_cards()["dlib"].space(name).calibration for name in ALL_KINDS}
    own = next(calibration for name, calibration in card.items() if name == kind)
    if own is None:
        raise ValueError(f"dlib's card has no calibration of {kind}")
    yield "the card's", np.where(there, similarities(own, distances), -1.0)
    folds = np.full(len(pairs.same), -1.0)
    for fold in np.unique(pairs.folds):
        seen = pairs.people(int(fold))
        others = [path for path in vectors.rows if Path(path).parent.name not in seen]
        rows = pairs.folds == fold
        folds[rows] = similarities(calibrated(vectors, kind, others, "the other folds"), distances[rows])
    yield "of other people", np.where(there, folds, -1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="where vectors are kept for the next run")
    parser.add_argument("--faces", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    pairs = Pairs.read(chosen.faces)
    paths = sorted(
        file.relative_to(chosen.faces).as_posix() for file in (chosen.faces / "lfw").glob("*/*.jpg")
    )
    with tempfile.TemporaryDirectory() as home:
        cache = chosen.cache or Path(home)
        cache.mkdir(parents=True, exist_ok=True)
        combination = Combination("dlib", "hog", Path(home, "models"))
        vectors = encoded(combination, chosen.faces, paths, False, cache, chosen.processes)
    same, other = int(pairs.same.sum()), int((~pairs.same).sum())
    print(f"\n{same:,} pairs of one person, {other:,} of two; {vectors.missed(paths)} photos without a face")
    print("\n| vectors | calibration | similarity from | pairs of one person | pairs of two |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        for name, values in measured(vectors, kind, pairs):
            for least in SIMILARITIES:
                within = values >= least
                one, two = int(within[pairs.same].sum()), int(within[~pairs.same].sum())
                print(
                    f"| dlib `{kind}` | {name} | {least:g} | {100 * one / same:.1f} % "
                    f"| {100 * two / other:.2f} % ({two}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
