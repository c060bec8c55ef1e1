"""Faces for the contract of ImageDatabase, and how its history is read."""

from typing import Any

import numpy as np

from facesearch.interfaces import ImageDatabase
from facesearch.records import Box, Face, FaceChange, Location, NewFace, PhotoInfo

MODEL = "model-a"


def new_face(embedding: Any = (0.5, -1.25, 3.0), **fields: Any) -> NewFace:
    """A face that can be stored; `fields` replace those of NewFace."""
    values: dict[str, Any] = {
        "person_name": "Ada Lovelace",
        "version": "0001",
        "photo": PhotoInfo("Ada_Lovelace_0001.jpg", 640, 480, "1843-07-10T12:00:00", Location(51.5, -0.25)),
        "face": Face(Box(10, 60, 70, -5), np.asarray(embedding, np.float32)),
    }
    return NewFace(**(values | fields))


def all_changes(database: ImageDatabase, number: int = 0, model_id: str = MODEL) -> list[FaceChange]:
    return [change for batch in database.changes_after(number, model_id) for change in batch]
