"""Faces, people and collections that are to be gone without a trace; see docs/erasure.md."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from facesearch.errors import FacesearchError, InvalidParameter
from facesearch.interfaces import ImageDatabase, JobStore, KeyStore
from facesearch.records import DEFAULT_NUMBER, FaceQuery
from facesearch.service.erasure_notes import ErasureNotes
from facesearch.service.galleries import FoundCollection, Galleries
from facesearch.service.imports.jobs import ImportJobs
from facesearch.service.intake.names import person_and_version
from facesearch.service.keys.keyring import FRESH_S

MOST_FACES_A_CALL = 10_000


class Erasure:
    """Lives as long as its process. Any thread may call it.

    Each erasure goes from what could bring the faces back to what only repeats them: the photos that wait in
    archives, the database in one transaction, the database's files, and this host's copy. So after any
    interruption `finish` has all that it takes to come to the end, and repeating the request does too.

    Args:
        imports: whose archives wait on this host.
        jobs, keys: in the same database as the collections.
        notes: where erasures that have begun are noted.
    """

    def __init__(
        self,
        galleries: Galleries,
        imports: ImportJobs,
        jobs: JobStore,
        keys: KeyStore,
        notes: ErasureNotes,
    ) -> None:
        self._galleries = galleries
        self._imports = imports
        self._jobs = jobs
        self._keys = keys
        self._notes = notes

    def delete_faces(self, collection: str, face_ids: Sequence[int]) -> list[int]:
        """See Gallery.delete_faces."""
        found = self._galleries.find(collection)
        database = self._galleries.database(found.number)
        with self._notes.begun():
            self._imports.erase_photos(found.number, database.photos_of_faces(face_ids))
            with database.transaction():
                gone = self._remove(database, face_ids)
            self._clean(found)
        return gone

    def delete_person(self, collection: str, person_id: int, *, with_faces: bool) -> list[int]:
        """See People.delete. What job reports tell of the faces names the person, and goes in any case.

        With the faces goes what reports tell of files that were not stored, where a path names the person.
        """
        found = self._galleries.find(collection)
        self._galleries.people(found.number).get(person_id)
        with self._notes.begun():
            gone = None
            while gone is None:
                gone = self._delete_person(found, person_id, with_faces)
            self._clean(found)
        return gone

    def delete_collection(self, collection: str) -> None:
        """See Collections.delete."""
        store = self._galleries.store
        store.get(collection)
        with self._notes.begun():
            # Together: whoever makes a collection of this name later finds no key that is good for it.
            with self._default.transaction():
                number = store.delete(collection)
                revoked = self._keys.revoke_all(collection)
            revoked_at = time.monotonic()
            self._purge(number)
            _in_turn(self._galleries.keep_only_these, self._default.wipe)
        if revoked:
            # Until every process has noticed: whoever makes a collection of this name next may do so at once.
            time.sleep(max(0.0, revoked_at + FRESH_S - time.monotonic()))

    def finish(self) -> None:
        """Come to the end of what was broken off, or erased on another host; costs little where nothing was.

        Raises:
            FacesearchError: the first of several; all else is done.
        """
        store = self._galleries.store
        with self._notes.broken_off() as is_broken_off:
            deleted, models = store.deleted(), store.numbers()
            _in_turn(
                *(partial(self._purge, number) for number in deleted),
                self._galleries.keep_only_these,
                *(partial(self._galleries.level, number, model_id) for number, model_id in models.items()),
                # Reads the whole file, so only where there is a reason to.
                *([self._default.wipe] if is_broken_off or deleted else []),
            )

    @property
    def _default(self) -> ImageDatabase:
        return self._galleries.database(DEFAULT_NUMBER)

    def _remove(self, database: ImageDatabase, face_ids: Sequence[int]) -> list[int]:
        """In one transaction, which is the caller's."""
        gone: list[int] = []
        for at in range(0, len(face_ids), MOST_FACES_A_CALL):
            gone += database.delete_faces(face_ids[at : at + MOST_FACES_A_CALL])
        self._jobs.forget_faces(gone)
        return gone

    def _delete_person(self, found: FoundCollection, person_id: int, with_faces: bool) -> list[int] | None:
        """Return the ids of the faces that are gone; None where the person got others meanwhile."""
        database, people = self._galleries.database(found.number), self._galleries.people(found.number)
        theirs = FaceQuery(people=frozenset([person_id]))
        before = database.face_ids(theirs).tolist()
        if with_faces:
            self._imports.erase_photos(found.number, database.photos_of_faces(before))
        with database.alone():
            faces = database.face_ids(theirs).tolist()
            if with_faces and not set(before).issuperset(faces):
                return None
            name = people.get(person_id).name
            gone = self._remove(database, faces) if with_faces else []
            if people.named(name) is not None:  # who was not named goes with the last face
                people.remove(person_id)
            if not with_faces:
                self._jobs.forget_faces(faces)
            elif name:
                self._jobs.forget_paths(found.number, _naming(name))
            self._jobs.forget_person(person_id)
            return gone

    def _purge(self, number: int) -> None:
        """The archives first: as long as their jobs are there, they can be found again."""
        self._imports.forget(self._jobs.unfinished(number))
        self._imports.forget(self._jobs.forget_collection(number))
        self._imports.delete_needless_archives()  # whose collection nothing tells any more
        self._galleries.store.purge(number)

    def _clean(self, found: FoundCollection) -> None:
        """Have neither this host's copy nor the database's files hold what was removed."""
        _in_turn(lambda: self._galleries.level(found.number, found.model_id), self._default.wipe)


def _naming(name: str) -> Callable[[str], bool]:
    """Whether a path names a person by itself, whichever top folder its archive had."""

    def names(path: str) -> bool:
        # Of most paths this is all that is looked at: in ASCII a name's words stand as they are.
        if path.isascii() and path.isprintable() and name not in " ".join(path.replace("_", " ").split()):
            return False
        return any(_person_of(path, top) == name for top in (None, path.partition("/")[0]))

    return names


def _person_of(path: str, only_top_folder: str | None) -> str | None:
    try:
        return person_and_version(path, only_top_folder)[0]
    except InvalidParameter:
        return None


def _in_turn(*steps: Callable[[], None]) -> None:
    """Take every step, whatever becomes of the others; raise the first error in the end."""
    first: FacesearchError | None = None
    for step in steps:
        try:
            step()
        except FacesearchError as error:
            first = first or error
    if first is not None:
        raise first
