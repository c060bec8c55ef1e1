"""The bytes of the shared matrix: header, published word, and blocks of columns.

    0       magic, format version, length and checksum of the header text, the text (JSON)
    4096    the published word: how many rows there are, with a check of its own
    8192    what made the codes, where the header states its length, to a multiple of 4096
    then    blocks of `block_rows` rows each: a seal, then one array per column, to a multiple of 4096

A row belongs to one entry of the database's history, in the order of the change numbers, and never changes
but for being erased; the last row of a face tells whether it is in the gallery. Each row has a check, which
says nothing of one that was erased; a full block has a seal, the checksum of all its bytes, that is faster
to confirm, and beside it a mark while rows of it are being erased. Numbers are little-endian. The header
names the columns with their offsets; a format with further columns has another version, and a file of any
other version is built anew.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.search.codes import FIRST

MAGIC = b"\x89faces\r\n"
VERSION = 4
PAGE_BYTES = 4096
PUBLISHED_AT = PAGE_BYTES
BLOCKS_AT = 2 * PAGE_BYTES
BLOCK_ROWS = 65_536

FACE = 1
"""Kind of row: a face that was added under the row's change number."""
MARKER = 2
"""Kind of row: no face; every change up to the row's number is covered, the newest are other models'."""
REMOVED = 3
"""Kind of row: the face with this id was removed under the row's change number."""
ERASED = 0xE7A5ED51
"""Kind of row: a face whose vector was overwritten, or is about to be. No damage makes just this number."""
ERASING_AT = 4
"""Where in a block the mark lies that rows of it are being erased: its seal may be wrong."""

_PREAMBLE = np.dtype([("magic", "S8"), ("version", "<u4"), ("length", "<u4"), ("crc", "<u4")])
_SEAL_BYTES = 64
_COUNT_BITS = 40
_CHECK_OF_NOTHING = 0x9E3779B9


class Damaged(Exception):
    """The file cannot be used; the message says why. Never leaves this room."""


class Missing(Damaged):
    """There is no file."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file for reading while the block runs; a mapping of it outlives that.

    Raises:
        Missing
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Missing("there is none yet") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Header:
    """Whose vectors a file holds; `generation` is drawn anew for every file that is made.

    `codes` is the number of bytes of a row's code, and `encoder_bytes` the length of what made it; both are
    0 where there are none.
    """

    model_id: str
    dimension: int
    database_id: str
    generation: str
    block_rows: int = BLOCK_ROWS
    codes: int = 0
    encoder_bytes: int = 0

    def to_bytes(self) -> bytes:
        """Return the header as it stands at the beginning of a file.

        Raises:
            ValueError: the names are too long for one page.
        """
        text = json.dumps(asdict(self) | {"columns": Layout.of(self).table()}).encode()
        preamble = np.zeros((), _PREAMBLE)
        preamble["magic"], preamble["version"], preamble["length"] = MAGIC, VERSION, len(text)
        preamble["crc"] = zlib.crc32(preamble.tobytes()[: -_PREAMBLE["crc"].itemsize] + text)
        data = preamble.tobytes() + text
        if len(data) > PAGE_BYTES:
            raise ValueError("The name of the model or database is too long.")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Header":
        """Read the header from the first page of a file.

        Raises:
            Damaged: it is no header of this format.
        """
        size = _PREAMBLE.itemsize
        if len(data) < size or data[: len(MAGIC)] != MAGIC:
            raise Damaged("it does not begin as such a file does")
        preamble = np.frombuffer(data[:size], _PREAMBLE)[0]
        if preamble["version"] != VERSION:
            raise Damaged(f"its format has version {preamble['version']}, not {VERSION}")
        text = data[size : size + int(preamble["length"])]
        checked = data[: size - _PREAMBLE["crc"].itemsize] + text
        if len(text) != preamble["length"] or zlib.crc32(checked) != preamble["crc"]:
            raise Damaged("the header's checksum does not match")
        try:
            values = json.loads(text)
            columns = values.pop("columns")
            header = cls(**values)
            expected = Layout.of(header).table()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Damaged("the header's text is not of this format") from None
        if columns != expected:
            raise Damaged("it has other columns")
        return header


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the columns of a block lie.

    Columns: `number`, `face_id` and `person` int64; `kind` uint32, FACE, MARKER, REMOVED or ERASED; `square`
    float32, the vector's squared norm; `vector` float32 (dimension,); with codes `code` int8 (64,),
    `half` int32, `rest` int8 (codes - 64,) and `whole_half` int32; `check` uint32 of the row's other
    columns in this order.
    """

    record: np.dtype[np.void]
    blocks_at: int
    block_rows: int
    offsets: Mapping[str, int]
    block_bytes: int

    @classmethod
    def of(cls, header: Header) -> "Layout":
        """Return the layout that a header implies."""
        record = record_type(header.dimension, header.codes)
        blocks_at = BLOCKS_AT + _round_up(header.encoder_bytes, PAGE_BYTES)
        offsets, at = {}, _SEAL_BYTES
        for name in record.names or ():
            offsets[name] = at
            at = _round_up(at + record[name].itemsize * header.block_rows, _SEAL_BYTES)
        return cls(record, blocks_at, header.block_rows, offsets, _round_up(at, PAGE_BYTES))

    def table(self) -> list[list[Any]]:
        """The columns as the header states them: name, type, offset in the block."""
        return [[name, self.record[name].base.str, offset] for name, offset in self.offsets.items()]

    def column(self, buffer: Any, name: str, blocks: int) -> NDArray[Any]:
        """A column of a mapped file, without a copy: (blocks, block_rows) or one axis more."""
        kind = self.record[name]
        shape: tuple[int, ...] = (blocks, self.block_rows, *kind.shape)
        inner = (kind.itemsize, *((kind.base.itemsize,) if kind.shape else ()))
        at = self.blocks_at + self.offsets[name]
        return np.ndarray(shape, kind.base, buffer, at, (self.block_bytes, *inner))

    def file_bytes(self, rows: int) -> int:
        """The size of a file with as many whole blocks as the rows need."""
        return self.blocks_at + -(-rows // self.block_rows) * self.block_bytes

    def blocks_in(self, file_bytes: int) -> int:
        """How many whole blocks a file of this size has."""
        return max(0, file_bytes - self.blocks_at) // self.block_bytes


def record_type(dimension: int, codes: int = 0) -> np.dtype[np.void]:
    """One row as a packed record; its last field is the check of the others."""
    rest = codes - FIRST
    stage = [("code", "i1", (FIRST,)), ("half", "<i4"), ("rest", "i1", (rest,)), ("whole_half", "<i4")]
    return np.dtype(
        [
            ("number", "<i8"),
            ("face_id", "<i8"),
            ("person", "<i8"),
            ("kind", "<u4"),
            ("square", "<f4"),
            ("vector", "<f4", (dimension,)),
            *(stage if codes else []),
            ("check", "<u4"),
        ]
    )


def row_checks(records: NDArray[np.void]) -> NDArray[np.uint32]:
    """The check that belongs to each packed record: its 32-bit words, each times an odd number, added.

    Any change of one word changes it, and other changes do but for one in 2^32. A row of zeros does
    not have its check.
    """
    words = (
        np.ascontiguousarray(records).view("<u4").reshape(len(records), records.dtype.itemsize // 4)[:, :-1]
    )
    factors = (np.arange(1, words.shape[1] + 1, dtype=np.uint64) * 0x9E3779B1 | 1).astype(np.uint32)
    checks: NDArray[np.uint32] = np.einsum("ij,j->i", words, factors)
    return checks + np.uint32(_CHECK_OF_NOTHING)


def seal_of(block: bytes | memoryview) -> int:
    """The seal that belongs to a full block: the checksum of all but the seal's own place."""
    return zlib.crc32(block[_SEAL_BYTES:])


def encode_count(rows: int, generation: str) -> int:
    """The published word for so many rows: 40 bits of count below 24 bits that check them."""
    return _check_of(rows, generation) << _COUNT_BITS | rows


def decode_count(word: int, generation: str) -> int:
    """The number of rows that a published word states.

    Raises:
        Damaged: the word's two parts contradict each other.
    """
    rows = word & ((1 << _COUNT_BITS) - 1)
    if word >> _COUNT_BITS != _check_of(rows, generation):
        raise Damaged("the number of rows does not match its check")
    return rows


def _check_of(rows: int, generation: str) -> int:
    return zlib.crc32(f"{generation}:{rows}".encode()) & 0xFFFFFF


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
