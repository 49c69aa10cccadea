"""Siblings → whether they match in all but the stance: length, paragraphs, headings, dialogue."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from aligngen.generator.audit.documents import AuditDocument
from aligngen.generator.audit.patterns import headings, paragraphs, words
from aligngen.generator.audit.thresholds import Limit, Thresholds, Verdict

__all__ = ["Match", "dialogue_share", "match_siblings"]

LEAST_PAIRS = 20
_QUOTED = re.compile(r"[\"“]([^\"“”\n]{2,})[\"”]")
_SPEAKER = re.compile(r"^(?:\*\*)?[A-Z][\w .'-]{0,30}:(?:\*\*)?\s+(?=\S)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Match:
    """One measure of how like the siblings of two stances are."""

    stances: tuple[str, str]
    measure: str
    """`length_ratio` and `paragraph_ratio`: geometric mean of first over second; else the mean of
    first minus second."""
    pairs: int
    value: float
    low: float
    high: float
    """95 % interval, pairs being independent."""
    quantiles: tuple[float, float, float, float, float]
    """5, 25, 50, 75 and 95 % of the pairs' values."""
    equal: float
    """Share of pairs whose sides are equal; of lengths, within a tenth."""
    verdict: Verdict


def dialogue_share(text: str) -> float:
    """Return the share of words inside quotation marks or on lines that a speaker's name begins."""
    total = len(words(text))
    if not total:
        return 0.0
    spoken = [line for line in text.split("\n") if _SPEAKER.match(line.strip())]
    quoted = _QUOTED.findall("\n".join(line for line in text.split("\n") if line not in spoken))
    return sum(len(words(part)) for part in (*spoken, *quoted)) / total


_MEASURES: dict[str, Callable[[AuditDocument], float]] = {
    "length_ratio": lambda d: float(len(words(d.body))),
    "paragraph_ratio": lambda d: float(len(paragraphs(d.body))),
    "heading_difference": lambda d: float(bool(headings(d.body))),
    "dialogue_difference": lambda d: dialogue_share(d.body),
}


def match_siblings(
    documents: Sequence[AuditDocument], thresholds: Thresholds
) -> dict[tuple[str, str], list[Match] | str]:
    """Compare the siblings of every two stances, or say why they can't be.

    The limits are held against the end of the interval that lies nearer to no difference.
    """
    by_pair: defaultdict[str, dict[str, AuditDocument]] = defaultdict(dict)
    for document in documents:
        by_pair[document.pair].setdefault(document.stance, document)
    stances = sorted({document.stance for document in documents} - {""})
    found: dict[tuple[str, str], list[Match] | str] = {}
    for a, b in combinations(stances, 2):
        pairs = [(one[a], one[b]) for one in by_pair.values() if a in one and b in one]
        pairs = [(x, y) for x, y in pairs if x.body.strip() and y.body.strip()]
        if len(pairs) < LEAST_PAIRS:
            found[a, b] = f"only {len(pairs)} sibling pairs; at least {LEAST_PAIRS} are needed"
        else:
            found[a, b] = [_match((a, b), name, pairs, thresholds) for name in _MEASURES]
    return found


def _match(
    stances: tuple[str, str],
    name: str,
    pairs: list[tuple[AuditDocument, AuditDocument]],
    thresholds: Thresholds,
) -> Match:
    of = _MEASURES[name]
    sides = np.array([(of(x), of(y)) for x, y in pairs])
    ratio = name.endswith("_ratio")
    if ratio:
        sides = np.log(np.maximum(sides, 1))
    difference = sides[:, 0] - sides[:, 1]
    mean = float(difference.mean())
    margin = 1.96 * float(difference.std(ddof=1)) / math.sqrt(len(difference))
    scale: Callable[[float], float] = math.exp if ratio else float
    quantiles = [scale(float(q)) for q in np.quantile(difference, (0.05, 0.25, 0.5, 0.75, 0.95))]
    within = math.log(1.1) if name == "length_ratio" else 1e-9
    limit: Limit = getattr(thresholds, name)
    return Match(
        stances=stances,
        measure=name,
        pairs=len(pairs),
        value=scale(mean),
        low=scale(mean - margin),
        high=scale(mean + margin),
        quantiles=(quantiles[0], quantiles[1], quantiles[2], quantiles[3], quantiles[4]),
        equal=float((np.abs(difference) <= within).mean()),
        verdict=limit.judge(scale(max(0.0, abs(mean) - margin))),
    )
