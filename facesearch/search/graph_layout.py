"""The bytes of a graph's file, and the removal of codes from it.

    0     what usearch saves: two lengths, the codes of all faces in a row, and the links between them
    then  the faces' change numbers in the codes' order, int64
    then  a check of each code, uint32, or that the code was erased
    then  the generation of the matrix whose removals are all seen to here, 32 bytes
    then  a text (JSON) that says whose graph it is
    end   magic, version, length of the text, checksum of all but codes, checks and generation

Each part begins at a multiple of 8. A face that is removed has its code overwritten where it lies, since a
new graph takes hours: the check says so first, so that a file that is left at any moment is whole. What
stays of it is a node that lies far from everything.
"""

import json
import mmap
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.search.layout import Damaged, Missing, opened
from facesearch.search.writing import runs, write_at

ERASED_CODE = 127
"""What an erased code consists of: no face lies so far from the others in every direction."""

NEW = ".new"
"""How the name of a file ends that is not finished."""

_TAIL = np.dtype([("magic", "S8"), ("version", "<u4"), ("length", "<u4"), ("crc", "<u4")])
_MAGIC = b"\x89graph\r\n"
_VERSION = 2
_CODES_AT = 8
_STEP = 8
_GENERATION_BYTES = 32
_ERASED_CHECK = 0xE7A5ED51
_CHECKED_ROWS = 65_536
_FACTOR = 0x9E3779B1


@dataclass(frozen=True, slots=True)
class About:
    """What a graph's file says of itself.

    Args:
        nodes: how many faces are in the graph.
        saved: the length of what usearch saved.
        last_number: the change number up to which every face is in the graph or in `odd`.
        odd: change numbers of faces that codes cannot tell, and that are not in the graph.
    """

    model_id: str
    dimension: int
    database_id: str
    nodes: int
    saved: int
    last_number: int
    centre: list[float]
    step: float
    odd: list[int]


@dataclass(frozen=True, slots=True)
class _Places:
    numbers: int
    checks: int
    generation: int
    text: int

    @classmethod
    def of(cls, saved: int, nodes: int) -> "_Places":
        numbers = _aligned(saved)
        checks = numbers + 8 * nodes
        generation = _aligned(checks + 4 * nodes)
        return cls(numbers, checks, generation, generation + _GENERATION_BYTES)


class GraphMap:
    """A graph's file, mapped read-only; lives until it is dropped.

    Args:
        numbers: int64 (nodes,), ascending.
        codes: int8 (nodes, d).
        checks: uint32 (nodes,).

    Raises:
        Missing, Damaged: there is no file, or not one of this format.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with opened(path) as descriptor:
            status = os.fstat(descriptor)
            self.identity = (status.st_dev, status.st_ino)
            self._size = status.st_size
            if self._size < _TAIL.itemsize:
                raise Damaged("it was cut short")
            self._map = mmap.mmap(descriptor, self._size, mmap.MAP_SHARED, mmap.PROT_READ)
        self.about = self._read()
        nodes, dimension = self.about.nodes, self.about.dimension
        self.places = _Places.of(self.about.saved, nodes)
        if self.places.text != self._text_at or self.about.saved < _CODES_AT + nodes * dimension:
            raise Damaged("its parts have other lengths than it says")
        self.saved = memoryview(self._map)[: self.about.saved]
        self.codes = np.frombuffer(self.saved, np.int8, nodes * dimension, _CODES_AT).reshape(
            nodes, dimension
        )
        self.numbers = np.frombuffer(self._map, "<i8", nodes, self.places.numbers)
        self.checks = np.frombuffer(self._map, "<u4", nodes, self.places.checks)

    @property
    def generation(self) -> bytes:
        """Which matrix's removals are all seen to."""
        return self._map[self.places.generation : self.places.text]

    def is_cut(self) -> bool:
        """Whether the file has become shorter: touching what is gone would end the process."""
        return self._map.size() < self._size

    def erased(self) -> NDArray[np.bool_]:
        """For each face whether its code was erased."""
        erased: NDArray[np.bool_] = self.checks == _ERASED_CHECK
        return erased

    def verify(self) -> None:
        """Confirm all checks.

        Raises:
            Damaged: one does not match.
        """
        text = self._map[self._text_at : self._size - _TAIL.itemsize]
        if _checksum(self.saved, self.codes.size, self.numbers.tobytes(), text) != self._crc:
            raise Damaged("its checksum does not match")
        for first in range(0, len(self.codes), _CHECKED_ROWS):
            part = slice(first, first + _CHECKED_ROWS)
            found = _checks_of(self.codes[part])
            told = self.checks[part]  # after the codes: a code is erased after its check
            if not ((found == told) | (told == _ERASED_CHECK)).all():
                raise Damaged("a code's check does not match")

    def _read(self) -> About:
        end = self._size - _TAIL.itemsize
        tail = np.frombuffer(self._map[end:], _TAIL)[0]
        if tail["magic"] != _MAGIC or tail["version"] != _VERSION or tail["length"] > end:
            raise Damaged("it does not end as such a file does")
        self._text_at, self._crc = end - int(tail["length"]), int(tail["crc"])
        try:
            about = About(**json.loads(self._map[self._text_at : end]))
            if not (about.nodes >= 0 and about.dimension > 0 and about.saved >= 0):
                raise ValueError
        except (TypeError, ValueError):
            raise Damaged("its text is not of this format") from None
        return about


def write_graph(
    descriptor: int,
    about: About,
    saved: bytearray,
    numbers: NDArray[np.int64],
    kept: NDArray[np.bool_],
    generation: str,
) -> None:
    """Write a whole graph to an empty file, and see it to the disk.

    Args:
        saved: what usearch saved; codes that are not kept are erased in it.

    Raises:
        OSError: it cannot be written.
        RuntimeError: usearch saved it in another way than this was written for.
    """
    nodes, dimension = about.nodes, about.dimension
    if nodes and np.frombuffer(saved, "<u4", 2).tolist() != [nodes, dimension]:
        raise RuntimeError("usearch saves graphs in another way")
    codes = np.frombuffer(saved, np.int8, nodes * dimension, _CODES_AT).reshape(nodes, dimension)
    codes[~kept] = ERASED_CODE
    checks = np.where(kept, _checks_of(codes), np.uint32(_ERASED_CHECK)).astype("<u4")
    places = _Places.of(len(saved), nodes)
    text = json.dumps(
        {name: getattr(about, name) for name in About.__slots__}, separators=(",", ":")
    ).encode()
    told = numbers.astype("<i8").tobytes()
    tail = np.array(
        (_MAGIC, _VERSION, len(text), _checksum(memoryview(saved), codes.size, told, text)), _TAIL
    )
    write_at(descriptor, saved, 0)
    write_at(descriptor, told, places.numbers)
    write_at(descriptor, checks.tobytes(), places.checks)
    write_at(descriptor, generation.encode().ljust(_GENERATION_BYTES, b"\0"), places.generation)
    write_at(descriptor, text + tail.tobytes(), places.text)
    os.fsync(descriptor)


def drop_unfinished(path: Path) -> None:
    """Delete what is being built beside a graph, or was left of it: who builds it begins to write anew."""
    for fresh in path.parent.glob(f"{path.name}.*{NEW}"):
        fresh.unlink(missing_ok=True)


def erase_numbers(path: Path, numbers: NDArray[np.int64]) -> None:
    """Overwrite the codes of some change numbers in the graph that is there, if any; on the disk on return.

    Only for the holder of the matrix's lock.

    Raises:
        OSError: it cannot be written.
    """
    drop_unfinished(path)
    graph = _there(path)
    if graph is not None and len(graph.numbers):
        slots = np.minimum(np.searchsorted(graph.numbers, numbers), len(graph.numbers) - 1)
        _erase(path, graph, np.unique(slots[graph.numbers[slots] == numbers]), None)


def is_settled(path: Path, generation: str) -> bool:
    """Whether the graph that is there, if any, tells of no face but those of a file of the matrix."""
    graph = _there(path)
    return graph is None or graph.generation == generation.encode().ljust(_GENERATION_BYTES, b"\0")


def settle(
    path: Path, generation: str, database_id: str, last_number: int, numbers: NDArray[np.int64]
) -> None:
    """Overwrite the codes of all faces but some, and note that it was done for a file of the matrix.

    Only for the holder of the matrix's lock.

    Args:
        generation: of the matrix's file.
        last_number: the newest change of the database.
        numbers: the change numbers of all faces that the matrix has, or is about to have, ascending.

    Raises:
        OSError: it cannot be written.
    """
    drop_unfinished(path)
    graph = _there(path)
    if graph is None:
        return
    stays = np.isin(graph.numbers, numbers, assume_unique=True)
    if graph.about.database_id != database_id or graph.about.last_number > last_number:
        stays[:] = False
    _erase(path, graph, np.flatnonzero(~stays & ~graph.erased()), generation)


def _there(path: Path) -> GraphMap | None:
    try:
        return GraphMap(path)
    except Missing:
        return None
    except Damaged:
        path.unlink(missing_ok=True)  # what lies where in it cannot be known
        return None


def _erase(path: Path, graph: GraphMap, slots: NDArray[np.intp], generation: str | None) -> None:
    places, dimension = graph.places, graph.about.dimension
    mark, blank = _ERASED_CHECK.to_bytes(4, "little"), bytes([ERASED_CODE]) * dimension
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for first, count in runs(slots):
            write_at(descriptor, mark * count, places.checks + 4 * first)
            write_at(descriptor, blank * count, _CODES_AT + dimension * first)
        if len(slots):
            os.fsync(descriptor)
        if generation is not None:
            write_at(descriptor, generation.encode().ljust(_GENERATION_BYTES, b"\0"), places.generation)
    finally:
        os.close(descriptor)


def _checks_of(codes: NDArray[np.int8]) -> NDArray[np.uint32]:
    """A check of each code: its 32-bit words, each times an odd number, added."""
    words = -(-codes.shape[1] // 4)
    if codes.shape[1] % 4:
        codes = np.pad(codes, ((0, 0), (0, 4 * words - codes.shape[1])))
    factors = (np.arange(1, words + 1, dtype=np.uint64) * _FACTOR | 1).astype(np.uint32)
    checks: NDArray[np.uint32] = np.einsum("ij,j->i", codes.view("<u4"), factors)
    return checks + np.uint32(_FACTOR)


def _checksum(saved: memoryview, codes: int, numbers: bytes, text: bytes) -> int:
    crc = zlib.crc32(saved[:_CODES_AT])
    for part in (saved[_CODES_AT + codes :], numbers, text):
        crc = zlib.crc32(part, crc)
    return crc


def _aligned(at: int) -> int:
    return -(-at // _STEP) * _STEP
