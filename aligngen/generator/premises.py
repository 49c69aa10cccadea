"""Premises: which idea a unit takes, and what the idea requests after it are shown.

An idea request is shown the premises that its behaviour used before, so that the model moves on.
What it is shown must not depend on which answers came first: the n-th visit to a behaviour is shown
the visits up to n - LAG, and waits for them. So LAG requests of each behaviour run at once, and the
premises are a function of the completions alone.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from aligngen.core.schema import Idea

__all__ = ["GIVEN_UP", "LAG", "SHOWN", "Memory", "Premises", "Visit", "choose"]

LAG = 8
"""Visits to a behaviour whose idea requests may run at once."""

SHOWN = 12
"""Premises that a request is shown at most: they must fit the prompt."""

GIVEN_UP = ""
"""The premise of a unit whose ideas never came."""


class Visit(NamedTuple):
    """A visit of the plan to a behaviour."""

    behaviour: str
    number: int


class Memory(NamedTuple):
    """The premises that an idea request is shown, oldest first."""

    premises: tuple[str, ...]


class Premises:
    """The premises of a run, by visit. A pure function of what was put."""

    DEPTH: ClassVar[int] = LAG + SHOWN
    """How many visits back a request may look."""

    def __init__(self, first: Mapping[str, int]) -> None:
        """Take the first visit of each behaviour that belongs to the run."""
        self._first = first
        self._known: dict[str, dict[int, str]] = {}

    def get(self, behaviour: str, visit: int) -> str | None:
        """Return the premise of a visit, None where it is not known yet."""
        return self._known.get(behaviour, {}).get(visit)

    def put(self, behaviour: str, visit: int, premise: str) -> None:
        """Note the premise of a visit, or GIVEN_UP."""
        self._known.setdefault(behaviour, {})[visit] = premise

    def forget(self, behaviour: str, visit: int) -> None:
        """Drop what nobody is shown any more once a visit is final."""
        self._known.get(behaviour, {}).pop(visit - self.DEPTH, None)

    def shown(self, behaviour: str, visit: int) -> Memory | Visit:
        """Return what the idea request of a visit is shown, or a visit to wait for."""
        first = max(self._first.get(behaviour, 0), visit - LAG - SHOWN + 1)
        memory = []
        for earlier in range(first, visit - LAG + 1):
            premise = self.get(behaviour, earlier)
            if premise is None:
                return Visit(behaviour, earlier)
            memory.append(premise)
        return Memory(tuple(p for p in memory if p != GIVEN_UP))


def choose(ideas: Sequence[Idea], memory: Sequence[str]) -> str:
    """Return the premise that shares the fewest words with those used before.

    Of equals the least probable: asked for a distribution, a model's variety is in its tail.
    """
    before = [set(premise.lower().split()) for premise in memory]

    def overlap(idea: Idea) -> float:
        own = set(idea.premise.lower().split())
        return max((len(own & b) / max(len(own | b), 1) for b in before), default=0.0)

    return min(ideas, key=lambda idea: (round(overlap(idea), 2), idea.probability)).premise
