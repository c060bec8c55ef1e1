"""Ties a process's life to its parent's, so that no kill -9 leaves orphans."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that made it ends, however it ends.

    The signal comes at the end of the parent's *thread*, so whoever starts such a process must do it from
    a thread that stays. Only Linux knows this; elsewhere the end of the pipe from the parent has to do.

    Args:
        parent: the pid of the process that made this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above: no signal will come
        os._exit(1)


def leave_signals_to_parent() -> None:
    """Ignore what a terminal or a service manager sends to every process: the server decides when to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
