"""The commands of `reencode`, on two spaces of colours."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.commands.exported import Run, database_in, running, with_colours
from tests.unit.service.parts import COLOURS, GREEN, LIGHTER_RED, NEGATIVES, RED, photo
from tests.unit.service.reencoding.test_second_model import SIZE, add

UNKNOWN = "There is no such collection. `facesearch collections list` shows those that there are."


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Three faces, of which one has no crop."""
    with_colours(monkeypatch)
    with database_in(tmp_path) as database:
        add(database, RED, LIGHTER_RED)
        add(database, GREEN, crops=False, person="Bo")
    return running(tmp_path, monkeypatch)


def told(run: Run, *words: Any, ends: int = 0) -> Any:
    return json.loads(run("reencode", *words, "--json", ends=ends).stdout)


def test_vectors_are_made_compared_and_switched_to(run: Run, tmp_path: Path) -> None:
    start = run("reencode", "start", "default", "--model", NEGATIVES, ends=1).output
    [job] = json.loads(run("jobs", "list", "--json").stdout)
    assert job["file_name"] == f"{NEGATIVES} from kept crops"
    assert start == (
        "3 faces worked on: 2 inserted, 1 skipped.\n"
        f"default is of {COLOURS}; 2 of 3 faces have a vector of {NEGATIVES}.\n"
        f"1 face without one; `jobs report {job['id']}` tells why.\n"
    )
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.writestr("green.png", photo((GREEN, SIZE)))
    refused = run("reencode", "switch", "default", "--yes", ends=1).output
    assert refused.startswith("Error: 1 of 3 faces have no vector")
    assert "--drop-missing" in refused
    again = run(
        "reencode", "start", "default", "--model", NEGATIVES, "--photos", tmp_path / "photos.zip"
    ).output
    assert again.startswith("1 face worked on: 1 inserted.\n")
    compared = run("reencode", "compare", "default").output
    assert compared.splitlines()[:2] == [
        f"3 faces searched for among 3, within 0.25 of {COLOURS} and 0.1 of {NEGATIVES}:",
        "  3 have the same nearest face, or none, as before",
    ]
    switched = run("reencode", "switch", "default", "--yes").output
    assert switched == f"default is of {NEGATIVES} now: 3 faces.\n"
    status = run("reencode", "status", "default").output
    assert status == f"default is of {NEGATIVES}, with 3 faces; no other is being made.\n"


def test_they_speak_json(run: Run) -> None:
    start = told(run, "start", "default", "--model", NEGATIVES, ends=1)
    assert (start["job"]["kind"], start["job"]["state"]) == ("reencoding", "done")
    status = {
        "collection": "default",
        "model": COLOURS,
        "next_model": NEGATIVES,
        "faces": 3,
        "reencoded": 2,
        "missing": 1,
        "job": start["job"]["id"],
    }
    assert start["reencoding"] == told(run, "status", "default") == status
    compared = told(run, "compare", "default", "--probes", 1)
    assert (compared["probes"], compared["faces"], sum(compared["counts"].values())) == (1, 2, 1)
    switched = told(run, "switch", "default", "--drop-missing", "--yes")
    assert (switched["model"], switched["faces"], switched["dropped"]) == (NEGATIVES, 2, 1)
    # Whoever waits for the end of it waits for none that is missing.
    after = told(run, "status", "default")
    assert (after["next_model"], after["reencoded"], after["missing"], after["job"]) == (None, 0, 0, None)
    assert (compared["model"], compared["next_model"]) == (COLOURS, NEGATIVES)
    told(run, "start", "default", "--model", COLOURS)
    assert told(run, "abandon", "default", "--yes")["next_model"] is None


def test_the_audit_log_names_the_collection_the_job_and_faces_that_were_dropped(
    run: Run, tmp_path: Path
) -> None:
    with database_in(tmp_path) as database:
        [gone] = add(database, GREEN, crops=False)
    job = told(run, "start", "default", "--model", NEGATIVES, ends=1)["job"]["id"]
    told(run, "switch", "default", "--drop-missing", "--yes")
    told(run, "start", "default", "--model", COLOURS)
    told(run, "abandon", "default", "--yes")
    log = (tmp_path / "data" / "access" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["what"] for line in lines] == [
        "reencode start",
        "reencode switch",
        "reencode start",
        "reencode abandon",
    ]
    assert lines[0]["ids"] == ["collection:1", job]
    assert lines[1]["ids"] == ["collection:1", gone - 1, gone]
    assert lines[3]["ids"] == ["collection:1"]


def test_what_cannot_be_undone_is_asked_first(run: Run) -> None:
    run("reencode", "start", "default", "--model", NEGATIVES, ends=1)
    for words in (("switch", "default", "--drop-missing"), ("abandon", "default")):
        out = run("reencode", *words, ends=1).output
        assert out == "Error: Nothing was done: nobody is here to ask, and --yes is not given.\n"
    assert told(run, "status", "default")["reencoded"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "default", "--model", "unknown"), "This service makes no vectors of unknown."),
        (("start", "default", "--model", COLOURS), f"The collection's vectors are of {COLOURS} already."),
        (("start", "nothing", "--model", NEGATIVES), UNKNOWN),
        (("status", "nothing"), UNKNOWN),
        (("compare", "default"), "No vectors of a next model are being made for default."),
        (("switch", "default", "--yes"), "No vectors of a next model are being made for default."),
        (("abandon", "default", "--yes"), "No vectors of a next model are being made for the collection."),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, words: tuple[str, ...], said: str) -> None:
    assert run("reencode", *words, ends=1).output == f"Error: {said}\n"


def test_changes_are_shown_one_by_one(run: Run, tmp_path: Path) -> None:
    with database_in(tmp_path) as database:
        add(database, (0, 205, 0), person="Cy")
        add(database, (0, 0, 200), (0, 0, 225), person="Dee")
    run("reencode", "start", "default", "--model", NEGATIVES, ends=1)
    shown = run("reencode", "compare", "default").output
    assert "have none any more" in shown
    assert "Of 4 whose person has other faces, the nearest is that person's for 4 now and 4 then." in shown
