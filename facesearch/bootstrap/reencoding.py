"""A second model for a collection, from the command line."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from facesearch.bootstrap.deeds import note_deed, noted_job
from facesearch.bootstrap.direct import refuse_other_user
from facesearch.bootstrap.exporting import model_encoders
from facesearch.bootstrap.service import IMPORTS, MODELS, face_index, worker_pool
from facesearch.config import Settings
from facesearch.databases import (
    open_collection_store,
    open_image_database,
    open_job_store,
    open_reencoding_store,
)
from facesearch.encoders import encoder_of_model, make_encoder
from facesearch.images import AGTImage
from facesearch.interfaces import ImageDatabase
from facesearch.records import REENCODING, Job
from facesearch.service import EncodePhotos
from facesearch.service.erasure_notes import ERASURES, ErasureNotes
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.folder import PhotoFolder
from facesearch.service.intake.photo_source import PhotoSource
from facesearch.service.intake.waiting_photos import WaitingPhotos
from facesearch.service.intake.waiting_room import WaitingRoom
from facesearch.service.reencoding.run import ReencodingParts
from facesearch.service.reencoding.second_model import Reencoding
from facesearch.web import answers
from facesearch.web.callers import collection_label

_JOBS_LOOKED_AT = 1_000


def reencode(
    settings: Settings,
    collection: str,
    model_id: str,
    photos: Path | None,
    on_progress: Callable[[Job], None],
) -> dict[str, Any]:
    """Make the next vectors of a collection in this process, as a job, which is returned.

    Args:
        photos: a folder or a zip of the photos that the faces came from; None takes the kept crops.

    Raises:
        KeyboardInterrupt: what was made stays, and the job is cancelled.
        Invalid: the photos cannot be used.
        FacesearchError: as Reencoding.run.
    """
    with _changing(settings, collection) as (work, note), ExitStack() as opened:
        source: PhotoSource | None = None
        if photos is not None and photos.is_dir():
            source = opened.enter_context(PhotoFolder(photos, settings.limits))
        elif photos is not None:
            archive = opened.enter_context(photos.open("rb"))
            source = opened.enter_context(PhotoArchive(archive, settings.limits))
        named = {} if photos is None else {"source": photos.resolve().name}
        job = noted_job(
            lambda show: work.run(collection, model_id, source, on_progress=show, **named),
            on_progress,
            lambda job_id: note("reencode start", job_id),
        )
        return answers.job(job)


def reencoding_progress(settings: Settings, collection: str) -> dict[str, Any]:
    """Tell how far a collection's next vectors are, and which job made the last of them; changes nothing."""
    with closing(open_image_database(settings, read_only=True)) as database:
        number = open_collection_store(database).get(collection).number
        progress = open_reencoding_store(database).progress(number)
        jobs = open_job_store(database).jobs(_JOBS_LOOKED_AT, None, number).items
    is_made = progress.next_model_id is not None
    return {
        "collection": collection,
        "model": progress.model_id,
        "next_model": progress.next_model_id,
        "faces": progress.faces,
        "reencoded": progress.reencoded,
        "missing": progress.faces - progress.reencoded if is_made else 0,
        "job": next((job.id for job in jobs if is_made and job.kind == REENCODING), None),
    }


def preview_switch(settings: Settings, collection: str, probes: int, examples: int) -> dict[str, Any]:
    """Tell which matches a switch would change; see Reencoding.preview."""
    with _reencoding(settings) as (work, _):
        told = asdict(work.preview(collection, probes, examples))
    models = {"model": told.pop("model_id"), "next_model": told.pop("next_model_id")}
    return {"collection": collection, **models, **told}


def switch_model(settings: Settings, collection: str, drop_missing: bool) -> dict[str, Any]:
    """Switch a collection to its next model; see Reencoding.switch."""
    with _changing(settings, collection) as (work, note):
        switched = work.switch(collection, drop_missing=drop_missing)
        note("reencode switch", *switched.dropped)
    return {
        "collection": collection,
        "model": switched.model_id,
        "faces": switched.faces,
        "dropped": len(switched.dropped),
        "wiped": switched.wiped,
    }


def abandon_reencoding(settings: Settings, collection: str) -> None:
    """Remove a collection's next vectors; see Reencoding.abandon."""
    with _changing(settings, collection) as (work, note):
        work.abandon(collection)
        note("reencode abandon")


@contextmanager
def _changing(settings: Settings, collection: str) -> Iterator[tuple[Reencoding, Callable[..., None]]]:
    """What reencodes a collection, and what tells the audit log what was done to which faces and jobs."""
    with _reencoding(settings, may_change=True) as (work, database):
        label = collection_label(open_collection_store(database).get(collection).number)
        yield work, lambda what, *ids: note_deed(settings, database, what, label, *ids)


@contextmanager
def _reencoding(
    settings: Settings, *, may_change: bool = False
) -> Iterator[tuple[Reencoding, ImageDatabase]]:
    """What reencodes, and its database.

    Raises:
        Conflict: the tables are of an older version; nothing was migrated.
    """
    refuse_other_user(settings)
    with closing(open_image_database(settings, read_only=True)) as reading:
        reading.prepare()
    # The database first: its driver must be loaded before the encoder's libraries.
    with (
        closing(open_image_database(settings, read_only=not may_change)) as database,
        closing(worker_pool(settings)) as pool,
    ):
        collections, encoders = open_collection_store(database), model_encoders(settings)

        def forget_copies() -> None:
            with closing(face_index(settings, encoders.configured, pool)) as index:
                index.keep_only(collections.numbers())

        encode_photos = EncodePhotos(
            partial(AGTImage.open, limits=settings.limits),
            make_encoder,
            (settings.encoder, settings.data_dir / MODELS),
            build_other=encoder_of_model,
        )
        jobs, imports = open_job_store(database), settings.data_dir / IMPORTS
        parts = ReencodingParts(
            database,
            collections,
            open_reencoding_store(database),
            jobs,
            pool,
            encode_photos,
            settings.intake.lease_s,
        )
        waiting = WaitingPhotos(jobs, WaitingRoom(imports), settings.limits)
        notes = ErasureNotes(imports / ERASURES)
        yield Reencoding(parts, encoders, waiting, notes, forget_copies), database
