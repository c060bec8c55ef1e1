"""requirements.txt holds all that is installed for the service and the tests, each at one version."""

import importlib.metadata as metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
NAMED = [
    "fastapi",
    "uvicorn",
    "gunicorn",
    "face_recognition",
    "numpy",
    "python-multipart",
    "pytest",
    "coverage",
]


def test_what_is_installed_is_what_is_pinned() -> None:
    installed = {name: metadata.version(name) for name in _pins("requirements.txt")}
    assert {n: Version(v) for n, v in installed.items()} == _pins("requirements.txt")


def test_whatever_a_requirement_requires_is_pinned_too() -> None:
    pinned = set(_pins("requirements.txt"))
    reached = {canonicalize_name(name) for name in pinned}
    open_ends = list(reached)
    while open_ends:
        for text in metadata.requires(open_ends.pop()) or []:
            needed = Requirement(text)
            name = canonicalize_name(needed.name)
            if name not in reached and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
                reached.add(name)
                open_ends.append(name)
    assert reached == pinned


def test_the_installed_distributions_agree() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", NAMED)
def test_a_named_requirement_is_listed(name: str) -> None:
    assert canonicalize_name(name) in _pins("requirements.txt")


def test_the_connector_stays_at_the_release_with_a_fast_driver_here() -> None:
    assert _pins("requirements.txt")["mysql-connector-python"] == Version("9.7.0")


def test_tools_stay_out_of_what_the_service_installs() -> None:
    assert _pins("requirements-dev.txt").keys().isdisjoint(_pins("requirements.txt"))


def test_what_the_approximate_index_requires_is_pinned_and_the_same_everywhere() -> None:
    pins, service, tools = (_pins(f"requirements{name}.txt") for name in ("-hnsw", "", "-dev"))
    assert pins["usearch"] == tools["usearch"]
    assert pins.keys().isdisjoint(service)
    for name in pins:
        try:
            needed = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        here = [n.name for n in needed if n.marker is None or n.marker.evaluate({"extra": ""})]
        assert {canonicalize_name(n) for n in here} <= pins.keys() | service.keys()


def test_face_recognition_is_importable_without_pkg_resources() -> None:
    """The original model package ends the process with status 0 where setuptools has none."""
    code = "import sys; sys.modules['pkg_resources'] = None; import face_recognition; print('imported')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "imported\n")


def _pins(file: str) -> dict[str, Version]:
    pins: dict[str, Version] = {}
    for line in (ROOT / file).read_text().splitlines():
        if line.startswith("./"):
            project = tomllib.loads((ROOT / line / "pyproject.toml").read_text())["project"]
            pins[canonicalize_name(project["name"])] = Version(project["version"])
        elif line and not line.startswith("#"):
            pin = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert pin, f"{line} is no exact pin"
            pins[canonicalize_name(pin[1])] = Version(pin[2])
    return pins
