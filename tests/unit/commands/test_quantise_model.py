"""`facesearch models quantise`, on a real network."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from facesearch.bootstrap import model_store, quantise_model
from facesearch.cli import main
from facesearch.config import load_settings
from facesearch.errors import Invalid, Unavailable
from tests.weights import centerface_file, mobilefacenet_file


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with MobileFaceNet and CenterFace, untested."""
    file = tmp_path / "config.json"
    file.write_text('{"data_dir": "data"}')
    monkeypatch.setenv("FACESEARCH_CONFIG", str(file))
    store = model_store(load_settings())
    store.add(mobilefacenet_file(), store.card("mobilefacenet"))
    store.add(centerface_file(), store.card("centerface"))
    return tmp_path / "data"


def test_the_twin_is_installed_tested_and_shown_once() -> None:
    result = CliRunner().invoke(main, ["models", "quantise", "mobilefacenet"])
    assert result.exit_code == 0, result.output
    assert "none stated for the weights" in result.output
    assert "dimension       192" in result.output
    (cosine,) = re.findall(r"cost: cosines of (0\.\d+) and more", result.output)
    assert 0.8 < float(cosine) < 1
    assert result.output.rstrip().endswith("facesearch models use mobilefacenet-int8")
    twin, file = model_store(load_settings()).weights("mobilefacenet-int8")
    assert twin.licence == model_store(load_settings()).card("mobilefacenet").licence
    assert file.stat().st_size < 0.35 * mobilefacenet_file().stat().st_size
    again = CliRunner().invoke(main, ["models", "quantise", "mobilefacenet"])
    assert again.exit_code == 1
    assert "installed already" in again.output


def test_the_size_of_faces_that_the_service_looks_for_is_of_no_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACESEARCH_ENCODER__MIN_FACE_PX", "10000")
    monkeypatch.setenv("FACESEARCH_LIMITS__PHOTO_BYTES", "1000")
    assert quantise_model(load_settings(), "mobilefacenet")[1].dimension == 192


@pytest.mark.parametrize(
    ("model", "error"),
    [("dlib", Invalid), ("centerface", Invalid), ("sface", Unavailable), ("nobodys", Unavailable)],
)
def test_what_has_no_twin_is_refused(model: str, error: type[Exception], data: Path) -> None:
    with pytest.raises(error, match=model):
        quantise_model(load_settings(), model)
    installed = data / "models" / "installed"
    assert sorted(path.name for path in installed.iterdir()) == ["centerface", "mobilefacenet"]
