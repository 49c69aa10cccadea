"""The loop that keeps the engine full and takes decisions in slot order.

Slots enter a window, ordered inside a block of it by shared prompt prefix; completions come back in
any order and are parsed and filtered at once; a rejected slot goes back into the queue with its
next seed. Dedup decides at the *frontier*, the first slot that is not final, and nowhere else: so
the kept set is a function of the completions alone, not of when or how often the run stopped.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aligngen.core.errors import AligngenError, EngineDied, GuardTripped, Interrupted
from aligngen.core.schema import (
    Completion,
    Draft,
    FinishReason,
    Outcome,
    Recipe,
    Request,
    Slot,
    Style,
)
from aligngen.generator.dedup import Deduplicator, Sketch
from aligngen.generator.engines.protocol import ManagedEngine
from aligngen.generator.filters import check_draft
from aligngen.generator.ledger import Ledger
from aligngen.generator.parse import Rejected, parse
from aligngen.generator.plan import Plan
from aligngen.generator.prompt import Prompter, render_document

__all__ = ["Limits", "Scheduler", "Snapshot", "cell_name", "standing"]

FRONTIER = "frontier"
"""Ledger key: the first slot that is not final."""

GUARD_SAMPLE = 20
"""Decided candidates in a cell before its duplicate rate is judged."""

MAX_DEATHS = 5
"""Deaths of the engine with the same try before the try is given up: it may be what kills it."""

ALONE = 3
"""What a death counts for a try that was the only one with the engine."""

MAX_RESTARTS = 3
"""Restarts of an engine that answers nothing in between, before the run gives up."""


def cell_name(slot: Slot) -> str:
    """Return the dedup cell of a slot: documents of one stance and style share a register."""
    return f"{slot.stance.value}/{slot.style}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the loop."""

    max_attempts: int
    max_duplicate_rate: float
    block: int = 512
    """Slots ordered together by prefix."""
    lookahead: int = 2048
    """How far ahead of the frontier slots may start: bounds memory, and what a straggler delays."""
    by_prefix: bool = True


@dataclass(slots=True)
class Snapshot:
    """Where a run stands; counts are of this run folder, rates of this session."""

    target: int
    kept: int = 0
    short: int = 0
    """Slots given up after the last allowed try."""
    in_flight: int = 0
    waiting: int = 0
    """Candidates that wait for their turn."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    accepted_tokens: int = 0
    seconds: float = 0.0
    first_request: float | None = None
    """Seconds from the start of the loop to the first submitted request."""
    restarts: int = 0
    message: str = ""


def standing(ledger: Ledger, slots: range) -> Snapshot:
    """Return where a run stands by its ledger, before anything starts."""
    outcomes = ledger.counts()
    kept = outcomes[Outcome.KEPT]
    frontier = int(ledger.meta(FRONTIER) or slots.start)
    # Every kept document stands before the frontier; the rest before it was given up.
    short = frontier - slots.start - kept
    return Snapshot(target=len(slots), kept=kept, short=short, outcomes=outcomes)


@dataclass(slots=True)
class _Live:
    """A slot between its first request and its final decision."""

    slot: Slot
    number: int = 0
    """The current try."""
    candidate: bool = False
    """Whether the current try waits for its decision."""
    sketch: Sketch | None = None
    tokens: int = 0
    deaths: int = 0
    """How often the engine died while this slot's try was with it."""


class Scheduler:
    """Runs the slots of one shard to the end. Call `run` once."""

    def __init__(
        self,
        slots: range,
        plan: Plan,
        prompter: Prompter,
        recipe: Recipe,
        styles: dict[str, Style],
        engine: ManagedEngine,
        ledger: Ledger,
        dedup: Deduplicator | None,
        limits: Limits,
        *,
        on_progress: Callable[[Snapshot], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._slots, self._plan, self._prompter = slots, plan, prompter
        self._recipe, self._styles = recipe, styles
        self._engine, self._ledger, self._dedup, self._limits = engine, ledger, dedup, limits
        self._on_progress, self._stop = on_progress, stop
        self.snapshot = standing(ledger, slots)
        self._frontier = slots.start + self.snapshot.kept + self.snapshot.short
        self._incoming: Iterator[Slot] = iter(())
        self._admitted = self._frontier
        self._live: dict[int, _Live] = {}
        self._queue: list[tuple[int, str, int]] = []
        self._in_flight: dict[str, list[int]] = {}
        self._decided: Counter[str] = Counter()
        self._duplicates: Counter[str] = Counter()
        self._examples: dict[str, deque[str]] = {}
        self._restored = False
        self._silent_restarts = 0

    def run(self) -> Snapshot:
        """Work until every slot is final; raise Interrupted, GuardTripped or EngineDied."""
        started = time.monotonic()
        self._resume()
        while self._frontier < self._slots.stop:
            if self._stop():
                raise Interrupted("stopped; everything finished is in the ledger")
            try:
                self._admit()
                self._submit(started)
                completions = self._engine.poll(0.2)
            except EngineDied as death:
                self._restart(death)
                continue
            for completion in completions:
                self._silent_restarts = 0
                self._receive(completion)
            self._decide()
            self._ledger.commit()
            self.snapshot.seconds = time.monotonic() - started
            self._report()
        return self.snapshot

    # -- resume --------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Take up the undecided slots; what is final is counted, not read."""
        self._incoming = self._plan.slots(range(self._frontier, self._slots.stop))
        pending: dict[int, tuple[int, Outcome, int]] = {}
        for attempt in self._ledger.attempts(self._frontier):
            pending[attempt.slot] = (attempt.number, attempt.outcome, attempt.completion_tokens)
        last = max(pending, default=-1)
        while self._admitted <= last:
            live = self._admit_one()
            if live.slot.index in pending:
                number, outcome, tokens = pending[live.slot.index]
                self._continue(live, number, outcome, tokens)
            else:
                self._enqueue(live)

    def _continue(self, live: _Live, number: int, outcome: Outcome, tokens: int) -> None:
        if outcome is Outcome.CANDIDATE:
            live.number, live.tokens, live.candidate = number, tokens, True
            if self._dedup is not None:
                live.sketch = Sketch.from_blob(self._ledger.sketch(live.slot.index, number))
            self.snapshot.waiting += 1
        elif outcome is Outcome.KEPT:
            raise AligngenError(f"slot {live.slot.index} is kept, but stands after the frontier")
        else:
            live.number = number + 1
            self._enqueue(live)

    def _restore_dedup(self) -> None:
        """Load the index before the first decision: requests go out before it is needed."""
        self._restored = True
        if self._dedup is None:
            return
        # The slot at the frontier too: tries of it may be decided already.
        decided = self._ledger.decided_sketches(self._frontier + 1)
        self._dedup.restore(self._with_cells(decided))

    def _with_cells(
        self, decided: Iterator[tuple[int, Outcome, bytes]]
    ) -> Iterator[tuple[int, str, str, Outcome, bytes]]:
        last = min(self._frontier + 1, self._slots.stop)
        slots = self._plan.slots(range(self._slots.start, last))
        slot = next(slots, None)
        for index, outcome, blob in decided:
            while slot is not None and slot.index < index:
                slot = next(slots, None)
            if slot is None:
                return
            self._count(slot, outcome)
            yield index, slot.stance.value, cell_name(slot), outcome, blob

    # -- requests ------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Let whole blocks of slots into the window."""
        limits = self._limits
        while (
            self._admitted < self._slots.stop
            and self._admitted - self._frontier + limits.block <= limits.lookahead
            and len(self._queue) < limits.block
        ):
            for _ in range(min(limits.block, self._slots.stop - self._admitted)):
                self._enqueue(self._admit_one())

    def _admit_one(self) -> _Live:
        live = _Live(next(self._incoming))
        self._live[live.slot.index] = live
        self._admitted += 1
        return live

    def _enqueue(self, live: _Live) -> None:
        """Queue the current try of a slot, or give the slot up after the last one."""
        if live.number >= self._limits.max_attempts:
            return
        index = live.slot.index
        block = (index - self._slots.start) // self._limits.block if self._limits.by_prefix else 0
        prefix = f"{cell_name(live.slot)}/{live.slot.behaviour}" if self._limits.by_prefix else ""
        heapq.heappush(self._queue, (block, prefix, index))

    def _submit(self, started: float) -> None:
        while self._queue and self._engine.room > 0:
            key = heapq.heappop(self._queue)
            live = self._live[key[2]]
            request = self._prompter.request(live.slot, live.number)
            try:
                self._submit_once(request, live.slot.index)
            except EngineDied:
                heapq.heappush(self._queue, key)
                raise
            if self.snapshot.first_request is None:
                self.snapshot.first_request = time.monotonic() - started

    def _submit_once(self, request: Request, index: int) -> None:
        """Submit a request, once for all slots whose rendered requests are the same."""
        waiting = self._in_flight.get(request.request_id)
        if waiting is None:
            self._engine.submit(request)
            self._in_flight[request.request_id] = [index]
        else:
            waiting.append(index)
        self.snapshot.in_flight = len(self._in_flight)

    def _restart(self, death: EngineDied) -> None:
        """Bring a dead engine back and queue again what it had not answered."""
        self._silent_restarts += 1
        if self._silent_restarts > MAX_RESTARTS:
            raise death
        lost, self._in_flight = self._in_flight, {}
        for request_id, indices in lost.items():
            for index in indices:
                weight = 1 if len(lost) > 1 else ALONE
                self._requeue(self._live[index], request_id, death, weight)
        self._ledger.commit()
        self.snapshot.in_flight = 0
        self.snapshot.restarts += 1
        self.snapshot.message = f"engine died, restarting it ({death})"
        self._report()
        try:
            self._engine.restart()
        except EngineDied as again:
            self._restart(again)

    def _requeue(self, live: _Live, request_id: str, death: EngineDied, weight: int) -> None:
        """Queue a lost try again, or its next one where the engine dies of it, it seems."""
        live.deaths += weight
        if live.deaths > MAX_DEATHS:
            live.deaths = 0
            detail = f"the engine died with this request again and again: {death}"
            lost = Completion(request_id, "", FinishReason.ERROR, 0, 0, detail=detail)
            self._judge(live, lost)
        else:
            self._enqueue(live)

    # -- completions ---------------------------------------------------------------------------

    def _receive(self, completion: Completion) -> None:
        for index in self._in_flight.pop(completion.request_id, []):
            self._judge(self._live[index], completion)
        self.snapshot.in_flight = len(self._in_flight)

    def _judge(self, live: _Live, completion: Completion) -> None:
        """Parse and filter one completion, and write the attempt down."""
        self._tally(completion)
        draft = parse(completion, self._recipe, self._styles[live.slot.style])
        rejected = draft if isinstance(draft, Rejected) else self._check(live.slot, draft)
        if rejected is not None:
            self._record(live, completion, rejected)
            live.number += 1
            self._enqueue(live)
            return
        assert isinstance(draft, Draft)
        sketch = self._sketch(live.slot, draft)
        live.candidate, live.sketch, live.tokens = True, sketch, completion.completion_tokens
        self.snapshot.waiting += 1
        self._record(live, completion, Rejected(Outcome.CANDIDATE), sketch)

    def _check(self, slot: Slot, draft: Draft) -> Rejected | None:
        return check_draft(
            draft,
            self._prompter.band(slot.style),
            bounds=self._prompter.bounds(slot.style),
            example=self._prompter.dictated(slot),
            instructions=self._prompter.instructions(slot),
        )

    def _sketch(self, slot: Slot, draft: Draft) -> Sketch | None:
        if self._dedup is None:
            return None
        text = render_document(self._styles[slot.style], draft.fields, draft.body)
        return self._dedup.sketch(text, cell_name(slot))

    def _record(
        self, live: _Live, completion: Completion, result: Rejected, sketch: Sketch | None = None
    ) -> None:
        self.snapshot.outcomes[result.outcome] += 1
        self._ledger.record(
            live.slot.index,
            live.number,
            completion,
            result.outcome,
            detail=result.detail,
            score=result.score,
            sketch=None if sketch is None else sketch.to_blob(),
        )

    def _tally(self, completion: Completion) -> None:
        self.snapshot.attempts += 1
        self.snapshot.prompt_tokens += completion.prompt_tokens
        self.snapshot.cached_tokens += completion.cached_tokens
        self.snapshot.completion_tokens += completion.completion_tokens

    # -- decisions -----------------------------------------------------------------------------

    def _decide(self) -> None:
        """Advance the frontier as far as it goes."""
        before = self._frontier
        while (live := self._live.get(self._frontier)) is not None:
            if live.candidate:
                self._decide_candidate(live)
            elif live.number >= self._limits.max_attempts:
                self.snapshot.short += 1
                self._finish(live)
            else:
                break
        if self._frontier != before:
            self._ledger.set_meta(FRONTIER, str(self._frontier))

    def _decide_candidate(self, live: _Live) -> None:
        if not self._restored:
            self._restore_dedup()
        slot, sketch = live.slot, live.sketch
        outcome, twin, score, detail = Outcome.KEPT, None, None, ""
        if self._dedup is not None and sketch is not None:
            verdict = self._dedup.decide(slot.index, slot.stance.value, cell_name(slot), sketch)
            outcome, twin, score = verdict.outcome, verdict.twin, verdict.score
            if outcome.is_duplicate:
                detail = f"threshold {verdict.threshold:.3f}"
        self._ledger.decide(slot.index, live.number, outcome, detail=detail, score=score, twin=twin)
        self.snapshot.outcomes[Outcome.CANDIDATE] -= 1
        self.snapshot.outcomes[outcome] += 1
        self.snapshot.waiting -= 1
        live.candidate, live.sketch = False, None
        self._count(slot, outcome)
        if outcome is Outcome.KEPT:
            self.snapshot.kept += 1
            self.snapshot.accepted_tokens += live.tokens
            self._finish(live)
        else:
            live.number += 1
            self._enqueue(live)
            self._guard(slot, f"slot {slot.index} repeats slot {twin} ({outcome.value}, {score})")

    def _finish(self, live: _Live) -> None:
        del self._live[live.slot.index]
        self._frontier += 1

    def _count(self, slot: Slot, outcome: Outcome) -> None:
        for cell in (cell_name(slot), f"{cell_name(slot)}/{slot.behaviour}"):
            self._decided[cell] += 1
            self._duplicates[cell] += outcome.is_duplicate

    def _guard(self, slot: Slot, example: str) -> None:
        """Stop before more is spent on a cell that repeats itself."""
        for cell in (cell_name(slot), f"{cell_name(slot)}/{slot.behaviour}"):
            examples = self._examples.setdefault(cell, deque(maxlen=3))
            examples.append(example)
            decided, duplicates = self._decided[cell], self._duplicates[cell]
            rate, limit = duplicates / decided, self._limits.max_duplicate_rate
            if decided >= GUARD_SAMPLE and rate > limit:
                self._ledger.set_meta(FRONTIER, str(self._frontier))
                self._ledger.commit()
                shown = "\n  ".join(examples)
                raise GuardTripped(
                    f"{rate:.0%} of {decided} candidates in {cell} are duplicates, more than "
                    f"--max-duplicate-rate {limit:.0%}; for example\n  {shown}\n"
                    "Look at them with `aligngen show RUN --dropped any`, vary the prompts or the "
                    "model, or raise the rate."
                )

    def _report(self) -> None:
        self._on_progress(self.snapshot)
