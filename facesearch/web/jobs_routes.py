"""Jobs: how they go on, what became of their files, and their end before its time."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from facesearch.errors import (
    Busy,
    CollectionNotFound,
    DatabaseUnavailable,
    InvalidParameter,
    JobNotFound,
    JobOver,
)
from facesearch.web import answers
from facesearch.web.callers import asked, caller_of, collection_of, is_restricted, touched
from facesearch.web.cursors import cursor, number_of
from facesearch.web.examples import ANSWERS, anywhere, refused, shown, shown_text
from facesearch.web.job_events import END_ID, EventStream
from facesearch.web.job_report import table
from facesearch.web.options import Cursor, Limit
from facesearch.web.schemas import FilesPage, JobAnswer, JobsPage
from facesearch.web.work import JobWatch, in_thread

_JOBS, _FILES = "jobs", "files"
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

OfCollection = Annotated[str | None, Query(alias="collection", description="Only jobs of this collection.")]
Status = Annotated[
    Literal["inserted", "no_face", "duplicate", "failed", "skipped"] | None,
    Query(description="Only files that ended so."),
]

_JOB_ERRORS = (JobNotFound, DatabaseUnavailable)
_TABLE = "path,status,id,person_name,reason,duplicate_of,faces\r\nAaron_Eckhart_0002.jpg,no_face,,,,,\r\n"
_EVENTS = f"event: end\ndata: {answers.text(ANSWERS['job'] | {'state': 'done'})}\n\n"

router = APIRouter(prefix="/v1/jobs", responses=anywhere(), tags=["Imports and jobs"])


async def _own(request: Request, job_id: Annotated[str, Path(description="The job's id.")]) -> str:
    # No job has such an id; the database need not be asked, and may not even take it.
    if not _ID.fullmatch(job_id):
        raise JobNotFound
    caller = caller_of(request)
    if is_restricted(caller):
        job = await in_thread(request, lambda api: api.imports.get(job_id))
        if job.options.collection != caller.collection:
            raise JobNotFound
    return job_id


JobId = Annotated[str, Depends(_own)]


@router.get(
    "",
    summary="List jobs, the newest first",
    response_model=JobsPage,
    responses=shown("jobs") | refused(InvalidParameter, CollectionNotFound, DatabaseUnavailable),
)
async def jobs(
    request: Request, name: OfCollection = None, limit: Limit = 100, at: Cursor = None
) -> JSONResponse:
    """`next` is the cursor of the following page, null at the end.

    Those of all collections, where the key is for all and none is named.
    """
    caller = caller_of(request)
    collection = collection_of(caller, name) if name is not None or is_restricted(caller) else None
    before = number_of(_JOBS, at, collection)
    page = await in_thread(request, lambda api: api.imports.jobs(limit, before, collection))
    content = {"jobs": [answers.job(job) for job in page.items], "next": cursor(_JOBS, page.next, collection)}
    return JSONResponse(content)


@router.get(
    "/{job_id}",
    summary="Tell how a job goes on",
    response_model=JobAnswer,
    responses=shown("job") | refused(*_JOB_ERRORS),
)
async def job(request: Request, job_id: JobId) -> JSONResponse:
    """`rate` is in files per second of work, `left_s` in seconds at that rate."""
    return JSONResponse(answers.job(await in_thread(request, lambda api: api.imports.get(job_id))))


@router.delete(
    "/{job_id}",
    summary="Cancel a job",
    response_model=JobAnswer,
    responses=shown("cancelled") | refused(*_JOB_ERRORS, JobOver),
)
async def cancel(request: Request, job_id: JobId) -> JSONResponse:
    """What it has stored so far stays. A job that has ended is 409."""
    asked(request, job_id)
    cancelled = await in_thread(request, lambda api: api.imports.cancel(job_id))
    touched(request, job_id)
    return JSONResponse(answers.job(cancelled))


@router.get(
    "/{job_id}/files",
    summary="Tell what became of a job's files",
    response_model=FilesPage,
    responses=shown("files") | refused(InvalidParameter, *_JOB_ERRORS),
)
async def files(
    request: Request, job_id: JobId, limit: Limit = 100, at: Cursor = None, status: Status = None
) -> JSONResponse:
    """In the archive's order, those that are done with so far."""
    after = number_of(_FILES, at, job_id, status)
    page = await in_thread(request, lambda api: api.imports.files(job_id, limit, after, status))
    following = cursor(_FILES, page.next, job_id, status)
    content = {"files": [answers.file(report) for report in page.items], "next": following}
    return JSONResponse(content)


@router.get(
    "/{job_id}/report.csv",
    summary="Tell the same as a table",
    response_class=Response,
    responses=shown_text("text/csv", _TABLE) | refused(*_JOB_ERRORS),
)
async def report(request: Request, job_id: JobId) -> StreamingResponse:
    """UTF-8. Text that a spreadsheet program could take for a formula has an apostrophe before it."""
    watch = JobWatch(request, job_id, request.app.state.threads)
    first = await watch.first_files()
    headers = {"Content-Disposition": f'attachment; filename="import-{job_id}.csv"'}
    return StreamingResponse(table(watch, first), headers=headers, media_type="text/csv")


@router.get(
    "/{job_id}/events",
    summary="Follow a job as server-sent events",
    response_class=Response,
    responses=shown_text("text/event-stream", _EVENTS)
    | refused(*_JOB_ERRORS, Busy)
    | {204: {"description": "The client has seen the end: its `Last-Event-ID` says so."}},
)
async def events(request: Request, job_id: JobId) -> Response:
    """`progress` whenever the job has changed, and `end` once it is over; the data is the job.

    A stream that closes without `end` may be opened again.
    """
    state = request.app.state
    state.streams.refuse_if_full()
    job = await in_thread(request, lambda api: api.imports.get(job_id))
    if job.is_over and request.headers.get("Last-Event-ID") == END_ID:
        return Response(status_code=204)
    return EventStream(JobWatch(request, job_id, state.stream_threads), job, state.streams)
