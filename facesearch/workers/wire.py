"""What a server process and its supervisor say to each other, over one socket of their own."""

from typing import NamedTuple


class Work(NamedTuple):
    """To the supervisor: run a pickled task on a pickled item. None in its place: end when idle."""

    number: int
    task: bytes
    item: bytes


class Ready(NamedTuple):
    """To the server: every child is up."""

    pids: tuple[int, ...]


class Started(NamedTuple):
    """To the server: a child has begun with a piece of work. Number 0: the child has come up."""

    number: int
    pid: int


class Done(NamedTuple):
    """To the server: what a piece of work came to, as `attempts.pack` wrote it.

    With the pid of the child and the memory that it holds after it; 0 where no child had it.
    """

    number: int
    packed: bytes
    pid: int = 0
    memory_bytes: int = 0


class Died(NamedTuple):
    """To the server: these children ended unasked. Each pid with its exit code, -9 for signal 9.

    The supervisor's last words: it ends its other children and itself.
    """

    exits: tuple[tuple[int, int | None], ...]


Report = Ready | Started | Done | Died
