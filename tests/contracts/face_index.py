"""What every exact FaceIndex does, beside a plain scan in float64."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facesearch.errors import DatabaseUnavailable, Invalid, ModelMismatch
from facesearch.interfaces import FaceIndex
from facesearch.records import FaceFilter, Match, PersonMatch
from tests.contracts.face_history import MODEL, FaceHistory

DIMENSION = 16
Make = Callable[[int], FaceIndex]


def draw(rows: int, seed: int, dimension: int = DIMENSION, spread: float = 0.1) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (0.3 + spread * random.standard_normal((rows, dimension))).astype(np.float32)


def ids_of(ids: Iterable[int]) -> NDArray[np.int64]:
    return np.array(sorted(ids), np.int64)


class Filtered(NamedTuple):
    """What a plain scan finds under a filter, by k and tolerance, whom, and how many it lets through."""

    nearest: dict[tuple[int, float], list[list[Match]]]
    people: list[list[PersonMatch]]
    faces: int
    of_people: int


class FilterCase(NamedTuple):
    history: FaceHistory
    probes: NDArray[np.float32]
    answers: list[tuple[FaceFilter, Filtered]]
    faces: int
    of_people: int


@cache
def filtered(share: float, order: str) -> FilterCase:
    """A gallery, filters of which the first ones keep such a share of it, and what a plain scan finds.

    Worked out once, since it takes longer than what any index is asked.
    """
    rows, probes, chance = draw(4000, 40), draw(3, 41), np.random.default_rng(42)
    rows[2000:2100] = rows[0]
    if order != "as drawn":
        nearest = np.argsort(((rows - probes[0]) ** 2).sum(axis=1))
        rows = rows[nearest if order == "nearest first" else nearest[::-1]]
    persons = [int(p) for p in chance.integers(0, 40, len(rows))]
    history = FaceHistory()
    history.add(rows, persons=persons)
    kept = frozenset(int(i) for i in 1 + np.flatnonzero(chance.random(len(rows)) < share))
    some = frozenset(range(40)) if share == 1 else frozenset({3, 17})
    named, without = ids_of(kept), frozenset([1, 2001, *sorted(kept)[:1900:7], -3])
    filters = [
        FaceFilter(),
        FaceFilter(face_ids=named),
        FaceFilter(persons=some),
        FaceFilter(face_ids=named, persons=some),
        FaceFilter(face_ids=ids_of(kept | {-5, 10**12}), persons=some | {-1, 10**15}),
        FaceFilter(without=frozenset([1])),
        FaceFilter(without=without),
        FaceFilter(face_ids=named, persons=some, without=without),
        FaceFilter(face_ids=named, without=frozenset([5])),
    ]
    answers = [(only, _scanned(history, probes, only)) for only in filters]
    return FilterCase(history, probes, answers, len(rows), len(rows) - persons.count(0))


def _scanned(history: FaceHistory, probes: NDArray[np.float32], only: FaceFilter) -> Filtered:
    kinds = [(1, 0.5), (7, 2.0), (1000, 2.0)]
    [everybody] = history.nearest_people(probes[:1], history.newest, 100.0, only=only)
    return Filtered(
        {(k, tolerance): history.nearest(probes, k, tolerance, only=only) for k, tolerance in kinds},
        history.nearest_people(probes, 7, 0.6, only=only),
        len(history.nearest(probes[:1], history.newest, 100.0, only=only)[0]),
        sum(one.faces_within for one in everybody),
    )


class FaceIndexContract(ABC):
    @pytest.fixture
    @abstractmethod
    def make(self) -> Make | Iterator[Make]:
        """Return or yield a function from a dimension to a fresh, empty index of the model MODEL."""

    @pytest.fixture
    def index(self, make: Make) -> Iterator[FaceIndex]:
        with closing(make(DIMENSION)) as index:
            yield index

    @pytest.fixture
    def history(self) -> FaceHistory:
        return FaceHistory()

    def test_an_empty_gallery_matches_nothing(self, index: FaceIndex, history: FaceHistory) -> None:
        index.catch_up(history)
        assert index.search(draw(2, 1), 5, 2.0) == [[], []]
        assert index.count() == 0

    def test_the_extent_is_that_of_the_copy_and_not_of_the_database(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        assert index.extent() == (0, 0)
        history.add(draw(3, 1))
        index.catch_up(history)
        level = history.newest_change()
        assert index.extent() == (level, 3)
        history.add(draw(2, 2))
        assert index.extent() == (level, 3)
        index.catch_up(history)
        assert index.extent() == (history.newest_change(), 5)

    def test_there_is_a_copy_once_it_was_brought_level(self, index: FaceIndex, history: FaceHistory) -> None:
        assert not index.has_copy()
        index.catch_up(history)
        assert index.has_copy()
        history.add(draw(3, 1))
        index.catch_up(history)
        assert index.has_copy()

    def test_no_probes_get_no_answers(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(3, 1))
        index.catch_up(history)
        assert index.search(draw(0, 1), 5, 2.0) == []

    @pytest.mark.parametrize("order", ["as drawn", "nearest first", "farthest first"])
    @pytest.mark.parametrize("k", [1, 2, 5, 63, 1000])
    def test_answers_as_a_scan_in_float64(
        self, index: FaceIndex, history: FaceHistory, k: int, order: str
    ) -> None:
        rows, probe = draw(5000, 2), draw(1, 3)
        if order != "as drawn":
            nearest = np.argsort(((rows - probe) ** 2).sum(axis=1))
            rows = rows[nearest if order == "nearest first" else nearest[::-1]]
        history.add(rows)
        index.catch_up(history)
        for tolerance in (0.0, 0.3, 0.5, 2.0):
            assert index.search(probe, k, tolerance) == history.nearest(probe, k, tolerance)

    def test_several_probes_are_answered_in_their_order(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(700, 4))
        index.catch_up(history)
        probes = draw(150, 5)
        assert index.search(probes, 7, 0.6) == history.nearest(probes, 7, 0.6)

    def test_fewer_faces_than_k_are_all_found(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(9, 6))
        index.catch_up(history)
        (found,) = index.search(draw(1, 7), 1000, 2.0)
        assert found == history.nearest(draw(1, 7), 1000, 2.0)[0]
        assert len(found) == 9

    def test_equal_distances_are_ordered_by_lower_id(self, index: FaceIndex, history: FaceHistory) -> None:
        rows = np.repeat(draw(3, 8), 40, axis=0)
        ids = [int(i) for i in np.random.default_rng(9).permutation(120) + 1]
        history.add(rows, ids)
        index.catch_up(history)
        for k in (1, 39, 41, 120):
            assert index.search(rows[:1], k, 2.0) == history.nearest(rows[:1], k, 2.0)

    def test_a_tie_across_blocks_goes_to_the_lower_id(self, index: FaceIndex, history: FaceHistory) -> None:
        rows = draw(9000, 10)
        rows[[5, 4500, 8999]] = rows[5]
        history.add(rows, list(range(9000, 0, -1)))
        index.catch_up(history)
        assert index.search(rows[5:6], 2, 0.0) == [[Match(1, 0.0), Match(4500, 0.0)]]

    def test_the_tolerance_itself_is_inside(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(50, 11))
        index.catch_up(history)
        probe = draw(1, 12)
        ((*_, last),) = history.nearest(probe, 20, 2.0)
        (inside,) = index.search(probe, 1000, last.distance)
        (outside,) = index.search(probe, 1000, float(np.nextafter(last.distance, 0)))
        assert (len(inside), len(outside)) == (20, 19)

    def test_a_far_probe_is_ordered_as_exactly(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(5000, 13, spread=1e-4))
        index.catch_up(history)
        probe = draw(1, 14) + np.float32(1000)
        assert index.search(probe, 50, 1e9) == history.nearest(probe, 50, 1e9)
        assert index.search(probe, 50, 2.0) == [[]]

    def test_rows_and_probes_of_any_size_are_met(self, index: FaceIndex, history: FaceHistory) -> None:
        rows = draw(300, 15)
        rows[::7] *= np.float32(1e-30)
        rows[1::7] *= np.float32(1e30)
        rows[2::7] = 0
        history.add(rows)
        index.catch_up(history)
        for scale in (0.0, 1e-40, 1.0, 1e20, 1e38):
            probe = (draw(1, 16).astype(np.float64) * scale).astype(np.float32)
            for tolerance in (0.0, 2.0, np.inf):
                assert index.search(probe, 20, tolerance) == history.nearest(probe, 20, tolerance)

    def test_values_that_are_not_finite_match_nothing_and_hide_nothing(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        rows = draw(100, 17)
        rows[10], rows[20, 3], rows[30, 0] = np.nan, np.inf, -np.inf
        history.add(rows)
        index.catch_up(history)
        probes = draw(3, 18)
        probes[1, 0], probes[2, 0] = np.nan, np.inf
        assert index.search(probes, 200, 2.0) == history.nearest(probes, 200, 2.0)
        assert len(index.search(probes, 200, 2.0)[0]) == 97

    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        # each example makes an index of its own, and each implementation is a class of its own
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(data=st.data())
    def test_near_ties_that_float32_would_confuse_are_told_apart(
        self, make: Make, data: st.DataObject
    ) -> None:
        dimension = data.draw(st.integers(1, 5), "dimension")
        steps = st.lists(st.integers(-3, 3), min_size=dimension, max_size=dimension)
        base = data.draw(st.sampled_from([0.0, 0.25, 1.0, 100.0]), "base")
        unit = data.draw(st.sampled_from([2.0**-22, 2.0**-12, 0.25]), "unit")
        drawn = data.draw(st.lists(steps, min_size=1, max_size=40), "rows")
        rows = (base + unit * np.array(drawn)).astype(np.float32)
        probe = (base + unit * np.array([data.draw(steps, "probe")])).astype(np.float32)
        ids = data.draw(st.permutations(range(1, len(rows) + 1)), "ids")
        k = data.draw(st.sampled_from([1, 2, 3, 10, 1000]), "k")
        tolerance = data.draw(st.sampled_from([0.0, unit, 2 * unit, 2.0]), "tolerance")
        history = FaceHistory()
        history.add(rows, ids)
        with closing(make(dimension)) as index:
            index.catch_up(history)
            assert index.search(probe, k, tolerance) == history.nearest(probe, k, tolerance)

    def test_faces_added_later_are_found_after_the_next_look(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        rows, probe = draw(400, 19), draw(1, 20)
        for start in range(0, 400, 57):
            history.add(rows[start : start + 57])
            index.catch_up(history)
            assert index.search(probe, 10, 2.0) == history.nearest(probe, 10, 2.0)
            assert index.count() == len(history.changes)

    def test_nothing_new_reads_no_history(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(3, 21))
        history.add(draw(2, 22), model_id="another")
        index.catch_up(history)
        streams = history.streams
        index.catch_up(history)
        assert history.streams == streams

    def test_other_models_faces_are_never_found(self, index: FaceIndex, history: FaceHistory) -> None:
        for seed in range(6):
            history.add(draw(5, 30 + seed), model_id="another" if seed % 2 else MODEL)
            index.catch_up(history)
            assert index.count() == 5 * (seed // 2 + 1)
            blank = np.zeros((1, DIMENSION), np.float32)
            assert index.search(blank, 100, 9.0) == history.nearest(blank, 100, 9.0)

    @pytest.mark.parametrize(
        ("share", "order"),
        [
            *((share, "as drawn") for share in (0.0, 0.002, 0.05, 0.5, 1.0)),
            *((0.05, order) for order in ("nearest first", "farthest first")),
        ],
    )
    def test_a_filter_keeps_what_it_names_and_nothing_else(
        self, index: FaceIndex, history: FaceHistory, share: float, order: str
    ) -> None:
        case = filtered(share, order)
        history.changes = case.history.changes.copy()
        history.newest = case.history.newest
        index.catch_up(history)
        for only, answer in case.answers * 2:
            for (k, tolerance), matches in answer.nearest.items():
                assert index.search(case.probes, k, tolerance, only) == matches
            assert index.search_people(case.probes, 7, 0.6, only) == answer.people
            assert (index.count(only), index.count(only, of_people=True)) == (answer.faces, answer.of_people)
        assert (index.count(), index.count(of_people=True)) == (case.faces, case.of_people)

    def test_a_filter_that_is_used_again_sees_what_came_and_went_meanwhile(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        only = FaceFilter(face_ids=ids_of(range(1, 5000, 2)), persons=frozenset({1, 2}))
        probe = draw(1, 70)
        for step in range(4):
            history.add(draw(300, 71 + step), persons=[1 + at % 3 for at in range(300)])
            history.remove([step * 50 + 1, step * 50 + 2])
            index.catch_up(history)
            assert index.search(probe, 100, 2.0, only) == history.nearest(probe, 100, 2.0, only=only)

    @pytest.mark.parametrize("order", ["as drawn", "nearest first", "farthest first"])
    @pytest.mark.parametrize("people", [1, 3, 90, 4000])
    def test_people_are_found_once_each_and_their_faces_counted(
        self, index: FaceIndex, history: FaceHistory, people: int, order: str
    ) -> None:
        rows, probes, chance = draw(4000, 80), draw(3, 81), np.random.default_rng(82)
        rows[2000:2100] = rows[0]
        if order != "as drawn":
            nearest = np.argsort(((rows - probes[0]) ** 2).sum(axis=1))
            rows = rows[nearest if order == "nearest first" else nearest[::-1]]
        # some have many faces, some few, and every fifth face is nobody's
        persons = [int(p) for p in people * chance.random(len(rows)) ** 3 + 1]
        persons[::5] = [0] * len(persons[::5])
        history.add(rows, persons=persons)
        index.catch_up(history)
        for k in (1, 5, 1000):
            for tolerance in (0.0, 0.45, 2.0):
                found = index.search_people(probes, k, tolerance)
                assert found == history.nearest_people(probes, k, tolerance)
                together = index.search_people(probes, k, tolerance, pooled=True)
                assert together == history.nearest_people(probes, k, tolerance, pooled=True)

    def test_people_follow_what_happens_to_their_faces(self, index: FaceIndex, history: FaceHistory) -> None:
        probe, vectors = draw(1, 83), draw(600, 84)
        history.add(vectors[:500], persons=[1 + at % 20 for at in range(500)])
        index.catch_up(history)
        assert index.search_people(probe, 30, 2.0) == history.nearest_people(probe, 30, 2.0)
        history.add(vectors[:50], ids=range(1, 51), persons=[77] * 50)
        history.add(vectors[500:], persons=[1 + at % 25 for at in range(100)])
        history.remove([300, 301, 302])
        index.catch_up(history)
        assert index.search_people(probe, 30, 2.0) == history.nearest_people(probe, 30, 2.0)

    def test_nobody_is_found_where_there_is_nobody(self, index: FaceIndex, history: FaceHistory) -> None:
        assert index.search_people(draw(2, 85), 5, 2.0) == [[], []]
        assert index.search_people(draw(2, 85), 5, 2.0, pooled=True) == [[]]
        history.add(draw(20, 86))
        index.catch_up(history)
        assert index.search_people(draw(2, 85), 5, 2.0) == [[], []]
        assert index.search_people(draw(0, 85), 5, 2.0) == []
        assert index.search_people(draw(0, 85), 5, 2.0, pooled=True) == [[]]

    def test_people_of_equal_distance_are_ordered_by_the_lower_face(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        rows = np.repeat(draw(1, 87), 12, axis=0)
        history.add(rows, ids=range(12, 0, -1), persons=[1, 2, 3, 4] * 3)
        index.catch_up(history)
        expected = [PersonMatch(4, 1, 0.0, 3), PersonMatch(3, 2, 0.0, 3), PersonMatch(2, 3, 0.0, 3)]
        assert index.search_people(rows[:1], 3, 0.0) == [expected]

    def test_removed_faces_are_found_no_more(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(3000, 43))
        index.catch_up(history)
        chance, probes = np.random.default_rng(44), draw(2, 45)
        for size in (1, 3, 200, 1, 1500):
            left = [face.face_id for face in history.stored()]
            history.remove([int(i) for i in chance.choice(left, size, replace=False)])
            index.catch_up(history)
            assert index.count() == len(history.stored())
            assert index.search(probes, 1000, 2.0) == history.nearest(probes, 1000, 2.0)
            history.add(draw(2, 46 + size))
            index.catch_up(history)
            assert index.search(probes, 1000, 2.0) == history.nearest(probes, 1000, 2.0)

    @pytest.mark.parametrize("caught_up", [True, False])
    def test_the_newest_face_may_be_removed(
        self, index: FaceIndex, history: FaceHistory, caught_up: bool
    ) -> None:
        for step in range(6):
            history.add(draw(4, 50 + step))
            if caught_up or step == 3:
                index.catch_up(history)
            history.remove([history.newest])
            if caught_up or step == 4:
                index.catch_up(history)
        index.catch_up(history)
        assert index.search(draw(1, 57), 100, 2.0) == history.nearest(draw(1, 57), 100, 2.0)

    def test_all_faces_may_be_removed_and_others_come(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(30, 60))
        index.catch_up(history)
        history.remove(range(1, 31))
        index.catch_up(history)
        assert index.search(draw(1, 61), 5, 2.0) == [[]]
        assert index.count() == 0
        history.remove([1, 7])
        history.add(draw(5, 62))
        index.catch_up(history)
        assert index.search(draw(1, 61), 100, 2.0) == history.nearest(draw(1, 61), 100, 2.0)

    def test_a_face_that_comes_again_is_where_it_is_now(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(300, 63))
        index.catch_up(history)
        history.remove([5, 6])
        index.catch_up(history)
        history.add(draw(2, 64), ids=[5, 100], persons=[4, 4])
        index.catch_up(history)
        only = FaceFilter(persons=frozenset({4}))
        for wanted in (None, only):
            expected = history.nearest(draw(1, 65), 500, 2.0, only=wanted)
            assert index.search(draw(1, 65), 500, 2.0, wanted) == expected
        assert index.count() == 299

    def test_a_database_restored_to_before_a_removal_that_went_on_is_noticed(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        history.add(draw(10, 66))
        before, number = list(history.changes), history.newest
        history.remove([3])
        index.catch_up(history)
        for again in ([4], [4, 5], [3]):
            history.changes, history.newest = list(before), number
            history.remove(again)
            history.add(draw(1, 67))
            index.catch_up(history)
            assert index.search(draw(1, 68), 100, 2.0) == history.nearest(draw(1, 68), 100, 2.0)

    def test_a_restored_database_is_followed_back(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(40, 23))
        index.catch_up(history)
        history.forget_after(10)
        index.catch_up(history)
        assert index.search(draw(1, 24), 100, 2.0) == history.nearest(draw(1, 24), 100, 2.0)
        assert index.count() == 10

    def test_a_restored_database_that_went_on_is_noticed(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        history.add(draw(40, 25))
        index.catch_up(history)
        history.forget_after(10)
        history.add(draw(60, 26))
        index.catch_up(history)
        assert index.search(draw(1, 27), 100, 2.0) == history.nearest(draw(1, 27), 100, 2.0)

    def test_another_database_replaces_what_was_there(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(40, 28))
        index.catch_up(history)
        other = FaceHistory("00000000-0000-4000-8000-000000000002")
        other.add(draw(40, 29))
        index.catch_up(other)
        assert index.search(draw(1, 30), 100, 2.0) == other.nearest(draw(1, 30), 100, 2.0)

    def test_a_database_that_is_away_is_an_error_and_leaves_the_copy(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        history.add(draw(40, 31))
        index.catch_up(history)
        history.is_away = True
        with pytest.raises(DatabaseUnavailable):
            index.catch_up(history)
        assert index.search(draw(1, 32), 5, 2.0) == history.nearest(draw(1, 32), 5, 2.0)

    @pytest.mark.parametrize(("k", "tolerance"), [(0, 0.6), (1001, 0.6), (1, -0.1), (1, float("nan"))])
    def test_parameters_out_of_range_are_refused(self, index: FaceIndex, k: int, tolerance: float) -> None:
        with pytest.raises(Invalid):
            index.search(draw(1, 33), k, tolerance)
        with pytest.raises(Invalid):
            index.search_people(draw(1, 33), k, tolerance)

    def test_probes_of_another_dimension_are_refused(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(3, 34))
        index.catch_up(history)
        with pytest.raises(ModelMismatch):
            index.search(draw(1, 35, dimension=DIMENSION + 1), 1, 0.6)
        with pytest.raises(ModelMismatch):
            index.search_people(draw(1, 35, dimension=DIMENSION + 1), 1, 0.6)

    def test_a_collection_has_faces_of_its_own(self, index: FaceIndex, history: FaceHistory) -> None:
        history.add(draw(30, 88))
        index.catch_up(history)
        others = FaceHistory()
        others.add(draw(20, 89))
        with closing(index.of(2, MODEL, DIMENSION)) as second:
            assert second.count() == 0
            second.catch_up(others)
            index.catch_up(history)
            assert second.search(draw(1, 90), 100, 2.0) == others.nearest(draw(1, 90), 100, 2.0)
            assert index.search(draw(1, 90), 100, 2.0) == history.nearest(draw(1, 90), 100, 2.0)
            with closing(index.of(2, "another", DIMENSION)) as third:
                assert third.count() == 0

    def test_copies_of_what_is_gone_are_deleted_and_made_again_where_it_comes_back(
        self, index: FaceIndex, history: FaceHistory
    ) -> None:
        history.add(draw(30, 91))
        index.catch_up(history)
        with closing(index.of(2, MODEL, DIMENSION)) as second:
            second.catch_up(history)
            index.keep_only({2: MODEL, 3: None})
            probe = draw(1, 92)
            for one in (index, second):
                assert one.search(probe, 9, 2.0) == history.nearest(probe, 9, 2.0)
                one.catch_up(history)
                assert one.search(probe, 9, 2.0) == history.nearest(probe, 9, 2.0)

    def test_a_working_index_answers_a_ping(self, index: FaceIndex, history: FaceHistory) -> None:
        index.ping()
        index.catch_up(history)
        index.ping()
