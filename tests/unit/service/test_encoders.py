from collections.abc import Callable

import pytest

from facesearch.errors import ModelMismatch
from facesearch.service.encoders import Encoders, no_others
from tests.fakes import FakeEncoder
from tests.unit.service.parts import COLOURS, NEGATIVES, FakeKinds


class Another(FakeEncoder):
    model_id = "another"


def making(made: list[str]) -> Callable[[str], FakeEncoder]:
    def make(model_id: str) -> FakeEncoder:
        made.append(model_id)
        return Another() if model_id == "another" else no_others(model_id)  # type: ignore[return-value]

    return make


def test_a_collection_without_a_model_has_the_configured_encoder() -> None:
    configured = FakeKinds()
    encoders = Encoders(configured)
    assert encoders.of(None) is encoders.of(COLOURS) is configured


def test_the_configured_networks_other_vectors_cost_no_networks() -> None:
    made: list[str] = []
    encoders = Encoders(FakeKinds(), making(made))
    other = encoders.of(NEGATIVES)
    assert (other.model_id, encoders.of(NEGATIVES)) == (NEGATIVES, other)
    assert made == []


def test_other_networks_are_made_once_and_what_cannot_be_made_is_asked_for_again() -> None:
    made: list[str] = []
    encoders = Encoders(FakeKinds(), making(made))
    assert encoders.of("another") is encoders.of("another")
    for _ in range(2):
        with pytest.raises(ModelMismatch):
            encoders.of("unknown")
    assert made == ["another", "unknown", "unknown"]


def test_where_there_are_no_other_networks_that_is_told() -> None:
    with pytest.raises(ModelMismatch, match="makes no vectors of another"):
        Encoders(FakeKinds()).of("another")
