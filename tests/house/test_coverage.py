"""`coverage report` works right after a measured run, and knows what child processes did."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import os
import sys


def spawned(value):
    return value + 1


def forked():
    done = True
    os._exit(0)


def terminated():
    print("ready", flush=True)
    while True:
        sys.stdin.read()


def replaced():
    os.execv(sys.executable, [sys.executable, "-c", "from measured import after; after()"])


def after():
    return True


def untouched():
    return False
"""
TEST = """
import multiprocessing
import os
import subprocess
import sys

import measured


def child(call, folder, **options):
    here = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", f"import measured; measured.{call}()"]
    return subprocess.Popen(command, cwd=folder, env=here, **options)


def test_children(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(measured.spawned, [1]) == [2]
        pool.close()
        pool.join()
    pid = os.fork()
    if pid == 0:
        measured.forked()
    os.waitpid(pid, 0)
    with child("terminated", tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.terminate()
    with child("replaced", tmp_path) as process:
        assert process.wait() == 0
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this project's settings and one measured run of its own tests."""
    folder = tmp_path_factory.mktemp("measured")
    for name in ("conftest.py", "pyproject.toml", "pytest.ini"):
        shutil.copy(ROOT / name, folder)
    (folder / "tests").mkdir()
    for name in ("__init__.py", "weights.py"):  # conftest.py asks them
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    (folder / "measured.py").write_text(MODULE)
    (folder / "tests" / "test_children.py").write_text(TEST)
    _run(folder, "run", "--source=.", "-m", "pytest", "-q")
    return folder


def test_child_processes_are_measured_and_joined(project: Path) -> None:
    assert _reached(project) == {"spawned", "forked", "terminated", "replaced", "after"}


def test_a_run_starts_from_nothing(project: Path) -> None:
    _run(project, "run", "--source=.", "-m", "pytest", "-q", "--co")
    assert _reached(project) == set()


def _reached(project: Path) -> set[str]:
    """The functions of measured.py in which a line ran."""
    _run(project, "json", "-q", "--fail-under=0")
    functions = json.loads((project / "coverage.json").read_text())["files"]["measured.py"]["functions"]
    return {name for name, lines in functions.items() if name and lines["executed_lines"]}


def _run(folder: Path, *arguments: str) -> None:
    outer = {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    command = [sys.executable, "-m", "coverage", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
