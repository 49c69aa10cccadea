"""The plan: slot i as a function of (taxonomy, styles, stances, seed).

Nothing is stored and nothing depends on how many documents are asked for, so a run can be extended
and any prefix or range is a valid sample. Three ideas carry it:

- A *unit* is what siblings share: scenario, style, length band, seeds. Slot i is stance
  `i mod k` of unit `i // k`, for k stances.
- Units walk the (behaviour × style) cells in *rounds*. A round visits each cell as often as its
  weight says, in an order in which every prefix gives every cell the floor or the ceiling of its
  share (earliest deadline first over the windows of a fair schedule), so quotas are exact for any
  count, as by largest remainder.
- The n-th visit to a behaviour takes the n-th scenario: mixed-radix digits over situations and axis
  values, each digit shifted by the digits below it, from a seeded start. The map is one-to-one, so
  no scenario repeats before all of them were used, and neighbours differ on every axis.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aligngen.core.errors import UserError
from aligngen.core.hashing import content_hash, seed_from
from aligngen.core.schema import Behaviour, Slot, Stance, Style, Taxonomy

__all__ = ["Cell", "Plan", "make_plan"]

BLOCK = 8192
"""Units computed at a time: enough to amortise numpy, little enough to stay in cache."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cell:
    """One (behaviour, style) combination and its weight."""

    behaviour: Behaviour
    style: str
    weight: int


class Plan:
    """Computes slots. Make one with `make_plan`."""

    def __init__(
        self, taxonomy: Taxonomy, cells: Sequence[Cell], stances: Sequence[Stance], seed: int
    ) -> None:
        self.cells, self.stances, self.seed = tuple(cells), tuple(stances), seed
        held = taxonomy.held_out.axes
        self.axes = {
            axis: tuple(v for v in values if v not in held.get(axis, ()))
            for axis, values in taxonomy.axes.items()
        }
        self._values = tuple(self.axes.values())
        self._order = np.array(
            fair_order([c.weight for c in cells], random.Random(seed_from("order", seed))),
            dtype=np.int64,
        )
        self._prepare_visits()
        self._prepare_scenarios()
        # The version of the taxonomy, not its hash, so that mending a typo keeps pairs joinable.
        self._pair_salt = f"{taxonomy.name}/{taxonomy.version}/{seed}"

    def _prepare_visits(self) -> None:
        """For each position of a round: which visit to its behaviour it is, and how many a round
        makes."""
        names = list(dict.fromkeys(c.behaviour.id for c in self.cells))
        self._behaviour_of_cell = np.array(
            [names.index(c.behaviour.id) for c in self.cells], dtype=np.int64
        )
        behaviour_at = self._behaviour_of_cell[self._order]
        self._visits_per_round = np.bincount(behaviour_at, minlength=len(names))
        seen = [0] * len(names)
        earlier = []
        for b in behaviour_at.tolist():
            earlier.append(seen[b])
            seen[b] += 1
        self._earlier_visits = np.array(earlier, dtype=np.int64)
        self._behaviours = [
            next(c.behaviour for c in self.cells if c.behaviour.id == name) for name in names
        ]

    def _prepare_scenarios(self) -> None:
        self._situations = np.array([len(b.situations) for b in self._behaviours], dtype=np.int64)
        self._sizes = [len(values) for values in self._values]
        product = int(np.prod(np.array(self._sizes, dtype=object)))
        self._combinations = self._situations * product
        self._start = np.array(
            [
                random.Random(seed_from("start", self.seed, b.id)).randrange(int(total))
                for b, total in zip(self._behaviours, self._combinations, strict=True)
            ],
            dtype=np.int64,
        )

    @property
    def scenarios(self) -> int:
        """How many distinct scenarios the plan can draw on."""
        return int(self._combinations.sum())

    def check_count(self, n: int) -> None:
        """Refuse a count that cannot be met exactly."""
        k = len(self.stances)
        if n % k:
            raise UserError(
                f"{n} documents cannot be divided among {k} sibling stances",
                field="n",
                remedy=f"Ask for {n - n % k or k} or {n + k - n % k}.",
            )

    def shard(self, n: int, k: int, of: int) -> range:
        """Return the slots of shard `k` of `of`, from 0: whole sibling groups."""
        self.check_count(n)
        units, group = n // len(self.stances), len(self.stances)
        return range(units * k // of * group, units * (k + 1) // of * group)

    def quotas(self, slots: range) -> dict[tuple[Stance, str, str], int]:
        """Return how many of `slots` fall on each (stance, behaviour, style) cell."""
        group, round_ = len(self.stances), len(self._order)
        counts: dict[tuple[Stance, str, str], int] = {}
        for position, stance in enumerate(self.stances):
            first = -(-(slots.start - position) // group)
            last = -(-(slots.stop - position) // group)
            whole, rest = divmod(max(last - first, 0), round_)
            per_cell = whole * np.bincount(self._order, minlength=len(self.cells))
            tail = self._order[(first + np.arange(rest)) % round_]
            per_cell = per_cell + np.bincount(tail, minlength=len(self.cells))
            for cell, count in zip(self.cells, per_cell.tolist(), strict=True):
                counts[stance, cell.behaviour.id, cell.style] = count
        return counts

    def slot(self, index: int) -> Slot:
        """Return slot `index`, in constant time."""
        return next(self.slots(range(index, index + 1)))

    def slots(self, indices: range) -> Iterator[Slot]:
        """Yield the slots of a range in order, in bounded memory."""
        group = len(self.stances)
        for start in range(indices.start, indices.stop, BLOCK * group):
            stop = min(start + BLOCK * group, indices.stop)
            yield from self._block(start, stop)

    def _block(self, start: int, stop: int) -> Iterator[Slot]:
        group, stances, cells, values = len(self.stances), self.stances, self.cells, self._values
        first_unit = start // group
        units = np.arange(first_unit, -(-stop // group), dtype=np.int64)
        cell, visit, situation, digits = self._digits(units)
        rows = zip(cell.tolist(), visit.tolist(), situation.tolist(), digits.tolist(), strict=True)
        salt, index = self._pair_salt, first_unit * group
        for c, v, s, ds in rows:
            behaviour, style = cells[c].behaviour.id, cells[c].style
            axes = tuple([vs[d] for vs, d in zip(values, ds, strict=True)])
            pair = f"{salt}/{behaviour}/{style}/{v}"
            for stance in stances:
                if start <= index < stop:
                    yield Slot(index, stance, behaviour, style, s, axes, pair)
                index += 1

    def _digits(self, units: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Return (cell, visit, situation, axis digits) of each unit."""
        rounds, position = np.divmod(units, len(self._order))
        cell = self._order[position]
        b = self._behaviour_of_cell[cell]
        visit = rounds * self._visits_per_round[b] + self._earlier_visits[position]
        rest = (self._start[b] + visit) % self._combinations[b]
        rest, situation = np.divmod(rest, self._situations[b])
        below = situation.copy()
        digits = np.empty((len(units), len(self._sizes)), dtype=np.int64)
        for i, size in enumerate(self._sizes):
            rest, digit = np.divmod(rest, size)
            digits[:, i] = (digit + below) % size
            below += digit
        return cell, visit, situation, digits


def fair_order(weights: Sequence[int], rng: random.Random) -> list[int]:
    """Return cell numbers, cell c standing `weights[c]` times, so that each prefix of length t
    holds the floor or the ceiling of t·weights[c]/Σweights of every cell.

    The j-th visit of c must fall in [⌊j·D/w⌋, ⌈(j+1)·D/w⌉); earliest deadline first meets every
    window (Baruah et al. 1996, "Proportionate progress", doi:10.1007/BF01940883). Ties are broken
    by `rng`.
    """
    total = sum(weights)
    releases: dict[int, list[tuple[int, float, int]]] = {}
    for c, w in enumerate(weights):
        for j in range(w):
            deadline = -(-(j + 1) * total // w)
            releases.setdefault(j * total // w, []).append((deadline, rng.random(), c))
    ready: list[tuple[int, float, int]] = []
    order = []
    for t in range(total):
        for job in releases.pop(t, ()):
            heapq.heappush(ready, job)
        order.append(heapq.heappop(ready)[2])
    return order


def make_plan(
    taxonomy: Taxonomy,
    styles: dict[str, Style],
    stances: Sequence[Stance],
    seed: int,
    *,
    behaviours: Sequence[str] = (),
    only_styles: Sequence[str] = (),
) -> Plan:
    """Return the plan over what is asked for and not held out.

    Raises UserError for an unknown name, and for a held-out one asked for by name.
    """
    chosen = _choose_behaviours(taxonomy, behaviours)
    names = _choose(only_styles, list(styles), taxonomy.held_out.styles, "style")
    cells = [
        Cell(behaviour, name, behaviour.weight * styles[name].weight)
        for behaviour in chosen
        for name in names
    ]
    return Plan(taxonomy, cells, stances, seed)


def _choose_behaviours(taxonomy: Taxonomy, asked: Sequence[str]) -> list[Behaviour]:
    """Return the behaviours asked for; a domain id stands for its own that are not held out."""
    held = taxonomy.held_out.behaviours
    in_domain = {d.id: [b.id for b in d.behaviours if b.id not in held] for d in taxonomy.domains}
    expanded = [name for item in asked for name in in_domain.get(item, [item])]
    if asked and not expanded:
        raise UserError(
            f"every behaviour of {', '.join(asked)} is held out",
            field="behaviours",
            remedy="Name another domain or behaviour.",
        )
    names = _choose(expanded, list(taxonomy.behaviours), held, "behaviour")
    return [taxonomy.behaviours[name] for name in names]


def _choose(
    asked: Sequence[str], known: Sequence[str], held_out: Sequence[str], what: str
) -> list[str]:
    for name in asked:
        if name not in known:
            raise UserError(
                f"no {what} named {name!r}", field=f"{what}s", remedy=f"Known: {', '.join(known)}."
            )
        if name in held_out:
            raise UserError(
                f"{what} {name!r} is held out for evaluation",
                field=f"{what}s",
                remedy="Name another, or take it out of held_out in the taxonomy.",
            )
    chosen = [n for n in known if n not in held_out and (not asked or n in asked)]
    if not chosen:
        raise UserError(f"every {what} is held out", field=f"{what}s", remedy="Keep one to plan.")
    return chosen


def pair_hash(pair: str) -> str:
    """Return a short opaque id of a pair, for tables that others join on."""
    return content_hash(pair, 16)
