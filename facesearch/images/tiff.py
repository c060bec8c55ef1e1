"""Keeps libtiff, with which Pillow reads packed TIFF, from writing to standard error by itself."""

import ctypes
import os
from functools import cache
from pathlib import Path

import PIL

_HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")
_MAPPED = Path("/proc/self/maps")


@cache
def silence_libtiff() -> None:
    """Take libtiff's handlers of errors and warnings away, once in a process; Pillow raises what matters.

    To be called when Pillow's decoders are loaded. Where none of the libraries is found by its name, as in a
    Pillow that holds libtiff in itself, nothing is done. Safe from any thread.
    """
    for file in _libraries():
        try:
            library = ctypes.CDLL(str(file))
            setters = [getattr(library, name) for name in _HANDLERS]
        except (OSError, AttributeError):
            continue
        for setter in setters:
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


def _libraries() -> set[Path]:
    """The files of libtiff that are mapped into this process; without `/proc`, those that Pillow brings."""
    try:
        lines = os.fsdecode(_MAPPED.read_bytes()).splitlines()
    except OSError:
        package = Path(PIL.__file__).parent
        return {
            file
            for folder in (package / ".dylibs", package.with_name("pillow.libs"))
            for file in folder.glob("libtiff*")
        }
    paths = (line.split(maxsplit=5)[5:] for line in lines)
    return {Path(path[0]) for path in paths if path and Path(path[0]).name.startswith("libtiff")}
