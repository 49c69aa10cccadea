"""A file of records → what the checks that need no model find in it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from aligngen.core.config import DedupConfig
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Taxonomy
from aligngen.generator.scenarios.checks import Scores, faults, measure
from aligngen.generator.scenarios.config import CheckConfig
from aligngen.generator.scenarios.reading import BadRecord, ScenarioRecord, read_records
from aligngen.generator.scenarios.records import TopicMap
from aligngen.generator.scenarios.twins import Twins

__all__ = ["Finding", "RecordAudit", "audit_records"]


@dataclass(slots=True)
class Finding:
    """One kind of fault."""

    records: int = 0
    first: str = ""
    """Where it stands first, and what was measured there."""


@dataclass(slots=True)
class RecordAudit:
    """What stands in a file. A record with several faults counts in each of them, and once in
    `faulty`: read = bad + faulty + clean."""

    read: int = 0
    bad: int = 0
    """Rows that are no records."""
    faulty: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    misaligned_at: list[int] = field(default_factory=lambda: [0, 0])
    aligned_longer: int = 0
    topics: int = 0
    topics_known: int = 0
    """Occurrences of topic tags, and of those that the taxonomy knows."""
    mean: dict[str, float] = field(default_factory=dict)
    """Mean of each score over the records that have it."""

    @property
    def clean(self) -> int:
        """Records without a fault."""
        return self.read - self.bad - self.faulty

    def as_json(self) -> dict[str, Json]:
        """Return everything as JSON."""
        return {
            "read": self.read,
            "bad": self.bad,
            "faulty": self.faulty,
            "clean": self.clean,
            "findings": {
                reason: {"records": found.records, "first": found.first}
                for reason, found in self.findings.items()
            },
            "misaligned_at": self.misaligned_at,
            "aligned_longer": self.aligned_longer,
            "topics": self.topics,
            "topics_known": self.topics_known,
            "mean": self.mean,
        }


def audit_records(
    source: str, taxonomy: Taxonomy, checks: CheckConfig, dedup: DedupConfig
) -> RecordAudit:
    """Check every record of what `read_records` takes, streaming; memory grows with dedup's index
    alone (about 1 KB a record by words). Raises a UserError where there is no row."""
    audit, topics = RecordAudit(), TopicMap(taxonomy)
    twins = Twins(dedup)
    sums: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for row in read_records(source):
        audit.read += 1
        if isinstance(row, BadRecord):
            audit.bad += 1
            _find(audit, row.reason.value, f"{row.file}:{row.row}: {row.detail}")
            continue
        scores = measure(row, grounded=not _is_of_a_cell(row, taxonomy))
        found = [(fault.reason, fault.detail) for fault in faults(row, scores, checks)]
        if twin := twins.find(row.question_id, row):
            score = "" if twin.score is None else f", {twin.score:.3f}"
            found.append((twin.reason, f"{twin.detail}{score}"))
        audit.faulty += bool(found)
        for reason, detail in dict(found).items():
            _find(audit, reason, f"row {row.row}, {row.question_id}: {detail}")
        _count(audit, row, topics)
        _add(scores, sums, counts)
    if not audit.read:
        raise UserError("has no rows", file=source, remedy="Name another file.")
    audit.mean = {name: round(sums[name] / counts[name], 3) for name in counts}
    audit.findings = dict(sorted(audit.findings.items(), key=lambda item: -item[1].records))
    return audit


def _is_of_a_cell(record: ScenarioRecord, taxonomy: Taxonomy) -> bool:
    """Return whether a record grew from a taxonomy's situation, in whose words it need not be."""
    behaviour = taxonomy.behaviours.get(record.behaviour)
    return behaviour is not None and record.passage in behaviour.situations


def _find(audit: RecordAudit, reason: str, where: str) -> None:
    found = audit.findings.setdefault(reason, Finding(first=where))
    found.records += 1


def _count(audit: RecordAudit, record: ScenarioRecord, topics: TopicMap) -> None:
    audit.misaligned_at[record.misaligned_choice] += 1
    audit.aligned_longer += len(record.aligned.split()) > len(record.misaligned.split())
    audit.topics += len(record.topics)
    audit.topics_known += sum(topics.find(topic) is not None for topic in record.topics)


def _add(scores: Scores, sums: dict[str, float], counts: Counter[str]) -> None:
    for name, value in scores._asdict().items():
        if value is not None:
            sums[name] += value
            counts[name] += 1
