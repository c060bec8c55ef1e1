"""A fake of how the parts are, for tests of the web."""

from facesearch.interfaces import Health
from facesearch.records import Figures, PartState, Readiness

PARTS = ("database", "index", "encoder", "pool")


class FakeHealth(Health):
    """Answers what a test has put into it."""

    def __init__(self) -> None:
        self.readiness = Readiness("ok", tuple(PartState(name, 0.001) for name in PARTS))
        self.counted = Figures(faces=1234, changes_behind=2, jobs_queued=3, jobs_running=1)
        self.restarts = 0
        self.asked = 0

    def ready(self) -> Readiness:
        self.asked += 1
        return self.readiness

    def figures(self) -> Figures:
        self.asked += 1
        return self.counted

    @property
    def pool_restarts(self) -> int:
        return self.restarts
