"""Models: what vectors the gallery holds, and what their distances mean."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from facesearch.errors import Busy, ModelMismatch, ModelNotFound
from facesearch.web import photos_answers as answers
from facesearch.web.examples import anywhere, example, refused
from facesearch.web.photos_examples import MODEL, MODELS
from facesearch.web.photos_schemas import ModelAnswer, ModelsAnswer
from facesearch.web.work import in_thread

router = APIRouter(prefix="/v1/models", responses=anywhere())


@router.get("/", include_in_schema=False)
@router.get(
    "",
    summary="List the gallery's model, and the configured one where that is another",
    response_model=ModelsAnswer,
    responses=example(MODELS) | refused(ModelMismatch, Busy),
)
async def models(request: Request) -> JSONResponse:
    """While the database is away, what it alone knows is null."""
    known = await in_thread(request, lambda api: api.models())
    return JSONResponse({"models": [answers.model(one) for one in known]})


@router.get(
    "/{model_id}",
    summary="Tell what a model's distances mean, and how that was measured",
    response_model=ModelAnswer,
    responses=example(MODEL) | refused(ModelNotFound, ModelMismatch, Busy),
)
async def model(
    request: Request, model_id: Annotated[str, Path(description="The model's id.")]
) -> JSONResponse:
    """The gallery's, the configured one, or the other kind of vectors that its networks give."""
    return JSONResponse(answers.model(await in_thread(request, lambda api: api.model(model_id))))
