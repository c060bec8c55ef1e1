"""A process that opens photos for a test: module-level, so that a fresh interpreter finds it."""

import multiprocessing
import resource
from multiprocessing.connection import Connection
from typing import NamedTuple

from facesearch.config import LimitSettings
from facesearch.errors import Invalid
from facesearch.images import AGTImage

MEMORY_BYTES = 3 * 1024**3
OPEN_S = 20.0
START_S = 60.0
FORESEEN = "foreseen"


class Opened(NamedTuple):
    """What opening a photo came to: `foreseen`, or else what was raised, and what went wrong."""

    how: str
    peak_bytes: int


class ImageOpener:
    """Opens photos in a process of its own, which is replaced when it dies or takes too long.

    A context manager; belongs to one thread.
    """

    def __init__(self) -> None:
        self._start()

    def open(self, data: bytes, file_name: str) -> Opened:
        """Return what became of a photo."""
        self._connection.send((data, file_name))
        try:
            if self._connection.poll(OPEN_S):
                return Opened(*self._connection.recv())
            how = f"it took longer than {OPEN_S:g} s"
        except EOFError:
            self._process.join(START_S)
            how = f"the process ended with {self._process.exitcode}"
        self._end()
        self._start()
        return Opened(how, 0)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_open_all, args=(other,), daemon=True)
        self._process.start()
        other.close()
        assert self._connection.poll(START_S), "the process does not start"
        self._connection.recv()

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def __enter__(self) -> "ImageOpener":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


def _open_all(connection: "Connection[tuple[str, int], tuple[bytes, str]]") -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    connection.send(("ready", 0))
    while True:
        try:
            data, file_name = connection.recv()
        except EOFError:
            return
        how = FORESEEN
        try:
            image = AGTImage.open(data, file_name, LimitSettings())
            if image.pixels.shape != (image.info.height, image.info.width, 3):
                how = f"pixels of shape {image.pixels.shape} for {image.info}"
        except Invalid:
            pass
        except BaseException as error:
            how = repr(error)
        connection.send((how, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
