"""Faces that were encoded elsewhere, on their way into a collection."""

from collections.abc import Iterable
from itertools import islice

from facesearch.errors import DatabaseUnavailable, ModelMismatch
from facesearch.interfaces import ImageDatabase
from facesearch.records import NewFace

FACES_A_TRANSACTION = 2_000


def import_vectors(database: ImageDatabase, faces: Iterable[NewFace], model_id: str, dimension: int) -> int:
    """Store faces, some at a time, but for those whose photo is stored or came before; return how many.

    Raises:
        ModelMismatch: the collection holds faces of another model, or a vector is of another length.
        DatabaseUnavailable: the database is away; the message tells how many were stored before.
    """
    stored, rest = 0, iter(faces)
    while batch := list(islice(rest, FACES_A_TRANSACTION)):
        if any(new.face.embedding.shape != (dimension,) for new in batch):
            raise ModelMismatch(f"Vectors of {model_id} have {dimension} numbers.")
        try:
            with database.alone():
                stored += len(database.add_faces(_not_stored(database, batch), model_id))
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(f"{error.message} {stored} faces had been stored before.") from None
    return stored


def _not_stored(database: ImageDatabase, faces: list[NewFace]) -> list[NewFace]:
    """Those of which no photo is stored or comes twice; nobody else adds faces meanwhile."""
    known = set(database.faces_of_photos([new.photo_sha256 for new in faces if new.photo_sha256]))
    new_ones = []
    for new in faces:
        if new.photo_sha256 is None or new.photo_sha256 not in known:
            new_ones.append(new)
        if new.photo_sha256 is not None:
            known.add(new.photo_sha256)
    return new_ones
