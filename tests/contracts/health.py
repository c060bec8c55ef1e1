"""What every Health does. A subclass brings the fixtures `api`, `database` and `photos` of APIContract."""

from facesearch.interfaces import API
from tests.contracts.api import Photos

PARTS = ["database", "index", "encoder", "pool"]


class HealthContract:
    def test_parts_that_work_are_ready(self, api: API) -> None:
        readiness = api.health.ready()
        assert readiness.state == "ok"
        assert [part.name for part in readiness.parts] == PARTS
        assert [part.error_code for part in readiness.parts] == [None] * 4
        assert all(0 <= part.seconds < 60 for part in readiness.parts)

    def test_faces_and_the_distance_to_the_database_are_counted(self, api: API, photos: Photos) -> None:
        empty = api.health.figures()
        assert (empty.faces, empty.changes_behind) == (0, 0)
        api.add_face(photos.person, "Ada_0001.png")
        api.add_face(photos.other, "Bob_0001.png")
        behind = api.health.figures()
        assert (behind.faces, behind.changes_behind) == (0, 2)
        api.search_faces(photos.person, "a.png", 1, None)
        level = api.health.figures()
        assert (level.faces, level.changes_behind) == (2, 0)

    def test_without_imports_none_wait_and_none_run(self, api: API) -> None:
        figures = api.health.figures()
        assert (figures.jobs_queued, figures.jobs_running) == (0, 0)

    def test_a_pool_that_lost_nothing_was_not_replaced(self, api: API) -> None:
        assert api.health.pool_restarts == 0
