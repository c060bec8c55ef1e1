"""Imports from the command line, and what is sent to a service elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from facesearch.bootstrap.deeds import noted_job
from facesearch.bootstrap.service import build_api
from facesearch.config import LimitSettings, Settings
from facesearch.encoders import KINDS
from facesearch.interfaces import API
from facesearch.records import DEFAULT_COLLECTION, LOCAL, Deed, FileReport, ImportOptions, Job
from facesearch.service import faces_of, read_encodings
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.folder import PhotoFolder
from facesearch.service.intake.folder_parts import FolderParts
from facesearch.service.intake.photo_source import PhotoSource
from facesearch.web.callers import collection_label


def import_encodings(
    settings: Settings,
    file: Path,
    names_file: Path | None,
    allow_pickle: bool,
    collection: str = DEFAULT_COLLECTION,
) -> tuple[int, int]:
    """Store the encodings of a face_recognition gallery; return how many were stored, of how many.

    Raises:
        Invalid: the files cannot be used.
        ModelMismatch: the gallery holds vectors of another kind.
    """
    faces = faces_of(read_encodings(file, names_file, allow_pickle=allow_pickle), file.name)
    with closing(build_api(settings)) as api:
        stored = api.import_faces(faces, KINDS["plain"].model_id, collection)
        _note(api, collection_label(api.collections.get(collection).number))
        return stored, len(faces)


def import_photos(
    settings: Settings, source: Path, options: ImportOptions, on_progress: Callable[[Job], None]
) -> tuple[Job, tuple[FileReport, ...]]:
    """Import a folder or a zip of photos in this process; return the job and a report for each file.

    Raises:
        KeyboardInterrupt: what was stored stays, and the job is cancelled.
        Invalid: the source cannot be used.
        LeaseLost: somebody cancelled the job.
    """
    with closing(build_api(settings)) as api:
        with ExitStack() as opened:
            if source.is_dir():
                photos: PhotoSource = opened.enter_context(PhotoFolder(source, settings.limits))
            else:
                archive = opened.enter_context(source.open("rb"))
                photos = opened.enter_context(PhotoArchive(archive, settings.limits))
            name = source.resolve().name
            job = noted_job(
                lambda show: api.imports.run_here(photos, name, options, show),
                on_progress,
                lambda job_id: _note(api, job_id),
            )
        return job, api.imports.all_files(job.id)


@contextmanager
def folder_to_send(folder: Path, photo_bytes: int, most_files: int, most_bytes: int) -> Iterator[FolderParts]:
    """A folder of photos as archives that a service takes; photos of more than `photo_bytes` are left out.

    Raises:
        Invalid: the folder or its people.csv cannot be used.
    """
    with PhotoFolder(folder, LimitSettings(photo_bytes=photo_bytes)) as photos:
        yield FolderParts(photos, folder.resolve().name, most_files, most_bytes)


def _note(api: API, *ids: int | str) -> None:
    """Have the audit log tell of an import."""
    api.access.record(Deed(LOCAL.who, LOCAL.name, "import", ids))
