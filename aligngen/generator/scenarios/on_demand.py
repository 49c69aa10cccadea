"""An engine that starts with its first question: where every answer is kept, it never does."""

from collections.abc import Callable, Iterable
from pathlib import Path

from aligngen.core.config import EngineConfig
from aligngen.core.schema import Completion, Constraint, Request
from aligngen.generator.engines.choose import open_engine
from aligngen.generator.engines.protocol import EngineInfo, ManagedEngine

__all__ = ["EngineOnDemand"]


class EngineOnDemand:
    """A `ManagedEngine` that is opened when somebody has something to submit."""

    def __init__(
        self,
        config: EngineConfig,
        log: Path,
        constraints: Iterable[Constraint],
        on_event: Callable[[str], None],
        on_start: Callable[[EngineInfo], None],
    ) -> None:
        self._config, self._log, self._constraints = config, log, tuple(constraints)
        self._on_event, self._on_start = on_event, on_start
        self._engine: ManagedEngine | None = None

    def _open(self) -> ManagedEngine:
        if self._engine is None:
            self._on_event("starting the engine")
            self._engine = open_engine(self._config, self._log, self._on_event)
            self._engine.preflight(self._constraints)
            self._on_start(self._engine.info)
        return self._engine

    @property
    def info(self) -> EngineInfo:
        """What the engine is; starts it."""
        return self._open().info

    @property
    def room(self) -> int:
        """How many more requests can be submitted now; starts the engine."""
        return self._open().room

    def preflight(self, constraints: Iterable[Constraint]) -> None:
        """Raise a UserError naming the first constraint that the engine cannot enforce."""
        self._open().preflight(constraints)

    def submit(self, request: Request) -> None:
        """Queue one request."""
        self._open().submit(request)

    def poll(self, timeout: float) -> list[Completion]:
        """Return what has finished."""
        return [] if self._engine is None else self._engine.poll(timeout)

    def restart(self) -> None:
        """Start anew after `EngineDied`."""
        self._open().restart()

    def close(self) -> None:
        """Stop the engine, if it ever started."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
