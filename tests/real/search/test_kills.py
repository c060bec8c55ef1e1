import os
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_processes_killed_while_they_append_lose_no_row_and_spoil_no_answer(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    result = subprocess.run(
        [sys.executable, "-m", "tests.real.search.kill_round", str(seed), str(tmp_path), "5"],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # a thread would not survive the forks
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, f"seed {seed}\n{result.stdout}\n{result.stderr}"
    assert "built anew" not in result.stderr, result.stderr
    kills, _, _, stored, *_ = result.stdout.splitlines()[-1].split()
    assert int(kills) > 0
    assert int(stored) > 0
