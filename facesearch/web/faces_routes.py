"""The faces of a collection: stored, listed, told, changed, shown and erased."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError

from facesearch.errors import (
    CollectionNotFound,
    DatabaseUnavailable,
    FaceNotFound,
    FaceRefused,
    InvalidParameter,
    KeyReused,
    ModelMismatch,
    NoFaceFound,
    PersonNotFound,
    SeveralFaces,
    StorageFull,
    TooLarge,
)
from facesearch.interfaces import API
from facesearch.records import EnrolmentTerms, FaceEdit, Metadata
from facesearch.web import gallery_answers as answers
from facesearch.web.callers import asked, caller_of, collection_of, touched
from facesearch.web.cursors import cursor, number_of
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.filters import Among, chosen
from facesearch.web.gallery_examples import DELETED, ENROLLED, FACE, FACES, UNASSIGNED
from facesearch.web.gallery_schemas import (
    DeletedFaces,
    EnrolledAnswer,
    FaceChange,
    FacesPage,
    MetadataBody,
    UnassignedFaces,
    V1Face,
)
from facesearch.web.ids import LARGEST, FaceId, FaceIds
from facesearch.web.once import Key, OnceJSON, UnneededKey, once
from facesearch.web.options import Collection, Cursor, Limit, WantedFaces
from facesearch.web.photos_routes import PHOTO_ERRORS, Photo, read
from facesearch.web.work import in_thread

_FACES = "faces"
_COLLECTION = "collection"
_AWAY = (CollectionNotFound, DatabaseUnavailable)
_METADATA: TypeAdapter[dict[str, Any]] = TypeAdapter(MetadataBody)

Which = Literal["largest", "all", "single"]
Again = Literal["skip", "store"]

router = APIRouter(prefix="/v1/faces", responses=anywhere(), tags=["Faces"])


@router.post("/", include_in_schema=False)
@router.post(
    "",
    summary="Store the faces of a photo",
    response_model=EnrolledAnswer,
    responses=example(ENROLLED)
    | refused(
        *PHOTO_ERRORS,
        *_AWAY,
        PersonNotFound,
        ModelMismatch,
        NoFaceFound,
        SeveralFaces,
        FaceRefused,
        KeyReused,
    ),
)
async def add_faces(
    request: Request,
    file: Photo,
    collection: Collection,
    wanted: WantedFaces,
    person_name: Annotated[
        str | None,
        Form(
            description="Whose they are; who is not there yet is made. Empty: nobody's. "
            "Without it the photo's name says: `Aaron_Eckhart_0001.jpg` is Aaron Eckhart."
        ),
    ] = None,
    person_id: Annotated[
        int | None, Form(ge=1, le=LARGEST, description="Somebody who is there, instead of a name.")
    ] = None,
    external_id: Annotated[str | None, Form(description="What the face is called elsewhere.")] = None,
    metadata: Annotated[
        str | None,
        Form(description="A JSON object of texts, numbers and booleans.", examples=['{"site": "Paris"}']),
    ] = None,
    faces_field: Annotated[
        Which | None, Form(alias="faces", description="Counts where the query names none.")
    ] = None,
    duplicates_field: Annotated[
        Again | None, Form(alias="duplicates", description="Counts where the query names none.")
    ] = None,
    collection_field: Annotated[
        str | None, Form(alias="collection", description="Counts where the query names none.")
    ] = None,
    faces: Annotated[
        Which | None,
        Query(
            description="Which of the photo: `largest`, which is the default, `all`, or the one: `single`."
        ),
    ] = None,
    duplicates: Annotated[
        Again | None,
        Query(description="What becomes of a photo whose bytes are stored already; by default `skip`."),
    ] = None,
    key: Key = None,
) -> JSONResponse:
    """A photo that has several faces is refused with `faces=single`."""
    fields = await _fields(request)
    if _COLLECTION in fields and _COLLECTION not in request.query_params:
        collection = collection_of(caller_of(request), fields[_COLLECTION])
    if person_id is not None and "person_name" in fields:
        raise InvalidParameter(
            "person_name and person_id are given; one of them counts.", ["person_name", "person_id"]
        )
    which = faces or faces_field or "largest"
    terms = EnrolmentTerms(
        person_name=fields.get("person_name"),  # FastAPI takes an empty field for none
        person_id=person_id,
        external_id=external_id,
        metadata=_metadata(metadata),
        faces=which,
        skip_duplicates=(duplicates or duplicates_field or "skip") == "skip",
        wanted=replace(wanted, only_largest=which == "largest"),
    )

    def work(api: API) -> Any:
        photo = read(file)
        digest = hashlib.sha256(photo.data).hexdigest()
        repeatable = once(request, key, photo.file_name, digest, fields)
        return api.collections.gallery(collection).add_faces(photo, terms, repeatable)

    enrolled = await in_thread(request, work)
    if enrolled.duplicate_of is None or not terms.skip_duplicates:
        touched(request, *(face.id for face in enrolled.faces))
    return JSONResponse(answers.enrolled(enrolled))


@router.get("/", include_in_schema=False)
@router.get(
    "",
    summary="List faces",
    response_model=FacesPage,
    responses=example(FACES) | refused(InvalidParameter, *_AWAY),
)
async def faces(
    request: Request, collection: Collection, among: Among, limit: Limit = 100, at: Cursor = None
) -> JSONResponse:
    """By rising id. `next` is the cursor of the following page, null at the end."""
    of = collection, *chosen(among)
    after = number_of(_FACES, at, *of)
    page = await in_thread(
        request, lambda api: api.collections.gallery(collection).faces(among, limit, after)
    )
    content = {"faces": [answers.face(face) for face in page.items], "next": cursor(_FACES, page.next, *of)}
    return JSONResponse(content)


@router.post(
    "/delete",
    summary="Erase faces",
    response_model=DeletedFaces,
    responses=example(DELETED) | refused(InvalidParameter, TooLarge, *_AWAY, StorageFull),
)
async def delete_faces(
    request: Request, body: FaceIds, collection: Collection, _: UnneededKey = None
) -> JSONResponse:
    """Nothing of them is left, in the database, in files, in reports. Tells which were there."""
    return JSONResponse({"deleted": await _erased(request, collection, body.faces)})


@router.post(
    "/unassign",
    summary="Say that faces are nobody's",
    response_model=UnassignedFaces,
    responses=example(UNASSIGNED) | refused(InvalidParameter, TooLarge, *_AWAY, KeyReused),
)
async def unassign(
    request: Request, body: FaceIds, collection: Collection, repeatable: OnceJSON
) -> JSONResponse:
    """Those that are not there are left out. A person that came with faces goes with the last one."""
    asked(request, *body.faces)

    def work(api: API) -> list[int]:
        return api.collections.gallery(collection).people.assign(body.faces, None, repeatable)

    unassigned = await in_thread(request, work)
    touched(request, *unassigned)
    return JSONResponse({"unassigned": unassigned})


@router.get(
    "/{face_id}",
    summary="Tell what is stored about a face",
    response_model=V1Face,
    responses=example(FACE) | refused(FaceNotFound, *_AWAY),
)
async def face(request: Request, face_id: FaceId, collection: Collection) -> JSONResponse:
    """Of this collection's faces."""
    found = await in_thread(request, lambda api: api.collections.gallery(collection).face(face_id))
    return JSONResponse(answers.face(found))


@router.patch(
    "/{face_id}",
    summary="Change a face's person, external id or metadata",
    response_model=V1Face,
    responses=example(FACE) | refused(InvalidParameter, TooLarge, FaceNotFound, PersonNotFound, *_AWAY),
)
async def change_face(
    request: Request, face_id: FaceId, body: FaceChange, collection: Collection
) -> JSONResponse:
    """All of it or none. What is not named stays as it is; metadata is replaced as a whole."""
    given = body.model_fields_set
    if not given:
        raise InvalidParameter("One of person_id, external_id and metadata must be given.")
    asked(request, face_id)
    edit = FaceEdit(frozenset(given), body.external_id, body.metadata, body.person_id)
    changed = await in_thread(
        request, lambda api: api.collections.gallery(collection).edit_face(face_id, edit)
    )
    touched(request, face_id)
    return JSONResponse(answers.face(changed))


@router.delete(
    "/{face_id}",
    summary="Erase a face",
    response_model=DeletedFaces,
    responses=example(DELETED) | refused(FaceNotFound, *_AWAY, StorageFull),
)
async def delete_face(request: Request, face_id: FaceId, collection: Collection) -> JSONResponse:
    """Nothing of it is left, in the database, in files, in reports."""
    deleted = await _erased(request, collection, [face_id])
    if not deleted:
        raise FaceNotFound
    return JSONResponse({"deleted": deleted})


async def _erased(request: Request, collection: str, ids: list[int]) -> list[int]:
    asked(request, *ids)
    erased = await in_thread(request, lambda api: api.collections.gallery(collection).delete_faces(ids))
    touched(request, *erased)
    return erased


async def _fields(request: Request) -> Mapping[str, str]:
    """The texts of a form that has been read and checked before."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def _metadata(text: str | None) -> Metadata:
    if text is None:
        return {}
    try:
        return _METADATA.validate_python(json.loads(text))
    except (ValidationError, ValueError, RecursionError):
        raise InvalidParameter(
            "metadata is no JSON object of texts, finite numbers and booleans.", ["metadata"]
        ) from None
