"""A real service erases; every file that it keeps, and the server's tables, are searched for what is left."""

import io
import json
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from facesearch.config import Settings
from facesearch.databases import open_image_database, open_job_store
from facesearch.databases.collections import SQLCollectionStore
from facesearch.records import ImportOptions, NewJob
from facesearch.service.intake.waiting_room import WaitingRoom
from tests.real import traces
from tests.server import Server

PHOTOS = Path(__file__).resolve().parents[2] / "test_images"
NAME, OTHER_NAME = "Quixwyn Zábrowszky", "Vexlomir Tchakarian"
METADATA = {"badge": "zqx-5521", "site": "zqx-Brüssel"}

Collection = str


def variant(name: str, number: int) -> bytes:
    """A photo whose bytes nobody else has, of the same face."""
    file = io.BytesIO()
    comment = f"zqx-variant-{number}".encode()
    Image.open(PHOTOS / name).save(file, "JPEG", quality=90, comment=comment)
    return file.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return file.getvalue()


class Service:
    """A service at work, and what it keeps."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self.server = server
        self.settings = settings

    def ask(self, method: str, path: str, expected: int = 200, **request: Any) -> Any:
        answer: httpx2.Response = self.server.client.request(method, path, **request)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    def enrol(self, photo: bytes, file_name: str, collection: Collection, **fields: str) -> int:
        files = {"file": (file_name, photo)}
        key = {"Idempotency-Key": f'"{uuid.uuid4().hex}"'}
        answer = self.ask("POST", f"/v1/faces?collection={collection}", files=files, data=fields, headers=key)
        return int(answer["faces"][0]["id"])

    def imported(self, files: Mapping[str, bytes], collection: Collection) -> str:
        """Import an archive, and wait for the end; its job's id."""
        archive = {"file": ("zqx-archive.zip", zipped(files))}
        job = self.ask("POST", f"/v1/imports?collection={collection}", 202, files=archive)
        with self.server.client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
            assert any(line.startswith("event: end") for line in events.iter_lines())
        return str(job["id"])

    def search(self, photo: bytes, collection: Collection) -> set[int]:
        files = {"file": ("probe.jpg", photo)}
        answer = self.ask("POST", f"/v1/search?collection={collection}&k=50&tolerance=1.9", files=files)
        return {match["id"] for face in answer["faces"] for match in face["matches"]}

    def vector_of(self, face_id: int, collection: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
        with closing(open_image_database(self.settings, read_only=True)) as database:
            return database.of_collection(collection).embeddings([face_id])[face_id]  # type: ignore[attr-defined,no-any-return]

    def crop_of(self, face_id: int, collection: Collection) -> bytes:
        path = f"/v1/faces/{face_id}/thumbnail?collection={collection}"
        return bytes(self.server.client.get(path).content)

    def found(self, wanted: traces.Traces) -> dict[str, list[str]]:
        """Where traces are: in the folder with data, configuration and log, and in a server's tables."""
        places = traces.in_files(self.server.folder, wanted)
        if self.settings.database.engine == "mysql":
            for name, tables in traces.in_tables(self.settings.database, wanted).items():
                places.setdefault(name, []).extend(tables)
        return places

    @contextmanager
    def waiting(self, files: Mapping[str, bytes], collection: Collection, number: int) -> Iterator[str]:
        """An archive that waits meanwhile, behind a job that is being worked on; its job's id."""
        place = WaitingRoom(self.settings.data_dir / "imports").place()
        options = ImportOptions(collection=collection)
        ahead = NewJob(uuid.uuid4().hex, place, "", options, 1, number)
        with closing(open_image_database(self.settings)) as database:
            jobs = open_job_store(database)
            with database.transaction():  # or the service would be quicker
                jobs.add(ahead)
                assert jobs.claim(place, "a test", 600, 1) is not None
        archive = {"file": ("zqx-waits.zip", zipped(files))}
        job = self.ask("POST", f"/v1/imports?collection={collection}", 202, files=archive)
        yield job["id"]
        with closing(open_image_database(self.settings)) as database:
            if ahead.id in open_job_store(database).unfinished(number):
                open_job_store(database).finish(ahead.id, "a test", "done")


@pytest.fixture
def service(request: pytest.FixtureRequest, database_settings: Settings, tmp_path: Path) -> Iterator[Service]:
    if request.param == "hnsw":
        pytest.importorskip("usearch")
    database = database_settings.database.model_dump(mode="json")
    database["password"] = database_settings.database.password.get_secret_value()
    settings = {
        "database": database,
        "crops": {"keep_crops": True},
        "search": {"index": request.param},
        "intake": {"imports_at_once": 1},
        "workers": {"processes": 1},
    }
    folder = tmp_path / "service"
    with Server(folder, settings) as server:
        data = folder / "facesearch-data"
        yield Service(server, Settings(data_dir=data, database=database_settings.database))


# A copy does not ask which database it follows: each kind on one of them is enough.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_settings", "service"),
    [
        ("sqlite", "exact"),
        pytest.param("sqlite", "hnsw", marks=pytest.mark.hnsw),
        pytest.param("mysql", "exact", marks=pytest.mark.mysql),
    ],
    indirect=True,
)
def test_what_was_erased_is_nowhere_byte_by_byte(service: Service) -> None:
    """Faces by their ids, a person with all faces, and a collection, one after the other."""
    for number in range(3):
        service.enrol(variant("Joe_Biden_0001.jpg", number), f"Other_{number:04}.jpg", "default")
    first = variant("Barack_Obama_0001.jpg", 100)
    face = service.enrol(
        first,
        f"{NAME}_0001.jpg",
        "default",
        person_name=NAME,
        external_id="zqx-e-77",
        metadata=json.dumps(METADATA),
    )
    job = service.imported({f"{NAME}_0002.jpg": first, "Other_1000.jpg": b"no photo"}, "default")
    assert face in service.search(first, "default")
    wanted = {
        "vector": traces.of_vector(service.vector_of(face, 1)),
        "crop": traces.of_bytes(service.crop_of(face, "default")),
        "photo": traces.of_bytes(first),
        "digest": [sha256(first).digest(), sha256(first).hexdigest().encode()],
        "name": [*traces.of_text(NAME), *traces.of_text(f"{NAME}_0001.jpg")],
        "external id": [b"zqx-e-77"],
        "metadata": [b"zqx-5521", *traces.of_text("zqx-Brüssel")],
    }
    with service.waiting({f"{NAME}/1.jpg": first, "Other_2000.jpg": b"no photo"}, "default", 1) as waits:
        assert set(service.found(wanted)) == set(wanted)
        assert service.ask("DELETE", f"/v1/faces/{face}")["deleted"] == [face]
        assert service.found(wanted) == {}
    with service.server.client.stream("GET", f"/v1/jobs/{waits}/events") as events:
        assert any(line.startswith("event: end") for line in events.iter_lines())
    for job_id in (job, waits):
        files = service.ask("GET", f"/v1/jobs/{job_id}/files")["files"]
        assert [file["path"] for file in files] == ["", files[1]["path"]]
    assert face not in service.search(first, "default")
    assert service.found(wanted) == {}

    photos = [variant("Eileen_Collins_0001.jpg", 200 + number) for number in range(3)]
    theirs_by_path = {f"{OTHER_NAME}_{n:04}.jpg": photo for n, photo in enumerate([*photos, b"no photo"])}
    service.imported(theirs_by_path, "default")
    [person] = [p for p in service.ask("GET", "/v1/people?limit=100")["people"] if p["name"] == OTHER_NAME]
    theirs = [f["id"] for f in service.ask("GET", f"/v1/faces?person={person['id']}")["faces"]]
    assert service.search(photos[0], "default").issuperset(theirs)
    wanted = {
        **{f"vector {n}": traces.of_vector(service.vector_of(n, 1)) for n in theirs},
        **{f"crop {n}": traces.of_bytes(service.crop_of(n, "default")) for n in theirs},
        "digest": [sha256(photo).digest() for photo in photos],
        "name": traces.of_text(OTHER_NAME),
    }
    assert set(service.found(wanted)) == set(wanted)
    gone = service.ask("DELETE", f"/v1/people/{person['id']}?faces=delete")
    assert sorted(gone["deleted"]) == sorted(theirs)
    assert service.found(wanted) == {}

    service.ask("POST", "/v1/collections", 201, json={"name": "zqx-secret"})
    with closing(open_image_database(service.settings, read_only=True)) as database:
        number = SQLCollectionStore(database).get("zqx-secret").number  # type: ignore[arg-type]
    photo = variant("Barack_Obama_0002.jpg", 300)
    face = service.enrol(photo, "x.jpg", "zqx-secret", person_name=NAME)
    service.imported({f"{NAME}_0001.jpg": variant("Barack_Obama_0003.jpg", 301)}, "zqx-secret")
    assert face in service.search(photo, "zqx-secret")
    wanted = {
        "vector": traces.of_vector(service.vector_of(face, number)),
        "crop": traces.of_bytes(service.crop_of(face, "zqx-secret")),
        "photo": traces.of_bytes(photo),
        "digest": [sha256(photo).digest()],
        "name": traces.of_text(NAME),
    }
    with service.waiting({"1.jpg": photo}, "zqx-secret", number):
        assert set(service.found(wanted)) == set(wanted)
        service.ask("DELETE", "/v1/collections/zqx-secret")
        assert service.found(wanted) == {}
    assert len(service.search(photo, "default")) == 3
