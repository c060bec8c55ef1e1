import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.search.codes import ALWAYS, CODES, Encoder
from facesearch.search.scan import exact_distances


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
    encoder: Encoder, rows: NDArray[np.float32], probe: NDArray[np.float32]
) -> tuple[NDArray[np.int64], int, float]:
    """The rows' scores, and the probe's half square and error."""
    codes, halves = encoder.encode_rows(rows)
    (code,), (half,), (error,) = encoder.encode(probe[np.newaxis])
    return codes.astype(np.int64) @ code.astype(np.int64) - halves, int(half), float(error)


@pytest.mark.parametrize(
    ("dimension", "scale"),
    [(1, 1.0), (2, 1e-12), (63, 1.0), (64, 1e9), (65, 1e-12), (128, 1.0), (512, 1e9), (1024, 1.0)],
)
def test_no_row_within_the_limit_scores_below_the_bound(dimension: int, scale: float) -> None:
    rows = gallery(600, dimension, dimension) * np.float32(scale)
    encoder = fitted(rows)
    away = np.float32(scale) * np.random.default_rng(1).standard_normal(dimension).astype(np.float32)
    tests = [rows[0], rows[1] + np.float32(1e-3) * away, rows[2] + away, 100 * away, 0 * away]
    asked = np.concatenate([rows, rows[:50] + np.float32(0.5) * away, rows[:9] * 1e6, rows[:9] + 30 * away])
    for probe in tests:
        scores, half, error = scores_of(encoder, asked, probe)
        for score, distance in zip(scores, exact_distances(asked, probe.astype(np.float64)), strict=True):
            assert score >= encoder.bound(half, error, float(distance))


def test_most_rows_beyond_the_limit_score_below_the_bound() -> None:
    rows = gallery(5000, 128, 2)
    encoder = fitted(rows)
    scores, half, error = scores_of(encoder, rows, rows[0])
    distances = exact_distances(rows, rows[0].astype(np.float64))
    limit = float(np.sort(distances)[10])
    assert np.count_nonzero(scores >= encoder.bound(half, error, limit)) < 200


def test_rows_that_a_code_says_little_about_pass_every_bound() -> None:
    rows = gallery(2000, 128, 3)
    encoder = fitted(rows)
    odd = np.stack([rows[0] * 1000, np.full(128, np.nan), np.full(128, np.inf), np.full(128, 3e38)])
    _, halves = encoder.encode_rows(odd.astype(np.float32))
    assert halves.tolist() == [ALWAYS] * 4
    codes, _ = encoder.encode_rows(rows)
    products = codes.astype(np.int64) @ codes[:9].astype(np.int64).T
    assert (products - ALWAYS).min() > CODES * 127 * 127
    _, all_halves = encoder.encode_rows(rows)
    assert np.count_nonzero(all_halves == ALWAYS) < 20


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan, 1e30])
def test_rows_without_any_spread_get_no_first_stage_or_a_right_one(value: float) -> None:
    rows = np.full((100, 8), value, np.float32)
    assert Encoder.fit(rows, 100) is None


def test_values_that_are_not_finite_do_not_spoil_the_fit() -> None:
    rows = gallery(1000, 32, 4)
    rows[::10] = np.nan
    rows[1::10, 3] = np.inf
    encoder = fitted(rows)
    _, halves = encoder.encode_rows(rows)
    assert np.count_nonzero(halves == ALWAYS) < 220


def test_an_encoder_is_read_as_it_was_written() -> None:
    rows = gallery(500, 100, 5)
    encoder = fitted(rows)
    copy = Encoder.from_bytes(encoder.to_bytes())
    mine, other = encoder.encode(rows), copy.encode(rows)
    assert all(np.array_equal(mine[at], other[at]) for at in range(3))
    assert copy.fitted_on == 500
    data = bytearray(encoder.to_bytes())
    data[100] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        Encoder.from_bytes(bytes(data))
