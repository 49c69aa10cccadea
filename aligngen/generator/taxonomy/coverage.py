"""What a taxonomy covers: of itself with the styles, and of scenario records that others tagged."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Style, Taxonomy, fold_topic
from aligngen.generator.scenarios.reading import BadRecord, read_records
from aligngen.generator.scenarios.records import TopicMap
from aligngen.generator.taxonomy.check import suggest
from aligngen.generator.taxonomy.combinations import combine, usable_values

__all__ = [
    "BehaviourCover",
    "Coverage",
    "RecordCoverage",
    "measure_coverage",
    "measure_records",
]


@dataclass(frozen=True, slots=True)
class BehaviourCover:
    """How much a plan can make of one behaviour."""

    domain: str
    id: str
    held_out: bool
    situations: int
    combinations: int
    """Combinations of usable axis values that rules leave."""

    @property
    def scenarios(self) -> int:
        """Situations times combinations."""
        return self.situations * self.combinations


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a plan covers, before any count is asked for."""

    behaviours: tuple[BehaviourCover, ...]
    all_combinations: int
    """Combinations of usable axis values before rules."""
    axes: dict[str, tuple[str, ...]]
    """Usable values."""
    styles: tuple[str, ...]
    """Planned styles."""
    held_out_styles: tuple[str, ...]
    held_out_values: dict[str, tuple[str, ...]]
    tellings: dict[str, int]
    """Of each planned style, how many combinations of factor levels it can carry."""

    @property
    def planned(self) -> tuple[BehaviourCover, ...]:
        """The behaviours that are not held out."""
        return tuple(b for b in self.behaviours if not b.held_out)

    @property
    def cells(self) -> int:
        """Planned behaviours times planned styles."""
        return len(self.planned) * len(self.styles)

    @property
    def scenarios(self) -> int:
        """Distinct scenarios of all planned behaviours."""
        return sum(b.scenarios for b in self.planned)

    def as_json(self) -> dict[str, Json]:
        """Return everything, for programs."""
        return {
            "behaviours": [
                {
                    "domain": b.domain,
                    "id": b.id,
                    "held_out": b.held_out,
                    "situations": b.situations,
                    "combinations": b.combinations,
                    "scenarios": b.scenarios,
                }
                for b in self.behaviours
            ],
            "axes": {name: list(values) for name, values in self.axes.items()},
            "styles": list(self.styles),
            "tellings": dict(self.tellings),
            "held_out": {
                "behaviours": [b.id for b in self.behaviours if b.held_out],
                "styles": list(self.held_out_styles),
                "axes": {name: list(values) for name, values in self.held_out_values.items()},
            },
            "combinations_before_rules": self.all_combinations,
            "cells": self.cells,
            "scenarios": self.scenarios,
        }


def measure_coverage(
    taxonomy: Taxonomy, styles: Mapping[str, Style], only_styles: Sequence[str] = ()
) -> Coverage:
    """Return what a plan over `styles`, or those named, can cover."""
    for name in only_styles:
        if name not in styles:
            raise UserError(
                f"no style named {name!r}", field="--style", remedy=suggest(name, styles)
            )
    held = taxonomy.held_out
    values = usable_values(taxonomy)
    asked = [name for name in styles if not only_styles or name in only_styles]
    planned = tuple(name for name in asked if name not in held.styles)
    behaviours = tuple(
        BehaviourCover(
            taxonomy.domain_of[name],
            name,
            name in held.behaviours,
            len(taxonomy.behaviours[name].situations),
            prod(linked.count for linked in groups),
        )
        for name, groups in combine(taxonomy).items()
    )
    return Coverage(
        behaviours,
        prod(len(v) for v in values.values()),
        values,
        planned,
        tuple(name for name in asked if name in held.styles),
        dict(held.axes),
        {name: _tellings(taxonomy, styles[name]) for name in planned},
    )


def _tellings(taxonomy: Taxonomy, style: Style) -> int:
    return prod(
        len([level for level in factor.values if level in style.factors.get(name, factor.values)])
        for name, factor in taxonomy.factors.items()
    )


@dataclass(slots=True)
class RecordCoverage:
    """How the free-text tags of scenario records map onto a taxonomy."""

    records: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    """Rows that are no records, by reason."""
    occurrences: int = 0
    """Tags over all records, repeated ones counted again."""
    to_behaviour: int = 0
    to_domain: int = 0
    unmapped: Counter[str] = field(default_factory=Counter)
    """Occurrences of the tags that map to nothing, folded; grows with their vocabulary."""
    places: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records by (domain, behaviour), the behaviour empty where only a domain is meant."""
    unplaced: int = 0
    """Records none of whose tags maps."""

    @property
    def share(self) -> float | None:
        """Share of tag occurrences that map; None where there is no tag."""
        return 1 - self.unmapped.total() / self.occurrences if self.occurrences else None

    def as_json(self) -> dict[str, Json]:
        """Return everything, for programs."""
        return {
            "records": self.records,
            "bad": dict(self.bad),
            "occurrences": self.occurrences,
            "to_behaviour": self.to_behaviour,
            "to_domain": self.to_domain,
            "share": None if self.share is None else round(self.share, 4),
            "unplaced": self.unplaced,
            "unmapped": dict(self.unmapped.most_common()),
            "places": [
                {"domain": domain, "behaviour": behaviour, "records": count}
                for (domain, behaviour), count in self.places.most_common()
            ],
        }


def measure_records(taxonomy: Taxonomy, source: str | Path) -> RecordCoverage:
    """Return how the tags of scenario records map, read as a stream.

    `source` is a JSONL or Parquet file, or a Hub dataset id. A record counts where its tags place
    it: at a behaviour if one of them means one, else at a domain.
    """
    topics, found = TopicMap(taxonomy), RecordCoverage()
    for record in read_records(source):
        if isinstance(record, BadRecord):
            found.bad[record.reason.value] += 1
            continue
        found.records += 1
        for tag in record.topics:
            found.occurrences += 1
            place = topics.find(tag)
            if place is None:
                found.unmapped[fold_topic(tag)] += 1
            elif place.behaviour:
                found.to_behaviour += 1
            else:
                found.to_domain += 1
        home = topics.place(record)
        if home is None:
            found.unplaced += 1
        else:
            found.places[home.domain, home.behaviour] += 1
    return found
