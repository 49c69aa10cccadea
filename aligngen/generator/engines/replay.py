"""An engine that answers from a recording: the machinery of a run without a model.

Requests are completed out of order, by their hash, as a real engine would: whatever depends on
order of arrival shows.
"""

import heapq
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from aligngen.core.config import EngineConfig
from aligngen.core.hashing import seed_from
from aligngen.core.schema import Completion, Constraint, FinishReason, Request
from aligngen.generator.engines.protocol import EngineInfo
from aligngen.generator.engines.recording import Recording, identify_recording

__all__ = ["ReplayEngine"]

_DEFAULT_SEQS = 64


class ReplayEngine:
    """An `Engine` over recorded completions."""

    def __init__(self, config: EngineConfig) -> None:
        path = Path(config.model).expanduser()
        self._recording = Recording(path)
        self._draws = config.replay_missing == "draw"
        self._delay = config.replay_delay_ms / 1000
        self._limit = config.max_num_seqs or _DEFAULT_SEQS
        self._due: list[tuple[float, int, str]] = []
        self._submitted: dict[str, float] = {}
        self.info = EngineInfo(
            identity=identify_recording(path),
            device="recording",
            dtype="",
            max_model_len=config.max_model_len,
            max_num_seqs=self._limit,
        )

    @property
    def room(self) -> int:
        """How many more requests can be submitted now."""
        return max(0, self._limit - len(self._due))

    def submit(self, request: Request) -> None:
        """Queue one request; its delay lies between 0 and twice the mean, by its hash."""
        now = time.monotonic()
        rank = seed_from("replay", request.request_id)
        due = now + self._delay * rank / 2**30
        heapq.heappush(self._due, (due, rank, request.request_id))
        self._submitted[request.request_id] = now

    def poll(self, timeout: float) -> list[Completion]:
        """Return what is due; without a delay, half of what is in flight."""
        if not self._due:
            return []
        if not self._delay:
            self._due.sort(key=lambda entry: entry[1])
            count = -(-len(self._due) // 2)
            done, self._due = self._due[:count], self._due[count:]
            return [self._complete(request_id) for _, _, request_id in done]
        time.sleep(max(0.0, min(timeout, self._due[0][0] - time.monotonic())))
        answers = []
        while self._due and self._due[0][0] <= time.monotonic():
            answers.append(self._complete(heapq.heappop(self._due)[2]))
        return answers

    def preflight(self, constraints: Iterable[Constraint]) -> None:
        """Accept everything: what was recorded is not constrained again."""

    def close(self) -> None:
        """Forget what is in flight and close the recording."""
        self._due.clear()
        self._submitted.clear()
        self._recording.close()

    def _complete(self, request_id: str) -> Completion:
        seconds = time.monotonic() - self._submitted.pop(request_id, time.monotonic())
        found = self._recording.find(request_id)
        if found is None and self._draws:
            found = self._recording.draw(seed_from("draw", request_id))
        if found is None:
            return Completion(
                request_id, "", FinishReason.ERROR, 0, 0, seconds=seconds, detail="not recorded"
            )
        return replace(found, request_id=request_id, seconds=seconds)
