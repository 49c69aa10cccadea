"""Which axis values go together for each behaviour, by the taxonomy's rules.

For looking at a taxonomy; the plan numbers the same combinations with `ScenarioSpace`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from aligngen.core.schema import Rule, Taxonomy
from aligngen.generator.scenario_space import BEHAVIOUR, MAX_COMBINATIONS, linked_axes

__all__ = ["Linked", "combine", "excluded", "rules_for", "usable_values"]

Grid = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Linked:
    """Axes that rules link, and which of their combinations a behaviour can have."""

    axes: tuple[str, ...]
    valid: Grid | None
    """One dimension an axis, over its usable values; None where there are too many to hold."""
    total: int
    """Combinations before rules."""

    @property
    def count(self) -> int:
        """How many combinations are valid; all, where there are too many to hold."""
        return self.total if self.valid is None else int(self.valid.sum())

    def met(self, axis: str) -> list[bool]:
        """Return which usable values of one of the axes stand in a valid combination."""
        if self.valid is None:
            return [True] * self.total
        place = self.axes.index(axis)
        others = tuple(i for i in range(len(self.axes)) if i != place)
        return [bool(met) for met in np.asarray(self.valid.any(axis=others))]


def usable_values(taxonomy: Taxonomy) -> dict[str, tuple[str, ...]]:
    """Return the values of every axis that are not held out."""
    held = taxonomy.held_out.axes
    return {
        name: tuple(v for v in axis.values if v not in held.get(name, ()))
        for name, axis in taxonomy.axes.items()
    }


def rules_for(taxonomy: Taxonomy, behaviour: str) -> tuple[Rule, ...]:
    """Return the rules that may concern a behaviour: those that name it, its domain or nobody."""
    own = {behaviour, taxonomy.domain_of[behaviour]}
    return tuple(r for r in taxonomy.rules if own & set(r.when.get(BEHAVIOUR, own)))


def excluded(rule: Rule, axes: Sequence[str], values: Mapping[str, Sequence[str]]) -> Grid:
    """Return which combinations of `axes` a rule forbids where it applies.

    Every value named under `never`, and every value not named under `only`, is forbidden by itself.
    """
    shape = [len(values[axis]) for axis in axes]
    where, bad = np.ones(shape, bool), np.zeros(shape, bool)
    for axis, named in rule.when.items():
        if axis != BEHAVIOUR:
            where &= _is_one_of(axis, named, axes, values)
    for axis, named in rule.never.items():
        bad |= _is_one_of(axis, named, axes, values)
    for axis, named in rule.only.items():
        bad |= ~_is_one_of(axis, named, axes, values)
    both: Grid = where & bad
    return both


def _is_one_of(
    axis: str, named: Sequence[str], axes: Sequence[str], values: Mapping[str, Sequence[str]]
) -> Grid:
    shape = [1] * len(axes)
    shape[axes.index(axis)] = len(values[axis])
    grid: Grid = np.array([value in named for value in values[axis]], bool).reshape(shape)
    return grid


def combine(taxonomy: Taxonomy) -> dict[str, tuple[Linked, ...]]:
    """Return the valid combinations of every behaviour, one entry for each group of linked axes.

    Behaviours under the same rules share their arrays, so that memory grows with the number of
    distinct sets of rules, at most `MAX_COMBINATIONS` bytes each.
    """
    values = usable_values(taxonomy)
    groups = linked_axes(taxonomy)
    known: dict[tuple[object, ...], Linked] = {}
    found = {}
    for behaviour in taxonomy.behaviours:
        rules = rules_for(taxonomy, behaviour)
        linked = []
        for axes in groups:
            in_force = [r for r in rules if set(axes) & {*r.never, *r.only}]
            key = (axes, *(r.id for r in in_force))
            if key not in known:
                known[key] = _link(axes, in_force, values)
            linked.append(known[key])
        found[behaviour] = tuple(linked)
    return found


def _link(
    axes: tuple[str, ...], rules: Sequence[Rule], values: Mapping[str, Sequence[str]]
) -> Linked:
    shape = [len(values[axis]) for axis in axes]
    total = prod(shape)
    if total > MAX_COMBINATIONS:
        return Linked(axes, None, total)
    valid = np.ones(shape, bool)
    for rule in rules:
        valid &= ~excluded(rule, axes, values)
    return Linked(axes, valid, total)
