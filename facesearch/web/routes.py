"""The four routes that other code already speaks."""

import hashlib
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response

from facesearch.errors import (
    BrokenImage,
    Busy,
    DatabaseUnavailable,
    FaceNotFound,
    FaceRefused,
    InvalidParameter,
    KeyReused,
    LeaseLost,
    ModelMismatch,
    NoFaceFound,
    NotAnImage,
    StorageFull,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import AutoTolerance, ImportOptions, Wanted
from facesearch.web import answers
from facesearch.web.callers import caller_of, collection_of, touched
from facesearch.web.envelope import ok
from facesearch.web.examples import anywhere, refused, shown
from facesearch.web.imports_routes import ZIP_BODY, ZIP_ERRORS, started
from facesearch.web.once import Key, once
from facesearch.web.options import Detector, MinFace, Upsample, WantedFaces
from facesearch.web.parameters import check_given_once
from facesearch.web.schemas import AddAnswer, BulkAnswer, InfoAnswer, SearchAnswer
from facesearch.web.work import JobWatch, in_thread

Photo = Annotated[UploadFile, File(description="An image file.")]

_PHOTO_ERRORS = (
    InvalidParameter,
    BrokenImage,
    TooLarge,
    NotAnImage,
    DatabaseUnavailable,
    StorageFull,
    Busy,
)

router = APIRouter(responses=anywhere(old=True), tags=["Plain"])


@router.post("/search_faces", include_in_schema=False)
@router.post(
    "/search_faces/",
    summary="Find the known faces nearest to each face of a photo",
    responses=shown("search", model=SearchAnswer) | refused(*_PHOTO_ERRORS, old=True),
)
async def search_faces(
    request: Request,
    file: Photo,
    wanted: WantedFaces,
    k: Annotated[str, Query(description="Matches per face at most, 1 to 1000.")] = "1",
    tolerance: Annotated[
        str | None,
        Query(
            description="Largest distance, 0 to 2, or `auto`, the one that fits the gallery's size; "
            "by default the model's."
        ),
    ] = None,
    false_alarm_rate: Annotated[
        str | None,
        Query(
            description="With `tolerance=auto`: how often a face of nobody in the gallery may get a match, "
            "0.0001 to 0.5; by default 0.01."
        ),
    ] = None,
) -> JSONResponse:
    """Faces from left to right, matches nearest first; a photo without a face has no matches."""
    check_given_once(await request.form(), "file")
    most, largest_distance = _whole_number("k", k), _tolerance(tolerance, false_alarm_rate)

    def work(api: API) -> Any:
        photo, name = file.file.read(), file.filename or ""
        return api.search_faces(photo, name, most, largest_distance, wanted, _own_collection(request))

    return ok(*answers.searched(await in_thread(request, work)))


@router.post("/add_face", include_in_schema=False)
@router.post(
    "/add_face/",
    summary="Store the largest face of a photo",
    responses=shown("add", model=AddAnswer)
    | refused(*_PHOTO_ERRORS, ModelMismatch, NoFaceFound, FaceRefused, KeyReused, old=True),
)
async def add_face(
    request: Request,
    file: Photo,
    detector: Detector = None,
    upsample: Upsample = None,
    min_face_px: MinFace = None,
    key: Key = None,
) -> JSONResponse:
    """The person is named by the file's name: `Aaron_Eckhart_0001.jpg` is Aaron Eckhart."""
    check_given_once(await request.form(), "file")
    wanted = Wanted(True, detector, upsample, min_face_px)

    def work(api: API) -> Any:
        photo, name = file.file.read(), file.filename or ""
        repeatable = once(request, key, name, hashlib.sha256(photo).hexdigest())
        return api.add_face(photo, name, wanted, repeatable, _own_collection(request))

    added = await in_thread(request, work)
    if added.id != added.duplicate_of:
        touched(request, added.id)
    return ok(*answers.added(added))


@router.post("/add_faces_in_bulk", include_in_schema=False)
@router.post(
    "/add_faces_in_bulk/",
    summary="Store the largest face of every photo in a zip",
    response_class=JSONResponse,
    responses=shown("bulk", model=BulkAnswer) | refused(*ZIP_ERRORS, LeaseLost, old=True),
    openapi_extra=ZIP_BODY,
)
async def add_faces_in_bulk(request: Request, key: Key = None) -> Response:
    """Says of each file what became of it; one broken file never costs the others.

    The same as POST /v1/imports, waited for: what is begun goes on where the client does not wait.
    """
    state = request.app.state
    state.bulks.refuse_if_full()
    with state.bulks:
        skip = state.settings.intake.old_routes_skip_duplicates
        own = _own_collection(request)
        job = await started(request, key, ImportOptions("largest", skip, waited_for=True, collection=own))
        watch = JobWatch(request, job.id, state.bulk_threads)
        if await watch.end() is None:
            return Response()  # nobody reads it
        report = await watch.report()
        # As long as its list of files: other requests are answered meanwhile.
        return await anyio.to_thread.run_sync(lambda: ok(*answers.added_in_bulk(report)))


@router.post("/get_face_info", include_in_schema=False)
@router.post(
    "/get_face_info/",
    summary="Tell what is stored about a face",
    responses=shown("face", model=InfoAnswer)
    | refused(InvalidParameter, FaceNotFound, DatabaseUnavailable, old=True),
)
async def get_face_info(
    request: Request,
    image_id: Annotated[str | None, Form(description="The face's id.")] = None,
    face_id: Annotated[str | None, Form(description="The same under its newer name.")] = None,
    api_key: Annotated[
        str | None, Form(description="The key, where no header brings it. Nothing counts as none.")
    ] = None,
) -> JSONResponse:
    """Takes the id as `image_id` or `face_id`."""
    if image_id and face_id and image_id != face_id:
        raise InvalidParameter("image_id and face_id name different faces.")
    text = image_id or face_id
    if not text:
        raise InvalidParameter("image_id is missing.")
    number = _whole_number("image_id", text)
    own = _own_collection(request)
    return ok(answers.info(await in_thread(request, lambda api: api.get_face_info(number, own))))


def _own_collection(request: Request) -> str:
    # These routes name none.
    return collection_of(caller_of(request), None)


def _whole_number(name: str, text: str) -> int:
    # int() alone would take "1_000" and other alphabets' digits, and a long text costs it seconds.
    digits = text.strip().removesuffix("/")
    if not (digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) < 20):
        raise InvalidParameter(f"{name} must be a whole number.")
    return int(digits)


def _tolerance(text: str | None, false_alarm_rate: str | None) -> float | AutoTolerance | None:
    if text is not None and text.strip().removesuffix("/") == "auto":
        rate = false_alarm_rate
        return AutoTolerance() if rate is None else AutoTolerance(_number("false_alarm_rate", rate))
    if false_alarm_rate is not None:
        raise InvalidParameter("false_alarm_rate counts with tolerance=auto only.")
    return None if text is None else _number("tolerance", text)


def _number(name: str, text: str) -> float:
    # Old examples end their URL in a slash, behind the last parameter.
    try:
        return float(text.strip().removesuffix("/"))
    except ValueError:
        raise InvalidParameter(f"{name} must be a number.") from None
