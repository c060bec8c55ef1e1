"""A second model for a collection: its vectors made beside the first, compared, switched to or abandoned."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from facesearch.errors import Conflict, DatabaseUnavailable, FacesearchError, JobOver
from facesearch.records import (
    COMMANDS_PLACE,
    REENCODING,
    ImportOptions,
    Job,
    NewJob,
    ReencodingProgress,
)
from facesearch.service.encoders import Encoders
from facesearch.service.erasure_notes import ErasureNotes
from facesearch.service.intake.names import base_name
from facesearch.service.intake.photo_source import PhotoSource
from facesearch.service.intake.waiting_photos import WaitingPhotos
from facesearch.service.jobs.leases import done_here
from facesearch.service.reencoding.preview import SwitchPreview, preview_of
from facesearch.service.reencoding.run import ReencodingParts, ReencodingRun

_CROPS = "kept crops"
_FACES_A_LOOK = 1_000


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch came to.

    Args:
        model_id: the collection's model now.
        dropped: the ids of faces that had no vector of it, and were removed.
        wiped: whether no file of the database holds these any more.
    """

    model_id: str
    faces: int
    dropped: tuple[int, ...]
    wiped: bool


class Reencoding:
    """Lives as long as its process. Any thread may call it.

    Args:
        encoders: of every model that can be made here.
        waiting: the photos of this host's archives.
        notes: where erasures that have begun are noted.
        forget_copies: deletes this host's copies of collections and models that there are no more.
    """

    def __init__(
        self,
        parts: ReencodingParts,
        encoders: Encoders,
        waiting: WaitingPhotos,
        notes: ErasureNotes,
        forget_copies: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = parts
        self._encoders = encoders
        self._waiting = waiting
        self._notes = notes
        self._forget_copies = forget_copies

    def run(
        self,
        name: str,
        model_id: str,
        photos: PhotoSource | None = None,
        source: str = _CROPS,
        on_progress: Callable[[Job], None] = lambda _: None,
    ) -> Job:
        """Make the vectors of a collection's next model in this thread, as a job; those that are there stay.

        A job that a process left behind when it died is gone on with; so is whatever an earlier one left
        undone.

        Args:
            photos: those that the faces came from; None takes the crops that are kept.
            source: what the job calls them.
            on_progress: called with the job after some of its faces are done.

        Raises:
            CollectionNotFound
            ModelMismatch: no vectors of this model can be made here.
            Conflict: the collection has it, or is being encoded with another, or by another process.
            KeyboardInterrupt: the job is cancelled; the vectors that were made stay.
            LeaseLost: the job was cancelled.
            FacesearchError: the job failed.
        """
        parts = self._parts
        encoder = self._encoders.of(model_id)
        number = parts.collections.get(name).number
        parts.store.begin(number, model_id, encoder.dimension)
        owner = uuid.uuid4().hex
        job = self._claimed(name, number, f"{model_id} from {base_name(source)}", owner)

        def work(stop: threading.Event, tell: Callable[[], None]) -> None:
            ReencodingRun(parts, job, model_id, photos, owner, stop, tell).run()

        return done_here(parts.jobs, job.id, owner, parts.lease_s, work, on_progress)

    def progress(self, name: str) -> ReencodingProgress:
        """Tell how far a collection's next vectors are, or raise CollectionNotFound."""
        return self._parts.store.progress(self._parts.collections.get(name).number)

    def preview(self, name: str, probes: int, examples: int) -> SwitchPreview:
        """Search for faces of a collection among its others, with both models, and tell what would change.

        Args:
            probes: how many faces, evenly over the collection; those without a next vector are left out.
            examples: how many of the changes are told one by one.

        Raises:
            CollectionNotFound
            Conflict: there are no next vectors.
            ModelMismatch: one of the two models is none that this service knows.
        """
        number = self._parts.collections.get(name).number
        progress = self._begun(name, number)
        now, following = map(self._encoders.of, (progress.model_id, progress.next_model_id))
        faces = self._parts.collections.faces(number)
        return preview_of(faces, self._parts.store, now, following, probes, examples)

    def switch(self, name: str, *, drop_missing: bool = False) -> Switched:
        """Let a collection be one of its next model, at once; see ReencodingStore.switch.

        Faces that are dropped are erased as by a request: from archives that wait on this host, in the same
        transaction from job reports, and from the database's files. This host's copy of the old vectors is
        deleted; other hosts delete theirs when they notice.

        Raises:
            CollectionNotFound
            Conflict: there are no next vectors, or faces lack one and are not to be dropped.
            ModelMismatch: this service cannot make vectors of the model any more.
            Unavailable, StorageFull: an archive cannot be written; nothing was switched.
        """
        parts = self._parts
        number = parts.collections.get(name).number
        progress = self._begun(name, number)
        following = self._encoders.of(progress.next_model_id)
        dropped: list[int] | None = None
        wiped = True
        try:
            # Without any vector the switch is refused, before a photo is lost for it.
            if drop_missing and progress.reencoded:
                # What stays noted is taken to its end by a service, at its start or at work.
                with self._notes.begun():
                    while dropped is None:
                        dropped = self._switch_and_drop(number)
                    if dropped:
                        parts.database.wipe()
            else:
                dropped = parts.store.switch(number)
        except DatabaseUnavailable:
            if dropped is None:
                raise
            wiped = False
        self._forget_copies()
        faces = parts.store.progress(number).faces
        return Switched(following.model_id, faces, tuple(dropped), wiped)

    def _switch_and_drop(self, number: int) -> list[int] | None:
        """Return which faces were dropped; None where others came to lack a vector meanwhile."""
        parts = self._parts
        faces = parts.collections.faces(number)
        missing = self._missing(number)
        self._waiting.erase(number, faces.photos_of_faces(missing))
        with faces.alone():
            if not set(missing).issuperset(self._missing(number)):
                return None
            dropped = parts.store.switch(number, drop_missing=True)
            parts.jobs.forget_faces(dropped)
        return dropped

    def _missing(self, number: int) -> list[int]:
        """The ids of all faces without a vector of the next model."""
        found: list[int] = []
        while some := self._parts.store.missing(number, _FACES_A_LOOK, found[-1] if found else 0):
            found += [face.id for face in some]
        return found

    def abandon(self, name: str) -> None:
        """Remove a collection's next vectors, and cancel the job that makes them.

        Raises:
            CollectionNotFound
            Conflict: there are none.
        """
        parts = self._parts
        number = parts.collections.get(name).number
        parts.store.abandon(number)
        for job_id in parts.jobs.unfinished(number):
            if parts.jobs.get(job_id).kind == REENCODING:
                with suppress(JobOver):
                    parts.jobs.cancel(job_id)

    def _begun(self, name: str, number: int) -> ReencodingProgress:
        progress = self._parts.store.progress(number)
        if progress.next_model_id is None:
            raise Conflict(f"No vectors of a next model are being made for {name}.")
        return progress

    def _claimed(self, name: str, number: int, source: str, owner: str) -> Job:
        """The collection's job whose process is gone, or a new one."""
        parts, place = self._parts, f"{COMMANDS_PLACE}reencoding-{number}"
        if job := parts.jobs.claim(place, owner, parts.lease_s, 1):
            return job
        busy = Conflict(f"The collection {name} is being encoded again by another process.")
        if parts.jobs.running(place):
            raise busy
        progress = parts.store.progress(number)
        new = NewJob(
            id=uuid.uuid4().hex,
            place=place,
            file_name=source,
            options=ImportOptions(collection=name),
            total=progress.faces - progress.reencoded,
            collection=number,
            kind=REENCODING,
        )
        parts.jobs.add(new)
        job = parts.jobs.claim(place, owner, parts.lease_s, 1)
        if job is None or job.id != new.id:
            # Somebody else began at the same time.
            with suppress(FacesearchError):
                parts.jobs.cancel(new.id)
            if job is None:
                raise busy
        return job
