"""The loop that keeps the engine full and takes decisions in slot order.

Slots enter a window, ordered inside a block of it by shared prompt prefix; completions come back in
any order and are parsed and filtered at once. What passes takes its slot to the next step of the
recipe, what is rejected is asked again with its next seed. Dedup decides at the *frontier*, the
first slot that is not final, and nowhere else: so the kept set is a function of the completions
alone, not of when or how often the run stopped.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aligngen.core.errors import AligngenError, EngineDied, GuardTripped, Interrupted
from aligngen.core.schema import Completion, FinishReason, Outcome, Request, Slot
from aligngen.generator.dedup import Deduplicator, Sketch
from aligngen.generator.engines.protocol import ManagedEngine
from aligngen.generator.ledger import Attempt, Ledger
from aligngen.generator.parse import Rejected
from aligngen.generator.plan import Plan
from aligngen.generator.premises import GIVEN_UP, Memory, Premises, Visit
from aligngen.generator.prompt import Prompter
from aligngen.generator.steps import Accepted, Output, Steps

__all__ = ["Limits", "Scheduler", "Snapshot", "cell_name", "standing"]

FRONTIER = "frontier"
"""Ledger key: the first slot that is not final."""

WHOLE = frozenset((Outcome.WRONG_STANCE, Outcome.UNJUDGED, Outcome.OFF_STANCE, Outcome.BANNED))
"""Drops, beside duplicates, that are the draft's fault as much as the rewrite's."""

TRIES_BEFORE = 2
"""Tries of a slot that fail before later ones are asked ahead."""

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
    ahead: int = 0
    """Later tries that a slot which failed before may ask for while the engine runs empty."""


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
    step: int = 0
    """The current step."""
    outputs: dict[str, Output] = field(default_factory=dict)
    """What the steps before it gave."""
    candidate: bool = False
    """Whether the current try waits for its decision."""
    sketch: Sketch | None = None
    tokens: int = 0
    deaths: int = 0
    """How often the engine died while this slot's try was with it."""
    ahead: dict[int, Completion | None] = field(default_factory=dict)
    """Later tries of the document that were asked ahead; None while the engine has them."""


class Scheduler:
    """Runs the slots of one shard to the end. Call `run` once."""

    def __init__(
        self,
        slots: range,
        plan: Plan,
        prompter: Prompter,
        steps: Steps,
        engine: ManagedEngine,
        ledger: Ledger,
        dedup: Deduplicator | None,
        limits: Limits,
        *,
        on_progress: Callable[[Snapshot], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._slots, self._plan, self._prompter, self._steps = slots, plan, prompter, steps
        self._engine, self._ledger, self._dedup, self._limits = engine, ledger, dedup, limits
        self._on_progress, self._stop = on_progress, stop
        self.snapshot = standing(ledger, slots)
        self._frontier = slots.start + self.snapshot.kept + self.snapshot.short
        self._incoming: Iterator[Slot] = iter(())
        self._admitted = self._frontier
        self._live: dict[int, _Live] = {}
        self._queue: list[tuple[int, str, int]] = []
        self._in_flight: dict[str, list[tuple[int, int]]] = {}
        self._premises = Premises(plan.first_visits(slots))
        self._parked: dict[Visit, list[int]] = {}
        self._decided: Counter[str] = Counter()
        self._duplicates: Counter[str] = Counter()
        self._examples: dict[str, deque[str]] = {}
        self._restored = False
        self._silent_restarts = 0
        self._asks_ahead = limits.ahead > 0

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
                self._ask_ahead()
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
        self._restore_premises()
        outputs = self._restore_outputs()
        pending: dict[int, Attempt] = {}
        tokens: dict[int, int] = {}
        for attempt in self._ledger.attempts(self._frontier):
            pending[attempt.slot] = attempt
            if attempt.step == self._prompter.last_document:
                tokens[attempt.slot] = attempt.completion_tokens
        last = max(pending, default=-1)
        while self._admitted <= last:
            live = self._admit_one()
            live.outputs = outputs.pop(live.slot.index, {})
            live.tokens = tokens.pop(live.slot.index, 0)
            latest = pending.get(live.slot.index)
            if latest is None:
                self._enqueue(live)
            else:
                self._continue(live, latest)

    def _continue(self, live: _Live, attempt: Attempt) -> None:
        """Go on where the last attempt of a slot left it."""
        live.number, live.step = attempt.number, attempt.step
        premise = self._premises.get(live.slot.behaviour, live.slot.visit)
        if self._prompter.rewind and premise:
            live.outputs[self._prompter.steps[0].id] = premise
        if attempt.outcome is Outcome.CANDIDATE:
            live.candidate = True
            if self._dedup is not None:
                blob = self._ledger.sketch(live.slot.index, attempt.number, attempt.step)
                live.sketch = Sketch.from_blob(blob)
            self.snapshot.waiting += 1
        elif attempt.outcome is Outcome.KEPT:
            raise AligngenError(f"slot {live.slot.index} is kept, but stands after the frontier")
        elif attempt.epoch != self._ledger.epoch:
            # Its steps belong to other prompts: begin again.
            live.number += 1
            self._go_to(live, 0)
        elif attempt.outcome is Outcome.STEP:
            self._go_to(live, live.step + 1)
        else:
            self._retry(live, attempt.outcome)

    def _restore_premises(self) -> None:
        """Read the premises that slots after the frontier are shown, or share."""
        if self._prompter.rewind == 0:
            return
        first = max(self._slots.start, self._frontier - self._plan.reach(Premises.DEPTH))
        slots = self._plan.slots(range(first, self._slots.stop))
        slot = next(slots)
        for attempt, _ in self._ledger.steps(first):
            if attempt.step or attempt.epoch != self._ledger.epoch:
                continue
            while slot.index < attempt.slot:
                slot = next(slots)
            self._premises.put(slot.behaviour, slot.visit, attempt.detail)
        for slot in self._plan.slots(range(first, self._frontier)):
            if self._premises.get(slot.behaviour, slot.visit) is None:
                self._premises.put(slot.behaviour, slot.visit, GIVEN_UP)

    def _restore_outputs(self) -> dict[int, dict[str, Output]]:
        """Read what the finished steps of the undecided slots gave; the latest of each counts."""
        if len(self._prompter.steps) == 1:
            return {}
        outputs: dict[int, dict[str, Output]] = {}
        slots = self._plan.slots(range(self._frontier, self._slots.stop))
        slot = next(slots, None)
        for attempt, text in self._ledger.steps(self._frontier):
            while slot is not None and slot.index < attempt.slot:
                slot = next(slots, None)
            if slot is not None and attempt.epoch == self._ledger.epoch:
                name = self._prompter.steps[attempt.step].id
                output = self._steps.read_again(slot, attempt, text)
                outputs.setdefault(slot.index, {})[name] = output
        return outputs

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
        """Queue the current step of a slot, park it, or give the slot up after the last try."""
        slot = live.slot
        if self._prompter.steps[live.step].output == "ideas" and not self._has_turn(live):
            return
        if live.number >= self._limits.max_attempts:
            return
        if live.step == self._prompter.last_document and live.number in live.ahead:
            answer = live.ahead.pop(live.number)
            if answer is not None:
                self._judge(live, answer)
            return  # Else it is with the engine, and judged when it comes.
        block = (slot.index - self._slots.start) // self._limits.block
        prefix = f"{live.step}/{cell_name(slot)}/{slot.behaviour}"
        if not self._limits.by_prefix:
            block, prefix = 0, ""
        heapq.heappush(self._queue, (block, prefix, slot.index))

    def _has_turn(self, live: _Live) -> bool:
        """Whether a slot may go on at its ideas step: the first of the siblings asks, once the
        premises that it is shown are known; the others take the premise that it found."""
        slot = live.slot
        visit = Visit(slot.behaviour, slot.visit)
        premise = self._premises.get(*visit)
        if premise is None and self._is_first_sibling(slot):
            if live.number >= self._limits.max_attempts:
                self._found(slot, GIVEN_UP)
                return False
            shown = self._premises.shown(*visit)
            if isinstance(shown, Visit):
                self._parked.setdefault(shown, []).append(slot.index)
            return isinstance(shown, Memory)
        if premise is None:
            self._parked.setdefault(visit, []).append(slot.index)
            return False
        if premise == GIVEN_UP:
            live.number = self._limits.max_attempts
            return False
        live.outputs[self._prompter.steps[0].id] = premise
        live.step = 1
        return True

    def _is_first_sibling(self, slot: Slot) -> bool:
        return slot.stance is self._plan.stances[0]

    def _found(self, slot: Slot, premise: str) -> None:
        """Note a premise and wake the slots that waited for it."""
        self._premises.put(slot.behaviour, slot.visit, premise)
        for index in self._parked.pop(Visit(slot.behaviour, slot.visit), ()):
            self._enqueue(self._live[index])

    def _submit(self, started: float) -> None:
        while self._queue and self._engine.room > 0:
            key = heapq.heappop(self._queue)
            live = self._live[key[2]]
            request = self._request(live)
            try:
                self._submit_once(request, live.slot.index, live.number)
            except EngineDied:
                heapq.heappush(self._queue, key)
                raise
            if self.snapshot.first_request is None:
                self.snapshot.first_request = time.monotonic() - started

    def _request(self, live: _Live) -> Request:
        memory = self._memory(live) if self._prompter.steps[live.step].output == "ideas" else ()
        return self._prompter.request(live.slot, live.number, live.step, live.outputs, memory)

    def _memory(self, live: _Live) -> tuple[str, ...]:
        shown = self._premises.shown(live.slot.behaviour, live.slot.visit)
        assert isinstance(shown, Memory)
        return shown.premises

    def _submit_once(self, request: Request, index: int, number: int) -> None:
        """Submit a request, once for all tries whose rendered requests are the same."""
        waiting = self._in_flight.get(request.request_id)
        if waiting is None:
            self._engine.submit(request)
            self._in_flight[request.request_id] = [(index, number)]
        else:
            waiting.append((index, number))
        self.snapshot.in_flight = len(self._in_flight)

    def _ask_ahead(self) -> None:
        """Fill an engine that runs empty with later tries of slots that failed before.

        The lowest try that passes is still the one that is taken, so the kept set does not change;
        a slot that needs many tries takes the time of a few.
        """
        step = self._prompter.last_document
        if self._queue or not self._asks_ahead or step != self._prompter.rewind:
            return
        waiting = {index for tries in self._in_flight.values() for index, _ in tries}
        slow = [self._live[i] for i in sorted(waiting) if i in self._live]
        slow = [live for live in slow if live.number >= TRIES_BEFORE and live.step == step]
        for further in range(1, self._limits.ahead + 1):
            for live in slow:
                number = live.number + further
                if self._engine.room <= 0:
                    return
                if number < self._limits.max_attempts and number not in live.ahead:
                    request = self._prompter.request(live.slot, number, step, live.outputs)
                    self._submit_once(request, live.slot.index, number)
                    live.ahead[number] = None

    def _restart(self, death: EngineDied) -> None:
        """Bring a dead engine back and queue again what it had not answered."""
        self._silent_restarts += 1
        if self._silent_restarts > MAX_RESTARTS:
            raise death
        # One of them may be what killed it.
        self._asks_ahead = False
        lost, self._in_flight = self._in_flight, {}
        for request_id, tries in lost.items():
            for index, number in tries:
                live = self._live.get(index)
                if live is not None and live.ahead.pop(number, False) is False:
                    weight = 1 if len(lost) > 1 else ALONE
                    self._requeue(live, request_id, death, weight)
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
        for index, number in self._in_flight.pop(completion.request_id, []):
            live = self._live.get(index)
            if live is None:
                self._leave_over(index, number, completion)
            elif number > live.number or live.candidate:
                live.ahead[number] = completion
            else:
                self._judge(live, completion)
        self.snapshot.in_flight = len(self._in_flight)

    def _leave_over(self, index: int, number: int, completion: Completion) -> None:
        """Write down a try that was asked ahead and is not needed."""
        self._tally(completion)
        self.snapshot.outcomes[Outcome.SURPLUS] += 1
        step = self._prompter.last_document
        self._ledger.record(index, number, completion, Outcome.SURPLUS, step=step)

    def _judge(self, live: _Live, completion: Completion) -> None:
        """Read one completion as its step's output, and write the attempt down."""
        self._tally(completion)
        step = self._prompter.steps[live.step]
        memory = self._memory(live) if step.output == "ideas" else ()
        result = self._steps.read(live.slot, live.step, completion, live.outputs, memory)
        if isinstance(result, Rejected):
            self._record(live, completion, result)
            self._retry(live, result.outcome)
            return
        if result.output is not None:
            live.outputs[step.id] = result.output
        if live.step == self._prompter.last_document:
            live.tokens = completion.completion_tokens
        if live.step + 1 < len(self._prompter.steps):
            self._advance(live, completion, result)
        else:
            self._nominate(live, completion)

    def _advance(self, live: _Live, completion: Completion, result: Accepted) -> None:
        """Go on to the next step."""
        self._record(live, completion, Rejected(Outcome.STEP, result.detail))
        if self._prompter.steps[live.step].output == "ideas":
            self._found(live.slot, result.detail)
        self._go_to(live, live.step + 1)

    def _nominate(self, live: _Live, completion: Completion) -> None:
        """Make the slot's document a candidate, which waits for its turn."""
        live.candidate, live.sketch = True, self._sketch(live)
        self.snapshot.waiting += 1
        self._record(live, completion, Rejected(Outcome.CANDIDATE), live.sketch)

    def _retry(self, live: _Live, outcome: Outcome) -> None:
        """Ask again with the next seed: for the same step, or for the whole document where that
        is what was wrong."""
        live.number += 1
        whole = outcome.is_duplicate or outcome in WHOLE
        self._go_to(live, self._prompter.rewind if whole else live.step)

    def _go_to(self, live: _Live, step: int) -> None:
        """Queue a step of a slot; what later steps gave before is not its to see."""
        live.step = step
        before = [s.id for s in self._prompter.steps[:step]]
        live.outputs = {name: live.outputs[name] for name in before}
        self._enqueue(live)

    def _sketch(self, live: _Live) -> Sketch | None:
        if self._dedup is None:
            return None
        draft = self._prompter.draft(live.outputs)
        # Without the page that it is written over, which other documents share.
        text = "\n\n".join((*draft.fields.values(), draft.body))
        return self._dedup.sketch(text, cell_name(live.slot), opening=draft.body)

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
            step=live.step,
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
        self._ledger.decide(
            slot.index, live.number, outcome, detail=detail, score=score, twin=twin, step=live.step
        )
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
            self._retry(live, outcome)
            self._guard(slot, f"slot {slot.index} repeats slot {twin} ({outcome.value}, {score})")

    def _finish(self, live: _Live) -> None:
        for number, completion in live.ahead.items():
            if completion is not None:
                self._leave_over(live.slot.index, number, completion)
        del self._live[live.slot.index]
        self._premises.forget(live.slot.behaviour, live.slot.visit)
        self._frontier += 1

    def _count(self, slot: Slot, outcome: Outcome) -> None:
        for cell in (cell_name(slot), f"{cell_name(slot)}/{slot.behaviour}"):
            self._decided[cell] += 1
            # A stock opening is the model's habit, not a cell that has run dry.
            repeats = outcome.is_duplicate and outcome is not Outcome.DUPLICATE_OPENING
            self._duplicates[cell] += repeats

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
