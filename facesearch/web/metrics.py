"""What the service has done, in Prometheus' text form.

Server processes of one host write into files of the folder that PROMETHEUS_MULTIPROC_DIR names, where it is
set when this module is loaded; whichever of them is asked adds all up. gunicorn.conf.py makes that folder.
Without it, as under plain uvicorn, a process tells of itself alone.
"""

import os
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from facesearch import __version__
from facesearch.records import Figures
from facesearch.timings import STAGES

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_IS_SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ

# From a look at a database in memory to a photo with hundreds of faces.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts what this process does. Lives as long as the application; any thread may call it.

    Labels take few values: a route is a template, a method and an error code one of those that are known.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "facesearch_requests",
            "Requests that were answered, by the route's template.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._request_s = Histogram(
            "facesearch_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._stage_s = Histogram(
            "facesearch_stage_seconds",
            "Time of a request in one stage, without the stages inside it.",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            "facesearch_errors",
            "Requests that were answered with an error, by its code.",
            ["code"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "facesearch_requests_in_flight",
            "Requests that are being worked on.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._pool_restarts = Counter(
            "facesearch_pool_restarts",
            "Times that worker processes were lost or stopped, and replaced.",
            registry=registry,
        )
        self._restarts_told = 0
        for stage in STAGES:
            self._stage_s.labels(stage)

    def note_request(self, method: str, route: str, status: int, seconds: float, code: str) -> None:
        """Count a request that has ended; `code` is its error's, "" where it has none."""
        self._requests.labels(method, route, status).inc()
        self._request_s.labels(method, route).observe(seconds)
        if code:
            self._errors.labels(code).inc()

    def note_stages(self, seconds: dict[str, float]) -> None:
        """Count the stages that a request went through."""
        for stage, took in seconds.items():
            self._stage_s.labels(stage).observe(took)

    def note_pool_restarts(self, restarts: int) -> None:
        """Count restarts of this process's pool, of which there have been so many in all by now."""
        self._pool_restarts.inc(max(0, restarts - self._restarts_told))
        self._restarts_told = restarts

    def text(self, figures: Figures) -> bytes:
        """Everything as text, what all processes have counted and what was found out just now."""
        counted = self._registry
        if _IS_SHARED:
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        found = CollectorRegistry()
        found.register(_Found(figures))
        return generate_latest(counted) + generate_latest(found)


class _Found(Collector):
    """What is true of the whole service, and so is asked for instead of counted."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        yield InfoMetricFamily("facesearch", "The service.", value={"version": __version__})
        yield from _gauge(
            "facesearch_faces", "Faces that this host's copy of the gallery holds.", figures.faces
        )
        yield from _gauge(
            "facesearch_index_changes_behind",
            "Changes of the database that this host's copy has not taken over; the next search does.",
            figures.changes_behind,
        )
        yield from _gauge(
            "facesearch_database_answers",
            "1 where the database has told its newest change, 0 where it is away.",
            int(figures.changes_behind is not None),
        )
        jobs = GaugeMetricFamily("facesearch_jobs", "Imports of this host by state.", labels=["state"])
        if figures.jobs_queued is not None and figures.jobs_running is not None:
            jobs.add_metric(["queued"], figures.jobs_queued)
            jobs.add_metric(["running"], figures.jobs_running)
        yield jobs


def _gauge(name: str, says: str, value: int | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, says, value=value)
