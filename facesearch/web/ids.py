"""The ids of faces and persons in a request's path and body."""

from typing import Annotated

from fastapi import Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from facesearch.errors import FaceNotFound, NotFound, PersonNotFound

LARGEST = 2**63 - 1
MOST = 1000

Id = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]


def _number(text: str, missing: type[NotFound]) -> int:
    # Nothing has another id; the database need not be asked, and may not even take it.
    if text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= LARGEST:
        return int(text)
    raise missing


async def _face(
    face_id: Annotated[str, Path(description="The face's id.", json_schema_extra={"type": "integer"})],
) -> int:
    return _number(face_id, FaceNotFound)


async def _person(
    person_id: Annotated[str, Path(description="The person's id.", json_schema_extra={"type": "integer"})],
) -> int:
    return _number(person_id, PersonNotFound)


FaceId = Annotated[int, Depends(_face)]
PersonId = Annotated[int, Depends(_person)]


class FaceIds(BaseModel):
    """Faces by their ids."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"faces": [7, 8]}]})

    faces: list[Id] = Field(min_length=1, max_length=MOST)
