"""A made-up gallery of any size, to measure searches on."""

import numpy as np
from numpy.typing import NDArray

from facesearch.search.exact import ExactIndex
from facesearch.search.layout import FACE

_ROWS_A_TIME = 20_000


def vectors(count: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Return random vectors of length 1, float32 of shape (count, dimension), the same for one seed."""
    drawn = np.random.default_rng(seed).standard_normal((count, dimension), np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def fill(index: ExactIndex, faces: int, dimension: int) -> None:
    """Put made-up faces into an index of nobody's, in an empty folder of its own."""
    matrix = index.matrix
    matrix.path.parent.mkdir(parents=True, exist_ok=True)
    matrix.reset("synthetic")
    for first in range(0, faces, _ROWS_A_TIME):
        count = min(_ROWS_A_TIME, faces - first)
        numbers = np.arange(first + 1, first + count + 1)
        rows = vectors(count, dimension, seed=first + 2)
        matrix.append(matrix.make_records(numbers, numbers, FACE, rows))
        matrix.tidy(coming=faces - first - count)
