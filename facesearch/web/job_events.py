"""A job's progress as server-sent events."""

import time
from collections.abc import AsyncIterator

import anyio
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from facesearch.errors import DatabaseUnavailable, JobNotFound, Unavailable
from facesearch.records import Job
from facesearch.web import answers
from facesearch.web.in_flight import Places
from facesearch.web.work import JobWatch

LONGEST_S = 3600.0
# What a browser's EventSource, which connects again after every end, then says that it has seen last.
END_ID = "end"

_LOOK_S = 0.5
_QUIET_S = 14.0
_ASK_S = 0.5


class EventStream(EventSourceResponse):
    """The answer that streams a job's events. Lives as long as one request.

    Args:
        places: of which it takes one for so long.
        job: as it stood when the request came.
    """

    def __init__(self, watch: JobWatch, job: Job, places: Places) -> None:
        # Proxies that gather an answer before they hand it on would keep the events back.
        super().__init__(
            _events(watch, job), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._places:
            await super().__call__(scope, receive, send)


async def _events(watch: JobWatch, job: Job) -> AsyncIterator[bytes]:
    """Yield `progress` whenever the job has changed, a comment where nothing else came for long, then `end`.

    `end` means that the job is over. Where the process is asked to end, or the stream has been open for
    LONGEST_S, it closes without: a client that connects again, as browsers do, goes on with it.
    """
    opened = spoken = time.monotonic()
    yield _event("progress", job)
    while not job.is_over and time.monotonic() - opened < LONGEST_S:
        await anyio.sleep(_LOOK_S)
        before, comment = job, "nothing new"
        try:
            with anyio.move_on_after(max(spoken + _QUIET_S - time.monotonic(), _ASK_S)):
                job = await watch.ask(lambda api: api.imports.get(watch.job_id))
        except JobNotFound:
            return
        except DatabaseUnavailable as error:
            comment = error.message
        except Unavailable as error:
            yield format_sse_event(comment=error.message)
            return
        if job != before:
            yield _event("progress", job)
        elif time.monotonic() - spoken >= _QUIET_S:
            yield format_sse_event(comment=comment)
        else:
            continue
        spoken = time.monotonic()
    if job.is_over:
        yield _event("end", job, END_ID)


def _event(name: str, job: Job, event_id: str | None = None) -> bytes:
    return format_sse_event(event=name, data_str=answers.text(answers.job(job)), id=event_id)
