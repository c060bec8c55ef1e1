import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.search.topk import TopK

pairs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 0.5000000001, 1.0, 2.0]), st.integers(1, 1000)),
    unique_by=lambda pair: pair[1],
)


@given(pairs, st.integers(1, 20), st.sampled_from([0.0, 0.5, math.inf]))
def test_keeps_what_sorting_all_would_keep(
    offered: list[tuple[float, int]], k: int, tolerance: float
) -> None:
    one_by_one, at_once = TopK(k, tolerance), TopK(k, tolerance)
    for distance, face_id in offered:
        one_by_one.push(distance, face_id)
    at_once.push_many(
        np.array([distance for distance, _ in offered]),
        np.array([face_id for _, face_id in offered], np.int64),
    )
    expected = sorted(pair for pair in offered if pair[0] <= tolerance)[:k]
    assert one_by_one.sorted() == at_once.sorted() == expected


@given(pairs, st.integers(1, 8), st.integers(1, 5))
def test_merged_slices_keep_what_one_heap_would(
    offered: list[tuple[float, int]], k: int, slices: int
) -> None:
    merged = TopK(k)
    for part in range(slices):
        heap = TopK(k)
        for distance, face_id in offered[part::slices]:
            heap.push(distance, face_id)
        merged.merge(heap.sorted())
    assert merged.sorted() == sorted(offered)[:k]


@pytest.mark.parametrize("order", ["nearest first", "farthest first", "shuffled"])
def test_nothing_is_pruned_before_k_are_held(order: str) -> None:
    offered = [(float(d), d) for d in range(100)]
    if order == "farthest first":
        offered.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(offered)
    heap = TopK(100)
    for held, (distance, face_id) in enumerate(offered):
        assert len(heap) == held
        assert heap.limit == math.inf
        heap.push(distance, face_id)
    assert heap.is_full
    assert heap.limit == 99.0


def test_a_pair_at_the_limit_enters_by_its_lower_id_only() -> None:
    heap = TopK(1)
    heap.push(0.5, 7)
    heap.push(0.5, 8)
    assert heap.sorted() == [(0.5, 7)]
    heap.push(0.5, 6)
    assert heap.sorted() == [(0.5, 6)]


def test_nan_never_enters() -> None:
    heap = TopK(3)
    heap.push(math.nan, 1)
    heap.push_many(np.array([math.nan, 1.0]), np.array([2, 3]))
    assert heap.sorted() == [(1.0, 3)]
