"""Labelled photos: who is in each file of a folder or list, and the vectors of their largest faces."""

import csv
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import BrokenImage, FacesearchError, Invalid, NoFaceFound, TaskTimedOut, WorkerDied
from facesearch.interfaces import Image, ImageEncoder, WorkerPool
from facesearch.records import Embedding, Outcome
from facesearch.service.encode import LARGEST_FACE, encoder_of_this_process
from facesearch.service.intake.archive import IMAGE_SUFFIXES
from facesearch.service.intake.names import person_and_version

PHOTOS_PER_TASK = 8


@dataclass(frozen=True)
class LabelledPhoto:
    """A file, and who is in it."""

    path: Path
    person: str


@dataclass(frozen=True)
class LabelledFaces:
    """The largest faces of labelled photos.

    Args:
        people: who is in each photo that has a face; n of them.
        embeddings: by model id, float32 of shape (n, dimension).
        without_face: how many photos have none.
        unreadable: how many files are no photos within the limits.
    """

    people: list[str]
    embeddings: dict[str, NDArray[np.float32]]
    without_face: int
    unreadable: int


@dataclass(frozen=True)
class EncodeLabelled:
    """Encodes the largest face of each of a few files, in several vector spaces.

    Picklable where its parts are. Each process builds its encoder at its first photo, and keeps it.

    Args:
        open_image: decodes the bytes of a photo within limits.
        build_encoder: makes an encoder from `encoder_arguments`.
        model_ids: the vector spaces, all of the encoder's networks.
    """

    open_image: Callable[[bytes, str], Image]
    build_encoder: Callable[..., ImageEncoder]
    encoder_arguments: tuple[Hashable, ...]
    model_ids: tuple[str, ...]

    def __call__(self, paths: Sequence[Path]) -> list[Outcome[list[Embedding]]]:
        encoder = encoder_of_this_process(self.build_encoder, *self.encoder_arguments)
        return [self._encoded(encoder, path) for path in paths]

    def _encoded(self, encoder: ImageEncoder, path: Path) -> Outcome[list[Embedding]]:
        try:
            aligned, _ = encoder.look(self.open_image(_bytes_of(path), path.name), LARGEST_FACE)
        except Invalid as error:
            return Outcome(error=error)
        if not aligned:
            return Outcome(error=NoFaceFound())
        crops = np.stack([face.crop for face in aligned])
        return Outcome([encoder.for_model(model_id).embed(crops)[0] for model_id in self.model_ids])


def labelled_photos(source: Path) -> list[LabelledPhoto]:
    """Find labelled photos.

    Args:
        source: a folder, whose image files are named as those of a bulk are: `Ada_Lovelace_0001.jpg`, or
            any name in a folder per person. Or a CSV file with the columns `path`, relative to the file's
            folder, and `identity`.

    Raises:
        Invalid: there is no such folder or file, it cannot be read, or it names no photo.
    """
    try:
        photos = _of_folder(source) if source.is_dir() else _of_csv(source)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise Invalid(f"{source.name} cannot be read as a folder of photos or a CSV file.") from None
    if not photos:
        raise Invalid(f"{source.name} holds no photos.")
    return photos


def encode_labelled(
    pool: WorkerPool,
    task: EncodeLabelled,
    photos: Sequence[LabelledPhoto],
    progress: Callable[[int], None],
) -> LabelledFaces:
    """Encode photos side by side, and leave out those without a face.

    Args:
        progress: called with the number of photos that are done.

    Raises:
        FacesearchError: the encoder cannot be used.
    """
    outcomes: list[Outcome[list[Embedding]]] = []
    groups = [photos[at : at + PHOTOS_PER_TASK] for at in range(0, len(photos), PHOTOS_PER_TASK)]
    done = pool.map(task, ([photo.path for photo in group] for group in groups))
    for group, outcome in zip(groups, done, strict=True):
        if isinstance(outcome.error, WorkerDied | TaskTimedOut):
            outcomes += [Outcome(error=outcome.error)] * len(group)
        else:
            outcomes += outcome.unwrap()
        progress(len(outcomes))
    return _faces(photos, outcomes, task.model_ids)


def _faces(
    photos: Sequence[LabelledPhoto], outcomes: Sequence[Outcome[list[Embedding]]], model_ids: Sequence[str]
) -> LabelledFaces:
    found = [(p.person, o.value) for p, o in zip(photos, outcomes, strict=True) if o.value is not None]
    errors: list[FacesearchError] = [outcome.error for outcome in outcomes if outcome.error is not None]
    no_face = sum(isinstance(error, NoFaceFound) for error in errors)
    embeddings = {
        model_id: np.stack([vectors[i] for _, vectors in found]) if found else np.empty((0, 1), np.float32)
        for i, model_id in enumerate(model_ids)
    }
    return LabelledFaces([person for person, _ in found], embeddings, no_face, len(errors) - no_face)


def _of_folder(folder: Path) -> list[LabelledPhoto]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    return [LabelledPhoto(p, person_and_version(p.relative_to(folder).as_posix())[0]) for p in files]


def _of_csv(file: Path) -> list[LabelledPhoto]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened)
        if not {"path", "identity"} <= set(rows.fieldnames or ()):
            raise Invalid(f"{file.name} has no columns `path` and `identity`.")
        return [
            LabelledPhoto(file.parent / row["path"], row["identity"])
            for row in rows
            if row["path"] and row["identity"]
        ]


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        raise BrokenImage from None
