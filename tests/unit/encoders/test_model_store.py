import logging
from pathlib import Path
from typing import Any

import pytest

from facesearch.encoders.cards import Licence, ModelCard, Source, read_card
from facesearch.encoders.model_copy import digest_of
from facesearch.encoders.model_store import ModelStore
from facesearch.errors import Conflict, Invalid, InvalidConfig, NotFound, Unavailable
from tests.unit.encoders.onnx_files import point_elsewhere, write_model


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine.onnx")


def _card(**changes: Any) -> ModelCard:
    given: dict[str, Any] = {
        "id": "mine",
        "name": "My detector",
        "task": "detection",
        "family": "centerface",
        "licence": Licence(name="MIT", commercial_use=True),
        "source": Source(document="a test"),
    }
    return ModelCard.model_validate(given | changes)


def _everything_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")} - {"installed", "installed.lock"}


def test_an_installed_model_is_found_with_its_hash_and_size(store: ModelStore, model: Path) -> None:
    added = store.add(model, _card())
    assert (added.sha256, added.bytes) == (digest_of(model), model.stat().st_size)
    card, file = store.weights("mine")
    assert card == added == store.known()["mine"]
    assert file.read_bytes() == model.read_bytes()


def test_nothing_is_installed_in_a_new_folder_and_nothing_is_made(store: ModelStore) -> None:
    assert store.installed() == {}
    assert "centerface" in store.known()
    assert not store.directory.exists()


def test_what_checks_a_model_sees_it_alone_and_before_anybody_else(store: ModelStore, model: Path) -> None:
    store.add(write_model(model.with_name("other.onnx")), _card(id="other", family="yunet"))
    seen: list[set[str]] = []

    def check(card: ModelCard, directory: Path) -> None:
        assert ModelStore(directory).weights("mine")[0] == card
        seen.extend([set(ModelStore(directory).installed()), set(store.installed())])

    store.add(model, _card(), check)
    assert seen == [{"mine"}, {"other"}]


def test_a_model_that_fails_its_check_leaves_nothing_behind(store: ModelStore, model: Path) -> None:
    def check(card: ModelCard, directory: Path) -> None:
        raise Invalid("No face was found.")

    with pytest.raises(Invalid, match="No face"):
        store.add(model, _card(), check)
    assert _everything_in(store.directory) == set()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "0" * 64}, "its SHA-256 is not the card's"),
        ({"bytes": 7}, "bytes instead of 7"),
        ({"id": "dlib", "family": "dlib", "task": "recognition"}, "requirements.txt"),
        ({"family": "scrfd"}, "no code here"),
    ],
)
def test_a_file_that_is_not_the_cards_is_refused(
    store: ModelStore, model: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Invalid, match=reason):
        store.add(model, _card(**changes))
    assert _everything_in(store.directory) == set()


def test_a_file_whose_weights_lie_elsewhere_is_refused(store: ModelStore, tmp_path: Path) -> None:
    model = write_model(tmp_path / "bad.onnx", lambda m: point_elsewhere(m.graph.initializer[0]))
    with pytest.raises(Invalid, match="other files"):
        store.add(model, _card())
    assert _everything_in(store.directory) == set()


@pytest.mark.parametrize("name", ["missing.onnx", "."])
def test_what_is_no_file_is_refused(store: ModelStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        store.add(tmp_path / name, _card())


def test_a_second_model_of_one_id_is_refused(store: ModelStore, model: Path) -> None:
    store.add(model, _card())
    with pytest.raises(Conflict, match="models remove mine"):
        store.add(model, _card())


def test_a_second_detector_of_one_family_is_refused(store: ModelStore, model: Path) -> None:
    store.add(model, _card())
    with pytest.raises(Conflict, match="models remove mine"):
        store.add(model, _card(id="other"))


def test_a_removed_model_makes_room(store: ModelStore, model: Path) -> None:
    store.add(model, _card())
    made = {f"mine-{'a' * 24}.onnx", f"mine-{'a' * 24}.weights", "mine.lock"}
    others = {f"mine-2-{'a' * 24}.onnx", "mine-2.lock", "mine-notes.txt"}
    for name in made | others:
        (store.directory / name).touch()
    store.remove("mine")
    assert _everything_in(store.directory) == others
    store.add(model, _card())


@pytest.mark.parametrize("name", ["mine", "..", ".", "", "../models", ".incoming-x"])
def test_what_is_not_installed_cannot_be_removed(store: ModelStore, name: str) -> None:
    with pytest.raises(NotFound):
        store.remove(name)


@pytest.fixture
def installed(store: ModelStore, model: Path) -> Path:
    store.add(model, _card())
    return store.directory / "installed" / "mine"


def test_a_changed_file_is_noticed(store: ModelStore, installed: Path) -> None:
    with (installed / "model.onnx").open("ab") as file:
        file.write(b"!")
    with pytest.raises(Unavailable, match=r"damaged.*models remove mine"):
        store.weights("mine")


def test_a_missing_file_is_noticed(store: ModelStore, installed: Path) -> None:
    (installed / "model.onnx").unlink()
    with pytest.raises(Unavailable, match="damaged or missing"):
        store.weights("mine")


def test_a_damaged_card_hides_its_model_alone(
    store: ModelStore, installed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (installed / "card.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert store.installed() == {}
    assert "mine" in caplog.text
    store.remove("mine")


def test_a_card_of_another_id_than_its_folder_hides_its_model(store: ModelStore, installed: Path) -> None:
    installed.rename(installed.with_name("yours"))
    assert store.installed() == {}


def test_what_a_killed_process_left_is_swept_away(store: ModelStore, installed: Path) -> None:
    left = installed.with_name(".incoming-killed")
    (left / "installed" / "other").mkdir(parents=True)
    store.remove("mine")
    assert not left.exists()


def test_models_that_are_not_installed_say_what_to_do(store: ModelStore) -> None:
    with pytest.raises(Unavailable, match="models add FILE --card auraface"):
        store.weights("auraface")
    with pytest.raises(Unavailable, match="models list"):
        store.weights("nothing")
    with pytest.raises(NotFound, match="models list"):
        store.card("nothing")


def test_dlibs_weights_are_those_of_the_package(store: ModelStore) -> None:
    card, file = store.weights("dlib")
    assert digest_of(file) == card.sha256


def test_the_installed_detector_of_a_family_is_found(store: ModelStore, installed: Path) -> None:
    assert store.detector_of("centerface")[1] == installed / "model.onnx"
    with pytest.raises(Unavailable, match="models add FILE --card yunet"):
        store.detector_of("yunet")
    with pytest.raises(Unavailable, match="No code here"):
        store.detector_of("scrfd")


def test_a_saved_card_takes_the_place_of_the_old_one(store: ModelStore, installed: Path) -> None:
    card = store.known()["mine"].model_copy(update={"tried": "yes"})
    store.save_card(card)
    assert read_card(installed / "card.json").tried == "yes"
    with pytest.raises(Invalid, match="another file"):
        store.save_card(card.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(Unavailable, match="not installed"):
        store.save_card(store.card("auraface"))


def test_dlib_may_have_a_card_of_its_own(store: ModelStore) -> None:
    store.save_card(store.card("dlib").model_copy(update={"tried": "yes"}))
    assert store.card("dlib").tried == "yes"
    assert store.weights("dlib")[0].tried == "yes"


def test_an_installed_model_can_be_checked_again(store: ModelStore, installed: Path) -> None:
    seen: list[ModelCard] = []
    checked = store.check("mine", lambda card, d: seen.append(ModelStore(d).weights("mine")[0]))
    assert seen == [checked]
    (installed / "model.onnx").write_bytes(b"")
    with pytest.raises(Unavailable, match="damaged"):
        store.check("mine", lambda card, directory: None)


def test_a_file_is_known_by_its_hash(store: ModelStore, installed: Path, model: Path) -> None:
    found = store.card_for(model, None)
    assert found.id == "mine"


def test_a_file_of_a_known_name_but_another_hash_is_not_taken_for_it(
    store: ModelStore, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "glintr100.onnx")
    with pytest.raises(Invalid, match=r"antelopev2 or auraface.*--card"):
        store.card_for(model, None)


def test_a_file_may_be_given_a_known_id_or_a_card(store: ModelStore, model: Path, tmp_path: Path) -> None:
    assert store.card_for(model, "edgeface-s").id == "edgeface-s"
    (tmp_path / "my.json").write_text(_card().model_dump_json())
    assert store.card_for(model, str(tmp_path / "my.json")) == _card()
    with pytest.raises(NotFound):
        store.card_for(model, "nothing")
    with pytest.raises(InvalidConfig):
        store.card_for(model, str(tmp_path / "missing.json"))


def test_a_card_of_ones_own_may_not_take_the_id_of_a_known_file(
    store: ModelStore, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "my.json").write_text(_card(id="centerface", sha256="0" * 64).model_dump_json())
    with pytest.raises(Invalid, match="one of its own"):
        store.card_for(model, str(tmp_path / "my.json"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, model: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        ModelStore(tmp_path / "models").add(model, _card())
