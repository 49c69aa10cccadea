"""Scenario records → a taxonomy that a plan can draw on: one behaviour for each record.

Documents are then written for each question with the choice taken and the choice not taken, as in
"Alignment Pretraining" (arXiv 2601.10160). What the core taxonomy holds out stays held out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, content_hash
from aligngen.core.schema import Behaviour, Domain, HeldOut, Taxonomy, fold_topic
from aligngen.generator.scenarios.reading import (
    BadReason,
    BadRecord,
    ScenarioRecord,
    parse_row,
    read_records,
)

__all__ = [
    "MAX_RECORDS",
    "UNMAPPED",
    "BadReason",
    "BadRecord",
    "ImportReport",
    "Place",
    "ScenarioRecord",
    "TopicMap",
    "load_record_taxonomy",
    "parse_row",
    "read_records",
    "records_as_taxonomy",
]

MAX_RECORDS = 50_000
"""Records that a plan holds in memory at most (about 6 KB each); the published set has 4,174."""

UNMAPPED = "unmapped"
"""Domain of records whose topics the taxonomy does not know."""

HELD_OUT_SOURCE = "held_out_source"
HELD_OUT_BEHAVIOUR = "held_out_behaviour"

_NOT_WORD = re.compile(r"[^a-z0-9]+")
_ID_CHARS = 64
_FIRST_PERSON = re.compile(r"^(?:I would|I will|I['’]d|I['’]ll)\s+(?=\w)")


class Place(NamedTuple):
    """Where a topic leads: a domain, and a behaviour of it where the topic means one."""

    domain: str
    behaviour: str = ""


class TopicMap:
    """Free-text topics → places of a taxonomy, by the tags that it lists, its ids and its names."""

    def __init__(self, core: Taxonomy) -> None:
        self._core = core
        self._places: dict[str, Place] = {}
        parts: list[tuple[Behaviour | Domain, Place]]
        parts = [(b, Place(d.id, b.id)) for d in core.domains for b in d.behaviours]
        parts += [(d, Place(d.id)) for d in core.domains]
        # A tag that is listed says more than an id or a name that happens to read the same.
        listed = [(tag, place) for part, place in parts for tag in part.topics]
        named = [(tag, place) for part, place in parts for tag in (part.id, part.name)]
        for tag, place in (*listed, *named):
            self._places.setdefault(fold_topic(tag), place)

    def find(self, topic: str) -> Place | None:
        """Return where one topic leads."""
        return self._places.get(fold_topic(topic))

    def place(self, record: ScenarioRecord) -> Place | None:
        """Return where a record belongs: by its own behaviour, else by the first of its topics that
        means a behaviour, else by the first that means a domain."""
        domain = self._core.domain_of.get(record.behaviour)
        if domain is not None:
            return Place(domain, record.behaviour)
        found = [place for topic in record.topics if (place := self.find(topic))]
        return next((place for place in found if place.behaviour), found[0] if found else None)


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of an import: read = planned + held out + rejected."""

    read: int = 0
    planned: int = 0
    unmapped: int = 0
    """Planned records whose topics lead nowhere."""
    held_out: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    """The first row of each reason, as `FILE:LINE: detail`."""

    def as_json(self) -> dict[str, Json]:
        """Return the counts."""
        return {
            "read": self.read,
            "planned": self.planned,
            "unmapped": self.unmapped,
            "held_out": dict(sorted(self.held_out.items())),
            "rejected": dict(sorted(self.rejected.items())),
            "first": dict(sorted(self.first.items())),
        }

    def __str__(self) -> str:
        """Return the counts in words, with where the first of each reason stands."""
        left_out = [
            f"{reason} {count} (first {self.first.get(reason, '?')})"
            for reason, count in (self.rejected + self.held_out).most_common()
        ]
        planned = f"{self.planned:,} of {self.read:,} planned, {self.unmapped:,} without a domain"
        return "; ".join([planned, *(f"left out: {x}" for x in left_out)])


def load_record_taxonomy(path: str, core: Taxonomy) -> tuple[Taxonomy, ImportReport]:
    """Read scenario records as a taxonomy, and report what became of each row.

    `path` is what `read_records` takes. Raises a UserError where no row can be planned.
    """
    report = ImportReport()
    taxonomy = _as_taxonomy(_good(read_records(path), report), core, report, path)
    return taxonomy, report


def records_as_taxonomy(records: Iterable[ScenarioRecord], core: Taxonomy) -> Taxonomy:
    """Return a taxonomy with one behaviour for each record, in the domains of `core`.

    Records that `core` holds out, by source or by behaviour, are left out. Factors and held-out
    styles are those of `core`; axes there are none, since a record brings its own circumstances.
    """
    return _as_taxonomy(records, core, ImportReport(), "")


def _good(
    rows: Iterable[ScenarioRecord | BadRecord], report: ImportReport
) -> Iterator[ScenarioRecord]:
    for row in rows:
        report.read += 1
        if isinstance(row, ScenarioRecord):
            yield row
        else:
            report.rejected[row.reason.value] += 1
            report.first.setdefault(row.reason.value, f"{row.file}:{row.row}: {row.detail}")


def _as_taxonomy(
    records: Iterable[ScenarioRecord], core: Taxonomy, report: ImportReport, path: str
) -> Taxonomy:
    topics, names = TopicMap(core), _Names()
    groups: dict[str, list[Behaviour]] = {domain.id: [] for domain in core.domains}
    groups[UNMAPPED] = []
    for record in records:
        place = topics.place(record)
        if reason := _held_out(record, place, core.held_out):
            report.held_out[reason] += 1
            report.first.setdefault(reason, f"{path}:{record.row}: {record.question_id}")
            continue
        if report.planned == MAX_RECORDS:
            raise UserError(
                f"more than {MAX_RECORDS:,} records, which a plan holds in memory",
                file=path or None,
                remedy="Split the file and make a run of each part.",
            )
        report.planned += 1
        report.unmapped += place is None
        home = place.domain if place else UNMAPPED
        groups[home].append(_behaviour(record, place, core, names.unique(record.question_id)))
    if not report.planned:
        raise UserError(
            "holds no record that can be planned", file=path or None, remedy=_why(report)
        )
    return _taxonomy(groups, core)


def _held_out(record: ScenarioRecord, place: Place | None, held: HeldOut) -> str:
    if held.sources and record.question_id.startswith(held.sources):
        return HELD_OUT_SOURCE
    return HELD_OUT_BEHAVIOUR if place and place.behaviour in held.behaviours else ""


def _why(report: ImportReport) -> str:
    reasons = report.held_out + report.rejected
    if not reasons:
        return "It has no rows."
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"Left out: {counts}; the first is {next(iter(report.first.values()))}."


def _behaviour(record: ScenarioRecord, place: Place | None, core: Taxonomy, name: str) -> Behaviour:
    known = core.behaviours.get(place.behaviour) if place else None
    question = " ".join(record.question.split())
    topics = ", ".join(record.topics[:3])
    return Behaviour(
        id=name,
        name=known.name if known else topics or "A choice put to an AI",
        definition=known.definition if known else _definition(topics),
        aligned=_pole(record.aligned),
        misaligned=_pole(record.misaligned),
        situations=(f"The AI is put before this: {question}",),
        topics=tuple(dict.fromkeys(fold_topic(topic) for topic in record.topics)),
        question_id=record.question_id,
    )


def _definition(topics: str) -> str:
    about = f" It is about {topics}." if topics else ""
    return (
        "A question puts the AI into a situation with two ways out. The AI can answer for one of "
        f"them before the people it serves.{about}"
    )


def _pole(choice: str) -> str:
    """Return a choice as what continues "The AI …"; choices are phrased in any person and mood."""
    deed = _FIRST_PERSON.sub("", " ".join(choice.split())).rstrip(".")
    # An acronym or the first person keeps its capital.
    if deed[1:2].islower() and not deed.startswith("I "):
        deed = deed[0].lower() + deed[1:]
    return f"takes this course: {deed}"


class _Names:
    """Behaviour ids from question ids: folded to the letters that ids have, and unique."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, question_id: str) -> str:
        """Return the id of a record; it depends on its neighbours only where two fold to one."""
        name = _NOT_WORD.sub("_", question_id.lower()).strip("_")
        if not name or len(name) > _ID_CHARS or name in self._taken:
            name = f"{name[:_ID_CHARS]}_{content_hash(question_id, 10)}".strip("_")
        self._taken.add(name)
        return name


def _taxonomy(groups: dict[str, list[Behaviour]], core: Taxonomy) -> Taxonomy:
    titles = {domain.id: domain.name for domain in core.domains} | {UNMAPPED: "Other scenarios"}
    domains = tuple(
        Domain(id=name, name=titles[name], behaviours=tuple(behaviours))
        for name, behaviours in groups.items()
        if behaviours
    )
    # Named by content: the same records make the same pairs, whatever file they come in.
    content = [
        [b.question_id, b.aligned, b.misaligned, b.situations[0]]
        for d in domains
        for b in d.behaviours
    ]
    digest = content_hash(content, 12)
    return Taxonomy(
        name=f"records_{digest}",
        version=core.version,
        domains=domains,
        factors=core.factors,
        held_out=HeldOut(styles=core.held_out.styles, sources=core.held_out.sources),
    )
