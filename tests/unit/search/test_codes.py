import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.search.codes import ALWAYS, FINE, Encoder, ProbeCode
from facesearch.search.measure import exact_distances


def gallery(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Rows that vary much in some directions and little in others."""
    random = np.random.default_rng(seed)
    spread = 0.3 / np.arange(1, dimension + 1) ** 0.7
    turned = random.standard_normal((rows, dimension)) * spread
    axes, _ = np.linalg.qr(random.standard_normal((dimension, dimension)))
    drawn: NDArray[np.float32] = (0.2 + turned @ axes).astype(np.float32)
    return drawn


def fitted(rows: NDArray[np.float32]) -> Encoder:
    encoder = Encoder.fit(rows, len(rows))
    assert encoder is not None
    return encoder


def scores_of(
    encoder: Encoder, rows: NDArray[np.float32], code: ProbeCode
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows' scores in the first stage and over all coordinates."""
    weights = [1] if len(code.first) == 1 else [FINE, 1]
    codes = encoder.encode_rows(rows)
    first = codes.first.astype(np.int64) @ code.first.T.astype(np.int64) @ weights
    rest = codes.rest.astype(np.int64) @ code.rest.T.astype(np.int64) @ weights
    shifted = [
        np.where(half == ALWAYS, -(2**40), half.astype(np.int64) << code.shift) for half in codes[1::2]
    ]
    return first - shifted[0], first + rest - shifted[1]


@pytest.mark.parametrize(
    ("dimension", "scale"),
    [(1, 1.0), (2, 1e-12), (63, 1.0), (64, 1e9), (65, 1e-12), (128, 1.0), (512, 1e9), (1024, 1.0)],
)
def test_no_row_within_the_limit_scores_below_the_bound(dimension: int, scale: float) -> None:
    rows = gallery(600, dimension, dimension) * np.float32(scale)
    encoder = fitted(rows)
    away = np.float32(scale) * np.random.default_rng(1).standard_normal(dimension).astype(np.float32)
    tests = [rows[0], rows[1] + np.float32(1e-3) * away, rows[2] + away, 5 * away, 20 * away, 0 * away]
    asked = np.concatenate([rows, rows[:50] + np.float32(0.5) * away, rows[:9] * 1e6, rows[:9] + 30 * away])
    shifts = set()
    for probe in tests:
        if (code := encoder.encode_probe(probe)) is None:
            continue
        shifts.add(code.shift)
        first, whole = scores_of(encoder, asked, code)
        distances = exact_distances(asked, probe.astype(np.float64))
        for at, distance in enumerate(distances):
            assert first[at] >= code.first_bound(float(distance))
            assert whole[at] >= code.whole_bound(float(distance))
    assert len(shifts) > 1


def test_each_stage_rules_out_most_of_what_it_is_given() -> None:
    rows = gallery(5000, 128, 2)
    encoder = fitted(rows)
    for probe in (rows[0], rows[0] + np.float32(0.5)):  # one far from everything
        distances = exact_distances(rows, probe.astype(np.float64))
        limit = float(np.sort(distances)[10])
        code = encoder.encode_probe(probe)
        assert code is not None
        first, whole = scores_of(encoder, rows, code)
        passed = np.count_nonzero(whole >= code.whole_bound(limit))
        assert passed < 200
        assert passed < np.count_nonzero(first >= code.first_bound(limit))


def test_rows_that_a_code_says_little_about_pass_every_bound() -> None:
    rows = gallery(2000, 128, 3)
    encoder = fitted(rows)
    odd = np.stack([rows[0] * 1000, np.full(128, np.nan), np.full(128, np.inf), np.full(128, 3e38)])
    odd_codes = encoder.encode_rows(odd.astype(np.float32))
    assert odd_codes.half.tolist() == [ALWAYS] * 4
    assert odd_codes.whole_half.tolist() == [ALWAYS] * 4
    codes = encoder.encode_rows(rows)
    assert np.count_nonzero(codes.half == ALWAYS) < 20
    assert np.count_nonzero(codes.whole_half == ALWAYS) < 20


@pytest.mark.parametrize("value", [1e6, 1e30, np.nan, np.inf])
def test_a_probe_beyond_all_measure_has_no_code(value: float) -> None:
    encoder = fitted(gallery(2000, 128, 3))
    assert encoder.encode_probe(np.full(128, value, np.float32)) is None


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan, 1e30])
def test_rows_without_any_spread_get_no_first_stage_or_a_right_one(value: float) -> None:
    rows = np.full((100, 8), value, np.float32)
    assert Encoder.fit(rows, 100) is None


def test_values_that_are_not_finite_do_not_spoil_the_fit() -> None:
    rows = gallery(1000, 32, 4)
    rows[::10] = np.nan
    rows[1::10, 3] = np.inf
    encoder = fitted(rows)
    assert np.count_nonzero(encoder.encode_rows(rows).half == ALWAYS) < 220


def test_a_fit_holds_few_copies_of_its_sample() -> None:
    rows = gallery(20_000, 64, 13)
    tracemalloc.start()
    try:
        fitted(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * rows.nbytes


def test_an_encoder_is_read_as_it_was_written() -> None:
    rows = gallery(500, 100, 5)
    encoder = fitted(rows)
    copy = Encoder.from_bytes(encoder.to_bytes())
    mine, other = encoder.encode_rows(rows), copy.encode_rows(rows)
    assert all(np.array_equal(mine[at], other[at]) for at in range(4))
    assert copy.fitted_on == 500
    data = bytearray(encoder.to_bytes())
    data[100] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        Encoder.from_bytes(bytes(data))
