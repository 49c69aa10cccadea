"""What questions are asked about: passages of a source, or cells of a taxonomy."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aligngen.core.errors import UserError
from aligngen.core.hashing import seed_from
from aligngen.core.schema import Behaviour, Taxonomy
from aligngen.generator.scenario_space import ScenarioSpace
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.language import content_words
from aligngen.generator.scenarios.passages import BadPassage, read_passages

__all__ = ["Source", "allowed_behaviours", "cell_sources", "passage_sources"]


class Source(NamedTuple):
    """One thing to ask about."""

    name: str
    """Question ids begin with it."""
    file: str
    line: int
    number: int
    """Of the passage in its file, or of the cell, from 0."""
    text: str
    """The passage, or the cell's situation."""
    behaviours: tuple[str, ...]
    """What a prompt offers; of a cell, the one that it is of."""
    circumstances: tuple[str, ...] = ()
    is_cell: bool = False
    round: int = 0


def allowed_behaviours(taxonomy: Taxonomy, config: ScenarioConfig) -> tuple[str, ...]:
    """Return the behaviours that a file may be about, in the taxonomy's order."""
    held = set(taxonomy.held_out.behaviours)
    known = {*taxonomy.behaviours, *(domain.id for domain in taxonomy.domains)}
    for name in config.behaviours:
        if name not in known:
            raise UserError(
                f"no behaviour named {name!r}",
                field="behaviours",
                remedy="`aligngen taxonomy show` lists them.",
            )
        if name in held and not config.held_out:
            raise UserError(
                f"{name!r} is held out for evaluation",
                field="behaviours",
                remedy="Make an evaluation set with --held-out, or name another.",
            )
    asked = set(config.behaviours)
    chosen = tuple(
        name
        for name in taxonomy.behaviours
        if (name in held) == config.held_out
        and (not asked or name in asked or taxonomy.domain_of[name] in asked)
    )
    if not chosen:
        raise UserError(
            "no behaviour is left to write about",
            field="behaviours",
            remedy="Name others, or leave --held-out out.",
        )
    return chosen


def passage_sources(
    paths: Sequence[Path], taxonomy: Taxonomy, config: ScenarioConfig
) -> Iterator[Source | BadPassage]:
    """Yield every passage of the sources with the behaviours to offer, again in each round; what is
    no passage is yielded in the first round alone."""
    offers = _Offers([taxonomy.behaviours[n] for n in allowed_behaviours(taxonomy, config)], config)
    for number in range(config.rounds):
        for passage in read_passages(paths, config.words_per_passage):
            if isinstance(passage, BadPassage):
                if number == 0:
                    yield passage
                continue
            # An underscore stands in no file's name, so a round's names are its own.
            name = passage.name if number == 0 else f"{passage.name}_r{number}"
            yield Source(
                name=name,
                file=passage.file,
                line=passage.line,
                number=passage.number,
                text=passage.text,
                behaviours=offers.to(passage.text, name, passage.number),
                round=number,
            )


class _Offers:
    """Which behaviours a prompt lists for a passage."""

    def __init__(self, behaviours: Sequence[Behaviour], config: ScenarioConfig) -> None:
        self._names = [b.id for b in behaviours]
        self._words = [content_words(" ".join(_texts(b))) for b in behaviours]
        self._seed, self._count = config.seed, min(config.offered, len(behaviours))
        frequency = Counter(word for words in self._words for word in words)
        self._weights = {w: math.log(1 + len(behaviours) / n) for w, n in frequency.items()}

    def to(self, text: str, name: str, number: int) -> tuple[str, ...]:
        """Return those that share most with the passage, and some by seed, in a fixed order: with
        the nearest alone, most of a taxonomy would never be offered."""
        words = content_words(text)
        scores = [
            sum(self._weights[w] for w in mine & words) / math.sqrt(len(mine))
            for mine in self._words
        ]
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        near = order[: math.ceil(self._count * 2 / 3)]
        rng = random.Random(seed_from("offer", self._seed, name, number))
        rest = rng.sample(order[len(near) :], self._count - len(near))
        return tuple(self._names[i] for i in sorted((*near, *rest)))


def _texts(behaviour: Behaviour) -> tuple[str, ...]:
    return (
        behaviour.name,
        behaviour.definition,
        behaviour.aligned,
        behaviour.misaligned,
        *behaviour.situations,
    )


def cell_sources(taxonomy: Taxonomy, config: ScenarioConfig) -> Iterator[Source]:
    """Yield cells without end: every behaviour once before any comes again, in seeded order, with
    a situation and circumstances that the taxonomy's rules allow."""
    names = allowed_behaviours(taxonomy, config)
    behaviours = [taxonomy.behaviours[name] for name in names]
    space = ScenarioSpace(taxonomy, behaviours)
    visit = 0
    while True:
        rng = random.Random(seed_from("cells", config.seed, visit))
        for b in rng.sample(range(len(names)), len(names)):
            scenario = rng.randrange(int(space.totals[b]))
            situation, digits = space.decode(np.array([b]), np.array([scenario]))
            values = [
                f"{axis.replace('_', ' ')}: {taxonomy.axes[axis].values[names_of[digit]]}"
                for (axis, names_of), digit in zip(space.axes.items(), digits[0], strict=True)
            ]
            chosen = rng.sample(range(len(values)), min(config.circumstances, len(values)))
            yield Source(
                name=f"{taxonomy.name}-{names[b].replace('.', '-')}",
                file="",
                line=0,
                number=visit,
                text=behaviours[b].situations[int(situation[0])],
                behaviours=(names[b],),
                circumstances=tuple(values[i] for i in sorted(chosen)),
                is_cell=True,
            )
        visit += 1
