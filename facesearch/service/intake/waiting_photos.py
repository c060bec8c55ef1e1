"""Photos in archives that wait, and are to be gone from them."""

from collections.abc import Mapping

from facesearch.config import LimitSettings
from facesearch.errors import JobNotFound
from facesearch.interfaces import JobStore
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.waiting_room import WaitingRoom


class WaitingPhotos:
    """Lives as long as its process. Any thread may call it.

    Args:
        room: where this host's archives wait.
        limits: what an archive may hold.
    """

    def __init__(self, jobs: JobStore, room: WaitingRoom, limits: LimitSettings) -> None:
        self._jobs = jobs
        self._room = room
        self._limits = limits

    def erase(self, collection: int, photos: Mapping[bytes, int | None]) -> None:
        """Overwrite photos in the archives that wait on this host, or are being worked on, for a collection.

        What was found in them and is not stored yet will not be. Archives that nobody will import go as
        a whole, whichever collection they came for.

        Args:
            photos: SHA-256 digests, each with the number of bytes where it is known.

        Raises:
            Unavailable, StorageFull: an archive cannot be written.
        """
        self.delete_needless()
        for job_id in self._jobs.unfinished(collection) if photos else ():
            file = self._room.open_to_erase(job_id)
            if file is None:
                continue
            with file, PhotoArchive(file, self._limits) as archive:
                if positions := archive.positions_of(photos):
                    self._room.note_erased(job_id, positions)
                    archive.erase(positions)

    def delete_needless(self) -> None:
        """Delete the archives that nobody will import: their jobs are over, or never came to be.

        Needs a database that can be written. Whoever is adding a job is waited for.

        Raises:
            Unavailable: an archive cannot be deleted.
        """
        with self._room.nobody_adds():
            for job_id in self._room.jobs():
                if not self._is_needed(job_id):
                    self._room.delete(job_id)

    def _is_needed(self, job_id: str) -> bool:
        try:
            return self._jobs.exists(job_id) and not self._jobs.get(job_id).is_over
        except JobNotFound:  # it was forgotten in between
            return False
