"""Names, places and sizes that the plan of the house fixes."""

import importlib
import inspect
import re
import shutil
import subprocess
from abc import ABC
from pathlib import Path

import pytest

from facesearch import interfaces

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "facesearch").rglob("*.py"))
PORTS = [
    port
    for _, port in inspect.getmembers(interfaces, inspect.isclass)
    if ABC in port.__bases__ and port.__module__ == interfaces.__name__
]
LONGEST = 330
LONGER = {  # every port, value, error and key of the configuration
    "facesearch/interfaces.py": 1400,
    "facesearch/records.py": 1300,
    "facesearch/errors.py": 400,
    "facesearch/config.py": 400,
}
HALF = 170


@pytest.mark.parametrize(
    "path",
    [
        "app.py",
        "config.json",
        "facesearch",
        "tests",
        "test_images",
        "requirements.txt",
        "README.md",
        "pytest.ini",
    ],
)
def test_the_top_level_holds(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_port_stands_on_one_page() -> None:
    names = {port.__name__ for port in PORTS}
    assert names == {
        "API",
        "Access",
        "CollectionStore",
        "Collections",
        "DatabaseCRUD",
        "FaceIndex",
        "Gallery",
        "Health",
        "Image",
        "ImageDatabase",
        "ImageEncoder",
        "Imports",
        "JobStore",
        "KeyStore",
        "People",
        "PersonStore",
        "ReencodingStore",
        "TransferStore",
        "WorkerPool",
    }


@pytest.mark.parametrize(
    ("room", "name", "bases"),
    [
        ("databases", "MySQLDatabase", ["DatabaseCRUD"]),
        ("databases", "MySQLImageDatabase", ["MySQLDatabase", "ImageDatabase"]),
        ("databases", "SQLiteDatabase", ["DatabaseCRUD"]),
        ("databases", "SQLiteImageDatabase", ["SQLiteDatabase", "ImageDatabase"]),
        ("images", "AGTImage", ["Image"]),
        ("encoders", "AGTEncoder", ["ImageEncoder"]),
        ("search", "ExactIndex", ["FaceIndex"]),
        ("search", "HNSWIndex", ["FaceIndex"]),
        ("workers", "ProcessPool", ["WorkerPool"]),
        ("workers", "InlinePool", ["WorkerPool"]),
        ("service", "AGTAPI", ["API"]),
    ],
)
def test_a_room_exports_its_implementation(room: str, name: str, bases: list[str]) -> None:
    made = getattr(importlib.import_module(f"facesearch.{room}"), name)
    assert set(bases) <= {base.__name__ for base in inspect.getmro(made)}
    assert not inspect.isabstract(made)


def test_the_five_verbs_are_those_of_every_database() -> None:
    assert {"create", "select", "update", "delete", "insert"} <= set(
        interfaces.DatabaseCRUD.__abstractmethods__
    )


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_a_port_has_a_contract_suite(port: type) -> None:
    module = importlib.import_module(f"tests.contracts.{_snake_case(port.__name__)}")
    suite = getattr(module, f"{port.__name__}Contract")
    assert any(name.startswith("test_") for name in dir(suite))


def test_files_stay_short() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > LONGER.get(name, LONGEST)} == {}
    assert sorted(lines.values())[len(lines) // 2] < HALF


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
    assert not {path.stem for path in SOURCES} & drawers


def test_no_file_names_a_machine_of_ours() -> None:
    """Package hosts and absolute home folders hold on one machine only.

    The classes of one letter keep this line from naming what it looks for.
    """
    foreign = re.compile(
        rb"py[p]i\.org|python[h]osted|deb\.[d]ebian\.org|npm[j]s\.(org|com)"
        rb"|/home/[a-z]|/[r]oot/|[\"' (=]/[w]ork/"
    )
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    tracked = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in tracked.stdout.decode().split("\0") if name]
    texts = [path for path in files if path.is_file() and path != Path(__file__).resolve()]
    texts = [path for path in texts if path.suffix not in {".jpg", ".png"}]
    assert [path.name for path in texts if foreign.search(path.read_bytes())] == []


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
