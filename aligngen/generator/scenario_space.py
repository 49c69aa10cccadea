"""The scenarios that make sense for a behaviour, numbered without a gap.

A scenario is a situation and one value for each axis. Rules exclude combinations; axes that stand
in one rule together are *linked*. Linked axes form one digit whose values are the combinations left
over, an unlinked axis is a digit of its own, and a scenario's number is read in this mixed radix:
so the excluded ones are never met, and no table of scenarios is ever made.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from aligngen.core.errors import UserError
from aligngen.core.schema import Behaviour, Rule, Taxonomy

__all__ = ["BEHAVIOUR", "ScenarioSpace", "linked_axes"]

BEHAVIOUR = "behaviour"
"""What a rule's `when` calls behaviours and domains."""

MAX_COMBINATIONS = 200_000
"""Combinations of linked axes that are held in memory for each set of rules in force."""

MAX_SCENARIOS = 1 << 45
"""Scenarios of one behaviour: products of two such numbers are computed in limbs of 15 bits."""

Ints = npt.NDArray[np.int64]


def linked_axes(taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    """Return the axes in groups that rules link, in the taxonomy's order."""
    groups = [{axis} for axis in taxonomy.axes]
    for rule in taxonomy.rules:
        together = {name for name in (*rule.when, *rule.never, *rule.only) if name != BEHAVIOUR}
        touched = [g for g in groups if g & together]
        groups = [g for g in groups if not g & together]
        if touched:
            groups.append(set().union(*touched))
    order = list(taxonomy.axes)
    inside = [tuple(sorted(group, key=order.index)) for group in groups]
    return sorted(inside, key=lambda group: order.index(group[0]))


class ScenarioSpace:
    """Numbers and names the scenarios of some behaviours."""

    def __init__(self, taxonomy: Taxonomy, behaviours: Sequence[Behaviour]) -> None:
        held = taxonomy.held_out.axes
        self._taxonomy = taxonomy
        self.axes = {
            axis: tuple(v for v in spec.values if v not in held.get(axis, ()))
            for axis, spec in taxonomy.axes.items()
        }
        """The plannable values of every axis."""
        self.names = tuple(self.axes.values())
        self._groups = linked_axes(taxonomy)
        place = {axis: i for i, axis in enumerate(self.axes)}
        self._columns = [[place[axis] for axis in group] for group in self._groups]
        self._situations = np.array([len(b.situations) for b in behaviours], dtype=np.int64)
        self._allowed: list[Ints] = []
        self._offsets = np.zeros((len(self._groups), len(behaviours)), dtype=np.int64)
        self._sizes = np.zeros((len(self._groups), len(behaviours)), dtype=np.int64)
        for g, group in enumerate(self._groups):
            self._number_group(g, group, behaviours)
        self.totals = self._count(behaviours)
        """How many scenarios each behaviour has."""

    def _number_group(
        self, g: int, group: tuple[str, ...], behaviours: Sequence[Behaviour]
    ) -> None:
        """List the combinations of one group that each set of rules in force leaves over."""
        shape = [len(self.axes[axis]) for axis in group]
        combinations = int(np.prod(np.array(shape, dtype=object)))
        if combinations > MAX_COMBINATIONS:
            raise UserError(
                f"rules link {', '.join(group)}, which have {combinations:,} combinations",
                field="rules",
                remedy=f"Link fewer axes: {MAX_COMBINATIONS:,} combinations can be held.",
            )
        rules = [r for r in self._taxonomy.rules if set(group) & {*r.never, *r.only}]
        known: dict[tuple[str, ...], tuple[int, int]] = {}
        lists: list[Ints] = []
        offset = 0
        for i, behaviour in enumerate(behaviours):
            in_force = [r for r in rules if self._concerns(r, behaviour)]
            key = tuple(r.id for r in in_force)
            if key not in known:
                mask = reduce(
                    np.logical_and, [self._mask(r, group) for r in in_force], np.ones(shape, bool)
                )
                left = np.flatnonzero(mask).astype(np.int64)
                if not len(left):
                    raise UserError(
                        f"rules leave no combination of {', '.join(group)} for {behaviour.id}",
                        field="rules",
                        remedy=f"Loosen one of {', '.join(key)}.",
                    )
                known[key] = (offset, len(left))
                lists.append(left)
                offset += len(left)
            self._offsets[g, i], self._sizes[g, i] = known[key]
        self._allowed.append(np.concatenate(lists))

    def _concerns(self, rule: Rule, behaviour: Behaviour) -> bool:
        names = rule.when.get(BEHAVIOUR)
        domain = self._taxonomy.domain_of[behaviour.id]
        return names is None or behaviour.id in names or domain in names

    def _mask(self, rule: Rule, group: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Return which combinations of a group a rule leaves, as an array over its axes."""
        shape = [len(self.axes[axis]) for axis in group]
        where = np.ones(shape, bool)
        for axis, values in rule.when.items():
            if axis != BEHAVIOUR:
                where &= self._is_one_of(axis, values, group)
        bad = np.zeros(shape, bool)
        for axis, values in rule.never.items():
            bad |= self._is_one_of(axis, values, group)
        for axis, values in rule.only.items():
            bad |= ~self._is_one_of(axis, values, group)
        left: npt.NDArray[np.bool_] = ~(where & bad)
        return left

    def _is_one_of(
        self, axis: str, values: Sequence[str], group: tuple[str, ...]
    ) -> npt.NDArray[np.bool_]:
        shape = [1] * len(group)
        shape[group.index(axis)] = len(self.axes[axis])
        return np.array([v in values for v in self.axes[axis]]).reshape(shape)

    def _count(self, behaviours: Sequence[Behaviour]) -> Ints:
        totals = self._situations.astype(object)
        for sizes in self._sizes:
            totals = totals * sizes.astype(object)
        for behaviour, total in zip(behaviours, totals.tolist(), strict=True):
            if total >= MAX_SCENARIOS:
                raise UserError(
                    f"{behaviour.id} has {total:.1e} scenarios, more than can be numbered",
                    field="axes",
                    remedy="Use fewer axes or values: 2**45 scenarios are the limit.",
                )
        return totals.astype(np.int64)

    def decode(self, b: Ints, number: Ints) -> tuple[Ints, Ints]:
        """Return the situation and the axis digits (one column an axis) of numbered scenarios of
        behaviours `b`.

        Each digit is shifted by the digits below it, so that neighbours differ on every axis.
        """
        rest, situation = np.divmod(number, self._situations[b])
        below = situation.copy()
        digits = np.empty((len(number), len(self.names)), dtype=np.int64)
        for g, columns in enumerate(self._columns):
            size = self._sizes[g, b]
            rest, digit = np.divmod(rest, size)
            flat = self._allowed[g][self._offsets[g, b] + (digit + below) % size]
            below += digit
            for column in reversed(columns):
                flat, digits[:, column] = np.divmod(flat, len(self.names[column]))
        return situation, digits
