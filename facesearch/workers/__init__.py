"""Runs tasks side by side in child processes, in order, and survives what happens to them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facesearch.workers.inline import InlinePool as InlinePool
    from facesearch.workers.process import ProcessPool as ProcessPool

__all__ = ["InlinePool", "ProcessPool"]


def __getattr__(name: str) -> Any:
    # Looked up late: the supervisor and the children import modules of this package, and shall not load
    # numpy with the ports.
    if name == "InlinePool":
        from facesearch.workers.inline import InlinePool  # noqa: PLC0415

        return InlinePool
    if name == "ProcessPool":
        from facesearch.workers.process import ProcessPool  # noqa: PLC0415

        return ProcessPool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
