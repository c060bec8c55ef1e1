"""Photos that are looked at and not kept: their faces, and how these compare."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import JSONResponse

from facesearch.errors import (
    BrokenImage,
    Busy,
    CollectionNotFound,
    InvalidParameter,
    ModelMismatch,
    NotAnImage,
    StorageFull,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import PhotoFile
from facesearch.web import photos_answers as answers
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.options import Collection, WantedFaces, Within
from facesearch.web.photos_examples import COMPARED, DETECTED
from facesearch.web.photos_schemas import CompareAnswer, DetectAnswer
from facesearch.web.work import in_thread

PHOTO_ERRORS = (InvalidParameter, BrokenImage, TooLarge, NotAnImage, Busy, StorageFull)

Photo = Annotated[UploadFile, File(description="An image file.")]
Source = Annotated[UploadFile, File(description="An image file.")]
Target = Annotated[UploadFile, File(description="An image file to compare it with.")]

router = APIRouter(prefix="/v1", responses=anywhere(), tags=["Photos"])


@router.post("/detect/", include_in_schema=False)
@router.post(
    "/detect",
    summary="Find the faces of a photo, and store nothing",
    response_model=DetectAnswer,
    responses=example(DETECTED) | refused(*PHOTO_ERRORS),
)
async def detect(request: Request, file: Photo, wanted: WantedFaces) -> JSONResponse:
    """From left to right. Works without the database."""

    def work(api: API) -> Any:
        return answers.detected(api.detect(read(file), wanted))

    return JSONResponse(await in_thread(request, work))


@router.post("/compare/", include_in_schema=False)
@router.post(
    "/compare",
    summary="Compare the faces of two photos, and store nothing",
    response_model=CompareAnswer,
    responses=example(COMPARED) | refused(*PHOTO_ERRORS, CollectionNotFound, ModelMismatch),
)
async def compare(
    request: Request,
    source: Source,
    target: Target,
    collection: Collection,
    within: Within,
    wanted: WantedFaces,
) -> JSONResponse:
    """Every face of one with every face of the other, 100 of each at most, as the collection's vectors.

    With `max_faces=1` it is the largest face of each, one with one. With `tolerance=auto` a pair counts as a
    gallery of one face. Works without the database.
    """
    check_size(request, source=source, target=target)

    def work(api: API) -> Any:
        photos = read(source), read(target)
        return answers.compared(api.compare(*photos, within, wanted, collection))

    return JSONResponse(await in_thread(request, work))


def check_size(request: Request, **files: UploadFile) -> None:
    """Raise TooLarge where one of several photos is, which the limit of the whole body does not tell."""
    most = request.app.state.limits.photo_bytes
    for name, file in files.items():
        if (file.size or 0) > most:
            raise TooLarge(f"{name} is over the limit of {most} bytes.")


def read(file: UploadFile) -> PhotoFile:
    """Return a photo as the API takes it; in a thread."""
    return PhotoFile(file.filename or "", file.file.read())
