"""What a switch of models would change: the nearest other face of some faces, with both models."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import Conflict
from facesearch.interfaces import ImageDatabase, ImageEncoder, ReencodingStore
from facesearch.records import EVERY_FACE, StoredFace, VectorPairs
from facesearch.service.similarity import similarity_at

UNCHANGED, SAME_PERSON, OTHER, GAINED, LOST = CHANGES = (
    "unchanged",
    "same_person",
    "other",
    "gained",
    "lost",
)
_PROBES_A_BLOCK = 256


@dataclass(frozen=True, slots=True)
class PreviewMatch:
    """The nearest face within the model's default tolerance."""

    face_id: int
    person_name: str
    distance: float
    similarity: float | None


@dataclass(frozen=True, slots=True)
class PreviewChange:
    """A face whose nearest match would be another one; `change` is one of CHANGES."""

    face_id: int
    person_name: str
    change: str
    now: PreviewMatch | None
    next: PreviewMatch | None


@dataclass(frozen=True, slots=True)
class SwitchPreview:
    """What would change.

    Args:
        faces: that have both vectors; the probes are searched for among them.
        probes: how many were searched for.
        counts: of each of CHANGES. `same_person` is another face of the same person; `gained` and `lost` are
            probes that have a match with one model alone.
        known: probes whose person has another face there, so that it is known what is right.
        right_now, right_next: how many of these have their person as the nearest match.
    """

    model_id: str
    next_model_id: str
    tolerance: float
    next_tolerance: float
    faces: int
    probes: int
    counts: dict[str, int]
    known: int
    right_now: int
    right_next: int
    examples: tuple[PreviewChange, ...]


@dataclass
class _Nearest:
    """The nearest other face of each probe so far, in one of the models."""

    probes: NDArray[np.float64]
    distances: NDArray[np.float64]
    faces: NDArray[np.int64]
    persons: NDArray[np.int64]

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> "_Nearest":
        count = len(vectors)
        none = np.zeros(count, np.int64)
        return cls(vectors.astype(np.float64), np.full(count, np.inf), none, none.copy())

    def see(self, ids: NDArray[np.int64], gallery: VectorPairs, vectors: NDArray[np.float32]) -> None:
        """Compare the probes of these ids with some faces; of two as near, that of the lower id counts."""
        wide = vectors.astype(np.float64)
        norms = (wide**2).sum(axis=1)
        for start in range(0, len(ids), _PROBES_A_BLOCK):
            part = slice(start, start + _PROBES_A_BLOCK)
            probes = self.probes[part]
            squares = (probes**2).sum(axis=1)[:, None] + norms - 2 * probes @ wide.T
            squares[ids[part, None] == gallery.face_ids] = np.inf
            best = squares.argmin(axis=1)
            # Once more without the sums' rounding, as a search measures them.
            distances = np.sqrt(((probes - wide[best]) ** 2).sum(axis=1))
            distances[np.isinf(squares[np.arange(len(best)), best])] = np.inf
            nearer = distances < self.distances[part]
            self.distances[part][nearer] = distances[nearer]
            self.faces[part][nearer] = gallery.face_ids[best[nearer]]
            self.persons[part][nearer] = gallery.persons[best[nearer]]

    def within(self, tolerance: float) -> None:
        """Forget what is farther."""
        far = self.distances > tolerance
        self.faces[far] = 0
        self.persons[far] = 0


def preview_of(
    faces: ImageDatabase,
    store: ReencodingStore,
    now: ImageEncoder,
    following: ImageEncoder,
    probes: int,
    examples: int,
) -> SwitchPreview:
    """Search for some faces of a collection among its others with both models, exactly, in float64.

    The collection is read once; memory is that of the probes and of some thousand faces.

    Args:
        faces: of the collection.
        probes: how many; they lie evenly over the ids.

    Raises:
        Conflict: no face has both vectors.
    """
    ids, persons, before, after = _probes(faces, store, probes)
    one, other = _Nearest.of(before), _Nearest.of(after)
    count, sizes = 0, Counter[int]()
    for part in store.pairs(faces.collection):
        one.see(ids, part, part.now)
        other.see(ids, part, part.next)
        count += len(part.face_ids)
        sizes.update(part.persons.tolist())
    one.within(now.tolerance)
    other.within(following.tolerance)
    known = np.array([person > 0 and sizes[person] > 1 for person in persons.tolist()], bool)
    changes = [_change(*pair) for pair in zip(_pairs(one), _pairs(other), strict=True)]
    told = [at for at, change in enumerate(changes) if change not in (UNCHANGED, SAME_PERSON)][:examples]
    return SwitchPreview(
        model_id=now.model_id,
        next_model_id=following.model_id,
        tolerance=now.tolerance,
        next_tolerance=following.tolerance,
        faces=count,
        probes=len(ids),
        counts={change: changes.count(change) for change in CHANGES},
        known=int(known.sum()),
        right_now=int((known & (one.persons == persons)).sum()),
        right_next=int((known & (other.persons == persons)).sum()),
        examples=_examples(faces, ids, told, changes, (one, now), (other, following)),
    )


def _probes(
    faces: ImageDatabase, store: ReencodingStore, wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    known = faces.face_ids(EVERY_FACE)
    chosen = known[np.unique(np.linspace(0, len(known) - 1, min(wanted, len(known))).astype(np.int64))]
    parts = list(store.pairs(faces.collection, chosen.tolist()))
    if not parts:
        raise Conflict("No face has a vector of the next model yet.")
    return (
        np.concatenate([part.face_ids for part in parts]),
        np.concatenate([part.persons for part in parts]),
        np.concatenate([part.now for part in parts]),
        np.concatenate([part.next for part in parts]),
    )


def _pairs(nearest: _Nearest) -> Iterator[tuple[int, int]]:
    return zip(nearest.faces.tolist(), nearest.persons.tolist(), strict=True)


def _change(now: tuple[int, int], following: tuple[int, int]) -> str:
    if now[0] == following[0]:
        return UNCHANGED
    if not now[0]:
        return GAINED
    if not following[0]:
        return LOST
    return SAME_PERSON if now[1] == following[1] and now[1] else OTHER


def _examples(
    faces: ImageDatabase,
    ids: NDArray[np.int64],
    told: Sequence[int],
    changes: Sequence[str],
    *spaces: tuple[_Nearest, ImageEncoder],
) -> tuple[PreviewChange, ...]:
    named = [int(ids[at]) for at in told]
    named += [int(nearest.faces[at]) for nearest, _ in spaces for at in told]
    stored = faces.get_faces(named)

    def match(at: int, nearest: _Nearest, encoder: ImageEncoder) -> PreviewMatch | None:
        if not (face_id := int(nearest.faces[at])):
            return None
        distance = float(nearest.distances[at])
        similarity = similarity_at(encoder.calibration, distance)
        return PreviewMatch(face_id, _name(stored, face_id), distance, similarity)

    return tuple(
        PreviewChange(
            int(ids[at]),
            _name(stored, int(ids[at])),
            changes[at],
            *(match(at, *space) for space in spaces),
        )
        for at in told
    )


def _name(stored: dict[int, StoredFace], face_id: int) -> str:
    return stored[face_id].person_name if face_id in stored else ""
