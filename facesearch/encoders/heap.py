"""Gives freed memory back to the system after work that needed far more of it than what follows."""

import ctypes


def give_back_free_memory() -> None:
    """Return what the C library keeps of freed memory; does nothing where it has no `malloc_trim`.

    A few milliseconds. Any thread may call it.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(ctypes.c_size_t(0))
