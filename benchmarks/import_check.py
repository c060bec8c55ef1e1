"""What has to be true of a service's database, reports, copy and answers once an import is over."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.archives import BROKEN, NO_FACE, PHOTO, TEXT, ZippedFile
from benchmarks.import_client import ImportClient, WrongAnswer
from facesearch.config import CONFIG_VARIABLE, Settings, load_settings
from facesearch.databases import SQLDatabase, open_image_database
from facesearch.encoders import AGTEncoder
from facesearch.errors import WorkerDied
from facesearch.images import AGTImage
from facesearch.interfaces import ImageDatabase
from facesearch.records import Wanted
from facesearch.search import ExactIndex
from facesearch.workers import InlinePool
from tests.server import Server

FACES_TABLE = "IMAGE_DATASET"
STATUSES = {NO_FACE: "no_face", BROKEN: "failed", TEXT: "skipped"}
SAMPLE = 20
SAME_PHOTO = 1e-3  # batches of other sizes differ in the last bits
INDEX_WAIT_S = 30.0
SHOWN = 3

Report = Mapping[str, Any]


class Checker:
    """Compares what was sent with what is there. Lives as long as the look at one job.

    Args:
        server: running, and idle.
        files: what was sent, by path in the zip.
        job: as the service told of it once it was over.
    """

    def __init__(self, server: Server, files: Mapping[str, ZippedFile], job: Report) -> None:
        self.counts: Counter[str] = Counter()
        self._server = server
        self._files = files
        self._job = job
        self._client = ImportClient(server.url)
        self._settings = load_settings({CONFIG_VARIABLE: str(server.config_file)})
        self._wrong: list[str] = []

    def check(self, chance: random.Random) -> list[str]:
        """Return what is wrong.

        Args:
            chance: draws the photos of which every step is done again.
        """
        if self._job["state"] != "done":
            return [f"the job is {self._job}"]
        listed = self._client.files(self._job["id"])
        if listed is None:
            raise WrongAnswer("the reports were refused")
        reports = self._one_each(listed)
        inserted = {path: report for path, report in reports.items() if report["status"] == "inserted"}
        database = open_image_database(self._settings)
        encoder = AGTEncoder(self._settings.encoder, self._settings.data_dir / "models")
        try:
            self._check_reports(reports, encoder)
            self._check_rows(database, inserted)
            self._check_vectors(database, encoder, inserted, chance)
        finally:
            database.close()
        for path in chance.sample(sorted(inserted), min(SAMPLE, len(inserted))):
            self._search_for(path, inserted[path]["id"])
        left = [path.name for path in (self._settings.data_dir / "imports").iterdir()]
        self._expect(left == ["place"], f"beside the place there is {left}")
        return self._wrong

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self._wrong.append(otherwise)

    def _expect_none(self, wrong: Collection[object], what: str) -> None:
        self._expect(not wrong, f"{what}: {len(wrong)}, such as {list(wrong)[:SHOWN]}")

    def _one_each(self, listed: list[dict[str, Any]]) -> dict[str, Report]:
        times = Counter(report["path"] for report in listed)
        doubled = [path for path, count in times.items() if count > 1]
        self._expect_none(doubled, "reported more than once")
        self._expect_none(self._files.keys() - times.keys(), "without a report")
        self._expect_none(times.keys() - self._files.keys(), "reported and not sent")
        statuses = Counter(report["status"] for report in listed)
        told = {status: count for status, count in self._job["counts"].items() if count}
        total = told.pop("total", 0)
        self._expect(told == dict(statuses), f"the counts {told} are not those of the reports, {statuses}")
        self._expect(total == len(self._files), f"a total of {total} for {len(self._files)} files")
        self.counts.update({f"files {status}": count for status, count in statuses.items()})
        return {report["path"]: report for report in listed if report["path"] in self._files}

    def _check_reports(self, reports: Mapping[str, Report], encoder: AGTEncoder) -> None:
        for path, report in reports.items():
            kind, status, reason = self._files[path].kind, report["status"], report["reason"]
            told = f"{path} ({kind}): {status}, {reason}"
            self._expect(bool(reason) == (status != "inserted"), told)
            if status == "failed" and reason == WorkerDied().message:
                self.counts["files given up after several deaths"] += 1
            elif kind != PHOTO:
                self._expect(status == STATUSES[kind], told)
            elif status == "no_face":
                self._expect(not _faces(self._files[path], encoder, self._settings), told)
            else:
                self._expect(status in ("inserted", "duplicate"), told)
        by_photo: dict[bytes, list[Report]] = {}
        for path, report in reports.items():
            by_photo.setdefault(self._files[path].sha256, []).append(report)
        for some in by_photo.values():
            ids = {report["id"] for report in some if report["status"] == "inserted"}
            told = f"the same photo: {some}"
            again = {report["id"] for report in some if report["status"] == "duplicate"}
            self._expect(sum(report["status"] == "inserted" for report in some) <= 1 and again <= ids, told)

    def _check_rows(self, database: ImageDatabase, inserted: Mapping[str, Report]) -> None:
        assert isinstance(database, SQLDatabase)
        rows = database.select(FACES_TABLE, ["id", "file_name", "person_name", "photo_sha256"])
        stored = Counter((row["id"], row["file_name"], bytes(row["photo_sha256"])) for row in rows)
        told = Counter(
            (report["id"], Path(path).name, self._files[path].sha256) for path, report in inserted.items()
        )
        self._expect_none(stored - told, "stored and not told")
        self._expect_none(told - stored, "told and not stored")
        names = {row["id"]: row["person_name"] for row in rows}
        other = [
            path for path, report in inserted.items() if names.get(report["id"]) != report["person_name"]
        ]
        self._expect_none(other, "under other names than told")

    def _check_vectors(
        self,
        database: ImageDatabase,
        encoder: AGTEncoder,
        inserted: Mapping[str, Report],
        chance: random.Random,
    ) -> None:
        """Find each face where it lies, in the service's own copy; some must lie where their photos do."""
        vectors = vectors_of(database, encoder.model_id)
        ids = {report["id"] for report in inserted.values()}
        self._expect_none(vectors.keys() ^ ids, "in the changes or in the reports alone")
        if not vectors:
            return
        index = ExactIndex(
            self._settings.data_dir / "index",
            encoder.model_id,
            encoder.dimension,
            InlinePool(),
            self._settings.search.parallel_from,
            lock_wait_s=INDEX_WAIT_S,
        )
        index.catch_up(database)
        self._expect(index.count() == len(ids), f"the copy holds {index.count()} of {len(ids)} faces")
        found = index.search(np.stack(list(vectors.values())), 1, 0.0)
        lost = [
            face_id
            for face_id, matches in zip(vectors, found, strict=True)
            if [match.face_id for match in matches] != [face_id]
        ]
        self._expect_none(lost, "not found where they lie")
        index.close()
        for path in chance.sample(sorted(inserted), min(SAMPLE, len(inserted))):
            (own,) = _faces(self._files[path], encoder, self._settings)
            stored = vectors.get(inserted[path]["id"])
            distance = np.inf if stored is None else np.linalg.norm(own - stored)
            self._expect(bool(distance < SAME_PHOTO), f"{path} is stored {distance} from its own vector")

    def _search_for(self, path: str, face_id: int) -> None:
        """Search with a photo, its faces looked for as enrolment does: doubled only where there is none."""
        nearest: list[Report] = []
        for upsample in (0, 1):
            file = {"file": (Path(path).name, self._files[path].data)}
            answer = self._client.ask(
                "POST", "/search_faces/", params={"k": 1, "upsample": upsample}, files=file
            )
            if answer is None:
                raise WrongAnswer("a search was refused")
            faces = answer["body"]["matches"].values()
            nearest = [match for matches in faces for match in matches]
            if faces:
                break
        there = any(match["id"] == face_id and match["distance"] < SAME_PHOTO for match in nearest)
        self._expect(there, f"face {face_id} of {path} is not the nearest to its photo: {nearest}")
        self.counts["searches"] += 1


def _faces(file: ZippedFile, encoder: AGTEncoder, settings: Settings) -> list[NDArray[np.float32]]:
    image = AGTImage.open(file.data, "x.jpg", settings.limits)
    return [face.embedding for face in encoder.encode(image, Wanted(only_largest=True)).faces]


def vectors_of(database: ImageDatabase, model_id: str) -> dict[int, NDArray[np.float32]]:
    changes: Iterable[Any] = (change for batch in database.changes_after(0, model_id) for change in batch)
    return {change.face_id: change.embedding for change in changes if change.embedding is not None}
