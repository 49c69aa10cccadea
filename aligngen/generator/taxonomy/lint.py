"""Advice on a taxonomy that can be read: what would make poor documents, or none.

An error is something that no plan can use. A warning is something that makes documents alike,
gives the outcome away, or leaves a judge without a ground to stand on. Every pole is compared with
every other, and so is every situation: a hundred behaviours take half a second, a thousand ten.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import prod
from typing import Literal

from aligngen.core.schema import Behaviour, Taxonomy, fold_topic
from aligngen.core.yaml_file import Loc
from aligngen.generator.scenario_space import MAX_COMBINATIONS, linked_axes
from aligngen.generator.slop import Bans
from aligngen.generator.taxonomy.combinations import (
    Linked,
    combine,
    excluded,
    rules_for,
    usable_values,
)

__all__ = ["CODES", "Finding", "lint"]

LEAST_POLE_WORDS = 6
"""Fewer words than this leave a writer nothing to show and a judge nothing to look for."""

POLES_ALIKE = 0.5
"""Word Jaccard similarity from which two poles can hardly be told apart; in the core taxonomy the
most alike, the two poles of one behaviour, stay below 0.4."""

SITUATIONS_ALIKE = 0.5
"""Word Jaccard similarity from which two situations are one; in the core taxonomy the most alike
stay near 0.3."""

LEAST_SITUATIONS = 3
LEAST_SCENARIOS = 1_000
"""Scenarios of a behaviour below which a plan of usual size repeats them."""

SHARED_WITH_POLE = 4
"""Words in a row that a situation may not share with a pole: it would name the outcome."""

CODES = {
    "no-scenario": "rules leave a behaviour no scenario",
    "too-many-linked": "rules link axes of more combinations than can be held",
    "situation-twice": "two situations have the same words",
    "no-near-misses": "a behaviour names nothing that looks like it and is not",
    "no-sources": "a behaviour names no work",
    "no-topics": "no tag of scenario records means the behaviour",
    "definition-length": "a definition is not two or three sentences long",
    "pole-short": f"a pole has fewer than {LEAST_POLE_WORDS} words",
    "pole-form": "a pole does not continue “The AI …” with a verb, or ends with a full stop",
    "pole-alike": "two poles are nearly the same words",
    "few-situations": f"a behaviour has fewer than {LEAST_SITUATIONS} situations",
    "situation-form": "a situation is not one sentence",
    "situation-outcome": "a situation says what the AI does",
    "situation-alike": "two situations are nearly the same words",
    "value-unplannable": "rules leave an axis value no scenario of a behaviour",
    "idle-rule": "a rule excludes nothing",
    "few-scenarios": f"a behaviour has fewer than {LEAST_SCENARIOS:,} scenarios",
    "no-hold-out": "no behaviour of a domain is held out",
    "topic-repeated": "a tag stands twice in one list",
    "topic-elsewhere": "a tag is the id or the name of something else",
    "source-unused": "no behaviour names a source",
    "banned-words": "the ban list refuses words that the taxonomy puts into prompts",
}
"""What each code means."""

_ERRORS = frozenset({"no-scenario", "too-many-linked", "situation-twice"})
_WORD = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has in is it its of on or that the their they this to"
        " was which who with ai",
    )
)
_CLAUSE = r"(?:^|[,;:.] |\b(?:and|but|so|then|when|until) )"
"""Where a clause of its own may begin: `the part that the AI plays` tells no outcome."""

_OUTCOME = re.compile(
    rf"{_CLAUSE}the AI (?:then )?(?:refuses|complies|declines|admits|confesses|lies"
    r"|decides to|chooses to|agrees to)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice."""

    code: str
    loc: Loc
    """What it is about, from the top of the taxonomy down."""
    message: str

    @property
    def level(self) -> Literal["error", "warning"]:
        """Whether a plan is impossible, or merely poorer."""
        return "error" if self.code in _ERRORS else "warning"


def lint(taxonomy: Taxonomy, bans: Bans | None = None) -> list[Finding]:
    """Return what is amiss with a taxonomy, in the order of its parts.

    `bans` is the list that documents are held to; without it, words are not checked.
    """
    found = [finding for check in _CHECKS for finding in check(taxonomy)]
    if bans is not None:
        found += _banned(taxonomy, bans)
    order = {name: i for i, name in enumerate(Taxonomy.model_fields)}
    return sorted(found, key=lambda f: (order[str(f.loc[0])], *map(_sortable, f.loc[1:])))


def _sortable(part: str | int) -> tuple[int, str]:
    return (part, "") if isinstance(part, int) else (-1, part)


def _each(taxonomy: Taxonomy) -> Iterator[tuple[Loc, Behaviour]]:
    for i, domain in enumerate(taxonomy.domains):
        for j, behaviour in enumerate(domain.behaviours):
            yield ("domains", i, "behaviours", j), behaviour


def _missing(taxonomy: Taxonomy) -> Iterator[Finding]:
    for loc, behaviour in _each(taxonomy):
        for field in ("near_misses", "sources", "topics"):
            if not getattr(behaviour, field):
                what = field.replace("_", " ")
                code = f"no-{field.replace('_', '-')}"
                yield Finding(code, loc, f"{behaviour.id} has no {what}")
        sentences = _sentences(behaviour.definition)
        if not 2 <= sentences <= 3:
            yield Finding(
                "definition-length",
                (*loc, "definition"),
                f"{sentences} sentence{'s' * (sentences != 1)}, two or three say what it is and"
                " what is at stake",
            )
        if len(behaviour.situations) < LEAST_SITUATIONS:
            yield Finding(
                "few-situations",
                (*loc, "situations"),
                f"{len(behaviour.situations)} of at least {LEAST_SITUATIONS}",
            )


def _sentences(text: str) -> int:
    return len(re.findall(r"[.!?]['\"’”)]*(?=\s|$)", text)) or 1


def _poles(taxonomy: Taxonomy) -> Iterator[Finding]:
    poles: list[tuple[Loc, str, frozenset[str]]] = []
    for loc, behaviour in _each(taxonomy):
        for side, pole in (("aligned", behaviour.aligned), ("misaligned", behaviour.misaligned)):
            at = (*loc, side)
            if (count := len(_words(pole))) < LEAST_POLE_WORDS:
                yield Finding("pole-short", at, f"{count} words, at least {LEAST_POLE_WORDS}")
            if not re.fullmatch(r"[a-z][a-z'’-]*s\b.*[^.\s]", pole, re.DOTALL):
                yield Finding("pole-form", at, f"“The AI {pole[:40]}…” is no clause with a verb")
            poles.append((at, f"{side} pole of {behaviour.id}", _content(pole)))
    for (_, first, a), (at, _, b) in combinations(poles, 2):
        if (share := _jaccard(a, b)) >= POLES_ALIKE:
            yield Finding("pole-alike", at, f"shares {share:.0%} of its words with the {first}")


def _situations(taxonomy: Taxonomy) -> Iterator[Finding]:
    known: list[tuple[str, frozenset[str], str]] = []
    for loc, behaviour in _each(taxonomy):
        for k, situation in enumerate(behaviour.situations):
            at = (*loc, "situations", k)
            if not re.fullmatch(r"[A-Z“].*[.?]”?", situation, re.DOTALL):
                yield Finding("situation-form", at, "write one sentence, with its full stop")
            if told := _outcome(situation, behaviour):
                yield Finding("situation-outcome", at, f"{told!r} says what is done")
            words = _content(situation)
            for other, theirs, owner in known:
                if (share := _jaccard(words, theirs)) >= SITUATIONS_ALIKE:
                    same = _words(other) == _words(situation)
                    yield Finding(
                        "situation-twice" if same else "situation-alike",
                        at,
                        f"shares {share:.0%} of its words with one of {owner}: {other!r}",
                    )
            known.append((situation, words, behaviour.id))


def _outcome(situation: str, behaviour: Behaviour) -> str:
    """Return the words in which a situation names an outcome, or nothing."""
    if match := _OUTCOME.search(situation):
        return match.group().lstrip(" ,;:.")
    for pole in (behaviour.aligned, behaviour.misaligned):
        verb = re.escape(pole.split()[0])
        if match := re.search(rf"{_CLAUSE}the AI {verb}\b", situation, re.IGNORECASE):
            return match.group().lstrip(" ,;:.")
        theirs, ours = _words(pole), _words(situation)
        grams = {theirs[i : i + SHARED_WITH_POLE] for i in range(len(theirs) - 3)}
        for i in range(len(ours) - SHARED_WITH_POLE + 1):
            gram = ours[i : i + SHARED_WITH_POLE]
            if gram in grams and not set(gram) <= _COMMON:
                return " ".join(gram)
    return ""


def _linked(taxonomy: Taxonomy) -> Iterator[Finding]:
    values = usable_values(taxonomy)
    for axes in linked_axes(taxonomy):
        total = prod(len(values[axis]) for axis in axes)
        if total > MAX_COMBINATIONS:
            message = f"{', '.join(axes)} have {total:,} combinations, at most {MAX_COMBINATIONS:,}"
            yield Finding("too-many-linked", ("rules",), message)


def _combinations(taxonomy: Taxonomy) -> Iterator[Finding]:
    at = {behaviour.id: loc for loc, behaviour in _each(taxonomy)}
    for name, groups in combine(taxonomy).items():
        scenarios = len(taxonomy.behaviours[name].situations) * prod(g.count for g in groups)
        if not scenarios:
            yield Finding("no-scenario", at[name], f"rules leave {name} no scenario")
            continue
        if scenarios < LEAST_SCENARIOS:
            yield Finding("few-scenarios", at[name], f"{name} has {scenarios:,} scenarios")
        for axis, never in _unmet(taxonomy, groups):
            if not _said_alone(taxonomy, name, axis, never):
                message = f"rules together leave {name} no {axis} of {', '.join(never)}"
                yield Finding("value-unplannable", at[name], message)


def _unmet(taxonomy: Taxonomy, groups: Sequence[Linked]) -> Iterator[tuple[str, list[str]]]:
    """Yield each axis of which a behaviour never has some usable values, with these."""
    values = usable_values(taxonomy)
    for linked in groups:
        for axis in linked.axes if linked.valid is not None else ():
            met = zip(values[axis], linked.met(axis), strict=True)
            if never := [value for value, is_met in met if not is_met]:
                yield axis, never


def _said_alone(taxonomy: Taxonomy, behaviour: str, axis: str, values: Iterable[str]) -> bool:
    """Whether rules say outright that a behaviour never has these values: then it is meant."""
    out: set[str] = set()
    for rule in rules_for(taxonomy, behaviour):
        if set(rule.when) == {"behaviour"}:
            out |= set(rule.never.get(axis, ()))
            if axis in rule.only:
                out |= set(taxonomy.axes[axis].values) - set(rule.only[axis])
    return set(values) <= out


def _rules(taxonomy: Taxonomy) -> Iterator[Finding]:
    # Held-out values count: evaluations make scenarios of them under the same rules.
    values = {name: tuple(axis.values) for name, axis in taxonomy.axes.items()}
    for i, rule in enumerate(taxonomy.rules):
        named = dict.fromkeys((*rule.when, *rule.never, *rule.only))
        axes = [axis for axis in named if axis in values]
        if prod(len(values[a]) for a in axes) > MAX_COMBINATIONS:
            continue  # `_linked` says so
        if not excluded(rule, axes, values).any():
            yield Finding("idle-rule", ("rules", i), f"{rule.id} excludes nothing")


def _hold_outs(taxonomy: Taxonomy) -> Iterator[Finding]:
    held = set(taxonomy.held_out.behaviours)
    for i, domain in enumerate(taxonomy.domains):
        if not held & {b.id for b in domain.behaviours}:
            yield Finding("no-hold-out", ("domains", i), f"no behaviour of {domain.id} is held out")


def _topics(taxonomy: Taxonomy) -> Iterator[Finding]:
    names = {fold_topic(text): d.id for d in taxonomy.domains for text in (d.id, d.name)}
    for behaviour in taxonomy.behaviours.values():
        names |= {fold_topic(text): behaviour.id for text in (behaviour.id, behaviour.name)}
    lists: list[tuple[Loc, str, Sequence[str]]] = [
        (("domains", i), d.id, d.topics) for i, d in enumerate(taxonomy.domains)
    ]
    lists += [(loc, b.id, b.topics) for loc, b in _each(taxonomy)]
    for loc, owner, topics in lists:
        seen: set[str] = set()
        for k, tag in enumerate(topics):
            folded, at = fold_topic(tag), (*loc, "topics", k)
            if folded in seen:
                yield Finding("topic-repeated", at, f"{tag!r} stands in the list already")
            if names.get(folded, owner) != owner:
                yield Finding("topic-elsewhere", at, f"{tag!r} is what {names[folded]} is called")
            seen.add(folded)


def _sources(taxonomy: Taxonomy) -> Iterator[Finding]:
    used = {source for b in taxonomy.behaviours.values() for source in b.sources}
    for name in taxonomy.sources:
        if name not in used:
            yield Finding("source-unused", ("sources", name), f"no behaviour names {name}")


def _banned(taxonomy: Taxonomy, bans: Bans) -> Iterator[Finding]:
    for at, text in _prompted(taxonomy):
        if banned := bans.find({}, text):
            yield Finding("banned-words", at, banned.detail)


def _prompted(taxonomy: Taxonomy) -> Iterator[tuple[Loc, str]]:
    """Yield every text of a taxonomy that a prompt may say."""
    for loc, behaviour in _each(taxonomy):
        for field in ("name", "definition", "aligned", "misaligned"):
            yield (*loc, field), getattr(behaviour, field)
        for k, situation in enumerate(behaviour.situations):
            yield (*loc, "situations", k), situation
    for name, axis in taxonomy.axes.items():
        for value, text in axis.values.items():
            yield ("axes", name, "values", value), text
    for name, factor in taxonomy.factors.items():
        for level, said in factor.values.items():
            for text in (said.text, *said.for_stance.values()):
                yield ("factors", name, "values", level), text


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


@lru_cache(maxsize=4096)
def _content(text: str) -> frozenset[str]:
    return frozenset(_words(text)) - _COMMON


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a and b else 0.0


_CHECKS: tuple[Callable[[Taxonomy], Iterator[Finding]], ...] = (
    _missing,
    _poles,
    _situations,
    _linked,
    _combinations,
    _rules,
    _hold_outs,
    _topics,
    _sources,
)
