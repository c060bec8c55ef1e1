"""Every port of the house on one page.

A room implements its ports and imports no other room; `bootstrap` alone names concrete classes. All
ports are synchronous. Each docstring says what may be called from which thread or process.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import FacesearchError
from facesearch.records import (
    DEFAULT_COLLECTION,
    AddedFace,
    AlignedFace,
    Box,
    BulkReport,
    Calibration,
    Caller,
    Collection,
    Comparison,
    CopiedFace,
    CopiedPerson,
    Crop,
    CropStyle,
    Deed,
    Detection,
    Embedding,
    EncodedPhoto,
    EnrolledPhoto,
    EnrolmentTerms,
    Face,
    FaceChanges,
    FaceEdit,
    FaceFilter,
    FaceQuery,
    Figures,
    FileReport,
    FirstAnswer,
    FoundFaces,
    ImportOptions,
    Job,
    Key,
    Match,
    ModelInfo,
    ModelOrigin,
    NewFace,
    NewJob,
    NewKey,
    Once,
    Outcome,
    Page,
    Person,
    PersonEdit,
    PersonMatch,
    PhotoFile,
    PhotoInfo,
    Probe,
    Readiness,
    ReencodingProgress,
    SearchResult,
    SearchTerms,
    StoredFace,
    UnreencodedFace,
    VectorPairs,
    Wanted,
    WantedTolerance,
)
from facesearch.timings import stage

T = TypeVar("T")
R = TypeVar("R")

ANY_FACE = Wanted()


class Image(ABC):
    """One photo, decoded once: upright, RGB, within limits. Immutable; any thread may read it."""

    @property
    @abstractmethod
    def info(self) -> PhotoInfo:
        """Name, upright size and what EXIF tells."""

    @property
    @abstractmethod
    def pixels(self) -> NDArray[np.uint8]:
        """The upright photo, uint8 of shape (height, width, 3), RGB, C-contiguous, read-only."""

    @abstractmethod
    def reduced(self, max_pixels: int) -> tuple[NDArray[np.uint8], float]:
        """Return the photo with at most `max_pixels` pixels, and the scale that was applied.

        Returns:
            Pixels as in `pixels`, and full size divided by reduced size: 1.0 where nothing was reduced.
        """

    @abstractmethod
    def crop(self, box: Box, roll_deg: float, style: CropStyle) -> Crop:
        """Return the upright square around a face, with enough around it to find the face in it again.

        Args:
            box: in pixels of this photo; what reaches past its edge is black.
            roll_deg: by how much the face is turned clockwise.
        """


class ImageEncoder(ABC):
    """Finds faces and turns each into an embedding.

    Lives as long as its process; loads its models at the first call. Any thread may call it.
    """

    @property
    @abstractmethod
    def model_id(self) -> str:
        """The name of the vector space; embeddings of different ids are never compared."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The length of an embedding."""

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """The Euclidean distance up to which two embeddings count as one person by default."""

    @property
    def calibration(self) -> Calibration | None:
        """What distances of this vector space mean, None where nobody has measured it."""
        return None

    @property
    def origin(self) -> ModelOrigin | None:
        """Where the network comes from, None where no card tells."""
        return None

    @abstractmethod
    def for_model(self, model_id: str) -> "ImageEncoder":
        """Return the encoder of another vector space made by the same networks; it shares them.

        Raises:
            ModelMismatch: these networks do not make that space.
        """

    @abstractmethod
    def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
        """Return the faces of a photo from left to right, boxes in pixels of the full upright photo."""

    @abstractmethod
    def align(self, image: Image, detections: Sequence[Detection]) -> list[AlignedFace]:
        """Cut each face out of the photo's full pixels, as `embed` takes it."""

    @abstractmethod
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 of shape (n, dimension) for crops of shape (n, size, size, 3), of any photos."""

    @abstractmethod
    def ping(self) -> None:
        """Load the models where that has not happened, and raise where they cannot be used."""

    def look(self, image: Image, wanted: Wanted = ANY_FACE) -> tuple[list[AlignedFace], int]:
        """Detect and align: the faces that are wanted, and how many were detected."""
        with stage("detect"):
            found = self.detect(image, wanted)
            kept = [max(found, key=lambda d: d.box.area)] if wanted.only_largest and found else found
            return self.align(image, kept), len(found)

    def encode(self, image: Image, wanted: Wanted = ANY_FACE) -> EncodedPhoto:
        """Detect, align and embed the faces of one photo."""
        aligned, found = self.look(image, wanted)
        if not aligned:
            return EncodedPhoto(image.info, (), found)
        with stage("embed"):
            embeddings = self.embed(np.stack([face.crop for face in aligned]))
        faces = tuple(Face(a.box, e, a.quality) for a, e in zip(aligned, embeddings, strict=True))
        return EncodedPhoto(image.info, faces, found)


class DatabaseCRUD(ABC):
    """Five verbs on any SQL database.

    Names of tables and columns are checked against the database's own; values are always bound.
    `where` maps a column to a value, or to a list of values of which one must hold; a column name may
    carry one of the comparisons `<`, `<=`, `>`, `>=`, as in `{"id >": 7}`. Conditions are joined by and.

    Lives as long as its process, and pools its connections. Any thread may call it; a transaction
    belongs to the thread that opened it. Not to be carried over a fork.

    Every method raises DatabaseUnavailable where the server cannot be reached within the configured time.
    """

    @abstractmethod
    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create a table unless it exists: column names to SQL types as this database spells them."""

    @abstractmethod
    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that all have the same columns; all of them or none."""

    @abstractmethod
    def select(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[dict[str, Any]]:
        """Return matching rows as dictionaries of the wanted columns (all by default), in one's order."""

    @abstractmethod
    def update(self, table: str, values: Mapping[str, Any], where: Mapping[str, Any]) -> int:
        """Set columns of the matching rows; return how many matched. An empty `where` is an error."""

    @abstractmethod
    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """Delete the matching rows; return how many. An empty `where` is an error."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Join this thread's verbs into one transaction: committed at the end, rolled back on an error."""

    @abstractmethod
    def ping(self) -> None:
        """Make a round trip to the database."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections; the object is not used afterwards."""


class ImageDatabase(ABC):
    """The truth about the faces of one collection, and the history that copies of it follow.

    Each committed change to faces carries a number of one counter, which all collections share; numbers
    appear in commit order, so whoever has seen number n has seen all of the collection that is at or below
    n. What changes a face's person, external id or metadata is a change too. Threads and lifetime as for
    DatabaseCRUD; every method raises DatabaseUnavailable where the database is away, and CollectionNotFound
    where the collection is gone. A collection gets its model with its first face, unless it was made with
    one.
    """

    @abstractmethod
    def prepare(self) -> None:
        """Make or migrate the tables, once however many processes ask at the same time.

        Raises:
            ForeignTable: IMAGE_DATASET exists and is another program's.
        """

    @abstractmethod
    def database_id(self) -> str:
        """The UUID that was drawn when the tables were made."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Join this thread's calls into one transaction, as DatabaseCRUD.transaction does.

        Calls of the JobStore of the same database take part in it.
        """

    @property
    @abstractmethod
    def collection(self) -> int:
        """The number of the collection."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """A transaction, begun here, beside which nobody else changes faces, of whatever collection.

        What is read in it is the newest that was committed, and stays so until its end.
        """

    @abstractmethod
    def gallery_model(self) -> str | None:
        """The collection's model id, None while it has none."""

    @abstractmethod
    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        """Store faces, their crops and their metadata in one transaction; return their ids in order.

        All or none are stored. Persons that are named are made where there is none of the name.

        Raises:
            ModelMismatch: the collection's model is another.
            PersonNotFound: a `person_id` is none of the collection's.
        """

    @abstractmethod
    def delete_faces(self, ids: Sequence[int]) -> list[int]:
        """Remove faces in one transaction; return the ids of those that were there, in order.

        Each removal is a change of its own. Nothing of a face is left but its id, and nothing of a person
        with the person's last face, unless the person was made or named by itself.
        """

    @abstractmethod
    def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
        """Return the stored faces among `ids`; unknown ids are left out."""

    @abstractmethod
    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        """Return faces by rising id, of those above `after`."""

    @abstractmethod
    def face_ids(self, query: FaceQuery, changed_after: int = 0) -> NDArray[np.int64]:
        """Return the ids of all faces that satisfy a query, ascending; of those that changed after a number.

        Raises:
            InvalidParameter: a condition cannot be asked for.
        """

    @abstractmethod
    def changed_faces(self, after: int) -> NDArray[np.int64]:
        """Return the ids of all faces that changed or were removed after a number, ascending."""

    @abstractmethod
    def embeddings(self, ids: Sequence[int]) -> dict[int, Embedding]:
        """Return the embeddings of those of these faces that there are, of the collection's model."""

    @abstractmethod
    def crop(self, face_id: int) -> Crop | None:
        """Return a face's crop, None where none is kept or there is no such face."""

    @abstractmethod
    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        """Change what is known of a face; return it as it is then.

        Raises:
            FaceNotFound: there is none.
            InvalidParameter: a value cannot be stored.
        """

    @abstractmethod
    def wipe(self) -> None:
        """Have no file of the database hold what was removed, as far as this process can see to that.

        For the embedded database that is certain once this returns. What a server's files hold is for its
        configuration to say.

        Raises:
            InvalidParameter: this thread is in a transaction.
            DatabaseUnavailable: also where others read for too long what was there before.
        """

    @abstractmethod
    def photos_of_faces(self, ids: Sequence[int]) -> dict[bytes, int | None]:
        """Return the digests of these faces' photos, each with the photo's number of bytes where it is known.

        Faces that are unknown, or of no photo, are left out.
        """

    @abstractmethod
    def faces_of_photos(self, sha256s: Sequence[bytes]) -> dict[bytes, int]:
        """Return, for each of these photos of which faces are stored, the lowest of their ids."""

    @abstractmethod
    def faces_of_photo(self, sha256: bytes) -> list[int]:
        """Return the ids of all faces that are stored of a photo, ascending."""

    @abstractmethod
    def newest_change(self) -> int:
        """The number of the newest committed change, 0 where there is none."""

    @abstractmethod
    def changes_after(self, number: int, model_id: str) -> Iterator[FaceChanges]:
        """Yield this model's changes above `number` in order, in batches, without holding them all.

        A face that is gone by now may be left out; that it was removed never is. Each batch is of one
        moment: whoever has read up to number n has read every removal up to n.
        """

    @abstractmethod
    def ping(self) -> None:
        """Make a round trip to the database."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections; the object is not used afterwards."""


class PersonStore(ABC):
    """The people of one collection. Threads and errors as for ImageDatabase.

    A person that came with a face goes with the last one; one that was added or renamed by itself stays.
    No two have the same name. An assignment, a new name and a merger are changes of the faces concerned.
    """

    @abstractmethod
    def add(self, name: str) -> Person:
        """Make a person without faces.

        Raises:
            InvalidParameter: the name cannot be one.
            NameTaken: there is a person of this name.
        """

    @abstractmethod
    def get(self, person_id: int) -> Person:
        """Return a person.

        Raises:
            PersonNotFound: there is none.
        """

    @abstractmethod
    def named(self, name: str) -> Person | None:
        """Return the person of a name."""

    @abstractmethod
    def people(self, limit: int, after: int | None = None) -> Page[Person]:
        """Return people by rising id, of those above `after`."""

    @abstractmethod
    def rename(self, person_id: int, name: str) -> Person:
        """Give a person another name.

        Raises:
            PersonNotFound, InvalidParameter
            NameTaken: there is another person of this name; the two can be merged.
        """

    @abstractmethod
    def set_cover(self, person_id: int, face_id: int | None) -> Person:
        """Choose the face that stands for a person; None: the first.

        Raises:
            PersonNotFound
            FaceNotFound: the person has no such face.
        """

    @abstractmethod
    def merge(self, person_id: int, others: Sequence[int]) -> Person:
        """Give a person all faces of others, who are gone then, in one transaction.

        The person keeps the name, and a cover face that was chosen.

        Raises:
            PersonNotFound: one is none; nothing was changed.
            InvalidParameter: a person cannot be merged with itself.
        """

    @abstractmethod
    def assign(self, face_ids: Sequence[int], person_id: int | None) -> list[int]:
        """Say whose faces these are, nobody's with None; return the ids of those that there are.

        Raises:
            PersonNotFound
        """

    @abstractmethod
    def remove(self, person_id: int) -> None:
        """Remove a person; faces that the person still has are nobody's then.

        Raises:
            PersonNotFound
        """


class CollectionStore(ABC):
    """The collections, in the database of the faces. Threads and errors as for ImageDatabase.

    There is always one called `default`, with the number 1; it cannot be deleted, only emptied.
    """

    @abstractmethod
    def add(self, name: str, model_id: str | None = None, dimension: int | None = None) -> Collection:
        """Make a collection.

        Raises:
            InvalidParameter: the name cannot be one.
            NameTaken: there is one of this name.
        """

    @abstractmethod
    def get(self, name: str) -> Collection:
        """Return a collection, without its counts.

        Raises:
            CollectionNotFound: there is none.
        """

    @abstractmethod
    def counted(self, name: str) -> Collection:
        """Return a collection with how many faces and people it has; as `get`."""

    @abstractmethod
    def collections(self, limit: int, after: int | None = None) -> Page[Collection]:
        """Return collections with their counts, by rising number, of those above `after`."""

    @abstractmethod
    def numbers(self) -> dict[int, str | None]:
        """Return the model id of every collection by its number."""

    @abstractmethod
    def faces(self, number: int) -> ImageDatabase:
        """Return the faces of a collection. Asks nobody; shares connections and transactions."""

    @abstractmethod
    def people(self, number: int) -> PersonStore:
        """Return the people of a collection; as `faces`."""

    @abstractmethod
    def delete(self, name: str) -> int:
        """Let a collection be gone for everybody at once, and its name be free; return its number.

        What it held is removed by `purge`.

        Raises:
            CollectionNotFound: there is none.
            Conflict: it is the default one.
        """

    @abstractmethod
    def deleted(self) -> list[int]:
        """The numbers of the collections that are gone and not purged to the end."""

    @abstractmethod
    def purge(self, number: int) -> None:
        """Remove all that a collection that is gone held, some at a time; may be broken off and repeated."""


class TransferStore(ABC):
    """Collections as copies are made of them and taken in. Threads and errors as for ImageDatabase."""

    @abstractmethod
    def one_moment(self) -> AbstractContextManager[None]:
        """Let all that this thread reads from the database be of one moment, now; it cannot write meanwhile.

        Others write meanwhile. Not to be called inside a transaction, nor held for longer than is needed.
        """

    @abstractmethod
    def people(self, collection: int) -> Iterator[CopiedPerson]:
        """Yield the people of a collection by rising id, without holding them all."""

    @abstractmethod
    def faces(self, collection: int) -> Iterator[CopiedFace]:
        """Yield the faces of a collection by rising id, without holding them all."""

    @abstractmethod
    def vectors(self, collection: int) -> Iterator[NDArray[np.float32]]:
        """Yield their vectors in the same order, float32 of shape (some, dimension)."""

    @abstractmethod
    def crops(self, collection: int) -> Iterator[tuple[int, Crop]]:
        """Yield the crops that are kept, by the rising id of their faces."""

    @abstractmethod
    def add_people(self, collection: int, people: Sequence[CopiedPerson]) -> list[int]:
        """Make people like those elsewhere, without faces; return their new ids in order.

        Raises:
            InvalidParameter: a name cannot be one.
            NameTaken: there is a person of such a name.
        """

    @abstractmethod
    def set_covers(self, collection: int, covers: Mapping[int, int]) -> None:
        """Choose the face that stands for each of these people, by its id; another's face is passed over."""


class ReencodingStore(ABC):
    """The vectors of a second model beside those of a collection. Threads and errors as for ImageDatabase.

    Nobody searches with them before `switch`; a face that is removed takes its own along.
    """

    @abstractmethod
    def begin(self, collection: int, model_id: str, dimension: int) -> None:
        """Name the model that is to be the collection's next one; the same again changes nothing.

        Raises:
            Conflict: another one is being made, the collection has this one, or it has no faces.
            ModelMismatch: the vectors of this model have another dimension.
        """

    @abstractmethod
    def progress(self, collection: int) -> ReencodingProgress:
        """Count what there is."""

    @abstractmethod
    def missing(self, collection: int, limit: int, after: int = 0) -> list[UnreencodedFace]:
        """Return faces that have no vector of the next model, of those above `after`, by rising id."""

    @abstractmethod
    def missing_of_photos(
        self, collection: int, sha256s: Sequence[bytes]
    ) -> dict[bytes, list[UnreencodedFace]]:
        """Return those of them that are of these photos, by photo and rising id."""

    @abstractmethod
    def put(self, collection: int, model_id: str, vectors: Mapping[int, Embedding]) -> frozenset[int]:
        """Store vectors of the next model; return the ids of those of these faces that there are.

        Raises:
            Conflict: this is not the collection's next model, or not any more.
            ModelMismatch: a vector has another dimension.
        """

    @abstractmethod
    def pairs(self, collection: int, ids: Sequence[int] | None = None) -> Iterator[VectorPairs]:
        """Yield the faces that have both vectors, or those among `ids`, some at a time."""

    @abstractmethod
    def switch(self, collection: int, *, drop_missing: bool = False) -> list[int]:
        """Put the next model's vectors in the place of the collection's, all of them in one transaction.

        Each is a change. Faces that lack a vector are removed with `drop_missing`; their ids are returned.

        Raises:
            Conflict: no next model was named, faces lack a vector, or none has one.
        """

    @abstractmethod
    def abandon(self, collection: int) -> None:
        """Remove the vectors of the next model; may be broken off and repeated.

        Raises:
            Conflict: no next model was named, and nothing is left of one.
        """


class JobStore(ABC):
    """Jobs, a report for each of their files, and the first answers to requests that may be repeated.

    Lies in the database of the faces: what is written here inside `ImageDatabase.transaction()` or `alone()`
    becomes true together with the faces, or not at all. Threads and errors as for ImageDatabase.

    A running job belongs to an owner until its lease ends. Whoever takes it over ends the other's right to
    write: `keep`, `report`, `finish` and `release` of anybody but the owner of a running job raise LeaseLost.
    """

    @abstractmethod
    def add(self, job: NewJob) -> Job:
        """Queue a job.

        Raises:
            CollectionNotFound: its collection is gone.
        """

    @abstractmethod
    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFound: there is none of this id.
        """

    @abstractmethod
    def exists(self, job_id: str) -> bool:
        """Whether there is a job of this id; one that is being added by another transaction is waited for.

        After an addition that failed this tells whether it was carried out nevertheless.
        """

    @abstractmethod
    def jobs(self, limit: int, before: int | None = None, collection: int | None = None) -> Page[Job]:
        """Return jobs, the newest first, those whose number is below `before`, of a collection or of all."""

    @abstractmethod
    def queued(self, place: str) -> int:
        """How many jobs of a place wait for somebody to begin with them."""

    @abstractmethod
    def running(self, place: str) -> int:
        """How many jobs of a place are somebody's, also where the lease has ended."""

    @abstractmethod
    def claim(self, place: str, owner: str, lease_s: float, at_once: int) -> Job | None:
        """Take a job of a place that is queued, or running under a lease that has ended.

        Those that somebody waits for come first, then the oldest. None where there is none, or where
        `at_once` jobs of the place are running under leases that hold. However many ask at the same time,
        a job goes to one of them. Asking in vain writes nothing.
        """

    @abstractmethod
    def keep(self, job_id: str, owner: str, lease_s: float) -> None:
        """Renew a lease, also one that has ended, unless somebody else has taken the job over."""

    @abstractmethod
    def report(
        self, job_id: str, owner: str, files: Mapping[int, FileReport], total: int, worked_s: float
    ) -> None:
        """Write the reports of files by their position, and add them to the job's counts.

        Args:
            total: how many files the job has in all, as is known by now.
            worked_s: for how long the job was at work since the last call.
        """

    @abstractmethod
    def reported(self, job_id: str) -> frozenset[int]:
        """The positions of the files that have their report."""

    @abstractmethod
    def finish(self, job_id: str, owner: str, state: str, error: FacesearchError | None = None) -> None:
        """End a running job as `done` or `failed`."""

    @abstractmethod
    def release(self, job_id: str, owner: str) -> None:
        """Put a running job back into the queue, for anybody to go on with."""

    @abstractmethod
    def cancel(self, job_id: str) -> Job:
        """Cancel a job that is not over; return it. A job that was cancelled before is returned as it is.

        Raises:
            JobNotFound, JobOver
        """

    @abstractmethod
    def files(
        self, job_id: str, limit: int, after: int | None = None, status: str | None = None
    ) -> Page[FileReport]:
        """Return reports in the order of positions, of those above `after`, of one status where one is given.

        Raises:
            JobNotFound
        """

    @abstractmethod
    def first_answer(self, key: str) -> FirstAnswer | None:
        """Return what the first request under a key came to; None where there was none within 24 hours."""

    @abstractmethod
    def add_answer(self, once: Once, content: str, about: Sequence[str] = ()) -> None:
        """Note what a request came to.

        Args:
            about: what the answer tells of: `face:7`, `person:3`, `collection:2`. It is not kept where one of
                these faces was removed meanwhile.

        Raises:
            Conflict: there is an answer under this key; the transaction around can only be rolled back.
        """

    @abstractmethod
    def prune(self, keep_days: float) -> list[str]:
        """Forget answers of more than 24 hours ago, and jobs that were over for so many days; their ids.

        Jobs of commands whose leases ended minutes ago end as failed: nobody will go on with them.
        """

    @abstractmethod
    def forget_faces(self, face_ids: Sequence[int]) -> None:
        """Take from the reports of all jobs what they tell of faces: path, name, reason, ids and boxes.

        To be called in the transaction that removes the faces, after that. A job of which no report tells of
        a face any more loses the name of its archive. First answers about these faces are forgotten.
        """

    @abstractmethod
    def forget_person(self, person_id: int) -> None:
        """Forget the first answers about a person."""

    @abstractmethod
    def forget_paths(self, collection: int, names: Callable[[str], bool]) -> None:
        """Take from the reports of a collection's files that were not stored what they tell, by their paths.

        A job of which no report tells of a face any more, or whose archive's name is such a path, loses that
        name.

        Args:
            names: whether a path names somebody who is erased.
        """

    @abstractmethod
    def forget_collection(self, number: int) -> list[str]:
        """Forget a collection's jobs, with their reports, and the first answers about it; the jobs' ids."""

    @abstractmethod
    def unfinished(self, collection: int) -> list[str]:
        """The ids of a collection's jobs that are queued or running."""


class KeyStore(ABC):
    """The keys of clients, in the database of the faces. Threads and errors as for ImageDatabase."""

    @abstractmethod
    def add(self, new: NewKey) -> Key:
        """Store a key.

        Raises:
            InvalidParameter: a part of it cannot be stored.
            CollectionNotFound: there is no collection of the name, which the error tells.
            Conflict: there is a key of this prefix.
        """

    @abstractmethod
    def keys(self) -> tuple[Key, ...]:
        """Return all keys, the oldest first, also those that are revoked or have expired."""

    @abstractmethod
    def version(self) -> str:
        """A text that is another one after each `add` and `revoke`."""

    @abstractmethod
    def revoke(self, prefix: str) -> Key:
        """Revoke a key for good; return it. A key that was revoked before is returned as it is.

        Raises:
            KeyNotFound: there is none of this prefix.
        """

    @abstractmethod
    def revoke_all(self, collection: str) -> list[str]:
        """Revoke every key of a collection that is gone; return the prefixes of those that were active."""

    @abstractmethod
    def note_use(self, prefix: str) -> None:
        """Note that a key is used now, unless that was noted within the last minute."""


class FaceIndex(ABC):
    """Finds the nearest gallery faces of one model; a copy of the database that can be thrown away.

    Lives as long as its process. Any thread may call it; processes of one host share the copy.
    """

    @abstractmethod
    def of(self, collection: int, model_id: str, dimension: int) -> "FaceIndex":
        """Return an index of a collection's faces of a model, of the same kind and in the same place."""

    @abstractmethod
    def catch_up(self, database: ImageDatabase) -> None:
        """Take over every change, faces added and removed, that the database committed before this call.

        Of a face that was removed, or has another vector by now, no file of this host holds the vector then.
        """

    @abstractmethod
    def search(
        self, embeddings: NDArray[np.float32], k: int, tolerance: float, only: FaceFilter | None = None
    ) -> list[list[Match]]:
        """Return for each probe its k nearest faces with distance <= tolerance.

        Exact: the ids and order of a scan of all vectors in float64, nearest first, ties by lower id.

        Args:
            embeddings: float32 of shape (probes, dimension).
            k: 1 to 1000.
            tolerance: largest Euclidean distance, compared unrounded.
            only: which faces may be found; all by default.
        """

    @abstractmethod
    def search_people(
        self,
        embeddings: NDArray[np.float32],
        k: int,
        tolerance: float,
        only: FaceFilter | None = None,
        *,
        pooled: bool = False,
    ) -> list[list[PersonMatch]]:
        """Return for each probe its k nearest persons with the nearest face of each, as exact as `search`.

        Nearest first, ties by lower id of the nearest face. Faces without a person are left out.

        Args:
            pooled: the probes are one person's: one list, by the least distance to any of them.
        """

    @abstractmethod
    def keep_only(self, galleries: Mapping[int, str | None]) -> None:
        """Delete from this place the copies of all collections and models but these, whoever made them.

        A search that still reads one goes on.
        """

    @abstractmethod
    def count(self, only: FaceFilter | None = None, *, of_people: bool = False) -> int:
        """How many faces the copy holds, or of those as many as a search would compare a probe with.

        Args:
            only: as for `search`.
            of_people: as `search_people` does, without faces of nobody.
        """

    @abstractmethod
    def extent(self) -> tuple[int, int]:
        """The newest change that the copy covers, whichever process took it over, and its number of faces.

        Zeros where there is no copy. Reads nothing but the copy's head.
        """

    @abstractmethod
    def has_copy(self) -> bool:
        """Whether a copy lies in its place, be it empty or damaged."""

    @abstractmethod
    def ping(self) -> None:
        """Raise where the copy cannot be read or written."""

    @abstractmethod
    def close(self) -> None:
        """Release the copy; the object is not used afterwards."""


class WorkerPool(ABC):
    """Runs picklable tasks side by side.

    Lives as long as its process; child processes start at the first work and end with `close`, or with
    the process that made them, however it ends. Any thread may call it; calls share the children.
    """

    @property
    @abstractmethod
    def processes(self) -> int:
        """How many tasks run at the same time at most."""

    @property
    def restarts(self) -> int:
        """How often processes were lost or stopped, and replaced, since this one began."""
        return 0

    @abstractmethod
    def map(self, task: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[R]]:
        """Yield the outcome of `task(item)` for each item, in the order of the items.

        Items are taken as room becomes free, so a long iterable is never whole in memory. A task that
        raises, dies with its process or exceeds its time becomes an Outcome with that error, and
        costs no other item anything. A closed iterator abandons what is left.

        Args:
            task: a module-level callable or a picklable object.
        """

    @abstractmethod
    def ping(self) -> None:
        """Raise where tasks cannot be run."""

    @abstractmethod
    def close(self) -> None:
        """End the children within a few seconds; waiting calls get Unavailable."""


class Imports(ABC):
    """Archives on their way into the gallery, as jobs that outlive the process that took them.

    Lives as long as its process. Any thread may call it. Every method but `new_file` raises
    DatabaseUnavailable where the database is away.
    """

    @abstractmethod
    def new_file(self) -> BinaryIO:
        """Return an empty file, open for reading and writing, on the disk that archives wait on.

        It has no name, and is gone once it is closed or its process ends, unless a job has taken it over.

        Raises:
            StorageFull: it cannot be made. Writing to it raises an OSError where there is no room left.
        """

    @abstractmethod
    def start(
        self, archive: BinaryIO, file_name: str, options: ImportOptions, once: Once | None = None
    ) -> Job:
        """Check an archive and queue a job for it, which is safe once this returns.

        Under a key that was used before, return the job of that time.

        Args:
            archive: a zip in a file of `new_file`, or any seekable binary file, which is copied.
            file_name: the name that the client gave; never opened.

        Raises:
            NotAnArchive, BrokenArchive, TooLarge: the archive cannot be used.
            QueueFull: as many jobs wait as may.
            StorageFull: there is no room for it.
            KeyReused: the key was used for something else.
        """

    @abstractmethod
    def get(self, job_id: str) -> Job:
        """Return a job, or raise JobNotFound."""

    @abstractmethod
    def wait(self, job_id: str, limit_s: float) -> Job:
        """Return a job once it is over, or as it stands after `limit_s`; or raise JobNotFound."""

    @abstractmethod
    def jobs(self, limit: int, before: int | None = None, collection: str | None = None) -> Page[Job]:
        """Return at most `limit` jobs, the newest first, those whose number is below `before`.

        Raises:
            CollectionNotFound: there is no collection of this name, and so no job of it.
        """

    @abstractmethod
    def files(
        self, job_id: str, limit: int, after: int | None = None, status: str | None = None
    ) -> Page[FileReport]:
        """Return at most `limit` reports of a job in the archive's order; or raise JobNotFound."""

    @abstractmethod
    def cancel(self, job_id: str) -> Job:
        """Cancel a job; what it has stored stays. Raises JobNotFound, or JobOver where it has ended."""


class Health(ABC):
    """How the parts of the service are.

    Lives as long as its process. Any thread may call it. Nothing is raised, and each method answers within
    two seconds or so, whatever the parts do.
    """

    @abstractmethod
    def ready(self) -> Readiness:
        """Ask the database, the index, the encoder and the pool, side by side."""

    @abstractmethod
    def figures(self) -> Figures:
        """Count what the gallery holds and what waits."""

    @property
    @abstractmethod
    def pool_restarts(self) -> int:
        """`restarts` of the pool; costs nothing."""


class Access(ABC):
    """Who may use the service, how often, and what they changed.

    Lives as long as its process, which has its own view of the keys, at most a second old while the database
    answers. Any thread may call it.
    """

    @abstractmethod
    def admit(self, key: str | None) -> Caller | None:
        """Return whose key this is, and count the request; None where no key was ever made.

        Raises:
            KeyMissing: there are keys, and none was given.
            KeyRefused: the key is not known, was revoked, or has expired.
            RateLimited: it has made as many requests as it may.
            DatabaseUnavailable: the database is away, and this process has not seen the key lately.
        """

    @abstractmethod
    def record(self, deed: Deed) -> None:
        """Append to the audit log. Raises nothing: what was changed is not undone by a full disk."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; the object is not used afterwards."""


class People(ABC):
    """The people of a collection. Lives as its Gallery; errors as for PersonStore."""

    @abstractmethod
    def add(self, name: str, once: Once | None = None) -> Person:
        """Make a person without faces; see PersonStore.add."""

    @abstractmethod
    def page(self, limit: int, after: int | None = None) -> Page[Person]:
        """Return people by rising id."""

    @abstractmethod
    def named(self, name: str) -> Person | None:
        """Return the person of a name."""

    @abstractmethod
    def get(self, person_id: int) -> Person:
        """Return a person, or raise PersonNotFound."""

    @abstractmethod
    def edit(self, person_id: int, edit: PersonEdit) -> Person:
        """Change a person's name, cover face or both, or nothing.

        Raises:
            PersonNotFound, InvalidParameter, NameTaken: as PersonStore.rename.
            FaceNotFound: the person has no such face.
        """

    @abstractmethod
    def merge(self, person_id: int, others: Sequence[int], once: Once | None = None) -> Person:
        """See PersonStore.merge. What is remembered of requests about those who are gone is forgotten."""

    @abstractmethod
    def assign(self, face_ids: Sequence[int], person_id: int | None, once: Once | None = None) -> list[int]:
        """See PersonStore.assign; `once` as for `API.add_face`."""

    @abstractmethod
    def delete(self, person_id: int, *, with_faces: bool) -> list[int]:
        """Erase a person, and the person's faces or only the tie; the erased faces' ids."""


class Gallery(ABC):
    """One collection at work. Any thread may call it.

    Every method raises CollectionNotFound where the collection is gone, DatabaseUnavailable where the
    database is away, unless it says otherwise, and ModelMismatch where this service cannot make vectors of
    the collection's model.
    """

    @property
    @abstractmethod
    def people(self) -> People:
        """The people of the collection."""

    @abstractmethod
    def search(self, probe: Probe, terms: SearchTerms) -> SearchResult:
        """Return the faces of the probe from left to right, each with its matches.

        While the database is away: as `API.search_faces`, but for a FaceProbe or a query.

        Raises:
            InvalidParameter: a value is out of range, the vector is none, photos are missing or too many.
            NoFaceFound: one of several photos has no face.
            FaceNotFound: there is no face to search with.
        """

    @abstractmethod
    def add_faces(self, photo: PhotoFile, terms: EnrolmentTerms, once: Once | None = None) -> EnrolledPhoto:
        """Store faces of a photo. `once` as for `API.add_face`.

        Raises:
            NoFaceFound, SeveralFaces, FaceRefused, PersonNotFound, InvalidParameter, KeyReused
        """

    @abstractmethod
    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        """Return faces by rising id, of those above `after`."""

    @abstractmethod
    def face(self, face_id: int) -> StoredFace:
        """Return a face, or raise FaceNotFound."""

    @abstractmethod
    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        """Change what is known of a face, and whose it is: all that is named, or nothing.

        Raises:
            FaceNotFound, InvalidParameter: as ImageDatabase.edit_face.
            PersonNotFound
        """

    @abstractmethod
    def thumbnail(self, face_id: int) -> Crop:
        """Return a face's crop.

        Raises:
            FaceNotFound
            CropNotFound: none is kept of this face.
        """

    @abstractmethod
    def delete_faces(self, face_ids: Sequence[int]) -> list[int]:
        """Erase faces; return the ids of those that were there.

        Nothing of them is left: row, vector, crop, metadata, entry of the index, what job reports and first
        answers tell of them, and their photos in archives that wait. See docs/erasure.md.
        """


class Collections(ABC):
    """The collections of the service. Any thread may call it; errors as for CollectionStore."""

    @abstractmethod
    def add(self, name: str, model_id: str | None = None, once: Once | None = None) -> Collection:
        """Make a collection, for a model that this service can make, or that of its first face.

        Raises:
            InvalidParameter, NameTaken
            ModelNotFound: the service makes no such vectors.
        """

    @abstractmethod
    def get(self, name: str) -> Collection:
        """Return a collection with its counts, or raise CollectionNotFound."""

    @abstractmethod
    def page(self, limit: int, after: int | None = None) -> Page[Collection]:
        """Return collections by rising number."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Erase a collection with all that belongs to it, its jobs and their archives; revoke its keys.

        Raises:
            CollectionNotFound
            Conflict: it is the default one.
        """

    @abstractmethod
    def gallery(self, name: str) -> Gallery:
        """Return a collection to work with. Asks nobody: whether it is there shows at the first call."""


class API(ABC):
    """What the service does, free of HTTP: a database and an encoder behind four verbs, and what grew since.

    Lives as long as its process. Any thread may call it. The verbs that name no collection work on the
    default one; `collections` has more to offer. Every method raises an error of
    `facesearch.errors`, and, unless it says otherwise, DatabaseUnavailable where the database is away.
    """

    @property
    @abstractmethod
    def imports(self) -> Imports:
        """Archives on their way into the gallery."""

    @property
    @abstractmethod
    def collections(self) -> Collections:
        """The collections, their faces and their people."""

    @property
    @abstractmethod
    def access(self) -> Access:
        """Who may use the service."""

    @property
    @abstractmethod
    def health(self) -> Health:
        """How the parts are. May be asked before `open` has returned."""

    @abstractmethod
    def search_faces(
        self,
        photo: bytes,
        file_name: str,
        k: int,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
        collection: str = DEFAULT_COLLECTION,
    ) -> SearchResult:
        """Return the photo's faces from left to right, each with its nearest known faces.

        Where the database is away, the answer comes from the copy as this process last knew it level,
        without names, and says so; DatabaseUnavailable where it never did, or where the configuration
        wants no such answers.

        Args:
            photo: an encoded image file.
            file_name: the name that the client gave; never opened.
            k: how many matches per face at most, 1 to 1000.
            tolerance: largest Euclidean distance, 0 to 2; None takes the model's; an AutoTolerance the
                one at which a stranger's face gets a match as rarely as wanted, in a gallery of this size;
                a LeastSimilarity that of a similarity.
            wanted: which faces of the photo, and how they are looked for.

        Raises:
            InvalidParameter: one is out of range, or needs a calibration that the model lacks.
        """

    @abstractmethod
    def detect(self, photo: PhotoFile, wanted: Wanted = ANY_FACE) -> FoundFaces:
        """Return the faces of a photo and store nothing. Needs no database."""

    @abstractmethod
    def compare(
        self,
        source: PhotoFile,
        target: PhotoFile,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
        collection: str = DEFAULT_COLLECTION,
    ) -> Comparison:
        """Compare every face of a photo with every face of another, and store nothing.

        Vectors are those of the gallery's model, and of the configured one while the database that knows
        the gallery is away. Of more than 100 faces in a photo, the largest 100 are compared.

        Args:
            tolerance: as for `search_faces`; an AutoTolerance is that of a gallery of one face.
            wanted: which faces of both photos, and how they are looked for.

        Raises:
            InvalidParameter: as for `search_faces`.
        """

    @abstractmethod
    def models(self) -> tuple[ModelInfo, ...]:
        """The gallery's model, and the configured one where that is another. Works without the database."""

    @abstractmethod
    def model(self, model_id: str) -> ModelInfo:
        """What is known of a model that this service can make. Works without the database.

        Raises:
            ModelNotFound: it makes none of this id.
        """

    @abstractmethod
    def add_face(
        self,
        photo: bytes,
        file_name: str,
        wanted: Wanted = ANY_FACE,
        once: Once | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> AddedFace:
        """Store the largest face of a photo.

        Under a key that was used before, store nothing and return what was stored then. An error is not
        remembered: the request is worked on again.

        Raises:
            NoFaceFound: the photo has none.
            KeyReused: the key was used for something else.
            FaceRefused: its quality is below the limits of the configuration.
        """

    @abstractmethod
    def import_faces(
        self, faces: Iterable[NewFace], model_id: str, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Store faces that were encoded elsewhere; return how many.

        Those whose `photo_sha256` is stored already, or came before, are left out.

        Raises:
            ModelMismatch: the gallery holds faces of another model.
        """

    @abstractmethod
    def add_faces_in_bulk(self, archive: BinaryIO, collection: str = DEFAULT_COLLECTION) -> BulkReport:
        """Store the largest face of every photo in a zip: the job of `imports`, waited for.

        Args:
            archive: a seekable binary file.

        Raises:
            NotAnArchive, BrokenArchive, TooLarge: nothing was stored.
            LeaseLost: the job was cancelled.
        """

    @abstractmethod
    def get_face_info(self, face_id: int, collection: str = DEFAULT_COLLECTION) -> StoredFace:
        """Return what is stored about a face.

        Raises:
            FaceNotFound: there is no such face.
        """

    @abstractmethod
    def open(self) -> None:
        """Prepare the database where it can be reached, and begin to work on jobs.

        Called once, before the first request.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything in reverse order of making; called once."""
