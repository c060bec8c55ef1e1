"""Collections carried between databases of both kinds, and searched on either side, with the real encoder."""

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from facesearch.bootstrap.exporting import export, import_export, is_export
from facesearch.bootstrap.service import build_api
from facesearch.config import CropSettings, DatabaseSettings, Settings, WorkerSettings
from facesearch.databases import open_collection_store, open_image_database, open_transfer_store
from facesearch.interfaces import API
from facesearch.records import (
    BEST,
    Condition,
    EnrolmentTerms,
    FaceQuery,
    PhotoFile,
    PhotoProbe,
    SearchTerms,
)
from tests.contracts.new_faces import new_face
from tests.mariadb import MariaDB
from tests.server import PROJECT_ROOT

PHOTOS = sorted((PROJECT_ROOT / "test_images").glob("*_000?.jpg"))
ON_BOTH = pytest.mark.parametrize(
    ("here", "there"),
    [pytest.param(*pair, marks=pytest.mark.mysql) for pair in (("sqlite", "mysql"), ("mysql", "sqlite"))],
)


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path, here: str, there: str) -> list[Settings]:
    """Settings that lead to an empty database each, of the kinds that the test names."""
    made = []
    for place in (here, there):
        database = DatabaseSettings(engine="sqlite")
        if place == "mysql":
            server: MariaDB = request.getfixturevalue("mariadb")
            database = server.new_database()
        made.append(
            Settings(
                data_dir=tmp_path / place,
                database=database,
                crops=CropSettings(keep_crops=True),
                workers=WorkerSettings(processes=1),
            )
        )
    return made


def enrol(api: API, name: str) -> None:
    gallery = api.collections.gallery(name)
    for path in PHOTOS:
        site = "Paris" if "Barack" in path.name else "Rome"
        terms = EnrolmentTerms(external_id=path.stem, metadata={"site": site, "bytes": len(path.name)})
        gallery.add_faces(PhotoFile(path.name, path.read_bytes()), terms)


def answers(api: API, name: str) -> list[Any]:
    """What searches of many kinds find, without ids."""
    gallery = api.collections.gallery(name)
    paris = FaceQuery(conditions=(Condition("site", "in", ("Paris",)),))
    found = []
    for path in PHOTOS:
        probe = PhotoProbe((PhotoFile("probe.jpg", path.read_bytes()),))
        for terms in (
            SearchTerms(100, 2.0),
            SearchTerms(100, 2.0, paris),
            SearchTerms(100, 2.0, by_person=True),
        ):
            found.append(gallery.search(probe, terms))
    several = PhotoProbe(tuple(PhotoFile(p.name, p.read_bytes()) for p in PHOTOS[:2]), pooling=BEST)
    found.append(gallery.search(several, SearchTerms(5, 2.0)))
    assert all(face.matches for result in found for face in result.faces)
    return [
        [
            (m.person_name, m.distance, m.similarity, m.external_id, dict(m.metadata), m.faces_within)
            for face in result.faces
            for m in face.matches
        ]
        for result in found
    ]


@ON_BOTH
def test_a_collection_answers_alike_on_another_kind_of_database(
    places: list[Settings], tmp_path: Path
) -> None:
    first, second = places
    file = tmp_path / "team.zip"
    with closing(build_api(first)) as api:
        api.open()
        api.collections.add("team")
        enrol(api, "team")
        before = answers(api, "team")
        sizes = len(PHOTOS), len({path.stem.rpartition("_")[0] for path in PHOTOS})
    told = export(first, "team", file, False, lambda *_: None)
    assert (told["faces"], told["people"], told["crops"]) == (sizes[0], sizes[1], sizes[0])
    assert is_export(second, file)
    made = import_export(second, file, "copy 王", lambda *_: None)
    assert (made["faces"], made["people"]) == sizes
    with closing(build_api(second)) as api:
        assert answers(api, "copy 王") == before
        gallery = api.collections.gallery("copy 王")
        assert {gallery.thumbnail(face.id).media_type for face in gallery.faces(FaceQuery(), 100).items} == {
            "image/jpeg"
        }
        assert len(gallery.people.page(100).items) == sizes[1]


@ON_BOTH
def test_an_export_is_of_one_moment_while_others_write(places: list[Settings], tmp_path: Path) -> None:
    """Each batch of a writer holds a face of two persons; no export may hold one without the other."""
    first, second = places
    stop = threading.Event()
    with closing(open_image_database(first)) as database:
        model, ones = "dlib-resnet-v1-mirror", [1.0] * 128

        def write() -> None:
            for n in range(1_000):
                if stop.is_set():
                    return
                pair = [new_face(ones, person_name=f"{n} {side}") for side in ("a", "b")]
                ids = database.add_faces(pair, model)
                if n % 3 == 0:
                    database.delete_faces(ids)

        writer = threading.Thread(target=write)
        database.add_faces([new_face(ones), new_face(ones, person_name="Bo")], model)
        writer.start()
        try:
            for n in range(3):
                export(first, "default", tmp_path / f"{n}.zip", False, lambda *_: None)
        finally:
            stop.set()
            writer.join()
    for n in range(3):
        made = import_export(second, tmp_path / f"{n}.zip", f"c{n}", lambda *_: None)
        assert made["faces"] % 2 == 0
        assert made["people"] == made["faces"]
    with closing(open_image_database(second)) as database:
        transfers = open_transfer_store(database)
        number = open_collection_store(database).get("c2").number
        names = [person.name for person in transfers.people(number)]
        sides = [name.partition(" ")[::2] for name in names if name not in ("Ada Lovelace", "Bo")]
        assert len({n for n, _ in sides}) * 2 == len(sides)
