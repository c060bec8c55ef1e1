"""The command `bench`: what it prints. tests/real/test_commands.py has its figures."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from facesearch.bootstrap import bench
from facesearch.bootstrap.bench import Measured
from facesearch.cli import main
from facesearch.config import Settings

NOTE = "one photo at a time, decoded and encoded: median of 18"


class Bench:
    """Stands for the benchmark."""

    def __init__(self, _: Settings, faces: int, photos: int) -> None:
        self.sizes = (faces, photos)

    def machine(self) -> dict[str, str]:
        return {"processor": "A processor", "cores": "2"}

    def figures(self) -> Iterator[Measured]:
        yield Measured("encode", 123.456, "ms", NOTE)
        yield Measured("search_gallery", None, "ms", "the gallery has no copy to search yet")
        yield Measured("search_synthetic", 0.123456, "ms", f"{self.sizes[0]} made-up faces")
        yield Measured("bulk", 12.34, "photos/s", f"{self.sizes[1]} photos")


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    monkeypatch.setattr(bench, "Bench", Bench)
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(main, ["bench", *options])
    assert result.exit_code == 0, result.output
    return result


def test_figures_are_told_with_what_they_hold_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = run(monkeypatch).output.splitlines()
    assert lines[0].startswith("A short benchmark of this installation as it is now")
    assert "  processor       A processor" in lines
    assert "  encode                   123 ms  one photo at a time, decoded and encoded:" in lines
    assert "  search, gallery               -  the gallery has no copy to search yet" in lines
    assert "  search, made up         0.12 ms  100000 made-up faces" in lines
    assert "  bulk              12.3 photos/s  64 photos" in lines
    assert max(map(len, lines)) <= 80


def test_one_object_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(run(monkeypatch, "--json", "--faces", "7", "--photos", "3").output)
    assert told["machine"]["cores"] == "2"
    assert told["figures"]["encode"] == {"value": 123.456, "unit": "ms", "note": NOTE}
    assert told["figures"]["search_gallery"]["value"] is None
    assert told["figures"]["search_synthetic"]["note"] == "7 made-up faces"
