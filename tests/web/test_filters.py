import json

import pytest

from facesearch.errors import InvalidParameter
from facesearch.records import Condition
from facesearch.web.filters import EXAMPLE, conditions_of


def names(number: int) -> str:
    return json.dumps({str(at): 1 for at in range(number)})


def many(number: int) -> str:
    return json.dumps({"a": {"in": [1] * number}})


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("{}", ()),
        ('{"site": "Paris"}', (Condition("site", "in", ("Paris",)),)),
        ('{"age": 34}', (Condition("age", "in", (34,)),)),
        ('{"age": 34.5}', (Condition("age", "in", (34.5,)),)),
        ('{"on": true}', (Condition("on", "in", (True,)),)),
        ('{"": ""}', (Condition("", "in", ("",)),)),
        ('{"Ort": "Zürich 王"}', (Condition("Ort", "in", ("Zürich 王",)),)),
        ('{"team": {"in": ["a", 1, true]}}', (Condition("team", "in", ("a", 1, True)),)),
        ('{"team": {"in": []}}', (Condition("team", "in", ()),)),
        ('{"age": {"gte": 30, "lt": 40}}', (Condition("age", "gte", (30,)), Condition("age", "lt", (40,)))),
        (
            '{"age": {"gt": 30, "lte": 4e1}}',
            (Condition("age", "gt", (30,)), Condition("age", "lte", (40.0,))),
        ),
        ('{"day": {"gte": "2026-01-01"}}', (Condition("day", "gte", ("2026-01-01",)),)),
        ('{"badge": {"exists": true}}', (Condition("badge", "exists"),)),
        ('{"badge": {"exists": false}}', (Condition("badge", "missing"),)),
        ('{"big": 9223372036854775807}', (Condition("big", "in", (2**63 - 1,)),)),
    ],
)
def test_a_filter_is_read(text: str, conditions: tuple[Condition, ...]) -> None:
    assert conditions_of(text) == conditions


def test_the_example_is_one() -> None:
    assert [condition.operator for condition in conditions_of(EXAMPLE)] == ["in", "in", "gte", "lt", "exists"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "site",
        "[]",
        "null",
        '"x"',
        '{"site"}',
        '{"site": null}',
        '{"site": ["a"]}',
        '{"site": {}}',
        '{"site": {"is": "a"}}',
        '{"site": {"missing": true}}',
        '{"site": {"in": "a"}}',
        '{"site": {"in": [null]}}',
        '{"site": {"in": [["a"]]}}',
        '{"site": {"exists": 1}}',
        '{"site": {"exists": "true"}}',
        '{"site": {"gt": true}}',
        '{"site": {"gt": null}}',
        '{"site": {"gt": [1]}}',
        '{"site": {"gt": {"in": []}}}',
        '{"site": "a", "site": "b"}',
        '{"site": {"in": ["a"], "in": ["b"]}}',
        '{"age": NaN}',
        '{"age": {"lt": Infinity}}',
        '{"age": 1e999}',
        '{"age": 9223372036854775808}',
        '{"age": %s}' % ("9" * 5000),
        '{"site": "\\ud800"}',
        '{"\\ud800": 1}',
        "[" * 5000,
        many(1001),
        names(21),
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        conditions_of(text)


def test_there_may_be_twenty_conditions_and_a_thousand_values() -> None:
    assert len(conditions_of(names(20))) == 20
    assert len(conditions_of(many(1000))[0].values) == 1000
