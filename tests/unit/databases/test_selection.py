import numpy as np
import pytest

from facesearch.databases.selection import parts_of_query, unpacked
from facesearch.records import EVERY_FACE, Condition, FaceQuery


@pytest.mark.parametrize("ids", [[], [1], [63, 64], [0, 1, 127, 128, 2**40, 2**62]])
def test_words_of_ids_are_unpacked(ids: list[int]) -> None:
    words: dict[int, int] = {}
    for one in reversed(ids):
        words[one >> 6] = words.get(one >> 6, 0) | 1 << (one & 63)
    found = unpacked(list(words.items()))
    assert found.tolist() == ids
    assert found.dtype == np.int64


def test_a_query_is_cut_into_what_an_index_answers() -> None:
    above, below = Condition("age", "gt", (1,)), Condition("age", "lt", (9,))
    site, none = Condition("site", "in", ("Paris",)), Condition("badge", "missing")
    badge = FaceQuery(conditions=(Condition("badge", "exists"),))
    whole = FaceQuery(frozenset([7]), None, (above, site, none, below))
    assert parts_of_query(whole) == (
        [FaceQuery(conditions=(above, below)), FaceQuery(conditions=(site,)), FaceQuery(frozenset([7]))],
        [badge],
    )
    assert parts_of_query(FaceQuery(conditions=(none,))) == ([EVERY_FACE], [badge])
    assert parts_of_query(EVERY_FACE) == ([EVERY_FACE], [])
    few = FaceQuery(None, "7", (above, none))
    assert parts_of_query(few) == ([few], [])
