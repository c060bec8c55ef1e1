"""A second model for a collection, from the command line."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from facesearch.bootstrap.direct import refuse_other_user
from facesearch.bootstrap.exporting import model_encoders, note_deed
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
from facesearch.records import Job
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
    with _reencoding(settings, ("reencode start", collection)) as work, ExitStack() as opened:
        if photos is None:
            return answers.job(work.run(collection, model_id, on_progress=on_progress))
        source: PhotoSource
        if photos.is_dir():
            source = opened.enter_context(PhotoFolder(photos, settings.limits))
        else:
            archive = opened.enter_context(photos.open("rb"))
            source = opened.enter_context(PhotoArchive(archive, settings.limits))
        name = photos.resolve().name
        return answers.job(work.run(collection, model_id, source, name, on_progress))


def reencoding_progress(settings: Settings, collection: str) -> dict[str, Any]:
    """Tell how far a collection's next vectors are; nothing is changed."""
    with closing(open_image_database(settings, read_only=True)) as database:
        number = open_collection_store(database).get(collection).number
        progress = open_reencoding_store(database).progress(number)
    return {
        "collection": collection,
        "model": progress.model_id,
        "next_model": progress.next_model_id,
        "faces": progress.faces,
        "reencoded": progress.reencoded,
        "missing": progress.faces - progress.reencoded,
    }


def preview_switch(settings: Settings, collection: str, probes: int, examples: int) -> dict[str, Any]:
    """Tell which matches a switch would change; see Reencoding.preview."""
    with _reencoding(settings) as work:
        return {"collection": collection, **asdict(work.preview(collection, probes, examples))}


def switch_model(settings: Settings, collection: str, drop_missing: bool) -> dict[str, Any]:
    """Switch a collection to its next model; see Reencoding.switch."""
    with _reencoding(settings, ("reencode switch", collection)) as work:
        return {"collection": collection, **asdict(work.switch(collection, drop_missing=drop_missing))}


def abandon_reencoding(settings: Settings, collection: str) -> None:
    """Remove a collection's next vectors; see Reencoding.abandon."""
    with _reencoding(settings, ("reencode abandon", collection)) as work:
        work.abandon(collection)


@contextmanager
def _reencoding(settings: Settings, deed: tuple[str, str] | None = None) -> Iterator[Reencoding]:
    """What reencodes.

    Args:
        deed: what is to be changed, for the audit log, and the collection; nothing can be without.

    Raises:
        Conflict: the tables are of an older version; nothing was migrated.
    """
    refuse_other_user(settings)
    with closing(open_image_database(settings, read_only=True)) as reading:
        reading.prepare()
    # The database first: its driver must be loaded before the encoder's libraries.
    with (
        closing(open_image_database(settings, read_only=deed is None)) as database,
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
        yield Reencoding(parts, encoders, waiting, ErasureNotes(imports / ERASURES), forget_copies)
        if deed is not None:
            note_deed(settings, database, deed[0], collections.get(deed[1]).number)
