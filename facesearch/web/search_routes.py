"""Searching a collection: with photos, with one of its faces, or with a vector."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, File, Query, Request, UploadFile
from fastapi.responses import JSONResponse

from facesearch.errors import (
    CollectionNotFound,
    DatabaseUnavailable,
    FaceNotFound,
    InvalidParameter,
    ModelMismatch,
    NoFaceFound,
    StorageFull,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import POOLINGS, FaceProbe, PhotoProbe, Probe, SearchTerms, VectorProbe
from facesearch.web import gallery_answers as answers
from facesearch.web.bodies import MOST_PHOTOS
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.filters import Among, AmongOfForm
from facesearch.web.gallery_examples import SEARCHED, SEARCHED_WITH_ONE
from facesearch.web.gallery_schemas import V1Search, VectorBody
from facesearch.web.ids import FaceId
from facesearch.web.options import Collection, WantedFaces, Within
from facesearch.web.photos_routes import PHOTO_ERRORS, check_size, read
from facesearch.web.work import in_thread

Photos = Annotated[
    list[UploadFile], File(description=f"An image file; with `combine` up to {MOST_PHOTOS}, each as `file`.")
]
Combine = Annotated[
    Literal["mean", "best"] | None,
    Query(
        description="The largest face of each of several photos is one person's: `mean` searches with the "
        "mean of their vectors, `best` takes the least distance to any of them."
    ),
]

_SEARCH_ERRORS = (InvalidParameter, CollectionNotFound, ModelMismatch, DatabaseUnavailable, StorageFull)

router = APIRouter(prefix="/v1", responses=anywhere(), tags=["Search"])


async def _terms(
    within: Within,
    among: Among,
    k: Annotated[int, Query(ge=1, le=1000, description="Matches per face at most.")] = 1,
    group_by: Annotated[
        Literal["person"] | None,
        Query(description="With `person`, each person is one match: that of the person's nearest face."),
    ] = None,
) -> SearchTerms:
    return SearchTerms(k, within, among, by_person=group_by is not None)


Terms = Annotated[SearchTerms, Depends(_terms)]


@router.post("/search/", include_in_schema=False)
@router.post(
    "/search",
    summary="Find the known faces or people nearest to each face of a photo, or to a person on several",
    response_model=V1Search,
    responses=example(SEARCHED) | refused(*PHOTO_ERRORS, *_SEARCH_ERRORS[1:], NoFaceFound),
)
async def search(
    request: Request,
    file: Photos,
    collection: Collection,
    terms: Terms,
    wanted: WantedFaces,
    among: AmongOfForm,
    combine: Combine = None,
) -> JSONResponse:
    """Faces from left to right, matches nearest first; a photo without a face has no faces.

    With `tolerance=auto` the tolerance fits the gallery's size.
    """
    if len(file) > MOST_PHOTOS:
        raise InvalidParameter(f"There may be {MOST_PHOTOS} photos at most.", ["file"])
    if len(file) > 1 and combine is None:
        how = " or ".join(POOLINGS)
        raise InvalidParameter(f"file is given more than once; combine says how: {how}.", ["file", "combine"])
    names = ["file"] if len(file) == 1 else [f"photo {number}" for number in range(1, len(file) + 1)]
    check_size(request, **dict(zip(names, file, strict=True)))
    wanted = replace(wanted, only_largest=combine is not None)

    def probe() -> Probe:
        return PhotoProbe(tuple(read(photo) for photo in file), wanted, combine)

    return await _searched(request, collection, probe, replace(terms, query=among))


@router.post(
    "/search/vector",
    summary="Find the known faces or people nearest to a vector",
    response_model=V1Search,
    responses=example(SEARCHED_WITH_ONE) | refused(*_SEARCH_ERRORS, TooLarge),
)
async def search_vector(
    request: Request, body: VectorBody, collection: Collection, terms: Terms
) -> JSONResponse:
    """The vector is one that the named model has made, and the collection holds vectors of that model."""
    with np.errstate(over="ignore"):
        vector = np.array(body.vector, np.float32)
    if not np.isfinite(vector).all():
        raise InvalidParameter("vector has a number that is no float32.", ["vector"])
    vector.flags.writeable = False
    return await _searched(request, collection, lambda: VectorProbe(vector, body.model), terms)


@router.post(
    "/faces/{face_id}/search",
    summary="Find the known faces or people nearest to a stored face",
    response_model=V1Search,
    responses=example(SEARCHED_WITH_ONE) | refused(*_SEARCH_ERRORS, FaceNotFound),
)
async def search_face(
    request: Request, face_id: FaceId, collection: Collection, terms: Terms
) -> JSONResponse:
    """The face is not among its own matches."""
    return await _searched(request, collection, lambda: FaceProbe(face_id), terms)


async def _searched(
    request: Request, collection: str, probe: Callable[[], Probe], terms: SearchTerms
) -> JSONResponse:
    def work(api: API) -> Any:
        return answers.searched(api.collections.gallery(collection).search(probe(), terms), collection)

    return JSONResponse(await in_thread(request, work))
