"""A collection gets another model, with the real encoder, while a service works on it and processes die."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from facesearch.bootstrap.reencoding import preview_switch, reencode, reencoding_progress, switch_model
from facesearch.bootstrap.service import INDEX, build_api
from facesearch.config import CropSettings, IntakeSettings, Settings, WorkerSettings
from facesearch.interfaces import API
from facesearch.records import PhotoFile, PhotoProbe, SearchResult, SearchTerms
from tests.server import PROJECT_ROOT

PHOTOS = sorted((PROJECT_ROOT / "test_images").glob("*_000?.jpg"))
MIRROR, PLAIN = "dlib-resnet-v1-mirror", "dlib-resnet-v1-plain"

# Dies in the middle of its work, after the first vector was stored, as by kill -9.
DIES = """
import os, sys
from facesearch.bootstrap.reencoding import reencode
from facesearch.config import Settings
from facesearch.service.reencoding import run as reencode_run
reencode_run._REPORTS_A_TRANSACTION = reencode_run._PHOTOS_A_TASK = 1
settings = Settings.model_validate_json(sys.stdin.read())
reencode(settings, "default", sys.argv[1], None, lambda _: os.kill(os.getpid(), 9))
"""


@pytest.fixture
def settings(database_settings: Settings) -> Settings:
    fields = {
        "crops": CropSettings(keep_crops=True),
        "workers": WorkerSettings(processes=1),
        "intake": IntakeSettings(lease_s=2),
    }
    return database_settings.model_copy(update=fields)


@pytest.fixture
def api(settings: Settings) -> Iterator[API]:
    with closing(build_api(settings)) as api:
        api.open()
        for path in PHOTOS:
            api.add_face(path.read_bytes(), path.name)
        yield api


def search(api: API, path: Path = PHOTOS[0]) -> SearchResult:
    probe = PhotoProbe((PhotoFile("probe.jpg", path.read_bytes()),))
    return api.collections.gallery("default").search(probe, SearchTerms(100, 2.0))


def in_words(settings: Settings) -> str:
    told = settings.model_dump(mode="json")
    told["database"]["password"] = settings.database.password.get_secret_value()
    return json.dumps(told)


def quiet(_: Any) -> None:
    """No bar."""


def test_a_collection_switches_under_a_service_at_work(api: API, settings: Settings) -> None:
    before = search(api)
    job = reencode(settings, "default", PLAIN, None, quiet)
    assert (job["kind"], job["state"], job["counts"]["inserted"]) == ("reencoding", "done", len(PHOTOS))
    assert job["id"] in [one.id for one in api.imports.jobs(10).items]
    assert search(api) == before
    preview = preview_switch(settings, "default", 100, 10)
    assert (preview["probes"], preview["right_next"]) == (len(PHOTOS), preview["known"])
    assert [file.name for file in index_files(settings, MIRROR)]
    switched = switch_model(settings, "default", False)
    assert (switched["model"], switched["dropped"]) == (PLAIN, 0)
    assert index_files(settings, MIRROR) == []
    after = search(api)
    assert after.model_id == PLAIN
    names = [[match.person_name for match in face.matches] for face in after.faces]
    assert [len(found) for found in names] == [len(PHOTOS)]
    # Crops give nearly, not quite, the vectors of their photos.
    assert 0 < after.faces[0].matches[0].distance < 0.25
    assert after.faces[0].matches[0].person_name == before.faces[0].matches[0].person_name
    assert api.add_face(PHOTOS[0].read_bytes(), PHOTOS[0].name).id


def test_photos_given_again_give_the_very_vectors(api: API, settings: Settings) -> None:
    folder = PROJECT_ROOT / "test_images"
    job = reencode(settings, "default", PLAIN, folder, quiet)
    assert job["counts"]["inserted"] == len(PHOTOS)
    switch_model(settings, "default", False)
    for path in PHOTOS:
        assert search(api, path).faces[0].matches[0].distance == pytest.approx(0, abs=1e-5)


def test_a_killed_reencoding_is_gone_on_with(api: API, settings: Settings) -> None:
    api.health.ready()
    died = subprocess.run(
        [sys.executable, "-c", DIES, PLAIN],
        input=in_words(settings),
        text=True,
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == -9, died.stderr
    made = reencoding_progress(settings, "default")["reencoded"]
    assert 0 < made < len(PHOTOS)
    [left] = [job for job in api.imports.jobs(10).items if job.kind == "reencoding"]
    assert left.state == "running"
    time.sleep(3)  # its lease
    job = reencode(settings, "default", PLAIN, None, quiet)
    assert (job["id"], job["state"]) == (left.id, "done")
    assert job["counts"]["inserted"] == job["counts"]["total"] == len(PHOTOS)
    assert switch_model(settings, "default", False)["faces"] == len(PHOTOS)
    assert search(api).model_id == PLAIN


def index_files(settings: Settings, model_id: str) -> list[Path]:
    return [file for file in (settings.data_dir / INDEX).rglob("*") if model_id in file.name]
