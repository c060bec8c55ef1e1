"""The first stage: 64 bytes per row that rule most rows out before their vectors are read.

With z = x - mean and a matrix V whose singular values are at most 1, the map

    f(x) = (V' z, sqrt(|z|^2 - |V' z|^2))

brings no two points farther apart than they are: its last coordinate is the norm of M z for the root M
of 1 - V V', and norms differ by at most |M (z1 - z2)|. V holds the directions in which embeddings vary
most, so that little is lost. f(x) is then rounded to s times a vector of 8-bit integers, the code, and
the length of what rounding took away is known. By the triangle inequality

    |x - q| >= s |code(x) - code(q)| - error(x) - error(q)

and the squared distance of two codes is an integer that products give without rounding.

Rounding in f itself: a float64 product of d terms errs by less than 2^-40 |z| for d up to 1024, and so do
both squares by less than 2^-36 |z|^2, whose difference's root then errs by less than 2^-18 |z|. This is
added to each error, and covers what is lost where the last coordinate is centred.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODES = 64
"""Bytes per row: 63 rotated coordinates and the norm of the rest."""
FIT_FROM = 20_000
"""So many faces make a first stage worth its while, and its fit good."""

ALWAYS = -(2**30)
"""The half square of a row whose code says too little: its score passes every bound."""

_SAMPLE = 50_000
_STACKED_TERMS = 1 << 18
_LEVELS = 127
_ERROR_STEPS = 3.0  # of s; rounding 64 coordinates takes 2.3 on average, hardly ever 3
_CLIPPED_SHARE = 0.0005
_ROUNDING = 2.0**-18
_LARGEST = 1e15  # nearer to the end of float32, rows and probes are left to the full scan
_ENDLESS = 2.0**31


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The fitted map of one file; immutable, any thread may use it.

    Args:
        mean: float64 (d,).
        rotation: float64 (d, m), m at most 63, no singular value above 1.
        offset: what is taken from the last coordinate to centre it.
        step: s above.
        fitted_on: how many faces there were.
    """

    mean: NDArray[np.float64]
    rotation: NDArray[np.float64]
    offset: float
    step: float
    fitted_on: int

    @property
    def row_error(self) -> float:
        """What a row's rounding takes away at most, or its half square is ALWAYS."""
        return _ERROR_STEPS * self.step

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], faces: int) -> "Encoder | None":
        """Fit to a sample of the gallery, float32 (n, d); None where the sample allows no useful map."""
        wide = vectors.astype(np.float64)
        with np.errstate(all="ignore"):
            wide = wide[np.abs(wide).max(axis=1) < _LARGEST]
        if len(wide) < 2:
            return None
        mean = wide.mean(axis=0)
        wide -= mean
        _, axes = np.linalg.eigh(wide.T @ wide)
        rotation = np.ascontiguousarray(axes[:, ::-1][:, : CODES - 1])
        rotation /= np.linalg.norm(rotation, 2) * (1 + 1e-9)
        unscaled = cls(mean, rotation, 0.0, 1.0, faces)
        points, _ = unscaled._map(vectors)
        points = points[np.isfinite(points).all(axis=1)]
        offset = float(points[:, -1].mean())
        points[:, -1] -= offset
        step = float(np.quantile(np.abs(points).max(axis=1), 1 - _CLIPPED_SHARE)) / _LEVELS
        return cls(mean, rotation, offset, step, faces) if step > 1e-30 else None

    def encode(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float64]]:
        """Return each vector's code (n, 64), half its code's square rounded down, and its error.

        The error of a vector that is not finite or very large is infinite.
        """
        points, norms = self._map(vectors)
        points[:, -1] -= self.offset
        points /= self.step
        with np.errstate(all="ignore"):
            rounded = np.clip(np.nan_to_num(np.rint(points)), -_LEVELS, _LEVELS)
            errors = self.step * np.linalg.norm(points - rounded, axis=1) * (1 + 1e-9)
            errors += _ROUNDING * (norms + self.offset)
        errors[~(errors < _LARGEST)] = np.inf
        codes = np.zeros((len(vectors), CODES), np.int8)
        codes[:, : rounded.shape[1]] = rounded
        halves = (rounded * rounded).sum(axis=1).astype(np.int64) // 2
        return codes, halves, errors

    def encode_rows(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """Return codes int8 (n, 64) and half squares int32 (n,), ALWAYS where a code says too little."""
        codes, halves, errors = self.encode(vectors)
        halves[~(errors <= self.row_error)] = ALWAYS
        return codes, halves.astype(np.int32)

    def bound(self, half: int, error: float, limit: float) -> int:
        """The least score, product less half square, of a row that may lie within `limit` of a probe.

        Args:
            half, error: the probe's, from `encode`.
        """
        reach = (limit * (1 + 1e-9) + self.row_error + error) / self.step * (1 + 1e-9)
        if not reach < _ENDLESS:
            return -(2**31)
        return max(math.floor(half - reach * reach / 2 * (1 + 1e-9)) - 1, -(2**31))

    def _map(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return f of each vector, float64 (n, m + 1), and |z|."""
        with np.errstate(all="ignore"):
            centred = vectors.astype(np.float64) - self.mean
            squares = np.einsum("ij,ij->i", centred, centred)
            turned = _product(centred, self.rotation)
            rest = np.sqrt(np.maximum(squares - np.einsum("ij,ij->i", turned, turned), 0))
        return np.concatenate([turned, rest[:, np.newaxis]], axis=1), np.sqrt(squares)

    def to_bytes(self) -> bytes:
        """All of it, little-endian, behind a checksum."""
        numbers = [self.offset, self.step, self.fitted_on, *self.rotation.shape]
        parts = [np.array(numbers, "<f8"), self.mean.astype("<f8"), self.rotation.astype("<f8")]
        data = b"".join(part.tobytes() for part in parts)
        return zlib.crc32(data).to_bytes(8, "little") + data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Encoder":
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: it is something else.
        """
        if zlib.crc32(data[8:]) != int.from_bytes(data[:8], "little"):
            raise ValueError("the checksum does not match")
        numbers = np.frombuffer(data[8:], "<f8").astype(np.float64)
        offset, step, fitted_on, dimension, axes = (float(number) for number in numbers[:5])
        end = 5 + int(dimension)
        rotation = numbers[end:].reshape(int(dimension), int(axes))
        return cls(numbers[5:end], rotation, offset, step, int(fitted_on))


def _product(rows: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows @ rotation as a stack of products that OpenBLAS takes for too small for two threads.

    Where the cores are busy, waiting for the last of them takes many times as long as the product.
    """
    size = max(1, _STACKED_TERMS // rotation.size)
    stacked = len(rows) // size * size
    products = np.empty((len(rows), rotation.shape[1]))
    np.matmul(
        rows[:stacked].reshape(-1, size, rows.shape[1]),
        rotation,
        out=products[:stacked].reshape(-1, size, rotation.shape[1]),
    )
    np.matmul(rows[stacked:], rotation, out=products[stacked:])
    return products


def sample_places(count: int) -> NDArray[np.int64]:
    """Which of `count` rows a fit looks at: all, or many spread evenly."""
    return np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64)
