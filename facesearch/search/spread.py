"""Where a search runs: in the calling thread, in several threads, or in the pool's processes."""

import logging
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import Unavailable
from facesearch.interfaces import WorkerPool
from facesearch.records import Outcome
from facesearch.search.slices import Slice, scan_slice
from facesearch.search.snapshot import Snapshot
from facesearch.search.sought import Found, Query

_RUNNABLE = Path("/proc/loadavg")  # its fourth field counts what runs or waits for a core, this thread too

_log = logging.getLogger(__name__)


class Spread:
    """Cuts a search into slices of rows and merges their heaps; lives as long as its index.

    Any thread may call it. Small galleries are scanned where the call is made. From `threads_from` rows on
    a search takes threads, one per core, unless other searches or programs keep these busy: the kernels
    let go of the interpreter, and nothing is copied. From `parallel_from` rows on it takes the pool's
    processes, which map the same file. docs/decisions/0009 has the measurements behind the defaults.

    Args:
        pool: the processes.
        parallel_from: rows from which on they are used.
        threads_from: rows from which on threads are used.
        threads: how many; by default one per core that this process may use.
    """

    def __init__(
        self, pool: WorkerPool, parallel_from: int, threads_from: int, threads: int | None = None
    ) -> None:
        self.pool = pool
        self.parallel_from = parallel_from
        self.threads_from = threads_from
        self.threads = threads or len(os.sched_getaffinity(0))
        self._taken = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def scan(self, path: Path, snapshot: Snapshot, query: Query, wanted: NDArray[np.bool_]) -> Found:
        """Look through all rows of a snapshot.

        Args:
            path: the snapshot's file.
            wanted: bool (rows,), which of them may be found.
        """
        if snapshot.count >= self.parallel_from and self.pool.processes > 1:
            try:
                return self._in_processes(path, snapshot, query, wanted)
            except Unavailable as error:
                _log.warning("A search ran in one process instead of the pool's: %s", error.message)
        large = snapshot.count >= self.threads_from and self.threads > 1
        if large and _has_idle_cores(self.threads - 1) and self._taken.acquire(blocking=False):
            try:
                return self._in_threads(snapshot, query, wanted)
            finally:
                self._taken.release()
        return _scanned(snapshot, query, wanted, 0, snapshot.count)

    def close(self) -> None:
        """End the threads; a search that still runs is waited for."""
        with self._taken:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None

    def _in_threads(self, snapshot: Snapshot, query: Query, wanted: NDArray[np.bool_]) -> Found:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.threads - 1, "search")
        (own, *others) = _cuts(snapshot.count, self.threads)
        begun = [self._executor.submit(_scanned, snapshot, query, wanted, *cut) for cut in others]
        first = _scanned(snapshot, query, wanted, *own)
        return query.merged([first, *(future.result() for future in begun)])

    def _in_processes(self, path: Path, snapshot: Snapshot, query: Query, wanted: NDArray[np.bool_]) -> Found:
        generation = snapshot.file.header.generation
        slices = [
            Slice(path, generation, first, last, query, np.packbits(wanted[first:last]))
            for first, last in _cuts(snapshot.count, self.pool.processes)
        ]
        outcomes: Iterable[Outcome[Found]] = self.pool.map(scan_slice, slices)
        return query.merged([outcome.unwrap() for outcome in outcomes])


def _has_idle_cores(wanted: int) -> bool:
    """Whether so many of the host's cores have nothing to do at this moment; yes where it does not tell."""
    try:
        running = int(_RUNNABLE.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return True
    return running + wanted <= (os.cpu_count() or 1)


def _cuts(count: int, parts: int) -> list[tuple[int, int]]:
    bounds = [count * part // parts for part in range(parts + 1)]
    return [(first, last) for first, last in pairwise(bounds) if first < last]


def _scanned(snapshot: Snapshot, query: Query, wanted: NDArray[np.bool_], first: int, last: int) -> Found:
    """Look through the rows first to last, the latter excluded."""
    return query.sought(snapshot.rows(first, last, wanted[first:last]), snapshot.file.encoder)
