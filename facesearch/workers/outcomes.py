"""How an attempt becomes what the caller of a pool sees."""

import logging
from collections.abc import Callable
from typing import Any

from facesearch.errors import TaskFailed
from facesearch.records import Outcome
from facesearch.workers.attempts import Attempt, name_of

logger = logging.getLogger(__name__)


def outcome_of(done: Attempt, task: Callable[..., Any]) -> Outcome[Any]:
    """Return the outcome of an attempt; a failure is logged here, once, and becomes TaskFailed.

    The server logs it, and not the child, because only the server's logging is set up.
    """
    if done.failure is not None:
        logger.error("the task %s failed: %s", name_of(task), done.failure)
        return Outcome(error=TaskFailed())
    return Outcome(value=done.value, error=done.error)
