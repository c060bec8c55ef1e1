import json
import math
from pathlib import Path
from typing import Any

import pytest

from facesearch.encoders import cards
from facesearch.encoders.cards import UNMEASURED_TOLERANCE, ModelCard, built_in_cards, read_card
from facesearch.encoders.model_files import EMBEDDING, model_path
from facesearch.errors import InvalidConfig

KNOWN = Path(cards.__file__).with_name("known")
BUILT_IN = built_in_cards()
DOCS = Path(__file__).resolve().parents[3] / "docs" / "models.md"


@pytest.mark.parametrize("file", sorted(KNOWN.iterdir()), ids=lambda file: file.stem)
def test_a_built_in_card_says_where_its_facts_are_from(file: Path) -> None:
    card = read_card(file)
    assert file.name == f"{card.id}.json"
    assert card.source.document
    assert card.licence.name
    assert card.source.url is None or card.sha256 is not None
    assert card.source.url or card.source.obtain or card.family == "dlib"


@pytest.mark.parametrize(
    "card", [c for c in BUILT_IN.values() if "InsightFace" in c.name], ids=lambda c: c.id
)
def test_the_packs_of_insightface_are_not_for_commercial_use(card: ModelCard) -> None:
    assert card.licence.commercial == "no"


def test_weights_without_a_licence_are_not_called_free() -> None:
    assert {c.licence.commercial for c in BUILT_IN.values() if "none stated" in c.licence.name} == {"unknown"}


@pytest.mark.parametrize("card", BUILT_IN.values(), ids=lambda c: c.id)
def test_the_table_of_licences_says_what_the_card_says(card: ModelCard) -> None:
    numbers = str(card.output.dimension) if card.output else ""
    row = [f"`{card.id}`", card.task, numbers, card.licence.name, card.licence.commercial]
    (line,) = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| {row[0]} ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:5] == row
    assert (cells[6] == "yes") == bool(card.tried)
    assert (cells[5] == "yes") == bool(card.runs_here and card.source.url and card.sha256)


def test_the_card_in_the_docs_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(DOCS.read_text().partition("```json\n")[2].partition("```")[0])
    assert read_card(tmp_path / "card.json").space("mirror").tolerance == 1.05


def test_two_cards_never_have_one_hash() -> None:
    hashes = [card.sha256 for card in BUILT_IN.values() if card.sha256]
    assert len(hashes) == len(set(hashes))


def test_the_card_of_dlib_is_that_of_the_installed_file() -> None:
    assert BUILT_IN["dlib"].bytes == model_path(EMBEDDING).stat().st_size
    assert BUILT_IN["dlib"].model_id("mirror") == "dlib-resnet-v1-mirror"


def test_a_space_is_named_after_its_network_and_kind() -> None:
    assert BUILT_IN["auraface"].model_id("plain") == "auraface-plain"


def test_a_space_that_nobody_measured_has_a_cautious_tolerance() -> None:
    card = _card(spaces={"plain": {"tolerance": 0.9}})
    assert card.space("plain").tolerance == 0.9
    assert card.space("mirror").tolerance == UNMEASURED_TOLERANCE


def test_a_card_survives_being_written_and_read(tmp_path: Path) -> None:
    for card in BUILT_IN.values():
        (tmp_path / "card.json").write_text(card.model_dump_json())
        assert read_card(tmp_path / "card.json") == card


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "../other"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": ".hidden"}, "id"),
        ({"id": "dlib"}, "the id dlib is taken"),
        ({"family": "dlib"}, "the id dlib is taken"),
        ({"sha256": "abc"}, "sha256"),
        ({"source": {"document": "x", "url": "http://host/model.onnx"}}, "source.url"),
        ({"input": None}, "needs input and output"),
        ({"template": [[1, 2]] * 4}, "five points"),
        ({"task": "detection"}, "are not for detection"),
        ({"output": {"dimension": 0}}, "output.dimension"),
        ({"output": {"dimension": 2048}}, "output.dimension"),
        ({"output": {"dimension": 128, "metric": "euclidean", "divisor": math.inf}}, "output.divisor"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(json.loads(_card().model_dump_json()) | changes))
    with pytest.raises(InvalidConfig, match=r"mine\.json") as error:
        read_card(tmp_path / "mine.json")
    assert reason in error.value.message


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_what_is_no_card_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(InvalidConfig):
        read_card(tmp_path / "mine.json")


def test_a_missing_card_is_refused_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as error:
        read_card(tmp_path / "mine.json")
    assert str(tmp_path) not in error.value.message


def _card(**changes: Any) -> ModelCard:
    given: dict[str, Any] = {
        "id": "mine",
        "name": "My network",
        "task": "recognition",
        "family": "arcface",
        "licence": {"name": "MIT", "commercial_use": True},
        "source": {"document": "a test"},
        "input": {},
        "output": {"dimension": 128},
    }
    return ModelCard.model_validate(given | changes)
