"""`facesearch models calibrate`, with an encoder of colours in place of the networks."""

import json
from pathlib import Path

import numpy as np
import pytest

from facesearch.bootstrap import calibrate_model, model_store, models
from facesearch.config import EncoderSettings, Settings
from facesearch.encoders.calibration import FALSE_MATCH_RATES
from facesearch.errors import Invalid, Unavailable
from facesearch.interfaces import ImageEncoder
from facesearch.workers import InlinePool
from tests.fakes import FakeEncoder
from tests.unit.service.parts import BLACK, photo

PEOPLE = 90


class Colours(FakeEncoder):
    """Gives its colours under any name; those of `mirror` are halved."""

    def for_model(self, model_id: str) -> "Colours":
        return Halves() if model_id.endswith("mirror") else Colours()


class Halves(Colours):
    def embed(self, crops: np.ndarray) -> np.ndarray:
        return super().embed(crops) / 2


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", encoder=EncoderSettings(detector="cnn"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[EncoderSettings]:
    """Which encoders were made."""
    made: list[EncoderSettings] = []

    def make(settings: EncoderSettings, directory: Path) -> ImageEncoder:
        made.append(settings)
        return Colours()

    monkeypatch.setattr(models, "make_encoder", make)
    monkeypatch.setattr(models, "worker_pool", lambda _: InlinePool())
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos of each of 90 people, one of nobody, and a broken one."""
    random = np.random.default_rng(3)
    photos = tmp_path / "people"
    photos.mkdir()
    for number in range(PEOPLE):
        colour = random.integers(10, 245, 3)
        for version in range(2):
            red, green, blue = map(int, colour + random.integers(-5, 6, 3))
            (photos / f"Person{number}_{version:04}.png").write_bytes(photo(((red, green, blue), 20)))
    (photos / "Nobody_0001.png").write_bytes(photo((BLACK, 20)))
    (photos / "Broken_0001.png").write_bytes(b"notes")
    return photos


def test_both_kinds_are_fitted_and_stored_in_the_card(
    settings: Settings, asked: list[EncoderSettings], folder: Path
) -> None:
    lines: list[str] = []
    told = calibrate_model(settings, "dlib", folder, lines.append)
    assert (told["without_face"], told["unreadable"]) == (1, 1)
    assert [space["model"] for space in told["spaces"]] == ["dlib-resnet-v1-plain", "dlib-resnet-v1-mirror"]
    assert json.loads(json.dumps(told))["spaces"][0]["calibration"]["people"] == PEOPLE
    card = model_store(settings).card("dlib")
    plain, mirror = (card.spaces[kind].calibration for kind in ("plain", "mirror"))
    assert plain is not None
    assert mirror is not None
    assert (plain.people, plain.photos, plain.genuine_pairs) == (PEOPLE, 2 * PEOPLE, PEOPLE)
    assert plain.measured_on == "180 photos of people, largest faces, found by cnn."
    assert [point.false_match_rate for point in plain.rates] == [1e-2, 1e-3]
    for whole, half in zip(plain.rates, mirror.rates, strict=True):
        assert half.tolerance == pytest.approx(whole.tolerance / 2, rel=1e-3)
    assert asked == [settings.encoder]


def test_what_was_fitted_is_told_with_the_pairs_behind_it(
    settings: Settings, asked: list[EncoderSettings], folder: Path
) -> None:
    lines: list[str] = []
    calibrate_model(settings, "dlib", folder, lines.append)
    text = "\n".join(lines)
    assert "182 of 182 photos" in text
    assert "No face was found in 1 photos; 1 files could not be read." in text
    assert text.count("180 photos of 90 people: 90 pairs of one person, 16,020 of two") == 2
    for rate in FALSE_MATCH_RATES:
        assert text.count(f"{rate:16g}  ") == 2
    assert text.count("not fitted: 1,000,000 pairs of two are needed") == 2


def test_the_tolerance_of_dlib_stays_what_programs_rely_on(
    settings: Settings, asked: list[EncoderSettings], folder: Path
) -> None:
    calibrate_model(settings, "dlib", folder, lambda _: None)
    spaces = model_store(settings).card("dlib").spaces
    assert [spaces[kind].tolerance for kind in ("plain", "mirror")] == [0.6, 0.6]


def test_too_few_photos_change_nothing(
    settings: Settings, asked: list[EncoderSettings], tmp_path: Path
) -> None:
    (tmp_path / "Ada_0001.png").write_bytes(photo(((9, 9, 9), 20)))
    before = model_store(settings).card("dlib")
    with pytest.raises(Invalid, match="too few photos"):
        calibrate_model(settings, "dlib", tmp_path, lambda _: None)
    assert model_store(settings).card("dlib") == before
    assert not model_store(settings).installed()


@pytest.mark.parametrize("model", ["centerface", "mobilefacenet", "unheard-of"])
def test_a_model_that_is_not_installed_is_not_calibrated(
    settings: Settings, asked: list[EncoderSettings], folder: Path, model: str
) -> None:
    with pytest.raises(Unavailable, match=model):
        calibrate_model(settings, model, folder, lambda _: None)
    assert not asked


def test_a_detector_has_no_distances(
    settings: Settings, asked: list[EncoderSettings], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = model_store(settings)
    monkeypatch.setattr(store, "weights", lambda model: (store.card(model), Path("any")))
    monkeypatch.setattr(models, "model_store", lambda _: store)
    with pytest.raises(Invalid, match="yunet finds faces"):
        calibrate_model(settings, "yunet", folder, lambda _: None)
    assert not asked
