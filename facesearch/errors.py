"""Every error that this project raises on purpose, as one tree.

FacesearchError
├── Invalid              what was sent cannot be used
│   ├── InvalidParameter
│   ├── InvalidConfig
│   ├── UnsupportedMedia
│   │   ├── NotAnImage
│   │   └── NotAnArchive
│   ├── BrokenImage
│   ├── BrokenArchive
│   ├── TooLarge
│   ├── NoFaceFound
│   ├── SeveralFaces
│   ├── FaceRefused
│   └── KeyReused
├── NotAuthenticated     who sends it is not known
│   ├── KeyMissing
│   └── KeyRefused
├── NotAllowed           the sender may not do this
│   ├── LocalOnly
│   ├── ScopeNotAllowed
│   └── CollectionNotAllowed
├── NotFound             there is no such thing
│   ├── FaceNotFound
│   ├── ModelNotFound
│   ├── JobNotFound
│   ├── KeyNotFound
│   ├── CollectionNotFound
│   ├── PersonNotFound
│   └── CropNotFound
├── Conflict             it contradicts what is stored
│   ├── ForeignTable
│   ├── ModelMismatch
│   ├── NameTaken
│   ├── JobOver
│   └── LeaseLost
└── Unavailable          not now; the same request may succeed later
    ├── DatabaseUnavailable
    ├── StorageFull
    ├── Busy
    ├── QueueFull
    ├── RateLimited
    ├── WorkerDied
    ├── TaskTimedOut
    └── TaskFailed

The docstring of a class is its default message. Messages reach clients: they name no path of the
host, no secret and no internal state. `code` is stable; clients may compare it.
"""

from collections.abc import Sequence
from typing import ClassVar, Self


class FacesearchError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class Invalid(FacesearchError):
    """The request cannot be used."""

    code = "invalid"


class InvalidParameter(Invalid):
    """A parameter is missing or wrong."""

    code = "invalid_parameter"

    def __init__(self, message: str | None = None, parameters: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.parameters = tuple(parameters)


class InvalidConfig(Invalid):
    """The configuration cannot be used."""

    code = "invalid_config"


class UnsupportedMedia(Invalid):
    """The file is of a kind that is not accepted."""

    code = "unsupported_media"


class NotAnImage(UnsupportedMedia):
    """The file is not an image of a known format."""

    code = "not_an_image"


class NotAnArchive(UnsupportedMedia):
    """The file is not a zip archive."""

    code = "not_an_archive"


class BrokenImage(Invalid):
    """The image is damaged or cut short."""

    code = "broken_image"


class BrokenArchive(Invalid):
    """The zip archive is damaged or cut short."""

    code = "broken_archive"


class TooLarge(Invalid):
    """The request is over a limit."""

    code = "too_large"


class NoFaceFound(Invalid):
    """No face was found in the photo."""

    code = "no_face_found"


class SeveralFaces(Invalid):
    """The photo has several faces, and a single one was asked for."""

    code = "several_faces"


class FaceRefused(Invalid):
    """The face's picture is not good enough."""

    code = "face_refused"


class KeyReused(Invalid):
    """This Idempotency-Key has been used for another request."""

    code = "key_reused"


class NotAuthenticated(FacesearchError):
    """It is not known who sends this."""

    code = "not_authenticated"


class KeyMissing(NotAuthenticated):
    """The service wants a key, as X-API-Key or as Authorization: Bearer."""

    code = "key_missing"


class KeyRefused(NotAuthenticated):
    """The key is not one that the service knows."""

    code = "key_refused"


class NotAllowed(FacesearchError):
    """This is not allowed."""

    code = "not_allowed"


class LocalOnly(NotAllowed):
    """Without keys the service answers programs on its own computer only."""

    code = "local_only"


class ScopeNotAllowed(NotAllowed):
    """The key's scope does not allow this."""

    code = "scope_not_allowed"


class CollectionNotAllowed(NotAllowed):
    """The key belongs to another collection."""

    code = "collection_not_allowed"


class NotFound(FacesearchError):
    """There is nothing of that name."""

    code = "not_found"


class FaceNotFound(NotFound):
    """There is no face with this id."""

    code = "face_not_found"

    @classmethod
    def of(cls, face_id: int) -> Self:
        return cls(f"There is no face with id {face_id}.")


class ModelNotFound(NotFound):
    """There is no model with this id."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """There is no job with this id."""

    code = "job_not_found"


class KeyNotFound(NotFound):
    """There is no key with this prefix."""

    code = "key_not_found"


class CollectionNotFound(NotFound):
    """There is no such collection."""

    code = "collection_not_found"

    @classmethod
    def of(cls, name: str) -> Self:
        return cls(f"There is no collection {name!r}.")


class PersonNotFound(NotFound):
    """There is no person with this id."""

    code = "person_not_found"

    @classmethod
    def of(cls, person_id: int) -> Self:
        return cls(f"There is no person with id {person_id}.")


class CropNotFound(NotFound):
    """No crop of this face is kept."""

    code = "crop_not_found"


class Conflict(FacesearchError):
    """The request contradicts what is stored."""

    code = "conflict"


class ForeignTable(Conflict):
    """The database holds a table IMAGE_DATASET that this program did not make."""

    code = "foreign_table"


class ModelMismatch(Conflict):
    """The vectors come from another model than those of the gallery."""

    code = "model_mismatch"


class NameTaken(Conflict):
    """There is another one of this name."""

    code = "name_taken"


class JobOver(Conflict):
    """The job is over and cannot be cancelled any more."""

    code = "job_over"


class LeaseLost(Conflict):
    """The job was cancelled, or another process has taken it over."""

    code = "lease_lost"


class Unavailable(FacesearchError):
    """The service cannot do this right now."""

    code = "unavailable"


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached right now."""

    code = "database_unavailable"


class StorageFull(Unavailable):
    """There is no room left on the service's disk."""

    code = "storage_full"


class Busy(Unavailable):
    """The service is working on as many requests as it may."""

    code = "busy"


class QueueFull(Unavailable):
    """As many imports are waiting as may."""

    code = "queue_full"


class RateLimited(Unavailable):
    """The key has made as many requests as it may."""

    code = "rate_limited"

    def __init__(self, message: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class WorkerDied(Unavailable):
    """A worker process died while it worked on this."""

    code = "worker_died"


class TaskTimedOut(Unavailable):
    """The work took longer than its limit and was stopped."""

    code = "task_timed_out"


class TaskFailed(Unavailable):
    """The work failed for a reason that the server's log explains."""

    code = "task_failed"


def error_of(code: str, message: str | None = None) -> FacesearchError:
    """Return the error of a code, such as one that was written down; Unavailable for an unknown one."""
    kinds = [FacesearchError]
    for kind in kinds:
        if kind.code == code:
            return kind(message)
        kinds += kind.__subclasses__()
    return Unavailable(message)
