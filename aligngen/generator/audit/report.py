"""A corpus → its audit: what is over-represented, what gives the stance away, how varied it is."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Taxonomy
from aligngen.generator.audit import diversity
from aligngen.generator.audit.documents import (
    SAMPLED_CHARS,
    AuditDocument,
    DocumentSource,
    shortened,
)
from aligngen.generator.audit.patterns import batches
from aligngen.generator.audit.repetition import CellPatterns, PatternCounter, count_exactly
from aligngen.generator.audit.sample import GroupSample
from aligngen.generator.audit.shortcut import Probe, probe_stances
from aligngen.generator.audit.siblings import Match, match_siblings
from aligngen.generator.audit.thresholds import Thresholds, Verdict, load_thresholds
from aligngen.generator.audit.variety import Diversity, measure_diversity
from aligngen.generator.audit.vectors import Vectors, sample_vectors
from aligngen.generator.dedup import Embedder

__all__ = [
    "AuditReport",
    "Coverage",
    "NotMeasured",
    "Spread",
    "TaxonomyUsed",
    "audit",
    "scenario_words",
]

SAMPLE = 4000
EMBEDDED = 300
_MOST_VALUES = 100_000


class NotMeasured(NamedTuple):
    """What an audit could not say, and why."""

    what: str
    why: str


class TaxonomyUsed(NamedTuple):
    """Whose words were held to be the scenario's."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Spread:
    """How evenly one axis is filled."""

    axis: str
    values: int
    entropy_bits: float
    evenness: float
    """Entropy over that of equal shares."""
    largest: str
    largest_share: float


class Coverage(NamedTuple):
    """How many combinations of stance, style and behaviour hold documents."""

    filled: int
    possible: int
    """How many the observed values could make."""
    share: float


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Everything an audit found."""

    files: tuple[str, ...]
    documents: int
    by: tuple[str, ...]
    cells: dict[str, int]
    """Documents by cell."""
    coverage: Coverage
    patterns: tuple[CellPatterns, ...]
    sample: int
    """Documents in the seeded sample that the parts below look at."""
    seed: int
    taxonomy: TaxonomyUsed | None
    """The one whose words the probes left out beside those of the columns."""
    probes: tuple[Probe, ...]
    matches: tuple[Match, ...]
    diversity: tuple[Diversity, ...]
    spread: tuple[Spread, ...]
    not_measured: tuple[NotMeasured, ...]
    thresholds: Thresholds

    def verdicts(self) -> Counter[Verdict]:
        """Return how many measures ended in each verdict; `unmeasured` is none."""
        return Counter(
            [
                *(p.verdict for p in self.patterns if p.verdict != "unmeasured"),
                *(p.verdict for p in self.probes),
                *(m.verdict for m in self.matches),
                *(v for d in self.diversity for v in d.verdicts.values()),
            ]
        )

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        counts = self.verdicts()
        return "fail" if counts["fail"] else "warn" if counts["warn"] else "ok"

    def as_json(self) -> dict[str, Json]:
        """Return the report as JSON; numbers that are none become null."""
        plain = {
            f.name: _json(getattr(self, f.name)) for f in fields(self) if f.name != "thresholds"
        }
        return {
            "verdict": self.verdict,
            "verdicts": {str(v): n for v, n in self.verdicts().items()},
            **plain,
            "thresholds": self.thresholds.model_dump(),
        }


def audit(
    source: DocumentSource,
    *,
    thresholds: Thresholds | None = None,
    taxonomy: Taxonomy | None = None,
    sample: int = SAMPLE,
    embedded: int = EMBEDDED,
    seed: int = 0,
    embedder: Embedder | None = None,
) -> AuditReport:
    """Audit a corpus, reading it twice; memory does not grow with it.

    `sample` documents, whole sibling groups, are drawn by `seed` for the probe, the comparison of
    siblings and diversity, at most 50,000 characters of each; `taxonomy` adds the poles of
    behaviours to the words of the scenario. Raises UserError where there is no document.
    """
    thresholds = thresholds or load_thresholds()
    reading = _read(source, thresholds, sample, seed)
    if not reading.documents:
        raise UserError("holds no document", file=source.files[0], remedy="Name another file.")
    ignored = frozenset(thresholds.ignored_names)
    patterns = count_exactly(batches(source.documents(), ignored), reading.counter)
    # In an order that does not depend on the order of the files.
    groups = reading.sample.groups().values()
    drawn = [d for group in groups for d in sorted(group, key=lambda d: (d.stance, d.id))]
    vectors = sample_vectors(drawn, source.ledger, most_embedded=embedded, embedder=embedder)
    missing = _missing(source, drawn, reading)
    if len(vectors.rows) < 2:
        why = "fewer than two vectors; embed more documents with --embed"
        missing.append(NotMeasured("diversity by meaning", why))
    found = probe_stances(
        drawn,
        thresholds,
        more=scenario_words(taxonomy) if taxonomy else None,
        seed=seed,
    )
    matched = match_siblings(drawn, thresholds)
    missing += [NotMeasured(_between("shortcut probe", *s), w) for s, w in found.items()
                if isinstance(w, str)]  # fmt: skip
    missing += [NotMeasured(_between("sibling match", *s), w) for s, w in matched.items()
                if isinstance(w, str)]  # fmt: skip
    return AuditReport(
        files=tuple(map(str, source.files)),
        documents=reading.documents,
        by=source.by,
        cells={k: n for k, n in sorted(reading.counter.cells.items()) if k},
        coverage=_coverage(reading.combinations),
        patterns=tuple(sorted(patterns, key=_order)),
        sample=len(drawn),
        seed=seed,
        taxonomy=TaxonomyUsed(taxonomy.name, taxonomy.version) if taxonomy else None,
        probes=tuple(p for p in found.values() if isinstance(p, Probe)),
        matches=tuple(m for p in matched.values() if not isinstance(p, str) for m in p),
        diversity=_diversity(drawn, vectors, thresholds) if drawn else (),
        spread=_spreads(reading),
        not_measured=tuple(missing),
        thresholds=thresholds,
    )


def scenario_words(taxonomy: Taxonomy) -> dict[str, str]:
    """Return what a taxonomy says of each behaviour, axis value and factor level.

    Keyed `behaviour/ID`, `AXIS/VALUE` and `FACTOR/LEVEL`, as documents' traits are.
    """
    told = {
        f"behaviour/{b.id}": f"{b.name} {b.definition} {b.aligned} {b.misaligned}"
        for b in taxonomy.behaviours.values()
    }
    for name, axis in taxonomy.axes.items():
        told |= {f"{name}/{value}": text for value, text in axis.values.items()}
    for name, factor in taxonomy.factors.items():
        for level, value in factor.values.items():
            told[f"{name}/{level}"] = " ".join((value.text, *value.for_stance.values()))
    return told


class _Reading:
    """What the first reading collects."""

    def __init__(self, thresholds: Thresholds, sample: int, seed: int) -> None:
        self.documents = 0
        self.long = 0
        """Documents longer than a sample holds."""
        self.counter = PatternCounter(thresholds)
        self.sample = GroupSample[AuditDocument](sample, seed)
        self.traits: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.too_many: set[str] = set()
        self.combinations = Counter[tuple[str, str, str]]()

    def note(self, document: AuditDocument) -> None:
        self.documents += 1
        self.long += len(document.text) > SAMPLED_CHARS
        self.sample.add(document.pair, shortened(document))
        traits = dict(document.traits)
        style, behaviour = traits.get("doc_type", ""), traits.get("behaviour", "")
        if len(self.combinations) < _MOST_VALUES:
            self.combinations[document.stance, style, behaviour] += 1
        for axis, value in document.traits:
            counts = self.traits[axis]
            if axis not in self.too_many:
                counts[value] += 1
            if len(counts) > _MOST_VALUES:
                self.too_many.add(axis)
                counts.clear()


def _read(source: DocumentSource, thresholds: Thresholds, sample: int, seed: int) -> _Reading:
    reading = _Reading(thresholds, sample, seed)

    def noted() -> Iterator[AuditDocument]:
        for document in source.documents():
            reading.note(document)
            yield document

    for batch in batches(noted(), frozenset(thresholds.ignored_names)):
        reading.counter.add(batch)
    for axis in reading.too_many:
        del reading.traits[axis]
    return reading


def _missing(
    source: DocumentSource, drawn: Sequence[AuditDocument], reading: _Reading
) -> list[NotMeasured]:
    """Name what has no column, and what the bounds leave unseen."""
    missing: list[NotMeasured] = []
    stances = {d.stance for d in drawn} - {""}
    if not source.by:
        missing.append(NotMeasured("cells", "no columns stance and doc_type; name some with --by"))
    if not drawn:
        missing.append(NotMeasured("sample", "one sibling group is larger than the sample"))
    elif not stances:
        missing.append(NotMeasured("shortcut probe and siblings", "no column stance"))
    elif len(stances) == 1:
        why = f"the only stance is {min(stances)}"
        missing.append(NotMeasured("shortcut probe and siblings", why))
    missing += _too_few(reading)
    if reading.long:
        what = f"ends of {reading.long:,} long documents in the sample"
        missing.append(NotMeasured(what, f"after {SAMPLED_CHARS:,} characters"))
    for axis in sorted(reading.too_many):
        missing.append(NotMeasured(f"spread of {axis}", f"more than {_MOST_VALUES:,} values"))
    if len(reading.combinations) >= _MOST_VALUES:
        missing.append(NotMeasured("filled cells", f"at least {_MOST_VALUES:,} cells"))
        reading.combinations.clear()
    return missing


def _too_few(reading: _Reading) -> list[NotMeasured]:
    """Name the cells, or the corpus, of too few documents for a verdict on patterns."""
    least = reading.counter.thresholds.least_documents
    if reading.documents < least:
        return [NotMeasured("patterns", f"fewer than {least} documents")]
    few = sum(n < least for n in reading.counter.cells.values())
    why = f"fewer than {least} documents in each"
    return [NotMeasured(f"patterns of {few:,} cells", why)] if few else []


def _between(what: str, a: str, b: str) -> str:
    return f"{what}, {a} against {b}"


def _coverage(combinations: Mapping[tuple[str, str, str], int]) -> Coverage:
    possible = math.prod(len({cell[i] for cell in combinations}) for i in range(3))
    return Coverage(len(combinations), possible, diversity.coverage(len(combinations), possible))


def _spreads(reading: _Reading) -> tuple[Spread, ...]:
    """Return the spread over cells and along every axis."""
    cells = Counter({name: n for name, n in reading.counter.cells.items() if name})
    axes = sorted(reading.traits.items())
    return tuple(_spread(axis, counts) for axis, counts in [("cell", cells), *axes] if counts)


def _spread(axis: str, counts: Counter[str]) -> Spread:
    largest, most = counts.most_common(1)[0]
    bits, evenness = diversity.entropy(counts), diversity.normalised_entropy(counts)
    return Spread(axis, len(counts), bits, evenness, largest, most / counts.total())


def _diversity(
    drawn: Sequence[AuditDocument], vectors: Vectors, thresholds: Thresholds
) -> tuple[Diversity, ...]:
    stances = sorted({d.stance for d in drawn} - {""})
    parts = ["", *stances] if len(stances) > 1 else [""]
    return tuple(measure_diversity(drawn, vectors, thresholds, of) for of in parts)


def _order(patterns: CellPatterns) -> tuple[int, bool, float, str, str]:
    rank = {"fail": 0, "warn": 1, "ok": 2, "unmeasured": 3}[patterns.verdict]
    top = patterns.findings[0].share if patterns.findings else 0.0
    return rank, bool(patterns.cell), -top, patterns.kind, patterns.cell


def _json(value: object) -> Json:
    """Return a value of records as JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return _json(asdict(value))
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _json(value._asdict())
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"no JSON for {type(value).__name__}")
