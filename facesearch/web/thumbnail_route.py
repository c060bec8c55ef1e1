"""A face's picture, where one is kept."""

import hashlib

from fastapi import APIRouter, Request
from fastapi.responses import Response

from facesearch.errors import CollectionNotFound, CropNotFound, DatabaseUnavailable, FaceNotFound
from facesearch.records import Crop
from facesearch.web.examples import anywhere, refused, shown_picture
from facesearch.web.ids import FaceId
from facesearch.web.options import Collection
from facesearch.web.work import in_thread

_KINDS = ("image/jpeg", "image/webp")
_ERRORS = (FaceNotFound, CropNotFound, CollectionNotFound, DatabaseUnavailable)
_UNKNOWN = "application/octet-stream"

router = APIRouter(prefix="/v1/faces", responses=anywhere(), tags=["Faces"])


@router.get(
    "/{face_id}/thumbnail",
    summary="Show a face",
    response_class=Response,
    responses=shown_picture(*_KINDS) | refused(*_ERRORS),
)
async def thumbnail(request: Request, face_id: FaceId, collection: Collection) -> Response:
    """Upright, with some of its surroundings; kept only where the configuration says `crops.keep_crops`.

    Whoever keeps a copy asks again before it is shown, with `If-None-Match`: the face may have been erased.
    """
    crop = await in_thread(request, lambda api: api.collections.gallery(collection).thumbnail(face_id))
    return _answer(crop, request.headers.get("If-None-Match", ""))


def _answer(crop: Crop, known: str) -> Response:
    tag = f'"{hashlib.sha256(crop.data).hexdigest()[:32]}"'
    headers = {
        "Cache-Control": "private, no-cache",
        "ETag": tag,
        "Vary": "X-API-Key, Authorization",
        "X-Content-Type-Options": "nosniff",
    }
    if tag in (one.strip().removeprefix("W/") for one in known.split(",")):
        return Response(status_code=304, headers=headers)
    kind = crop.media_type if crop.media_type in _KINDS else _UNKNOWN
    return Response(crop.data, media_type=kind, headers=headers)
