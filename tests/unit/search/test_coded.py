"""Searches through codes: the answer is that of a scan in float64, whatever the stages leave out."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.search import coded
from facesearch.search.codes import Encoder
from facesearch.search.measure import Probe, Rows, measure
from facesearch.search.scan import scan
from tests.unit.search.test_codes import gallery
from tests.unit.search.test_scan import oracle

BLOCK = 400


def blocks(vectors: NDArray[np.float32], wanted: NDArray[np.bool_], encoder: Encoder) -> Iterator[Rows]:
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    for first in range(0, len(vectors), BLOCK):
        part = slice(first, min(first + BLOCK, len(vectors)))
        ids = np.arange(part.start + 1, part.stop + 1)
        codes = encoder.encode_rows(vectors[part])
        yield Rows(vectors[part], squares[part], ids, wanted[part], codes)


def unit(rows: int, dimension: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(7).standard_normal((rows, dimension)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def clipped() -> NDArray[np.float32]:
    """Some rows far beyond what 8 bits reach."""
    rows = gallery(1200, 128, 8)
    rows[5::100] *= 20
    return rows


GALLERIES = {
    "like embeddings": gallery(1200, 128, 6),
    "without structure": unit(1200, 128),
    "wider than two stages of 64": gallery(900, 192, 9),
    "narrower than one": gallery(900, 20, 10),
    "with rows beyond 8 bits": clipped(),
    "of few different rows": np.repeat(gallery(40, 128, 11), 30, axis=0),
}


@pytest.mark.parametrize("name", GALLERIES)
@pytest.mark.parametrize("order", ["nearest first", "farthest first"])
@pytest.mark.parametrize(("k", "tolerance"), [(1, 2.0), (5, 0.3), (7, np.inf), (1000, 2.0)])
def test_codes_lose_nothing(name: str, order: str, k: int, tolerance: float) -> None:
    vectors = GALLERIES[name]
    nearest = np.argsort(((vectors - vectors[0]) ** 2).sum(axis=1), kind="stable")
    vectors = vectors[nearest if order == "nearest first" else nearest[::-1]]
    encoder = Encoder.fit(vectors, len(vectors))
    assert encoder is not None
    chance = np.random.default_rng(12)
    probes = np.concatenate([vectors[:2], vectors[9:11] + np.float32(0.02), vectors[-1:] + np.float32(0.5)])
    anywhere = chance.standard_normal((2, vectors.shape[1])).astype(np.float32)
    probes = np.concatenate([probes, anywhere, 50 * probes[:1]])
    everything = np.ones(len(vectors), bool)
    for wanted in (everything, chance.random(len(vectors)) < 0.05, np.arange(len(vectors)) % BLOCK < 20):
        kept = np.flatnonzero(wanted)
        expected = [
            [(distance, int(kept[at - 1]) + 1) for distance, at in oracle(vectors[kept], probe, k, tolerance)]
            for probe in probes
        ]
        rows = list(blocks(vectors, wanted, encoder))
        assert scan(rows, probes, k, tolerance, encoder) == expected
        assert [scan(rows, p[np.newaxis], k, tolerance, encoder)[0] for p in probes] == expected


@pytest.mark.parametrize("name", ["like embeddings", "without structure"])
def test_nearly_all_rows_are_ruled_out_before_they_are_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(rows: Rows, places: NDArray[np.intp], state: Probe) -> None:
        read.append(len(places))
        measure(rows, places, state)

    monkeypatch.setattr(coded, "measure", counted)
    monkeypatch.setattr(coded, "measure_all", counted)
    vectors = GALLERIES[name]
    encoder = Encoder.fit(vectors, len(vectors))
    assert encoder is not None
    probe = vectors[:1] + np.float32(0.01)
    scan(blocks(vectors, np.ones(len(vectors), bool), encoder), probe, 5, 2.0, encoder)
    assert 0 < sum(read) < len(vectors) // 4
