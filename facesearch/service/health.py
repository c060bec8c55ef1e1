"""How the parts of the service are: asked side by side, and waited for no longer than a probe may take."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from facesearch.errors import DatabaseUnavailable, FacesearchError
from facesearch.interfaces import Health, ImageDatabase, ImageEncoder, WorkerPool
from facesearch.records import Figures, PartState, Readiness
from facesearch.service.galleries import Galleries

LIMIT_S = 2.0

OK, STALE, FAILED = "ok", "stale", "failed"
DATABASE = "database"


class _Asked:
    """One question that is being answered in a thread of its own."""

    def __init__(self, question: Callable[[], Any]) -> None:
        self.begun = time.monotonic()
        self.seconds: float | None = None
        self.value: Any = None
        self.error: Exception | None = None
        self._done = threading.Event()
        threading.Thread(target=self._answer, args=(question,), name="health", daemon=True).start()

    @property
    def is_open(self) -> bool:
        return not self._done.is_set()

    def wait(self, limit_s: float) -> None:
        """Wait until it has been open for so long, whoever asked it."""
        self._done.wait(max(0.0, self.begun + limit_s - time.monotonic()))

    def _answer(self, question: Callable[[], Any]) -> None:
        try:
            self.value = question()
        except Exception as error:
            self.error = error
        self.seconds = time.monotonic() - self.begun
        self._done.set()


class _Questions:
    """Asks each question once at a time: who asks meanwhile waits for the same answer.

    So a part that does not answer costs one thread, however often it is asked, and only those who ask first
    wait for it: probes do not queue up behind each other. Lives as long as its process; any thread may call
    it.
    """

    def __init__(self, questions: Mapping[str, Callable[[], Any]]) -> None:
        self._questions = questions
        self._open: dict[str, _Asked] = {}
        self._lock = threading.Lock()

    def ask(self, names: Iterable[str], limit_s: float) -> dict[str, _Asked]:
        asked = {name: self._begin(name) for name in names}
        for one in asked.values():
            one.wait(limit_s)
        return asked

    def _begin(self, name: str) -> _Asked:
        with self._lock:
            one = self._open.get(name)
            if one is None or not one.is_open:
                one = self._open[name] = _Asked(self._questions[name])
            return one


class PartsHealth(Health):
    """Lives as long as its process. Any thread may call it.

    Args:
        galleries: know the copies.
        jobs: how many jobs are queued and how many are running.
        answers_stale: whether this process would answer a search while the database is away.
        limit_s: how long a part is waited for.
    """

    def __init__(
        self,
        database: ImageDatabase,
        encoder: ImageEncoder,
        galleries: Galleries,
        pool: WorkerPool,
        jobs: Callable[[], tuple[int, int]],
        answers_stale: Callable[[], bool],
        limit_s: float = LIMIT_S,
    ) -> None:
        self._database = database
        self._galleries = galleries
        self._pool = pool
        self._answers_stale = answers_stale
        self._limit_s = limit_s
        self._parts = _Questions(
            {
                DATABASE: database.ping,
                "index": galleries.ping_index,
                "encoder": encoder.ping,
                "pool": pool.ping,
            }
        )
        self._figures = _Questions(
            {
                "faces": self._faces,
                "behind": galleries.changes_behind,
                "jobs": jobs,
            }
        )

    def ready(self) -> Readiness:
        asked = self._parts.ask(("database", "index", "encoder", "pool"), self._limit_s)
        parts = tuple(map(partial(_state, limit_s=self._limit_s), asked.keys(), asked.values()))
        failed = [part for part in parts if part.error is not None]
        if not failed:
            return Readiness(OK, parts)
        only_away = [part.name for part in failed] == [DATABASE] and _is_away(asked[DATABASE])
        return Readiness(STALE if only_away and self._answers_stale() else FAILED, parts)

    def figures(self) -> Figures:
        asked = self._figures.ask(("faces", "behind", "jobs"), self._limit_s)
        known = {name: None if one.is_open else one.value for name, one in asked.items()}
        queued, running = known["jobs"] or (None, None)
        faces = self._galleries.faces() if known["faces"] is None else known["faces"]
        return Figures(faces, known["behind"], queued, running)

    @property
    def pool_restarts(self) -> int:
        return self._pool.restarts

    def _faces(self) -> int:
        self._galleries.look_around()
        return self._galleries.faces()


def _is_away(asked: _Asked) -> bool:
    return asked.is_open or isinstance(asked.error, DatabaseUnavailable)


def _state(name: str, asked: _Asked, limit_s: float) -> PartState:
    if asked.is_open:
        seconds = time.monotonic() - asked.begun
        return PartState(name, seconds, "timed_out", f"It has not answered within {limit_s:g} seconds.")
    seconds = asked.seconds or 0.0
    if asked.error is None:
        return PartState(name, seconds)
    if isinstance(asked.error, FacesearchError):
        return PartState(name, seconds, asked.error.code, asked.error.message)
    unforeseen = f"It failed unforeseen: {type(asked.error).__name__}."
    return PartState(name, seconds, "internal", unforeseen)
