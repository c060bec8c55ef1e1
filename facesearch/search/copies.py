"""The copies of galleries in their folder: what they are called, and deleting those that are gone."""

import hashlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from facesearch.records import DEFAULT_NUMBER
from facesearch.search.locking import exclusive_lock

_OURS = re.compile(r"([A-Za-z0-9._-]*-[0-9a-f]{12}(?:\.\d+)?)\.(?:matrix|graph)(?:\.[A-Za-z0-9.]+)?")


def copy_name(collection: int, model_id: str) -> str:
    """A file name for any model id: what is legible of it, and a digest that tells all apart.

    That of the default collection is what it was before there were others.
    """
    legible = re.sub(r"[^A-Za-z0-9._-]+", "-", model_id)[:40]
    number = "" if collection == DEFAULT_NUMBER else f".{collection}"
    return f"{legible}-{hashlib.sha256(model_id.encode()).hexdigest()[:12]}{number}.matrix"


def delete_others(directory: Path, kept: Collection[str], lock_wait_s: float) -> None:
    """Delete all files of all copies but some, each once nobody writes to it; who reads one goes on.

    Args:
        kept: the names of the matrices to keep.

    Raises:
        Unavailable: another process kept one longer than `lock_wait_s` seconds.
        OSError: one cannot be deleted.
    """
    for stem in sorted({stem for stem in _stems(directory) if f"{stem}.matrix" not in kept}):
        # The matrix first: a graph is not built any longer where its matrix is gone.
        for name in (f"{stem}.matrix", f"{stem}.graph"):
            lock = directory / f"{name}.lock"
            with exclusive_lock(lock, lock_wait_s):
                for path in (directory / name, *directory.glob(f"{name}.*.new")):
                    path.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)


def _stems(directory: Path) -> Iterator[str]:
    for path in directory.iterdir() if directory.is_dir() else ():
        if match := _OURS.fullmatch(path.name):
            yield match[1]
