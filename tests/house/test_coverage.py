"""`coverage report` works right after a measured run, and knows what child processes did."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def test_child_processes_are_measured_and_joined(tmp_path: Path) -> None:
    for name in ("conftest.py", "pyproject.toml", "pytest.ini"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "measured.py").write_text(MODULE)
    (tmp_path / "tests" / "test_children.py").write_text(TEST)
    _run(tmp_path, "run", "--source=.", "-m", "pytest", "-q")
    _run(tmp_path, "json", "-q", "--fail-under=0")
    functions = json.loads((tmp_path / "coverage.json").read_text())["files"]["measured.py"]["functions"]
    reached = {name for name, lines in functions.items() if name and lines["executed_lines"]}
    assert reached == {"spawned", "forked", "terminated", "replaced", "after"}


def _run(folder: Path, *arguments: str) -> None:
    outer = {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    command = [sys.executable, "-m", "coverage", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
