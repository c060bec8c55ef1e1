"""A fake of who may use the service, for tests of the web."""

from facesearch.errors import FacesearchError, KeyMissing, KeyRefused
from facesearch.interfaces import Access
from facesearch.records import Caller, Deed


class FakeAccess(Access):
    """Knows callers by their keys; remembers what it was asked and told."""

    def __init__(self) -> None:
        self.callers: dict[str, Caller] = {}
        self.asked: list[str | None] = []
        self.deeds: list[Deed] = []
        self.error: FacesearchError | None = None

    def admit(self, key: str | None) -> Caller | None:
        self.asked.append(key)
        if self.error is not None:
            raise self.error
        if not self.callers:
            return None
        if key is None:
            raise KeyMissing
        if key not in self.callers:
            raise KeyRefused
        return self.callers[key]

    def record(self, deed: Deed) -> None:
        self.deeds.append(deed)

    def close(self) -> None:
        """There is nothing to release."""
