"""Archives as jobs, and what the service accepts."""

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from facesearch.errors import (
    BrokenArchive,
    CollectionNotFound,
    DatabaseUnavailable,
    InvalidParameter,
    KeyReused,
    NotAnArchive,
    QueueFull,
    StorageFull,
    TooLarge,
)
from facesearch.records import ImportOptions, Job
from facesearch.web import answers
from facesearch.web.callers import caller_of, collection_of, touched
from facesearch.web.examples import anywhere, refused, shown
from facesearch.web.once import Key, once
from facesearch.web.options import CollectionName
from facesearch.web.schemas import JobAnswer
from facesearch.web.upload import FIELD, uploaded

_LONGEST_NAME = 255
_COLLECTION = "collection"
_FORM = "Counts where the query names none."
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "faces": ("largest", "all", "single"),
    "duplicates": ("skip", "store"),
}

# FastAPI would write the file to disk twice, and not where it belongs.
ZIP_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                            "description": "A zip of image files.",
                        }
                    },
                }
            }
        },
    }
}
IMPORT_BODY = deepcopy(ZIP_BODY)
IMPORT_BODY["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"].update(
    {name: {"type": "string", "enum": [*choices], "description": _FORM} for name, choices in _CHOICES.items()}
    | {_COLLECTION: {"type": "string", "description": _FORM}}
)

ZIP_ERRORS = (
    InvalidParameter,
    BrokenArchive,
    TooLarge,
    NotAnArchive,
    KeyReused,
    QueueFull,
    DatabaseUnavailable,
    StorageFull,
)

Faces = Annotated[
    Literal["largest", "all", "single"],
    Query(description="Which faces of a photo are stored; with `single`, photos with several are refused."),
]
Duplicates = Annotated[
    Literal["skip", "store"],
    Query(description="What becomes of photos whose bytes are stored already."),
]

router = APIRouter(prefix="/v1", responses=anywhere(), tags=["Imports and jobs"])


async def started(request: Request, key: str | None, options: ImportOptions | None = None) -> Job:
    """Take the archive that a request carries, and queue a job for it.

    Args:
        options: None takes those that the request names, in its query or its form.

    Raises:
        InvalidParameter, TooLarge, StorageFull: it did not arrive.
    """
    state = request.app.state
    most = state.limits.zip_bytes
    new_file = state.api.imports.new_file
    threads, fields = state.disk_threads, None if options else (*_CHOICES, _COLLECTION)
    async with uploaded(request, new_file, most, threads, digest=key is not None, fields=fields) as upload:
        repeatable = once(request, key, upload.file_name, upload.sha256 or "", upload.fields)
        options = options or _options(request, upload.fields)
        name = _label(upload.file_name)
        # Making a large file safe takes seconds, which nobody else's request shall wait for.
        start = partial(state.api.imports.start, upload.file, name, options, repeatable)
        job: Job = await anyio.to_thread.run_sync(start, limiter=state.disk_threads)
        touched(request, job.id)
        return job


@router.post("/imports/", status_code=202, include_in_schema=False)
@router.post(
    "/imports",
    status_code=202,
    summary="Store the faces of every photo in a zip",
    response_model=JobAnswer,
    responses=shown("job", 202) | refused(*ZIP_ERRORS, CollectionNotFound),
    openapi_extra=IMPORT_BODY,
)
async def imports(
    request: Request,
    faces: Faces = "largest",
    duplicates: Duplicates = "skip",
    collection: CollectionName = None,
    key: Key = None,
) -> JSONResponse:
    """Answers as soon as the zip is safe, with a job that goes on by itself."""
    job = await started(request, key)
    return JSONResponse(answers.job(job), 202, {"Location": f"/v1/jobs/{job.id}"})


def _options(request: Request, fields: Mapping[str, str]) -> ImportOptions:
    chosen = {}
    for name, choices in _CHOICES.items():
        chosen[name] = request.query_params.get(name) or fields.get(name, choices[0])
        if chosen[name] not in choices:
            raise InvalidParameter(f"{name} is one of {', '.join(choices)}.", [name])
    wanted = request.query_params.get(_COLLECTION, fields.get(_COLLECTION))
    collection = collection_of(caller_of(request), wanted)
    return ImportOptions(chosen["faces"], chosen["duplicates"] == "skip", collection=collection)


def _label(file_name: str) -> str:
    return file_name.replace("\\", "/").rpartition("/")[2][:_LONGEST_NAME]
