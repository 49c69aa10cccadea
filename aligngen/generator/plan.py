"""The plan: slot i as a function of (taxonomy, styles, stances, seed).

Nothing is stored and nothing depends on how many documents are asked for, so a run can be extended
and any prefix or range is a valid sample. Four ideas carry it:

- A *unit* is what siblings share: scenario, style, factors, seeds. Slot i is stance `i mod k` of
  unit `i // k`, for k stances.
- Units walk the (behaviour × style) cells in *rounds*. A round visits each cell as often as its
  weight says, in an order in which every prefix gives every cell the floor or the ceiling of its
  share (earliest deadline first over the windows of a fair schedule), so quotas are exact for any
  count, as by largest remainder. Cells of equal urgency take turns along a diagonal, so that a few
  documents already touch every behaviour and every style about equally often.
- The n-th visit to a behaviour takes a scenario of its own: `start + n·stride` modulo the number of
  scenarios that make sense for it, with a stride that has no factor in common with that number. So
  no scenario repeats before all were used. `scenarios.py` numbers them.
- Factors belong to the telling, not to the scenario: their levels rotate over the visits to a
  style, each level equally often, and asking for other levels moves nothing else.
"""

import heapq
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aligngen.core.errors import UserError
from aligngen.core.hashing import content_hash, seed_from
from aligngen.core.schema import Behaviour, Length, Slot, Stance, Style, Taxonomy
from aligngen.generator.scenario_space import ScenarioSpace

__all__ = ["LENGTH", "Cell", "Plan", "make_plan"]

BLOCK = 8192
"""Units computed at a time: enough to amortise numpy, little enough to stay in cache."""

LENGTH = "length"
"""The factor whose levels are a style's length bands, not the taxonomy's."""

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
        self,
        taxonomy: Taxonomy,
        cells: Sequence[Cell],
        stances: Sequence[Stance],
        seed: int,
        levels: Mapping[str, Mapping[str, Sequence[str]]],
    ) -> None:
        """Take the levels that each style may have of each factor, `length` among them."""
        self.cells, self.stances, self.seed = tuple(cells), tuple(stances), seed
        self.styles = tuple(dict.fromkeys(c.style for c in cells))
        self.levels = {style: dict(levels[style]) for style in self.styles}
        self.factors = tuple(f for f in next(iter(self.levels.values())) if f != LENGTH)
        self._order = np.array(
            fair_order([c.weight for c in cells], diagonal(cells, seed)),
            dtype=np.int64,
        )
        self._behaviours = list({c.behaviour.id: c.behaviour for c in cells}.values())
        self._space = ScenarioSpace(taxonomy, self._behaviours)
        self.axes = self._space.axes
        self._behaviour_of_cell = _numbers([c.behaviour.id for c in cells])
        self._style_of_cell = _numbers([c.style for c in cells])
        self._behaviour_visits = _Visits(self._behaviour_of_cell[self._order])
        self._style_visits = _Visits(self._style_of_cell[self._order])
        self._prepare_walks()
        self._rotations = [
            (
                np.array([len(self.levels[s][f]) for s in self.styles], dtype=np.int64),
                np.array([seed_from("factor", seed, f, s) for s in self.styles], dtype=np.uint64),
            )
            for f in (LENGTH, *self.factors)
        ]
        # The version of the taxonomy, not its hash, so that mending a typo keeps pairs joinable.
        self._pair_salt = f"{taxonomy.name}/{taxonomy.version}/{seed}"

    def _prepare_walks(self) -> None:
        """Draw where each behaviour's walk over its scenarios starts, and its stride."""
        starts, strides = [], []
        for behaviour, total in zip(self._behaviours, self._space.totals.tolist(), strict=True):
            rng = random.Random(seed_from("walk", self.seed, behaviour.id))
            starts.append(rng.randrange(total))
            strides.append(coprime(total, rng))
        self._start = np.array(starts, dtype=np.int64)
        self._stride = np.array(strides, dtype=np.int64)

    @property
    def scenarios(self) -> int:
        """How many distinct scenarios the plan can draw on."""
        return int(self._space.totals.sum())

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
        group, stances, cells, axes = len(self.stances), self.stances, self.cells, self._space.names
        first_unit = start // group
        units = np.arange(first_unit, -(-stop // group), dtype=np.int64)
        rounds, position = np.divmod(units, len(self._order))
        cell = self._order[position]
        visit = self._behaviour_visits.count(rounds, position)
        b = self._behaviour_of_cell[cell]
        situation, digits = self._space.decode(b, self._walk(b, visit))
        lengths, *factors = self._levels_of(cell, self._style_visits.count(rounds, position))
        columns = (cell, visit, situation, digits, lengths, np.stack([*factors, cell], axis=1))
        salt, index = self._pair_salt, first_unit * group
        for c, v, s, ds, length, ls in zip(*(x.tolist() for x in columns), strict=True):
            behaviour, style = cells[c].behaviour.id, cells[c].style
            of = self.levels[style]
            told = tuple([of[f][i] for f, i in zip(self.factors, ls, strict=False)])
            scenario = tuple([names[d] for names, d in zip(axes, ds, strict=True)])
            band, pair = Length(of[LENGTH][length]), f"{salt}/{behaviour}/{style}/{v}"
            for stance in stances:
                if start <= index < stop:
                    yield Slot(index, stance, behaviour, style, band, s, scenario, told, v, pair)
                index += 1

    def _walk(self, b: Ints, visit: Ints) -> Ints:
        """Return `(start + visit·stride) mod total` of each behaviour's walk."""
        total, stride = self._space.totals[b], self._stride[b]
        visit, product = np.remainder(visit, total), np.zeros(len(visit), dtype=np.int64)
        for shift in (30, 15, 0):
            # In limbs of 15 bits, so that no product of two numbers below 2**45 overflows.
            limb = (stride >> shift) & 0x7FFF
            product = np.remainder((product << 15) + np.remainder(limb * visit, total), total)
        walked: Ints = np.remainder(self._start[b] + product, total)
        return walked

    def style_visit(self, index: int) -> int:
        """Return how often the plan came to the style of slot `index` before."""
        unit = np.array([index // len(self.stances)], dtype=np.int64)
        rounds, position = np.divmod(unit, len(self._order))
        return int(self._style_visits.count(rounds, position)[0])

    def scatter(self, what: str, number: int, count: int) -> int:
        """Return which of `count` things a number takes: every one once in each run of `count`."""
        rng = random.Random(seed_from("scatter", self.seed, what, count))
        return (rng.randrange(count) + number * coprime(count, rng)) % count

    def first_visits(self, slots: range) -> dict[str, int]:
        """Return the first visit to each behaviour that falls on `slots` or after them."""
        before: dict[str, int] = {cell.behaviour.id: 0 for cell in self.cells}
        for (stance, behaviour, _), count in self.quotas(range(slots.start)).items():
            before[behaviour] += count if stance is self.stances[0] else 0
        return before

    def reach(self, visits: int) -> int:
        """Return how many slots back at most so many earlier visits to any behaviour lie."""
        rounds = -(-visits // self._behaviour_visits.fewest) + 1
        return rounds * len(self._order) * len(self.stances)

    def _levels_of(self, cell: Ints, visit: Ints) -> list[Ints]:
        """Return the number of each factor's level: every level once in each run of visits to a
        style, a run beginning at a level that depends on seed, factor, style and run."""
        style = self._style_of_cell[cell]
        chosen = []
        for counts, salts in self._rotations:
            k = counts[style]
            block = visit // k
            turn = _mix(salts[style] + block.astype(np.uint64)) % k.astype(np.uint64)
            chosen.append((visit + turn.astype(np.int64)) % k)
        return chosen


class _Visits:
    """How often a round came to a thing before each of its positions."""

    def __init__(self, at: Ints) -> None:
        self._at = at
        self._per_round = np.bincount(at)
        self.fewest = int(self._per_round.min())
        seen = [0] * len(self._per_round)
        earlier = []
        for thing in at.tolist():
            earlier.append(seen[thing])
            seen[thing] += 1
        self._earlier = np.array(earlier, dtype=np.int64)

    def count(self, rounds: Ints, position: Ints) -> Ints:
        """Return how many visits came before, at positions of rounds."""
        return rounds * self._per_round[self._at[position]] + self._earlier[position]


def _numbers(names: Sequence[str]) -> Ints:
    """Return each name's number, in order of first appearance."""
    known = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], dtype=np.int64)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return 64 well-mixed bits of each number (splitmix64, doi:10.1145/2714064.2660195)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def coprime(total: int, rng: random.Random) -> int:
    """Return a number below `total` that shares no factor with it, drawn by `rng`."""
    while math.gcd(stride := rng.randrange(max(total, 2)), total) != 1:
        pass
    return stride


def diagonal(cells: Sequence[Cell], seed: int) -> list[int]:
    """Return each cell's turn, along a diagonal of the shuffled behaviour × style grid: any run of
    turns as long as a side takes each of its members once."""
    rng = random.Random(seed_from("order", seed))
    behaviours = list(dict.fromkeys(c.behaviour.id for c in cells))
    styles = list(dict.fromkeys(c.style for c in cells))
    rng.shuffle(behaviours)
    rng.shuffle(styles)
    once_round = math.lcm(len(behaviours), len(styles))
    turns = {}
    for t in range(len(behaviours) * len(styles)):
        style = styles[(t + t // once_round) % len(styles)]
        turns[behaviours[t % len(behaviours)], style] = t
    return [turns[c.behaviour.id, c.style] for c in cells]


def fair_order(weights: Sequence[int], turns: Sequence[int]) -> list[int]:
    """Return cell numbers, cell c standing `weights[c]` times, so that each prefix of length t
    holds the floor or the ceiling of t·weights[c]/Σweights of every cell.

    The j-th visit of c must fall in [⌊j·D/w⌋, ⌈(j+1)·D/w⌉); earliest deadline first meets every
    window (Baruah et al. 1996, "Proportionate progress", doi:10.1007/BF01940883). Of equal
    deadlines the lower of `turns` comes first.
    """
    total = sum(weights)
    releases: dict[int, list[tuple[int, int, int]]] = {}
    for c, w in enumerate(weights):
        for j in range(w):
            deadline = -(-(j + 1) * total // w)
            releases.setdefault(j * total // w, []).append((deadline, turns[c], c))
    ready: list[tuple[int, int, int]] = []
    order = []
    for t in range(total):
        for job in releases.pop(t, ()):
            heapq.heappush(ready, job)
        order.append(heapq.heappop(ready)[2])
    return order


def make_plan(
    taxonomy: Taxonomy,
    styles: Mapping[str, Style],
    stances: Sequence[Stance],
    seed: int,
    *,
    behaviours: Sequence[str] = (),
    only_styles: Sequence[str] = (),
    lengths: Sequence[Length] = (Length.SHORT,),
    factors: Mapping[str, Sequence[str]] = {},
) -> Plan:
    """Return the plan over what is asked for and not held out.

    `factors` names levels to plan in place of a factor's default ones. Raises UserError for an
    unknown name, and for a held-out one asked for by name.
    """
    chosen = _choose_behaviours(taxonomy, behaviours)
    names = _choose(only_styles, list(styles), taxonomy.held_out.styles, "style")
    _check_factors(taxonomy, factors)
    levels = {name: _levels(taxonomy, styles[name], lengths, factors) for name in names}
    _refuse_uncarried(levels, factors)
    cells = [
        Cell(behaviour, name, behaviour.weight * styles[name].weight)
        for behaviour in chosen
        for name in names
    ]
    return Plan(taxonomy, cells, stances, seed, levels)


def _check_factors(taxonomy: Taxonomy, asked: Mapping[str, Sequence[str]]) -> None:
    for name, levels in asked.items():
        if name not in taxonomy.factors:
            raise UserError(
                f"no factor named {name!r}",
                field="factors",
                remedy=f"Known: {', '.join(taxonomy.factors)}.",
            )
        known = taxonomy.factors[name].values
        for level in levels:
            if level not in known:
                raise UserError(
                    f"the factor has no level {level!r}",
                    field=f"factors.{name}",
                    remedy=f"Known: {', '.join(known)}.",
                )


def _levels(
    taxonomy: Taxonomy,
    style: Style,
    lengths: Sequence[Length],
    asked: Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """Return the levels of every factor that a style is planned with; none where it carries none of
    those asked for."""
    levels: dict[str, tuple[str, ...]] = {LENGTH: tuple(length.value for length in lengths)}
    for name, factor in taxonomy.factors.items():
        # A taxonomy of one's own may lack levels that a packaged style speaks of.
        carried = style.factors.get(name, ())
        carries = tuple(v for v in factor.values if v in carried) or tuple(factor.values)
        wanted = asked.get(name) or factor.default
        levels[name] = tuple(level for level in wanted if level in carries)
        if name not in asked:
            levels[name] = levels[name] or carries
    return levels


def _refuse_uncarried(
    levels: Mapping[str, Mapping[str, Sequence[str]]], asked: Mapping[str, Sequence[str]]
) -> None:
    """Refuse levels that a planned style cannot carry, and name the styles that can."""
    for factor in asked:
        unable = [style for style, of in levels.items() if not of[factor]]
        if unable:
            able = [style for style in levels if style not in unable]
            remedy = "No planned style can."
            if able:
                remedy = "Plan those that can: " + " ".join(f"--style {name}" for name in able)
            raise UserError(
                f"{', '.join(unable)} cannot carry {' or '.join(asked[factor])}",
                field=f"factors.{factor}",
                remedy=remedy,
            )


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
