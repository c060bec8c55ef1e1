"""`facesearch models` as a person or a script calls it."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from facesearch.bootstrap import model_store
from facesearch.cli import main
from facesearch.config import load_settings
from facesearch.encoders import cards
from facesearch.encoders.cards import ModelCard
from tests.unit.encoders.https_server import CERTIFICATE, serving
from tests.unit.encoders.onnx_files import write_model
from tests.weights import centerface_file, mobilefacenet_file

Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config.json"
    file.write_text('{"data_dir": "data", "encoder": {"upsample": 1}, "server": {"port": 8001}}')
    monkeypatch.setenv("FACESEARCH_CONFIG", str(file))
    return file


@pytest.fixture
def run(config: Path) -> Run:
    """Calls a command that is to succeed, or to fail with a sentence."""

    def called(*arguments: str | Path, fails: bool = False, **options: Any) -> Result:
        result = CliRunner().invoke(main, ["models", *map(str, arguments)], **options)
        assert result.exit_code == (1 if fails else 0), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return called


@pytest.fixture
def install(tmp_path: Path, config: Path) -> Callable[[str], None]:
    """Installs a graph that is no network under a known id, untested."""

    def installed(known: str) -> None:
        store = model_store(load_settings())
        card = store.card(known).model_copy(update={"sha256": None, "bytes": None})
        store.add(write_model(tmp_path / "graph.onnx"), card)

    return installed


def test_the_list_shows_licences_and_what_is_in_use(run: Run) -> None:
    lines = run("list").output.splitlines()
    (dlib,) = [line for line in lines if "dlib" in line]
    assert dlib.split() == ["*", "dlib", "recognition", "128", "yes", "installed", "CC0", "1.0"]
    (buffalo,) = [line for line in lines if "buffalo_l" in line]
    assert "no" in buffalo.split()
    assert max(map(len, lines)) <= 120


def test_the_list_can_be_read_by_a_program(run: Run) -> None:
    rows = {row["id"]: row for row in json.loads(run("list", "--json").output)}
    assert rows["dlib"] | {"in_use": True, "installed": True, "dimension": 128} == rows["dlib"]
    assert rows["mobilefacenet"]["commercial_use"] == "unknown"
    assert rows["centerface"]["dimension"] is None
    assert not rows["scrfd-10g"]["runs_here"]


def test_a_card_is_printed_as_one_that_can_be_read(run: Run) -> None:
    assert ModelCard.model_validate_json(run("card", "sface").output).output
    assert run("card", "sface", "--json").output == run("card", "sface").output


def test_without_an_accepted_licence_nothing_is_installed(run: Run, tmp_path: Path, config: Path) -> None:
    model = write_model(tmp_path / "graph.onnx")
    output = run("add", model, "--card", "edgeface-s", fails=True).output
    assert "CC BY-NC-SA 4.0" in output
    assert "--accept-licence" in output
    assert not (tmp_path / "data").exists()


def test_a_person_is_asked_for_the_licence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesearch.commands.models._asks", lambda: True)
    model = write_model(tmp_path / "graph.onnx")
    assert "Aborted" in run("add", model, "--card", "edgeface-s", fails=True, input="n\n").output
    assert "wrong" in run("add", model, "--card", "edgeface-s", fails=True, input="y\n").output


def test_a_question_leaves_the_standard_output_to_a_program(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.commands.models._asks", lambda: True)
    model = write_model(tmp_path / "graph.onnx")
    asked = run("add", model, "--card", "edgeface-s", "--json", fails=True, input="n\n")
    assert (asked.stdout, "CC BY-NC-SA 4.0" in asked.stderr) == ("", True)
    silent = run("add", model, "--card", "edgeface-s", "--json", "--accept-licence", fails=True)
    assert (silent.stdout, "CC BY-NC-SA 4.0" in silent.stderr) == ("", False)


def test_what_is_no_model_is_refused_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    output = run("add", tmp_path / "bad.onnx", "--card", "edgeface-s", "--accept-licence", fails=True).output
    assert "Error: The file is not an ONNX file." in output
    assert list((tmp_path / "data").rglob("*.onnx")) == []


def test_an_unknown_file_is_refused(run: Run, tmp_path: Path) -> None:
    assert "--card" in run("add", write_model(tmp_path / "graph.onnx"), fails=True).output


@pytest.mark.weights
def test_a_known_file_is_tried_and_installed(run: Run, config: Path) -> None:
    output = run("add", mobilefacenet_file(), "--accept-licence").output
    for expected in (
        "none stated for the weights",
        "192 numbers",
        "ms for a face",
        "models use mobilefacenet",
    ):
        assert expected in output
    assert "mobilefacenet: good" in run("check").output
    [told] = json.loads(run("check", "mobilefacenet", "--json").output)
    assert (told["id"], told["good"], told["error"]) == ("mobilefacenet", True, None)
    assert (told["test"]["dimension"], told["test"]["ms"] > 0) == (192, True)
    assert "remove it first" in run("add", mobilefacenet_file(), "--accept-licence", fails=True).output
    run("use", "mobilefacenet", "--kind", "plain")
    assert load_settings().encoder.model == "mobilefacenet"


@pytest.mark.weights
def test_a_card_of_ones_own_installs_a_file(run: Run, tmp_path: Path) -> None:
    card = json.loads(run("card", "mobilefacenet").output) | {"id": "mine"}
    (tmp_path / "my.json").write_text(json.dumps(card))
    output = run(
        "add", mobilefacenet_file(), "--card", tmp_path / "my.json", "--accept-licence", "--json"
    ).output
    told = json.loads(output)
    assert (told["installed"], told["task"], told["test"]["dimension"]) == ("mine", "recognition", 192)
    assert told["licence"]["commercial_use"] == "unknown"
    assert "mine" in model_store(load_settings()).installed()


@pytest.mark.weights
def test_a_model_is_fetched_where_its_card_pins_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = centerface_file().read_bytes()
    with serving() as server:
        server.data = data
        card = json.loads(run("card", "centerface").output)
        card["source"]["url"] = f"{server.url}/centerface.onnx"
        card["sha256"] = hashlib.sha256(data).hexdigest()
        _know(card, tmp_path, monkeypatch)
        output = run("fetch", "centerface", "--accept-licence").output
    assert "5 photos" in output
    assert list((tmp_path / "data" / "models" / "downloads").iterdir()) == []
    run("use", "centerface")
    assert load_settings().encoder.detector == "centerface"


def test_a_fetched_file_that_fails_its_test_is_deleted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_model(tmp_path / "graph.onnx").read_bytes()
    with serving() as server:
        server.data = data
        card = json.loads(run("card", "edgeface-s").output)
        card["source"]["url"] = f"{server.url}/graph.onnx"
        card["sha256"] = hashlib.sha256(data).hexdigest()
        _know(card, tmp_path, monkeypatch)
        assert "wrong" in run("fetch", "edgeface-s", "--accept-licence", fails=True).output
    assert list((tmp_path / "data").rglob("*.part")) == []
    assert not model_store(load_settings()).installed()


def test_what_no_document_pins_is_not_fetched(run: Run) -> None:
    output = run("fetch", "buffalo_l", "--accept-licence", fails=True).output
    assert "no document that was read gives its address" in output
    assert "buffalo_l.zip" in output


def test_a_fetch_needs_an_accepted_licence(run: Run, tmp_path: Path) -> None:
    assert "--accept-licence" in run("fetch", "auraface", fails=True).output
    assert not (tmp_path / "data").exists()


def test_a_model_is_chosen_in_the_config_file_alone(run: Run, config: Path, install: Any) -> None:
    install("sface")
    output = run("use", "sface", "--kind", "plain").output
    assert "Apache 2.0" in output
    assert "Restart" in output
    assert json.loads(config.read_text()) == {
        "data_dir": "data",
        "encoder": {"upsample": 1, "model": "sface", "kind": "plain"},
        "server": {"port": 8001},
    }
    assert list(json.loads(config.read_text())) == ["data_dir", "encoder", "server"]
    assert not (config.parent / "data" / "facesearch.db").exists()


def test_a_detector_is_chosen_and_dlibs_again(run: Run, config: Path, install: Any) -> None:
    install("yunet")
    assert "encoder.detector: yunet" in run("use", "yunet").output
    assert "in use" in run("remove", "yunet", fails=True).output
    told = json.loads(run("use", "hog", "--json").output)
    assert told == {"setting": "encoder.detector", "value": "hog", "kind": None, "licence": None}
    assert load_settings().encoder.detector == "hog"
    assert json.loads(run("use", "yunet", "--json").output)["licence"]["commercial_use"] == "yes"
    run("use", "hog")
    assert json.loads(run("remove", "yunet", "--json").output) == {"removed": "yunet"}
    assert not model_store(load_settings()).installed()


def test_a_model_that_is_not_installed_cannot_be_chosen(run: Run, config: Path) -> None:
    before = config.read_text()
    assert "not installed" in run("use", "auraface", fails=True).output
    assert "models list" in run("use", "nothing", fails=True).output
    assert config.read_text() == before


def test_another_model_is_refused_while_the_gallery_holds_faces(
    run: Run, config: Path, install: Any, tmp_path: Path
) -> None:
    install("sface")
    np.save(tmp_path / "gallery.npy", np.ones((1, 128), np.float64))
    (tmp_path / "names.txt").write_text("Ada\n")
    imported = CliRunner().invoke(
        main, ["import", str(tmp_path / "gallery.npy"), "--names", str(tmp_path / "names.txt")]
    )
    assert imported.exit_code == 0, imported.output
    before = config.read_text()
    output = run("use", "sface", fails=True).output
    assert "dlib-resnet-v1-plain" in output
    assert "empty gallery" in output
    assert config.read_text() == before
    run("use", "dlib")


def test_a_model_in_use_is_not_removed(run: Run, install: Any) -> None:
    install("sface")
    run("use", "sface")
    assert "in use" in run("remove", "sface", fails=True).output


def test_a_model_of_a_collection_is_not_removed(run: Run, install: Any) -> None:
    install("sface")
    for name, model in (("guests", "sface-plain"), ("more", "dlib-resnet-v1-mirror")):
        made = CliRunner().invoke(main, ["collections", "create", name, "--model", model])
        assert made.exit_code == 0, made.output
    assert "the collection guests holds its vectors" in run("remove", "sface", fails=True).output
    assert CliRunner().invoke(main, ["collections", "delete", "guests", "--yes"]).exit_code == 0
    run("remove", "sface")


@pytest.mark.parametrize("file", ["model.onnx", "card.json"])
def test_a_damaged_model_in_use_can_be_put_right(run: Run, install: Any, tmp_path: Path, file: str) -> None:
    install("sface")
    run("use", "sface")
    (tmp_path / "data" / "models" / "installed" / "sface" / file).write_bytes(b"")
    run("remove", "sface")
    install("sface")
    run("use", "sface")


def test_a_damaged_model_fails_the_check(run: Run, install: Any, tmp_path: Path) -> None:
    install("sface")
    (tmp_path / "data" / "models" / "installed" / "sface" / "model.onnx").write_bytes(b"")
    output = run("check", "sface", fails=True).output
    assert "sface: failed" in output
    assert "damaged" in output
    [told] = json.loads(run("check", "sface", "--json", fails=True).output)
    assert (told["good"], "damaged" in told["error"], told["test"]) == (False, True, None)


def test_a_table_and_its_errors_hold_no_colours_for_a_program(run: Run) -> None:
    assert "\x1b" not in run("list").output + run("fetch", "buffalo_l", fails=True).output


def test_nobody_is_asked_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from facesearch.commands.models import _asks  # noqa: PLC0415

    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert not _asks()


def test_without_test_photos_nothing_is_installed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesearch.bootstrap.models.TEST_PHOTOS", tmp_path / "nowhere")
    model = write_model(tmp_path / "graph.onnx")
    assert "test photos" in run("add", model, "--card", "edgeface-s", "--accept-licence", fails=True).output


def _know(card: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a card one of the known, and trust the server of these tests."""
    known = folder / "known"
    shutil.copytree(Path(cards.__file__).with_name("known"), known)
    (known / f"{card['id']}.json").write_text(json.dumps(card))
    monkeypatch.setattr(cards, "_KNOWN", known)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
