"""The seam between the scheduler and whatever answers requests."""

from typing import Protocol

from aligngen.core.schema import Completion, Request

__all__ = ["Engine"]


class Engine(Protocol):
    """Answers requests in any order, many at a time.

    A request that cannot be answered is a Completion with FinishReason.ERROR; an engine that is
    gone raises `EngineDied` from `submit` or `poll`, and every request it had not yet answered is
    the caller's to submit again.
    """

    @property
    def room(self) -> int:
        """How many more requests can be submitted now; 0 while the engine is full."""

    def submit(self, request: Request) -> None:
        """Queue one request. Never blocks for long."""

    def poll(self, timeout: float) -> list[Completion]:
        """Return what has finished, after waiting at most `timeout` seconds for the first."""

    def close(self) -> None:
        """Stop, dropping what is unfinished; nothing is left running."""
