"""What commands ask of the database itself, with no service between."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from facesearch.bootstrap.deeds import note_deed
from facesearch.bootstrap.service import IMPORTS, INDEX, MODELS, build_api
from facesearch.config import Settings
from facesearch.databases import (
    SQLImageDatabase,
    open_collection_store,
    open_image_database,
    open_job_store,
)
from facesearch.databases.factory import SQLITE_FILE
from facesearch.databases.tables import SCHEMA_VERSION
from facesearch.errors import NotAllowed
from facesearch.interfaces import API, ImageDatabase
from facesearch.records import (
    DEFAULT_COLLECTION,
    EVERY_FACE,
    LOCAL,
    AutoTolerance,
    FaceProbe,
    FaceQuery,
    FileReport,
    PhotoFile,
    PhotoProbe,
    Probe,
    SearchTerms,
    Wanted,
)
from facesearch.service.intake.waiting_room import WaitingRoom
from facesearch.web import answers, gallery_answers, photos_answers
from facesearch.web.callers import collection_of
from facesearch.web.filters import conditions_of

_REPORTS_A_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search is to find.

    Args:
        tolerance: a distance, or `auto`.
        combine: how several photos of one person are one probe, None for one photo.
        conditions: a filter, as JSON.
    """

    k: int
    tolerance: float | str | None = None
    false_alarm_rate: float | None = None
    collection: str = DEFAULT_COLLECTION
    by_person: bool = False
    conditions: str | None = None
    combine: str | None = None


@contextmanager
def reading_api(settings: Settings) -> Iterator[API]:
    """The service's parts in this process, on a database that is only read.

    Raises:
        NotAllowed: what is kept beside the database is another user's.
    """
    refuse_other_user(settings)
    with closing(build_api(settings, read_only=True)) as api:
        yield api


def looking_api(settings: Settings) -> API:
    """The service's parts in this process, for whoever only looks up what the database holds."""
    return build_api(settings, read_only=True)


def changing_api(settings: Settings) -> API:
    """The service's parts in this process, for changes; makes the tables where there are none.

    Raises:
        Conflict: the tables are of an older version; nothing was migrated.
        NotAllowed: what is kept beside the database is another user's.
    """
    refuse_other_user(settings)
    refuse_older_tables(settings)
    return build_api(settings)


def search_photos(settings: Settings, photos: Sequence[tuple[str, bytes]], asked: Asked) -> dict[str, Any]:
    """Search for the faces of a photo, or of several; the answer is that of POST /v1/search.

    Args:
        photos: their names and their bytes.

    Raises:
        FacesearchError: as Gallery.search, and as `reading_api`.
    """
    files = tuple(PhotoFile(*photo) for photo in photos)
    probe = PhotoProbe(files, Wanted(only_largest=asked.combine is not None), asked.combine)
    return _searched(settings, probe, asked)


def search_face(settings: Settings, face_id: int, asked: Asked) -> dict[str, Any]:
    """Search with a stored face; the answer is that of POST /v1/faces/{id}/search.

    Raises:
        FacesearchError: as Gallery.search, and as `reading_api`.
    """
    return _searched(settings, FaceProbe(face_id), asked)


def compare_photos(
    settings: Settings,
    source: tuple[str, bytes],
    target: tuple[str, bytes],
    tolerance: float | str | None,
    largest: bool,
    collection: str = DEFAULT_COLLECTION,
) -> dict[str, Any]:
    """Compare the faces of two photos; the answer is that of POST /v1/compare.

    Args:
        source, target: names and bytes.
        tolerance: a distance, or `auto`.
        largest: whether only the largest face of each counts.
        collection: whose model counts.

    Raises:
        FacesearchError: as API.compare, and as `reading_api`.
    """
    with reading_api(settings) as api:
        found = api.compare(
            PhotoFile(*source),
            PhotoFile(*target),
            _wanted(tolerance, None),
            Wanted(max_faces=1 if largest else None),
            collection_of(LOCAL, collection),
        )
        return photos_answers.compared(found)


class StoredJobs:
    """Jobs as the database knows them, in the shapes of /v1/jobs. Lives for one command.

    All but `cancel` only read. Every method raises DatabaseUnavailable or Conflict where there is no database
    yet, or its tables are not of this version.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def jobs(self, limit: int, collection: str | None) -> list[dict[str, Any]]:
        """Return jobs, the newest first, of all collections or of one, or raise CollectionNotFound."""
        with self._reading() as database:
            number = None
            if collection is not None:
                number = open_collection_store(database).get(collection_of(LOCAL, collection)).number
            return [answers.job(job) for job in open_job_store(database).jobs(limit, None, number).items]

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job, or raise JobNotFound."""
        with self._reading() as database:
            return answers.job(open_job_store(database).get(job_id))

    def files(self, job_id: str) -> Iterator[FileReport]:
        """Yield what became of each file of a job, or raise JobNotFound."""
        with self._reading() as database:
            store = open_job_store(database)
            page = store.files(job_id, _REPORTS_A_PAGE)
            yield from page.items
            while page.next is not None:
                page = store.files(job_id, _REPORTS_A_PAGE, page.next)
                yield from page.items

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job, or raise JobNotFound or JobOver; a service that works on it stops within seconds."""
        self.job(job_id)  # before the database is opened for writing: its tables may not be migrated
        with closing(open_image_database(self._settings)) as database:
            cancelled = open_job_store(database).cancel(job_id)
            note_deed(self._settings, database, "jobs cancel", job_id)
        WaitingRoom(self._settings.data_dir / IMPORTS).forget(job_id)
        return answers.job(cancelled)

    @contextmanager
    def _reading(self) -> Iterator[ImageDatabase]:
        with closing(open_image_database(self._settings, read_only=True)) as database:
            yield database


def tables_version(settings: Settings) -> tuple[str | None, str]:
    """Return the version of the tables, None where there are none, and the one that this program needs.

    Raises:
        ForeignTable, Conflict: they are another program's, or a newer version's.
    """
    embedded = settings.database.engine == "sqlite"
    if embedded and not (settings.data_dir / SQLITE_FILE).exists():
        return None, SCHEMA_VERSION
    with closing(open_image_database(settings, read_only=True)) as database:
        return cast(SQLImageDatabase, database).checked_version(), SCHEMA_VERSION


def refuse_older_tables(settings: Settings) -> None:
    """Refuse to change a database that this program would have to migrate first; none at all is good.

    Raises:
        Conflict: the tables are of another version; nothing was migrated.
        ForeignTable: they are another program's.
    """
    version, needed = tables_version(settings)
    if version is not None and version != needed:
        with closing(open_image_database(settings, read_only=True)) as database:
            database.prepare()  # says what to do


def migrate_tables(settings: Settings) -> None:
    """Make the tables, or bring them to this program's version.

    Raises:
        ForeignTable, Conflict: they are another program's, or a newer version's.
    """
    with closing(open_image_database(settings)) as database:
        database.prepare()


def _searched(settings: Settings, probe: Probe, asked: Asked) -> dict[str, Any]:
    name = collection_of(LOCAL, asked.collection)
    query = EVERY_FACE if asked.conditions is None else FaceQuery(conditions=conditions_of(asked.conditions))
    tolerance = _wanted(asked.tolerance, asked.false_alarm_rate)
    with reading_api(settings) as api:
        terms = SearchTerms(asked.k, tolerance, query, asked.by_person)
        return gallery_answers.searched(api.collections.gallery(name).search(probe, terms), name)


def _wanted(tolerance: float | str | None, false_alarm_rate: float | None) -> float | AutoTolerance | None:
    if tolerance == "auto":
        return AutoTolerance() if false_alarm_rate is None else AutoTolerance(false_alarm_rate)
    return None if tolerance is None else float(tolerance)


def refuse_other_user(settings: Settings) -> None:
    """Refuse to write what the service could not read or replace then: the gallery's copy, built graphs."""
    for folder in (settings.data_dir / INDEX, settings.data_dir / MODELS):
        if folder.exists() and folder.stat().st_uid != os.geteuid():
            raise NotAllowed(
                "The data folder is another user's: run this as the user that the service runs as, or ask "
                "the service with --url."
            )
