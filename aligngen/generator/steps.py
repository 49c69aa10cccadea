"""What a step's completion must be to take its slot further: parsing, filters, the verdict."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aligngen.core.schema import Completion, Draft, Slot, Style
from aligngen.generator.filters import check_draft
from aligngen.generator.judge import check_stance, parse_verdict
from aligngen.generator.ledger import Attempt
from aligngen.generator.parse import Ideas, Notes, Rejected, parse, parse_text
from aligngen.generator.premises import choose
from aligngen.generator.prompt import Outputs, Prompter
from aligngen.generator.slop import Bans

__all__ = ["Accepted", "Output", "Steps"]

Output = Draft | Notes | str
"""What a step gives the steps after it: a draft, notes, or the premise taken."""


class Accepted(NamedTuple):
    """A step's output that passed."""

    output: Output | None
    """None of a verdict."""
    detail: str = ""
    """The premise taken."""


class Steps:
    """Reads completions as the outputs of a run's steps."""

    def __init__(self, prompter: Prompter, styles: Mapping[str, Style], bans: Bans) -> None:
        self._prompter, self._styles, self._bans = prompter, styles, bans

    def read(
        self,
        slot: Slot,
        step: int,
        completion: Completion,
        outputs: Outputs,
        memory: Sequence[str] = (),
    ) -> Accepted | Rejected:
        """Return what one step gave, or why it is dropped.

        `outputs` is what the steps before gave, `memory` the premises that an idea request was
        shown.
        """
        spec = self._prompter.steps[step]
        if spec.output == "verdict":
            verdict = parse_verdict(completion, self._prompter.document(slot, outputs))
            return check_stance(verdict, slot.stance) or Accepted(None)
        parsed = parse(completion, spec, self._styles[slot.style])
        if isinstance(parsed, Rejected):
            return parsed
        if isinstance(parsed, Ideas):
            premise = choose(parsed.ideas, memory)
            return Accepted(premise, premise)
        if isinstance(parsed, Draft) and step == self._prompter.last_document:
            return self._check(slot, parsed) or Accepted(parsed)
        return Accepted(parsed)

    def read_again(self, slot: Slot, attempt: Attempt, text: str) -> Output:
        """Return the output of a step that passed before, from the ledger."""
        spec = self._prompter.steps[attempt.step]
        if spec.output == "ideas":
            return attempt.detail
        parsed = parse_text(text, spec, self._styles[slot.style])
        assert isinstance(parsed, Draft | dict), f"slot {slot.index}: no longer parses ({parsed})"
        return parsed

    def _check(self, slot: Slot, draft: Draft) -> Rejected | None:
        prompter = self._prompter
        return check_draft(
            draft,
            prompter.band(slot),
            bounds=prompter.bounds(slot),
            example=prompter.dictated(slot),
            instructions=prompter.instructions(slot),
            bans=self._bans,
            stance=slot.stance,
            said=prompter.said(slot),
            also=(prompter.cast(slot).ai,),
        )
