"""What a signal does to a command that works for long."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import typer

from aligngen.core.errors import Interrupted

if TYPE_CHECKING:
    from aligngen.generator.engines.protocol import EngineInfo

__all__ = ["StopOnSignal"]


class StopOnSignal:
    """True once SIGINT or SIGTERM arrived; a second one ends the process at once.

    Before the engine is ready there is nothing to bring to an end: then the first one stops.
    """

    def __init__(self) -> None:
        self._stopped = self._working = False
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def when_started(self, tell: Callable[["EngineInfo"], None]) -> Callable[["EngineInfo"], None]:
        """Return `tell`, noting that there is something to bring to an end from then on."""

        def started(info: "EngineInfo") -> None:
            self._working = True
            tell(info)

        return started

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._stopped:
            sys.exit(130)
        self._stopped = True
        if not self._working:
            raise Interrupted("stopped before the engine was ready")
        typer.echo("\nstopping; what is finished is kept (again to stop at once)", err=True)

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self._stopped
