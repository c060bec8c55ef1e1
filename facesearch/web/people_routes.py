"""The people of a collection."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from facesearch.errors import (
    CollectionNotFound,
    DatabaseUnavailable,
    FaceNotFound,
    InvalidParameter,
    KeyReused,
    NameTaken,
    PersonNotFound,
    StorageFull,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import Page, Person, PersonEdit
from facesearch.web import gallery_answers as answers
from facesearch.web.callers import asked, person_labels, touched
from facesearch.web.cursors import cursor, number_of
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.gallery_examples import ASSIGNED, DELETED, NEW_PERSON, PEOPLE, PERSON
from facesearch.web.gallery_schemas import (
    AssignedFaces,
    DeletedFaces,
    NewPerson,
    OtherPeople,
    PeoplePage,
    PersonAnswer,
    PersonChange,
)
from facesearch.web.ids import FaceIds, PersonId
from facesearch.web.once import OnceJSON
from facesearch.web.options import Collection, Cursor, Limit
from facesearch.web.work import in_thread

_PEOPLE = "people"
_AWAY = (CollectionNotFound, DatabaseUnavailable)

router = APIRouter(prefix="/v1/people", responses=anywhere(), tags=["People"])


@router.get("/", include_in_schema=False)
@router.get(
    "",
    summary="List people",
    response_model=PeoplePage,
    responses=example(PEOPLE) | refused(InvalidParameter, *_AWAY),
)
async def people(
    request: Request,
    collection: Collection,
    name: Annotated[str | None, Query(description="Only who has this name.")] = None,
    limit: Limit = 100,
    at: Cursor = None,
) -> JSONResponse:
    """By rising id. `next` is the cursor of the following page, null at the end."""
    after = number_of(_PEOPLE, at, collection, name)

    def work(api: API) -> Page[Person]:
        known = api.collections.gallery(collection).people
        if name is None:
            return known.page(limit, after)
        found = known.named(name)
        return Page(() if found is None or (after or 0) >= found.id else (found,))

    page = await in_thread(request, work)
    following = cursor(_PEOPLE, page.next, collection, name)
    content = {"people": [answers.person(one) for one in page.items], "next": following}
    return JSONResponse(content)


@router.post("/", status_code=201, include_in_schema=False)
@router.post(
    "",
    status_code=201,
    summary="Make a person without faces",
    response_model=PersonAnswer,
    responses=example(NEW_PERSON, 201) | refused(InvalidParameter, TooLarge, *_AWAY, NameTaken, KeyReused),
)
async def add_person(
    request: Request, body: NewPerson, collection: Collection, repeatable: OnceJSON
) -> JSONResponse:
    """No two people of a collection have the same name. This one stays, also without a face."""
    made = await in_thread(
        request, lambda api: api.collections.gallery(collection).people.add(body.name, repeatable)
    )
    touched(request, *person_labels(made.id))
    where = f"?collection={quote(collection, safe='')}" if "collection" in request.query_params else ""
    return JSONResponse(answers.person(made), 201, {"Location": f"/v1/people/{made.id}{where}"})


@router.get(
    "/{person_id}",
    summary="Tell about a person",
    response_model=PersonAnswer,
    responses=example(PERSON) | refused(PersonNotFound, *_AWAY),
)
async def person(request: Request, person_id: PersonId, collection: Collection) -> JSONResponse:
    """The person's faces are `GET /v1/faces?person=` with this id."""
    found = await in_thread(request, lambda api: api.collections.gallery(collection).people.get(person_id))
    return JSONResponse(answers.person(found))


@router.patch(
    "/{person_id}",
    summary="Change a person's name or cover face",
    response_model=PersonAnswer,
    responses=example(PERSON)
    | refused(InvalidParameter, TooLarge, PersonNotFound, FaceNotFound, *_AWAY, NameTaken),
)
async def change_person(
    request: Request, person_id: PersonId, body: PersonChange, collection: Collection
) -> JSONResponse:
    """Both or none. Whose name another has can be merged with the other."""
    given = body.model_fields_set
    if not given:
        raise InvalidParameter("One of name and cover_face must be given.")
    asked(request, *person_labels(person_id))
    edit = PersonEdit(frozenset(given), body.name, body.cover_face)
    changed = await in_thread(
        request, lambda api: api.collections.gallery(collection).people.edit(person_id, edit)
    )
    touched(request, *person_labels(person_id))
    return JSONResponse(answers.person(changed))


@router.delete(
    "/{person_id}",
    summary="Erase a person, with or without the faces",
    response_model=DeletedFaces,
    responses=example(DELETED) | refused(InvalidParameter, PersonNotFound, *_AWAY, StorageFull),
)
async def delete_person(
    request: Request,
    person_id: PersonId,
    collection: Collection,
    faces: Annotated[
        Literal["keep", "delete"],
        Query(description="What becomes of the person's faces: nobody's, or erased too."),
    ] = "keep",
) -> JSONResponse:
    """Tells which faces were erased."""
    asked(request, *person_labels(person_id))

    def work(api: API) -> list[int]:
        known = api.collections.gallery(collection).people
        return known.delete(person_id, with_faces=faces == "delete")

    deleted = await in_thread(request, work)
    touched(request, *person_labels(person_id), *deleted)
    return JSONResponse({"deleted": deleted})


@router.post(
    "/{person_id}/merge",
    summary="Give a person all faces of other people, who are gone then",
    response_model=PersonAnswer,
    responses=example(PERSON) | refused(InvalidParameter, TooLarge, PersonNotFound, *_AWAY, KeyReused),
)
async def merge(
    request: Request, person_id: PersonId, body: OtherPeople, collection: Collection, repeatable: OnceJSON
) -> JSONResponse:
    """All of them or none. The person keeps the name, and a cover face that was chosen."""
    asked(request, *person_labels(person_id, *body.people))
    merged = await in_thread(
        request,
        lambda api: api.collections.gallery(collection).people.merge(person_id, body.people, repeatable),
    )
    touched(request, *person_labels(person_id, *body.people))
    return JSONResponse(answers.person(merged))


@router.post(
    "/{person_id}/faces",
    summary="Say that faces are a person's",
    response_model=AssignedFaces,
    responses=example(ASSIGNED) | refused(InvalidParameter, TooLarge, PersonNotFound, *_AWAY, KeyReused),
)
async def assign(
    request: Request, person_id: PersonId, body: FaceIds, collection: Collection, repeatable: OnceJSON
) -> JSONResponse:
    """Whosever they were. Those that are not there are left out."""
    asked(request, *person_labels(person_id), *body.faces)
    assigned = await in_thread(
        request,
        lambda api: api.collections.gallery(collection).people.assign(body.faces, person_id, repeatable),
    )
    if assigned:
        touched(request, *person_labels(person_id), *assigned)
    return JSONResponse({"assigned": assigned})
