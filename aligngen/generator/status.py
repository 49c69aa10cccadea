"""Where a run stands, read from its ledger alone, also while it runs."""

import fcntl
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import FinishReason, Outcome, Slot
from aligngen.generator.epoch import Epoch, read_epochs
from aligngen.generator.ledger import Ledger
from aligngen.generator.schedule import standing

__all__ = ["CellStatus", "RunStatus", "read_status"]


@dataclass(slots=True)
class CellStatus:
    """Counts of one (stance, behaviour, style) cell."""

    stance: str
    behaviour: str
    style: str
    target: int
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Accepted documents."""
        return self.outcomes[Outcome.KEPT.value]


@dataclass(slots=True)
class RunStatus:
    """What a run folder holds; attempts = kept + waiting candidates + steps
    on the way + every named drop."""

    folder: str
    state: str
    """`running`, `finished`, or how the last session ended."""
    model: str
    target: int
    kept: int
    short: int
    """Slots given up after the last allowed try."""
    attempts: int
    outcomes: dict[str, int]
    finish_reasons: dict[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    accepted_tokens: int
    seconds: float
    """Time that sessions worked on the run."""
    tokens_per_second: float
    accepted_tokens_per_second: float
    eta_seconds: float | None
    sessions: int
    cells: list[CellStatus]

    def as_json(self) -> dict[str, Json]:
        """Return plain data."""
        cells: list[Json] = [
            {
                "stance": c.stance,
                "behaviour": c.behaviour,
                "style": c.style,
                "target": c.target,
                "outcomes": dict(c.outcomes),
            }
            for c in self.cells
        ]
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cells"}
        return {**plain, "cells": cells}


def read_status(folder: Path) -> RunStatus:
    """Read a run's ledger, streaming; costs a few seconds per million attempts."""
    with Ledger.read(folder / "ledger.sqlite") as ledger:
        epochs = read_epochs(ledger)
        if not epochs:
            raise UserError("the run never started", file=folder, remedy="Run generate again.")
        epoch = epochs[max(epochs)]
        return _Tally(epoch, epochs).read(ledger, folder)


class _Tally:
    def __init__(self, epoch: Epoch, epochs: dict[int, Epoch]) -> None:
        self.epoch, self.epochs = epoch, epochs
        self.cells = {
            (stance.value, behaviour, style): CellStatus(stance.value, behaviour, style, target)
            for (stance, behaviour, style), target in epoch.plan.quotas(epoch.slots).items()
        }
        self.outcomes: Counter[Outcome] = Counter()
        self.finish: Counter[FinishReason] = Counter()
        self.prompt = self.cached = self.completion = self.accepted = 0
        self.last_finished = 0.0

    def read(self, ledger: Ledger, folder: Path) -> RunStatus:
        slots = {n: e.plan.slots(e.slots) for n, e in self.epochs.items()}
        current: dict[int, Slot] = {}
        tokens = 0  # of the latest document of the slot
        for a in ledger.attempts():
            slot = current.get(a.epoch)
            while slot is None or slot.index < a.slot:
                slot = next(slots[a.epoch])
            current[a.epoch] = slot
            key = (slot.stance.value, slot.behaviour, slot.style)
            cell = self.cells.setdefault(key, CellStatus(*key, target=0))
            cell.outcomes[a.outcome.value] += 1
            self.outcomes[a.outcome] += 1
            self.finish[a.finish_reason] += 1
            self.prompt += a.prompt_tokens
            self.cached += a.cached_tokens
            self.completion += a.completion_tokens
            if a.step == self.epochs[a.epoch].prompter.last_document:
                tokens = a.completion_tokens
            self.accepted += tokens if a.outcome is Outcome.KEPT else 0
            self.last_finished = max(self.last_finished, a.finished)
        return self._status(ledger, folder)

    def _status(self, ledger: Ledger, folder: Path) -> RunStatus:
        running = is_running(folder)
        seconds, last_note, count = self._worked(ledger, running)
        now = standing(ledger, self.epoch.slots)
        target, kept, short = now.target, now.kept, now.short
        left = target - kept - short
        # What waits for its turn is all but done, however slow the slot before it.
        waiting = now.outcomes[Outcome.CANDIDATE]
        finished = left <= 0 and (folder / "manifest.json").is_file()
        state = "running" if running else "finished" if finished else last_note
        return RunStatus(
            folder=str(folder),
            state=state,
            model=self.epoch.identity.model,
            target=target,
            kept=kept,
            short=short,
            attempts=self.outcomes.total(),
            outcomes={o.value: c for o, c in self.outcomes.most_common()},
            finish_reasons={f.value: c for f, c in self.finish.most_common()},
            prompt_tokens=self.prompt,
            cached_tokens=self.cached,
            completion_tokens=self.completion,
            accepted_tokens=self.accepted,
            seconds=round(seconds, 1),
            tokens_per_second=round(self.completion / seconds, 1) if seconds else 0.0,
            accepted_tokens_per_second=round(self.accepted / seconds, 1) if seconds else 0.0,
            eta_seconds=round(seconds / (kept + waiting) * (left - waiting), 1)
            if kept + waiting and left > 0
            else None,
            sessions=count,
            cells=list(self.cells.values()),
        )

    def _worked(self, ledger: Ledger, running: bool) -> tuple[float, str, int]:
        """Return (seconds, how the last session ended, number of sessions); a killed session is
        taken to have worked until its last attempt."""
        total, note, sessions = 0.0, "not started", ledger.sessions()
        for i, (started, ended, note_) in enumerate(sessions):
            last = i == len(sessions) - 1
            if ended is None:
                note = "killed"
                until = time.time() if last and running else self.last_finished
            else:
                until, note = ended, note_
            total += max(until - started, 0.0)
        return total, note, len(sessions)


def is_running(folder: Path) -> bool:
    """Whether a process holds the run."""
    lock = folder / ".lock"
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
