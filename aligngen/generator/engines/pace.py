"""How many requests an endpoint is asked at once, and how long a refused one waits.

Additive increase, multiplicative decrease: the limit of an endpoint is not told, it is found.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Pace"]

_START = 4
_MAX_DELAY = 60.0
_SETTLE_SECONDS = 1.0
"""A burst of refusals is one event: the limit is halved once in this time."""


class Pace:
    """A gate whose width follows the endpoint's answers. Lives in one event loop."""

    def __init__(self, most: int, backoff: float) -> None:
        self.limit = float(min(_START, most))
        self._most, self._backoff = most, backoff
        self._active = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._halved = 0.0
        self._resume = 0.0
        # Jitter keeps refused requests from coming back together; it touches no output.
        self._jitter = random.Random(0)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one place while the endpoint is asked."""
        await self._enter()
        try:
            yield
        finally:
            self._active -= 1
            self._wake()

    def succeeded(self) -> None:
        """Widen the gate: by one for each full round of answers."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)
        self._wake()

    def refused(self, retry_after: float | None) -> None:
        """Halve the gate, and hold everything back for as long as the endpoint asks."""
        now = time.monotonic()
        if now - self._halved >= _SETTLE_SECONDS:
            self._halved = now
            self.limit = max(1.0, self.limit / 2)
        if retry_after is not None:
            self._resume = max(self._resume, now + min(retry_after, _MAX_DELAY))

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """Return how long a request waits before its next try."""
        doubled = min(_MAX_DELAY, self._backoff * 2.0**attempt) * self._jitter.uniform(0.5, 1)
        return max(doubled, min(retry_after or 0.0, _MAX_DELAY))

    async def _enter(self) -> None:
        while True:
            if (pause := self._resume - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            elif self._active < int(self.limit):
                self._active += 1
                return
            else:
                turn = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn

    def _wake(self) -> None:
        for _ in range(int(self.limit) - self._active):
            while self._waiting:
                turn = self._waiting.pop(0)
                if not turn.done():
                    turn.set_result(None)
                    break
