import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENGINES
from tests.mariadb import MariaDB

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = 5


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_kills_lose_no_face_and_spoil_no_answer(
    engine: str, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """The rounds have a server of their own; this asks for the shared one to learn whether there is any."""
    if engine == "mysql":
        assert isinstance(request.getfixturevalue("mariadb"), MariaDB)
    options = ["--rounds", str(ROUNDS), "--seconds", "3", "--engine", engine]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "index", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = result.stdout.splitlines()
    seeds = [line.split()[-1] for line in lines if ", seed " in line]
    with capfd.disabled():
        print(f"\nkill rounds on {engine}, seeds {' '.join(seeds)}")
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    assert len(seeds) == ROUNDS
    told = dict(line.strip("| ").split(" | ") for line in lines if line.startswith("| "))
    for what in ("processes killed at a random moment", "faces added", "faces removed", "searches"):
        assert int(told[what].replace(",", "")) > 0, what
    assert told["answers wrong"] == "0"
