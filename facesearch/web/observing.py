"""What makes an application tell of itself: its log, its metrics and its spans."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI

from facesearch.config import Settings
from facesearch.logs import LogSetup
from facesearch.web.metrics import Metrics
from facesearch.web.spans import Spans

_LOOK_EVERY_S = 5.0
_PROBE_THREADS = 4


@asynccontextmanager
async def observing(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Have `app.state` what Observed and the routes of health need, and the log its form, meanwhile.

    Raises:
        InvalidConfig: spans are wanted, and their packages are missing.
    """
    log = LogSetup(settings.log.format, settings.log.level)
    log.begin()
    spans = None
    try:
        app.state.probe_threads = anyio.CapacityLimiter(_PROBE_THREADS)
        app.state.metrics = Metrics()
        app.state.spans = spans = Spans() if settings.log.opentelemetry else None
        yield
    finally:
        if spans is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(spans.close)
        log.end()


@asynccontextmanager
async def counting_restarts(metrics: Metrics, restarts: Callable[[], int]) -> AsyncIterator[None]:
    """Count the pool's restarts meanwhile, also where no request comes by."""

    async def look() -> None:
        while True:
            metrics.note_pool_restarts(restarts())
            await anyio.sleep(_LOOK_EVERY_S)

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        yield
        group.cancel_scope.cancel()
