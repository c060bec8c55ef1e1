"""Models: what vectors the gallery holds, and what their distances mean."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from facesearch.errors import Busy, ModelMismatch, ModelNotFound
from facesearch.records import DEFAULT_COLLECTION, ModelInfo
from facesearch.web import photos_answers as answers
from facesearch.web.callers import caller_of, is_restricted
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.photos_examples import MODEL, MODELS
from facesearch.web.photos_schemas import ModelAnswer, ModelsAnswer
from facesearch.web.work import in_thread

router = APIRouter(prefix="/v1/models", responses=anywhere(), tags=["Models"])


@router.get("/", include_in_schema=False)
@router.get(
    "",
    summary="List the models of the collections, and the configured one",
    response_model=ModelsAnswer,
    responses=example(MODELS) | refused(ModelMismatch, Busy),
)
async def models(request: Request) -> JSONResponse:
    """The default collection's first. While the database is away, what it alone knows is null."""
    known = await in_thread(request, lambda api: api.models())
    return JSONResponse({"models": [answers.model(_for_caller(request, one)) for one in known]})


@router.get(
    "/{model_id}",
    summary="Tell what a model's distances mean, and how that was measured",
    response_model=ModelAnswer,
    responses=example(MODEL) | refused(ModelNotFound, ModelMismatch, Busy),
)
async def model(
    request: Request, model_id: Annotated[str, Path(description="The model's id.")]
) -> JSONResponse:
    """Any that the service makes vectors of: those of collections, the configured one, others installed."""
    found = await in_thread(request, lambda api: api.model(model_id))
    return JSONResponse(answers.model(_for_caller(request, found)))


def _for_caller(request: Request, known: ModelInfo) -> ModelInfo:
    # How many faces the default collection has is not for the key of another one.
    caller = caller_of(request)
    is_foreign = is_restricted(caller) and caller.collection != DEFAULT_COLLECTION
    return replace(known, expected=None) if is_foreign else known
