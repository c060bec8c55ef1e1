"""The collections of the service: each a gallery of its own."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse

from facesearch.errors import (
    CollectionNotFound,
    Conflict,
    DatabaseUnavailable,
    InvalidParameter,
    KeyReused,
    ModelNotFound,
    NameTaken,
    StorageFull,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import Collection, Page
from facesearch.web import gallery_answers as answers
from facesearch.web.callers import asked, caller_of, collection_label, collection_of, is_restricted, touched
from facesearch.web.cursors import cursor, number_of
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.gallery_examples import COLLECTION, COLLECTIONS, GONE, NEW_COLLECTION
from facesearch.web.gallery_schemas import (
    CollectionAnswer,
    CollectionsPage,
    DeletedCollection,
    NewCollection,
)
from facesearch.web.once import OnceJSON
from facesearch.web.options import Cursor, Limit
from facesearch.web.work import in_thread

_COLLECTIONS = "collections"

router = APIRouter(prefix="/v1/collections", responses=anywhere(), tags=["Collections"])


async def _named(request: Request, name: Annotated[str, Path(description="The collection's name.")]) -> str:
    return collection_of(caller_of(request), name)


Name = Annotated[str, Depends(_named)]


@router.get("/", include_in_schema=False)
@router.get(
    "",
    summary="List collections",
    response_model=CollectionsPage,
    responses=example(COLLECTIONS) | refused(InvalidParameter, DatabaseUnavailable),
)
async def collections(request: Request, limit: Limit = 100, at: Cursor = None) -> JSONResponse:
    """The oldest first. A key that is for one collection is told of that one.

    `next` is the cursor of the following page, null at the end.
    """
    after = number_of(_COLLECTIONS, at)
    caller = caller_of(request)

    def work(api: API) -> Page[Collection]:
        if not is_restricted(caller):
            return api.collections.page(limit, after)
        own = api.collections.get(caller.collection)
        return Page(() if (after or 0) >= own.number else (own,))

    page = await in_thread(request, work)
    content = {
        "collections": [answers.collection(one) for one in page.items],
        "next": cursor(_COLLECTIONS, page.next),
    }
    return JSONResponse(content)


@router.post("/", status_code=201, include_in_schema=False)
@router.post(
    "",
    status_code=201,
    summary="Make a collection",
    response_model=CollectionAnswer,
    responses=example(NEW_COLLECTION, 201)
    | refused(InvalidParameter, TooLarge, ModelNotFound, NameTaken, KeyReused, DatabaseUnavailable),
)
async def add_collection(request: Request, body: NewCollection, repeatable: OnceJSON) -> JSONResponse:
    """Needs a key of scope `admin` for all collections. Its vectors are of one model."""
    made = await in_thread(request, lambda api: api.collections.add(body.name, body.model, repeatable))
    touched(request, collection_label(made.number))
    location = f"/v1/collections/{quote(made.name, safe='')}"
    return JSONResponse(answers.collection(made), 201, {"Location": location})


@router.get(
    "/{name}",
    summary="Tell about a collection",
    response_model=CollectionAnswer,
    responses=example(COLLECTION) | refused(CollectionNotFound, DatabaseUnavailable),
)
async def collection(request: Request, name: Name) -> JSONResponse:
    """Its model, and how many faces and people it has."""
    return JSONResponse(answers.collection(await in_thread(request, lambda api: api.collections.get(name))))


@router.delete(
    "/{name}",
    summary="Erase a collection with all that belongs to it",
    response_model=DeletedCollection,
    responses=example(GONE) | refused(CollectionNotFound, Conflict, DatabaseUnavailable, StorageFull),
)
async def delete_collection(request: Request, name: Name) -> JSONResponse:
    """Its faces, people, jobs and archives; its keys are revoked. `default` can only be emptied.

    Needs a key of scope `admin` for all collections.
    """

    def work(api: API) -> str:
        label = collection_label(api.collections.get(name).number)
        asked(request, label)
        api.collections.delete(name)
        return label

    touched(request, await in_thread(request, work))
    return JSONResponse({"deleted": name})
