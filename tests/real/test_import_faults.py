"""An import among kills of everything that it needs: nothing is lost, nothing doubled, all is found."""

import random
from pathlib import Path

import pytest

from benchmarks.import_faults import run_round
from tests.conftest import ENGINES
from tests.labelled_photos import labelled
from tests.mariadb import MariaDB

ROUNDS = 3
PHOTOS = 1000


@pytest.mark.faults
@pytest.mark.faces
@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
@pytest.mark.parametrize("engine", ENGINES)
def test_kills_lose_no_photo_of_an_import_and_double_none(
    engine: str,
    number: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A round has a server of its own; this asks for the shared one to learn whether there is any."""
    labelled("lfw")
    if engine == "mysql":
        assert isinstance(request.getfixturevalue("mariadb"), MariaDB)
    seed = random.SystemRandom().getrandbits(32)
    with capfd.disabled():
        print(f"\nimport round {number} on {engine}, seed {seed}", flush=True)
    happened, wrong = run_round(tmp_path, engine, seed, PHOTOS)
    with capfd.disabled():
        print(", ".join(f"{count} {what}" for what, count in sorted(happened.items())), flush=True)
    assert wrong == []
