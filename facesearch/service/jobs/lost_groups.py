"""Photos that were lost in a group, with a process or the whole pool: each is encoded again by itself."""

from collections.abc import Callable
from typing import TypeVar

from facesearch.errors import Unavailable
from facesearch.interfaces import WorkerPool
from facesearch.records import Outcome

_POOL_TRIES, _POOL_PAUSE_S = 3, 5.0

P = TypeVar("P")
R = TypeVar("R")


def encoded_alone(
    pool: WorkerPool,
    task: Callable[[list[P]], list[Outcome[R]]],
    photo: P,
    lost: Outcome[list[Outcome[R]]],
    group: int,
    pause: Callable[[float], None],
) -> Outcome[R]:
    """Encode a photo of a group that was lost, unless it was lost by itself.

    Args:
        group: how many photos were lost with it, itself included.
        pause: waits for so many seconds, or raises.

    Raises:
        Unavailable: the pool does not come back, which is no photo's fault.
    """
    outcome, tries = lost, 1
    while outcome.value is None and (group > 1 or type(outcome.error) is Unavailable):
        if type(outcome.error) is Unavailable:
            if tries > _POOL_TRIES:
                raise outcome.error
            pause(tries * _POOL_PAUSE_S)
        (outcome,) = pool.map(task, [[photo]])
        group, tries = 1, tries + 1
    return outcome.value[0] if outcome.value else Outcome(error=outcome.error)
