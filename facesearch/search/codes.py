"""The first two stages: 8-bit codes that rule most rows out before their vectors are read.

With a fixed vector m and a square matrix V whose singular values are at most 1, the map

    f(x) = V' (x - m)

brings no two points farther apart than they are, and neither does any part of its coordinates. V's columns
are the directions in which embeddings vary most, the widest first, so that the first 64 coordinates tell
most of a distance. f(x) is rounded to s times a vector c(x) of 8-bit integers, and what rounding took away
is known. A probe is rounded to s u times a vector t of integers. By the triangle inequality, over the first
coordinates or over all,

    |x - q| >= s |c(x) - u t| - error(x) - error(q)

and the squared distance on the right comes of inner products of integers, which nothing rounds. The first
stage reads the first 64 bytes of a row, the second the rest of those that pass.

f is computed in float32. A product of d terms then errs by at most (d + 2) 2^-24 |x - m| in each of d
coordinates (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1), together by
(d + 2) d^(1/2) 2^-24 |x - m|, and the difference by 2^-24 of itself, which `_rounding` bounds and each
error contains.
"""

import math
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST = 64
"""Coordinates, and bytes per row, of the first stage."""
FIT_FROM = 5_000
"""So many faces make codes worth their while, and their fit good."""
SAMPLE = 50_000
"""So many are looked at, at most."""

ALWAYS = -(2**30)
"""The half square of a row whose code says too little: it passes every bound."""
FINE = 32
"""A probe that reaches beyond 8 bits is t = FINE a + b, both of 8 bits."""

_STACKED_TERMS = 1 << 18
_STACKED_ROWS = 4  # as many as 256 dimensions allow
_SCATTERED_ROWS = 2048
_LEVELS = 127
_CLIPPED_SHARE = 0.0005
_DEVIATIONS = 4.0
_LARGEST = 1e15  # nearer to the end of float32, rows and probes are left to the full scan
_FINEST = 1e-16  # below it squares of float32 would vanish
_ENDLESS = 2.0**31
_MOST_SHIFT = 5


class Codes(NamedTuple):
    """The codes of some rows.

    Args:
        first: int8 (n, 64).
        half: int32 (n,), half the square of `first` rounded down, ALWAYS where it says too little.
        rest: int8 (n, r), the other coordinates; r is a multiple of 64.
        whole_half: int32 (n,), the same as `half` of both together.
    """

    first: NDArray[np.int8]
    half: NDArray[np.int32]
    rest: NDArray[np.int8]
    whole_half: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeCode:
    """A probe as both stages compare it; immutable.

    A row's score is its code's product with t, less its half square times 2^shift.

    Args:
        first, rest: int8 (1, .) where t has 8 bits; else int8 (2, .), t being FINE times the first plus
            the second.
        shift: u is 2^-shift.
    """

    first: NDArray[np.int8]
    rest: NDArray[np.int8]
    shift: int
    _step: float
    _squares: tuple[float, float]
    _errors: tuple[float, float]

    def first_bound(self, limit: float) -> int:
        """The least score in the first stage of a row that may lie within `limit` of the probe."""
        return self._bound(0, limit)

    def whole_bound(self, limit: float) -> int:
        """The same over all coordinates."""
        return self._bound(1, limit)

    def _bound(self, stage: int, limit: float) -> int:
        # |c - u t|^2 <= r^2 is c.t - |c|^2 / 2u >= (u^2 |t|^2 - r^2) / 2u, and a half square that was
        # rounded down only makes a score greater.
        reach = (limit * (1 + 1e-9) + self._errors[stage]) / self._step * (1 + 1e-9)
        if not reach < _ENDLESS:
            return -(2**31)
        unit = 2.0**-self.shift
        least = (unit * self._squares[stage] - reach * reach / unit) / 2
        least -= 1 + 1e-12 * (abs(least) + unit * self._squares[stage])
        return max(math.floor(least), -(2**31)) if least < 2**30 else 2**30


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The fitted map of one file; immutable, any thread may use it.

    Args:
        mean: float32 (d,), m above.
        rotation: float32 (d, d), V above.
        step: s above.
        fitted_on: for how many faces.
    """

    mean: NDArray[np.float32]
    rotation: NDArray[np.float32]
    step: float
    fitted_on: int

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], faces: int) -> "Encoder | None":
        """Fit to a sample of the gallery, float32 (n, d); None where the sample allows no useful map.

        Args:
            faces: how many the gallery has, or will have soon.
        """
        with np.errstate(all="ignore"):
            sample = vectors[np.abs(vectors).max(axis=1) < _LARGEST]
        if len(sample) < 2:
            return None
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        _, axes = np.linalg.eigh(_scatter(sample, mean))
        widest = np.ascontiguousarray(axes[:, ::-1])
        rotation = (widest / (np.linalg.norm(widest, 2) * (1 + 1e-5))).astype(np.float32)
        unscaled = cls(mean, rotation, 1.0, faces)
        points, _ = unscaled._map(sample)
        step = float(np.quantile(np.abs(points).max(axis=1), 1 - _CLIPPED_SHARE)) / _LEVELS
        return cls(mean, rotation, step, faces) if step > _FINEST else None

    @property
    def rest_bytes(self) -> int:
        """The length of `Codes.rest`'s rows."""
        return rest_bytes(len(self.mean))

    def encode_rows(self, vectors: NDArray[np.float32]) -> Codes:
        """Return the codes of rows, float32 (n, d)."""
        dimension = len(self.mean)
        with np.errstate(all="ignore"):
            points, slack = self._map(vectors)
            points /= np.float32(self.step)
            rounded = np.clip(np.rint(points), -_LEVELS, _LEVELS)
            np.subtract(points, rounded, out=points)
            np.copyto(rounded, 0, where=np.isnan(rounded))
        codes = np.zeros((len(vectors), FIRST + self.rest_bytes), np.int8)
        codes[:, :dimension] = rounded
        halves = []
        for end in (FIRST, dimension):
            whole, lost = rounded[:, :end], points[:, :end]
            # float32 adds integers without rounding up to 2^24: 127^2 of 1,024 coordinates
            half = np.einsum("ij,ij->i", whole, whole).astype(np.int32) >> 1
            with np.errstate(all="ignore"):
                errors = self.step * (1 + 1e-4) * np.sqrt(np.einsum("ij,ij->i", lost, lost)) + slack
            half[~(errors <= self._row_error(lost.shape[1]))] = ALWAYS
            halves.append(half)
        first, rest = np.ascontiguousarray(codes[:, :FIRST]), np.ascontiguousarray(codes[:, FIRST:])
        return Codes(first, halves[0], rest, halves[1])

    def encode_probe(self, vector: NDArray[np.float32]) -> ProbeCode | None:
        """Return a probe's code, float32 (d,); None where it is too far away for one, or not finite."""
        dimension = len(self.mean)
        with np.errstate(all="ignore"):
            points, slack = self._map(vector[np.newaxis])
            point = points[0].astype(np.float64) / self.step
            largest = float(np.abs(point).max())
        most = float(FINE * _LEVELS)
        if not (largest <= most and slack[0] < _LARGEST):
            return None
        shift = 0 if largest <= _LEVELS else min(_MOST_SHIFT, math.floor(math.log2(most / largest)))
        whole = np.zeros(FIRST + self.rest_bytes, np.int64)
        whole[:dimension] = np.rint(point * 2**shift)
        if largest <= _LEVELS:
            columns = whole[np.newaxis]
        else:
            upper = (whole + FINE // 2) // FINE
            columns = np.stack([upper, whole - FINE * upper])
        lost = point - whole[:dimension] / 2**shift
        squares, errors = [], []
        for part in (slice(0, FIRST), slice(0, dimension)):
            error = self.step * float(np.linalg.norm(lost[part])) * (1 + 1e-9) + float(slack[0])
            errors.append(error + self._row_error(len(lost[part])))
            squares.append(float(whole[part] @ whole[part]))
        codes = columns.astype(np.int8)
        first, rest = np.ascontiguousarray(codes[:, :FIRST]), np.ascontiguousarray(codes[:, FIRST:])
        return ProbeCode(first, rest, shift, self.step, (squares[0], squares[1]), (errors[0], errors[1]))

    def _row_error(self, coordinates: int) -> float:
        """What a row's rounding takes away at most, or its half square is ALWAYS.

        The square of one coordinate's is 1/12 on average, and 1/180 in variance.
        """
        return self.step * math.sqrt(coordinates / 12 + _DEVIATIONS * math.sqrt(coordinates / 180))

    def _map(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return f of each vector, float32 (n, d), and by how much it errs at most."""
        centred = vectors - self.mean
        norms = np.sqrt(np.einsum("ij,ij->i", centred, centred))
        slack = norms * np.float32(_rounding(len(self.mean))) + np.float32(_FINEST * 1e-6)
        return _product(centred, self.rotation), slack

    def to_bytes(self) -> bytes:
        """All of it, little-endian, behind a checksum."""
        data = np.array([self.step, self.fitted_on, len(self.mean)], "<f8").tobytes()
        data += self.mean.astype("<f4").tobytes() + self.rotation.astype("<f4").tobytes()
        return zlib.crc32(data).to_bytes(8, "little") + data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Encoder":
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: it is something else.
        """
        if zlib.crc32(data[8:]) != int.from_bytes(data[:8], "little"):
            raise ValueError("the checksum does not match")
        step, fitted_on, dimension = (float(number) for number in np.frombuffer(data[8:32], "<f8"))
        numbers = np.frombuffer(data[32:], "<f4").astype(np.float32)
        mean, rotation = numbers[: int(dimension)], numbers[int(dimension) :]
        return cls(mean, rotation.reshape(int(dimension), int(dimension)), step, int(fitted_on))


def rest_bytes(dimension: int) -> int:
    """How many bytes a row's code has after the first stage's."""
    return max(FIRST, -(-(dimension - FIRST) // FIRST) * FIRST)


def sample_places(count: int) -> NDArray[np.int64]:
    """Which of `count` rows a fit looks at: all, or many spread evenly."""
    return np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)


def _rounding(dimension: int) -> float:
    return (dimension + 8) * math.sqrt(dimension) * 2.0**-24 * (1 + 1e-3)


def _scatter(sample: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sum of (x - m) (x - m)', some rows at a time: float64 copies of all take much memory."""
    total = np.zeros((len(mean), len(mean)))
    for first in range(0, len(sample), _SCATTERED_ROWS):
        centred = sample[first : first + _SCATTERED_ROWS].astype(np.float64) - mean
        total += centred.T @ centred
    return total


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return left @ right as a stack of products that OpenBLAS takes for too small for two threads.

    Where the cores are busy, waiting for the last of them takes many times as long as the product. Of very
    few rows OpenBLAS makes products of a matrix and a vector, in threads all the same: one product is sooner.
    """
    size = _STACKED_TERMS // right.size
    if size < _STACKED_ROWS:
        return left @ right
    stacked = len(left) // size * size
    products = np.empty((len(left), right.shape[1]), np.float32)
    np.matmul(
        left[:stacked].reshape(-1, size, left.shape[1]),
        right,
        out=products[:stacked].reshape(-1, size, right.shape[1]),
    )
    np.matmul(left[stacked:], right, out=products[stacked:])
    return products
