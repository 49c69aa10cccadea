"""Samples of documents → their diversity, and the diversity of two corpora at equal count."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.generator.audit import diversity
from aligngen.generator.audit.documents import AuditDocument, DocumentSource, shortened
from aligngen.generator.audit.patterns import gram_keys, word_codes, words
from aligngen.generator.audit.sample import GroupSample
from aligngen.generator.audit.thresholds import Thresholds, Verdict
from aligngen.generator.audit.vectors import Vectors, sample_vectors
from aligngen.generator.dedup import Embedder

__all__ = ["Comparison", "Diversity", "Ratio", "compare", "measure_diversity"]

DISTINCT = (1, 2, 3, 4)
DISTINCT_WORDS = 100_000
"""Words that distinct-n looks at, so that larger samples don't score lower."""
COMPARED = 2000
_HALVES = 40
_REPEATED = 4


@dataclass(frozen=True, slots=True)
class Diversity:
    """How varied a sample of documents is."""

    of: str
    """A stance; empty: all of them."""
    documents: int
    distinct: dict[str, float]
    """distinct-n of the first `distinct_words` words, for n from 1 to 4."""
    distinct_words: int
    compression_ratio: float
    self_repetition: float
    vectors: int
    vectors_from: str
    vendi: float | None
    """Effective count of centred vectors."""
    vendi_uncentred: float | None
    nearest: diversity.NearestCosines | None
    verdicts: dict[str, Verdict]


def measure_diversity(
    documents: Sequence[AuditDocument], vectors: Vectors, thresholds: Thresholds, of: str = ""
) -> Diversity:
    """Return the diversity of the documents, or of those of one stance."""
    chosen = [d.text for d in documents if of in ("", d.stance)]
    rows = vectors.rows[[of in ("", d.stance) for d in vectors.documents]]
    measured = len(rows) > 1
    nearest = diversity.nearest_cosines(rows) if measured else None
    ratio = diversity.compression_ratio(chosen)
    verdicts: dict[str, Verdict] = {"compression_ratio": thresholds.compression_ratio.judge(ratio)}
    if nearest is not None:
        verdicts["nearest_cosine"] = thresholds.nearest_cosine.judge(nearest.mean)
    counted = min(DISTINCT_WORDS, sum(len(words(text)) for text in chosen))
    return Diversity(
        of=of,
        documents=len(chosen),
        distinct={str(n): diversity.distinct_n(chosen, n, tokens=counted) for n in DISTINCT},
        distinct_words=counted,
        compression_ratio=ratio,
        self_repetition=diversity.self_repetition(chosen, _REPEATED),
        vectors=len(rows),
        vectors_from=vectors.source,
        vendi=diversity.vendi_score(rows) if measured else None,
        vendi_uncentred=diversity.vendi_score(rows, centred=False) if measured else None,
        nearest=nearest,
        verdicts=verdicts,
    )


@dataclass(frozen=True, slots=True)
class Ratio:
    """One measure of two corpora."""

    measure: str
    first: float
    second: float
    ratio: float
    """First over second."""
    low: float
    high: float
    """Approximate 95 % interval of the ratio; NaN where a measure of some half is 0."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two corpora at equal count."""

    documents: int
    """Of each."""
    vectors: int
    """Of each."""
    ratios: tuple[Ratio, ...]

    def as_json(self) -> dict[str, Json]:
        """Return the comparison as JSON; numbers that are none become null."""
        rows = [{f.name: _finite(getattr(r, f.name)) for f in fields(r)} for r in self.ratios]
        return {"documents": self.documents, "vectors": self.vectors, "ratios": rows}


def _finite(value: str | float) -> Json:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare(
    first: DocumentSource,
    second: DocumentSource,
    count: int | None = None,
    *,
    embedded: int = 300,
    seed: int = 0,
    embedder: Embedder | None = None,
) -> Comparison:
    """Return the ratios of two corpora's diversity over `count` documents drawn from each.

    Without a count: as many as the smaller one has, 2,000 at most. Of a document the first 50,000
    characters count. distinct-n is taken over equally
    many n-grams. The intervals are those of the delete-half jackknife of ln(ratio), 40 random
    halves (Shao and Wu 1989, Ann. Statist. 17:1176–1197). Raises UserError where a corpus has fewer
    documents than asked for, or fewer than four.
    """
    drawn = [_draw(source, count or COMPARED, seed) for source in (first, second)]
    size = count or min(map(len, drawn))
    for source, found in zip((first, second), drawn, strict=True):
        if len(found) < max(size, 4):
            raise UserError(
                f"holds {len(found)} documents, fewer than the {max(size, 4)} to compare",
                file=source.files[0],
                remedy="Ask for fewer, or name a larger corpus.",
            )
    drawn = [found[:size] for found in drawn]
    vectors = [
        sample_vectors(found, source.ledger, most_embedded=embedded, embedder=embedder)
        for found, source in zip(drawn, (first, second), strict=True)
    ]
    if vectors[0].source != vectors[1].source:  # like with like
        vectors = [
            sample_vectors(found, None, most_embedded=embedded, embedder=embedder)
            for found in drawn
        ]
    vectored = min(len(v.rows) for v in vectors)
    sides = [_Side(f, v.rows[:vectored]) for f, v in zip(drawn, vectors, strict=True)]
    return Comparison(size, vectored, _ratios(sides[0], sides[1], seed))


def _draw(source: DocumentSource, count: int, seed: int) -> list[AuditDocument]:
    sample = GroupSample[AuditDocument](count, seed)
    for row, document in enumerate(source.documents()):
        sample.add(f"{row}/{document.id}", shortened(document))
    return [document for group in sample.groups().values() for document in group]


class _Side:
    """A sample, prepared for being measured many times."""

    def __init__(self, documents: Sequence[AuditDocument], rows: NDArray[np.float32]) -> None:
        self.texts = [document.text for document in documents]
        codes = [word_codes(words(text)) for text in self.texts]
        self.grams = {n: [gram_keys(code, n) for code in codes] for n in DISTINCT}
        self.rows = rows


Measure = Callable[[_Side, NDArray[np.int64]], float]


def _repetition(side: _Side, chosen: NDArray[np.int64]) -> float:
    held = [np.unique(side.grams[_REPEATED][i]) for i in chosen]
    owners = np.repeat(np.arange(len(held)), [len(keys) for keys in held])
    _, place, counts = np.unique(np.concatenate(held), return_inverse=True, return_counts=True)
    shared = np.bincount(owners, counts[place] > 1, minlength=len(held))
    return float(np.log1p(shared).mean())


def _vectors(of: Callable[[NDArray[np.float32]], float]) -> Measure:
    return lambda side, chosen: of(side.rows[chosen[chosen < len(side.rows)]])


_MEASURES: dict[str, Measure] = {
    "compression_ratio": lambda s, chosen: diversity.compression_ratio(s.texts[i] for i in chosen),
    "self_repetition": _repetition,
}
_OF_VECTORS: dict[str, Measure] = {
    "vendi": _vectors(diversity.vendi_score),
    "vendi_uncentred": _vectors(lambda rows: diversity.vendi_score(rows, centred=False)),
    "nearest_cosine": _vectors(lambda rows: diversity.nearest_cosines(rows).mean),
}


def _ratios(a: _Side, b: _Side, seed: int) -> tuple[Ratio, ...]:
    size, vectored = len(a.texts), len(a.rows)
    generator = np.random.default_rng(seed)
    whole = np.arange(size)
    # Half of the rows with vectors, so that every measure sees a half.
    halves = [(_half(generator, size, vectored), _half(generator, size, vectored))
              for _ in range(_HALVES)]  # fmt: skip
    measures = _MEASURES | (_OF_VECTORS if vectored >= 4 else {})
    found: list[Ratio] = []
    for n in DISTINCT:
        point = _distinct(a, b, n, whole, whole)
        found.append(_ratio(f"distinct_{n}", point, [_distinct(a, b, n, *h) for h in halves]))
    for name, of in measures.items():
        spread = [(of(a, x), of(b, y)) for x, y in halves]
        found.append(_ratio(name, (of(a, whole), of(b, whole)), spread))
    return tuple(found)


def _half(generator: np.random.Generator, size: int, vectored: int) -> NDArray[np.int64]:
    first = generator.permutation(vectored)[: vectored // 2]
    rest = vectored + generator.permutation(size - vectored)[: (size - vectored) // 2]
    return np.concatenate([first, rest])


def _distinct(
    a: _Side, b: _Side, n: int, x: NDArray[np.int64], y: NDArray[np.int64]
) -> tuple[float, float]:
    left = np.concatenate([a.grams[n][i] for i in x])
    right = np.concatenate([b.grams[n][i] for i in y])
    equal = min(len(left), len(right))
    if not equal:
        return math.nan, math.nan
    return len(np.unique(left[:equal])) / equal, len(np.unique(right[:equal])) / equal


def _ratio(name: str, point: tuple[float, float], halves: list[tuple[float, float]]) -> Ratio:
    value = _divided(*point)
    divided = np.array([_divided(x, y) for x, y in halves])
    if not value > 0 or not (divided > 0).all():
        return Ratio(name, *point, value, math.nan, math.nan)
    spread = np.log(divided)
    # Deleting half makes the factor (n - d) / d of the jackknife variance 1.
    # About the halves' own mean: distinct-n and Vendi of a half are not those of the whole.
    margin = 1.96 * float(spread.std(ddof=1))
    return Ratio(name, *point, value, value * math.exp(-margin), value * math.exp(margin))


def _divided(a: float, b: float) -> float:
    if a == b and not math.isnan(a):
        return 1.0
    return a / b if b else math.nan
