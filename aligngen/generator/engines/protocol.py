"""The seam between the scheduler and whatever answers requests."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aligngen.core.schema import Completion, Constraint, Request

__all__ = ["Engine", "EngineIdentity", "EngineInfo", "HostedEngine", "ManagedEngine"]


class EngineIdentity(NamedTuple):
    """What of an engine decides its output; known before anything starts."""

    kind: str
    model: str
    revision: str
    backend: str
    """Engine and structured-output backend, as `vllm/xgrammar`."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a started engine says of itself."""

    identity: EngineIdentity
    device: str
    """As `cpu (2 cores)`, `NVIDIA H100`, `endpoint` or `recording`."""
    dtype: str
    max_model_len: int
    """Longest prompt plus output in tokens; the model's own limit where that is lower."""
    max_num_seqs: int
    startup_seconds: float = 0.0
    not_sent: tuple[str, ...] = ()
    """Sampling parameters that this engine can't honour and leaves out."""


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
        """Return what has finished, after waiting at most `timeout` seconds for the first.

        Returns at once where nothing is in flight.
        """

    def close(self) -> None:
        """Stop, dropping what is unfinished; nothing is left running."""


class HostedEngine(Engine, Protocol):
    """An engine that says what it is and checks constraints: what a child process serves."""

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""

    def preflight(self, constraints: Iterable[Constraint]) -> None:
        """Raise a UserError naming the first constraint that the engine cannot enforce."""


class ManagedEngine(HostedEngine, Protocol):
    """An engine that a run owns: it can be revived."""

    def restart(self) -> None:
        """Start anew after `EngineDied`; nothing that was submitted before is in flight."""
