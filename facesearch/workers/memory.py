"""How much memory a process holds."""

import resource
import sys
from pathlib import Path


def private_bytes(pid: int | None = None) -> int:
    """Return the resident memory of a process that is not backed by files or shared, in bytes.

    Pages of mapped files do not count: the kernel takes them back when it needs to, and processes share
    them. Where the system does not tell (other than Linux), a process knows only the most that it ever
    held itself, files included.

    Args:
        pid: another process; this one by default.

    Returns:
        0 where it cannot be known: the process is gone, or is another one on such a system.
    """
    try:
        _, resident, shared = Path(f"/proc/{pid or 'self'}/statm").read_bytes().split()[:3]
        return (int(resident) - int(shared)) * resource.getpagesize()
    except (OSError, ValueError):
        if pid is not None:
            return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
