"""Sibling documents → how well words outside the scenario tell their stances apart.

Where a bag of words that knows nothing of the scenario predicts the stance, a model can learn the
words in place of the behaviour.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.generator.audit.documents import AuditDocument
from aligngen.generator.audit.patterns import words
from aligngen.generator.audit.thresholds import Limit, Thresholds, Verdict

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Auc",
    "Feature",
    "Probe",
    "bag_of_words",
    "clustered_auc",
    "grouped_folds",
    "probe_stances",
    "shortcut_probe",
    "stem",
]

FOLDS = 5
LEAST_GROUPS = 20
_FEATURES = 20_000
_LEAST_FREQUENCY = 3
_RESAMPLES = 500
_SHOWN = 12


class Auc(NamedTuple):
    """Area under the ROC curve with its 95 % interval."""

    value: float
    low: float
    high: float


class Feature(NamedTuple):
    """A word or two that give a stance away."""

    feature: str
    weight: float
    """Of the logistic regression over rows of length 1; its sign is the side."""
    documents: tuple[int, int]
    """How many documents of either stance hold it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a bag of words knows of two stances."""

    stances: tuple[str, str]
    siblings: bool
    """Whether every document has its sibling in the sample."""
    groups: int
    documents: int
    auc: Auc
    permuted: Auc
    """The same with the stances of siblings exchanged at random: what chance looks like."""
    ordered: float | None
    """Share of sibling pairs whose sides are told apart, ties by half; 0.5 is chance."""
    verdict: Verdict
    features: dict[str, tuple[Feature, ...]] = field(default_factory=dict)
    """By stance, the strongest first."""


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return a word without the commonest endings: enough to know a scenario's word again."""
    for ending in ("ing", "ed", "es", "ly", "'s", "’s", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word.removesuffix("e") if len(word) > 4 else word


def bag_of_words(document: AuditDocument, more: str = "") -> set[str]:
    """Return the words and neighbouring pairs of words that are not the scenario's.

    The scenario's words are those of its columns and of `more`, in any of their forms. A pair that
    one of them parts is none.
    """
    scenario = {stem(word) for word in words(f"{document.scenario_text} {more}")}
    kept = ["" if stem(word) in scenario else word for word in words(document.text)]
    pairs = {f"{a} {b}" for a, b in pairwise(kept) if a and b}
    return pairs | set(kept) - {""}


def grouped_folds(groups: Sequence[str], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each row; rows of one group share theirs, and groups are dealt evenly."""
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    fold = {name: i % folds for i, name in enumerate(names)}
    return np.array([fold[group] for group in groups], dtype=np.int64)


def clustered_auc(
    scores: NDArray[np.float64],
    labels: NDArray[np.bool_],
    groups: Sequence[str],
    folds: NDArray[np.int64],
    seed: int = 0,
) -> Auc:
    """Return the AUC over pairs of rows within a fold, its interval by resampling groups.

    Scores of different folds come from different models and are not compared. AUC is the
    probability that a positive row outranks a negative one (Hanley and McNeil 1982, Radiology
    143:29–36), ties by half; whole groups are drawn with replacement 500 times, since siblings are
    not independent (Field and Welsh 2007, J. R. Statist. Soc. B 69:369–390). NaN where no fold has
    both labels.
    """
    names, cluster = np.unique(np.array(groups), return_inverse=True)
    parts = [_ranked(scores, labels, folds == fold) for fold in np.unique(folds)]
    value = _auc(parts, np.ones(len(scores)))
    generator = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(_RESAMPLES):
        often = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        drawn.append(_auc(parts, often[cluster].astype(np.float64)))
    known = [one for one in drawn if not np.isnan(one)]
    low, high = np.quantile(known, (0.025, 0.975)) if known else (np.nan, np.nan)
    return Auc(value, float(low), float(high))


class _Ranked(NamedTuple):
    rows: NDArray[np.int64]
    ranks: NDArray[np.int64]
    """Dense rank of each row's score."""
    positive: NDArray[np.bool_]


def _ranked(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> _Ranked:
    rows = np.flatnonzero(chosen)
    return _Ranked(rows, np.unique(scores[rows], return_inverse=True)[1], labels[rows])


def _auc(parts: Sequence[_Ranked], weights: NDArray[np.float64]) -> float:
    won = fought = 0.0
    for rows, ranks, positive in parts:
        weight = weights[rows]
        ups = np.bincount(ranks, weight * positive)
        downs = np.bincount(ranks, weight * ~positive)
        won += float((ups * (np.cumsum(downs) - downs / 2)).sum())
        fought += float(ups.sum() * downs.sum())
    return won / fought if fought else float("nan")


def shortcut_probe(
    documents: Sequence[AuditDocument],
    stances: tuple[str, str],
    limit: Limit,
    *,
    more: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Probe | str:
    """Return how well words outside the scenario tell two stances apart, or why it is not known.

    A logistic regression over the presence of words and word pairs (at least 3 documents, the
    20,000 most frequent, rows of length 1), cross-validated in 5 folds that never part the
    documents of one scenario. A longer side holds more words and shows by that as well: see the
    match of siblings. Siblings alone are used where there are 20 scenarios with both stances.
    `more` says which further words belong to the scenario, by `TRAIT/VALUE`: of a behaviour both
    poles, of an axis value its phrase.
    """
    chosen = [d for d in documents if d.stance in stances]
    return _probe(chosen, _bags(chosen, more or {}), stances, limit, seed)


def _probe(
    documents: Sequence[AuditDocument],
    bags: Sequence[list[str]],
    stances: tuple[str, str],
    limit: Limit,
    seed: int,
) -> Probe | str:
    data = _dataset(documents, bags, stances)
    told = zip(data.groups, data.labels, strict=True)
    scenarios = Counter(label for _, label in set(told))
    few, stance = min((scenarios[y], s) for y, s in zip((True, False), stances, strict=True))
    if few < LEAST_GROUPS:
        return f"only {few} scenarios of the stance {stance}; at least {LEAST_GROUPS} are needed"
    vocabulary = _vocabulary(data.bags)
    if not vocabulary:
        return "no word outside the scenarios stands in three documents"
    matrix = _matrix(data.bags, vocabulary)
    folds = grouped_folds(data.groups, FOLDS, seed)
    scores = _scores(matrix, data.labels, folds)
    auc = clustered_auc(scores, data.labels, data.groups, folds, seed)
    if np.isnan(auc.value):
        return "no fold holds both stances"
    mixed = _permuted(data, seed)
    control = clustered_auc(_scores(matrix, mixed, folds), mixed, data.groups, folds, seed)
    return Probe(
        stances=stances,
        siblings=data.siblings,
        groups=len(set(data.groups)),
        documents=len(data.bags),
        auc=auc,
        permuted=control,
        ordered=_ordered(scores, data) if data.siblings else None,
        verdict=limit.judge(auc.low),
        features=_features(matrix, data.labels, vocabulary, stances),
    )


def probe_stances(
    documents: Sequence[AuditDocument],
    thresholds: Thresholds,
    *,
    more: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], Probe | str]:
    """Probe every two stances among the documents."""
    stances = sorted({document.stance for document in documents} - {""})
    bags = _bags(documents, more or {})
    found: dict[tuple[str, str], Probe | str] = {}
    for pair in combinations(stances, 2):
        rows = [i for i, document in enumerate(documents) if document.stance in pair]
        chosen = [documents[i] for i in rows]
        found[pair] = _probe(
            chosen, [bags[i] for i in rows], pair, thresholds.shortcut_limit(pair), seed
        )
    return found


def _bags(documents: Sequence[AuditDocument], more: Mapping[str, str]) -> list[list[str]]:
    """Return the features of each document that stand in enough documents."""
    frequency = Counter[str]()
    for document in documents:
        frequency.update(bag_of_words(document, _told(document, more)))
    common = {f: f for f, n in frequency.items() if n >= _LEAST_FREQUENCY}
    del frequency
    return [[common[f] for f in bag_of_words(d, _told(d, more)) if f in common] for d in documents]


def _told(document: AuditDocument, more: Mapping[str, str]) -> str:
    return " ".join(more.get(f"{name}/{value}", "") for name, value in document.traits)


@dataclass(frozen=True, slots=True)
class _Data:
    bags: list[list[str]]
    labels: NDArray[np.bool_]
    """True: the first stance."""
    groups: list[str]
    pairs: list[str]
    siblings: bool


def _dataset(
    documents: Sequence[AuditDocument], bags: Sequence[list[str]], stances: tuple[str, str]
) -> _Data:
    told: defaultdict[str, set[str]] = defaultdict(set)
    for document in documents:
        told[document.pair].add(document.stance)
    both = [i for i, d in enumerate(documents) if len(told[d.pair]) == 2]
    siblings = len({documents[i].scenario for i in both}) >= LEAST_GROUPS
    rows = both if siblings else list(range(len(documents)))
    chosen = [documents[i] for i in rows]
    return _Data(
        [bags[i] for i in rows],
        np.array([d.stance == stances[0] for d in chosen], dtype=bool),
        [d.scenario for d in chosen],
        [d.pair for d in chosen],
        siblings,
    )


def _vocabulary(bags: Sequence[list[str]]) -> dict[str, int]:
    frequency = Counter(feature for bag in bags for feature in bag)
    common = [(n, f) for f, n in frequency.items() if n >= _LEAST_FREQUENCY]
    common.sort(key=lambda one: (-one[0], one[1]))
    return {feature: i for i, (_, feature) in enumerate(common[:_FEATURES])}


def _matrix(bags: Sequence[list[str]], vocabulary: Mapping[str, int]) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    rows = [sorted(vocabulary[f] for f in bag if f in vocabulary) for bag in bags]
    sizes = [len(row) for row in rows]
    columns = np.array([c for row in rows for c in row], dtype=np.int32)
    # Rows of length 1, as for any linear text classifier: long documents must not rule the fit.
    values = np.repeat([1 / np.sqrt(max(1, n)) for n in sizes], sizes)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    return csr_matrix((values, columns, edges), shape=(len(bags), len(vocabulary)))


def _fit(matrix: "csr_matrix", labels: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0, solver="liblinear", random_state=0)
    model.fit(matrix, labels)
    return model.coef_[0], float(model.intercept_[0])


def _scores(
    matrix: "csr_matrix", labels: NDArray[np.bool_], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return each row's score by a model that saw none of its fold."""
    scores = np.zeros(len(labels))
    for fold in np.unique(folds):
        test = folds == fold
        if len(set(labels[~test])) == 2:
            weights, offset = _fit(matrix[~test], labels[~test])
            scores[test] = matrix[test] @ weights + offset
    # Rounding keeps identical documents tied, whatever the order of summation.
    rounded: NDArray[np.float64] = np.round(scores, 9)
    return rounded


def _permuted(data: _Data, seed: int) -> NDArray[np.bool_]:
    """Return labels exchanged among siblings; without siblings, among all documents."""
    generator = np.random.default_rng(seed)
    labels = data.labels.copy()
    if not data.siblings:
        return generator.permutation(labels)
    members: defaultdict[str, list[int]] = defaultdict(list)
    for row, pair in enumerate(data.pairs):
        members[pair].append(row)
    for rows in members.values():
        labels[rows] = generator.permutation(labels[rows])
    return labels


def _ordered(scores: NDArray[np.float64], data: _Data) -> float:
    sides: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for score, label, pair in zip(scores, data.labels, data.pairs, strict=True):
        sides[pair][0 if label else 1].append(float(score))
    wins = [(np.sign(a - b) + 1) / 2 for up, down in sides.values() for a in up for b in down]
    return float(np.mean(wins))


def _features(
    matrix: "csr_matrix",
    labels: NDArray[np.bool_],
    vocabulary: Mapping[str, int],
    stances: tuple[str, str],
) -> dict[str, tuple[Feature, ...]]:
    weights, _ = _fit(matrix, labels)
    held = matrix > 0
    first = np.asarray(held[labels].sum(axis=0)).ravel()
    second = np.asarray(held[~labels].sum(axis=0)).ravel()
    names = list(vocabulary)
    order = np.argsort(weights, kind="stable")
    sides = {stances[0]: order[::-1][:_SHOWN], stances[1]: order[:_SHOWN]}
    return {
        stance: tuple(
            Feature(names[i], round(float(weights[i]), 3), (int(first[i]), int(second[i])))
            for i in rows
            if (weights[i] > 0) == (stance == stances[0]) and weights[i] != 0
        )
        for stance, rows in sides.items()
    }
