import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.search import products
from facesearch.search.products import CodeProducts, load_kernel


def codes(rows: int, seed: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, (rows, 64), dtype=np.int8)


@pytest.fixture(params=["numpy", 4, 16])
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, _ = load_kernel()
    found = (None, 1) if request.param == "numpy" else (kernel, request.param)
    monkeypatch.setattr(products, "load_kernel", lambda: found)


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("probes", [1, 2, 3, 7, 16, 17, 64])
@pytest.mark.parametrize(
    ("rows", "there"), [(1, 1), (1, 16), (15, 15), (100, 101), (4096, 4096), (4000, 4096)]
)
def test_products_are_the_integers_themselves(probes: int, rows: int, there: int) -> None:
    gallery, wanted = codes(there, 1), codes(probes, 2)
    gallery[0] = wanted[0] = -127
    expected = gallery[:rows].astype(np.int64) @ wanted.astype(np.int64).T
    found = CodeProducts(wanted).of(gallery, rows)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)
    found += 1  # the caller may write to it


def test_a_kernel_that_is_missing_or_miscalculates_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        @staticmethod
        def get_capabilities() -> dict[str, bool]:
            return {"serial": True, "haswell": True}

        @staticmethod
        def dots_pack(_: object) -> None:
            return None

        @staticmethod
        def dots_packed(rows: NDArray[np.int8], _: object) -> NDArray[np.int32]:
            return np.zeros((len(rows), 3), np.int32)

    for broken in (None, Wrong()):
        load_kernel.cache_clear()
        monkeypatch.setitem(sys.modules, "numkong", broken)
        assert load_kernel() == (None, 1)
    monkeypatch.undo()
    load_kernel.cache_clear()
    kernel, columns = load_kernel()
    assert kernel is not None
    assert columns in (4, 16)
