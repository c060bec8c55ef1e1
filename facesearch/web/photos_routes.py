"""Photos that are looked at and not kept: their faces, compared with each other and with known ones."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.responses import JSONResponse

from facesearch.errors import (
    BrokenImage,
    Busy,
    CollectionNotFound,
    DatabaseUnavailable,
    InvalidParameter,
    ModelMismatch,
    NotAnImage,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import DEFAULT_COLLECTION, PhotoFile, Wanted
from facesearch.web import photos_answers as answers
from facesearch.web.examples import anywhere, refused
from facesearch.web.options import (
    Collection,
    Detector,
    FalseAlarmRate,
    MaxFaces,
    MinFace,
    MinSimilarity,
    Tolerance,
    Upsample,
    check_collection,
    wanted_tolerance,
)
from facesearch.web.photos_examples import COMPARED, DETECTED, SEARCHED, example
from facesearch.web.photos_schemas import CompareAnswer, DetectAnswer, V1Search
from facesearch.web.work import in_thread

_PHOTO_ERRORS = (InvalidParameter, BrokenImage, TooLarge, NotAnImage, Busy)

Photo = Annotated[UploadFile, File(description="An image file.")]
Source = Annotated[UploadFile, File(description="An image file.")]
Target = Annotated[UploadFile, File(description="An image file to compare it with.")]
K = Annotated[int, Query(ge=1, le=1000, description="Matches per face at most.")]

router = APIRouter(prefix="/v1", responses=anywhere())


@router.post("/detect/", include_in_schema=False)
@router.post(
    "/detect",
    summary="Find the faces of a photo, and store nothing",
    response_model=DetectAnswer,
    responses=example(DETECTED) | refused(*_PHOTO_ERRORS),
)
async def detect(
    request: Request,
    file: Photo,
    detector: Detector = None,
    upsample: Upsample = None,
    min_face_px: MinFace = None,
    max_faces: MaxFaces = None,
) -> JSONResponse:
    """From left to right. Works without the database."""
    wanted = Wanted(False, detector, upsample, min_face_px, max_faces)

    def work(api: API) -> Any:
        return answers.detected(api.detect(_read(file), wanted))

    return JSONResponse(await in_thread(request, work))


@router.post("/compare/", include_in_schema=False)
@router.post(
    "/compare",
    summary="Compare the faces of two photos, and store nothing",
    response_model=CompareAnswer,
    responses=example(COMPARED) | refused(*_PHOTO_ERRORS, ModelMismatch),
)
async def compare(
    request: Request,
    source: Source,
    target: Target,
    tolerance: Tolerance = None,
    false_alarm_rate: FalseAlarmRate = None,
    min_similarity: MinSimilarity = None,
    detector: Detector = None,
    upsample: Upsample = None,
    min_face_px: MinFace = None,
    max_faces: MaxFaces = None,
) -> JSONResponse:
    """Every face of one with every face of the other, 100 of each at most, as vectors of the gallery's model.

    With `max_faces=1` it is the largest face of each, one with one. With `tolerance=auto` a pair counts as a
    gallery of one face. Works without the database.
    """
    within = wanted_tolerance(tolerance, false_alarm_rate, min_similarity)
    wanted = Wanted(False, detector, upsample, min_face_px, max_faces)
    most = request.app.state.limits.photo_bytes
    for name, file in (("source", source), ("target", target)):
        if (file.size or 0) > most:
            raise TooLarge(f"{name} is over the limit of {most} bytes.")

    def work(api: API) -> Any:
        return answers.compared(api.compare(_read(source), _read(target), within, wanted))

    return JSONResponse(await in_thread(request, work))


@router.post("/search/", include_in_schema=False)
@router.post(
    "/search",
    summary="Find the known faces nearest to each face of a photo, with similarities",
    response_model=V1Search,
    responses=example(SEARCHED)
    | refused(*_PHOTO_ERRORS, CollectionNotFound, ModelMismatch, DatabaseUnavailable),
)
async def search(
    request: Request,
    file: Photo,
    k: K = 1,
    tolerance: Tolerance = None,
    false_alarm_rate: FalseAlarmRate = None,
    min_similarity: MinSimilarity = None,
    collection: Collection = DEFAULT_COLLECTION,
    detector: Detector = None,
    upsample: Upsample = None,
    min_face_px: MinFace = None,
    max_faces: MaxFaces = None,
) -> JSONResponse:
    """Faces from left to right, matches nearest first; a photo without a face has no faces.

    With `tolerance=auto` the tolerance fits the gallery's size.
    """
    check_collection(collection)
    within = wanted_tolerance(tolerance, false_alarm_rate, min_similarity)
    wanted = Wanted(False, detector, upsample, min_face_px, max_faces)

    def work(api: API) -> Any:
        photo = _read(file)
        found = api.search_faces(photo.data, photo.file_name, k, within, wanted)
        return answers.searched(found, collection)

    return JSONResponse(await in_thread(request, work))


def _read(file: UploadFile) -> PhotoFile:
    return PhotoFile(file.filename or "", file.file.read())
