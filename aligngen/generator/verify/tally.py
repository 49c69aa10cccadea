"""Verdicts → counts by group: agreement, confusion, what was not answered.

Memory grows with the number of groups (stances, styles, behaviours), never with the documents.
"""

from collections import Counter
from collections.abc import Iterable

from aligngen.core.hashing import Json
from aligngen.core.schema import Stance
from aligngen.generator.judge import UNCLEAR, Verdict
from aligngen.generator.verify.statistics import Share, cohens_kappa

__all__ = ["READINGS", "UNANSWERED", "Tally", "confusion"]

UNANSWERED = "unanswered"
READINGS = (*(s.value for s in Stance), UNCLEAR, UNANSWERED)
"""What can come of asking a judge: the columns of a confusion matrix."""


class Tally:
    """Counts of (label, reading), overall and in every group asked for."""

    def __init__(self) -> None:
        self.table: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        """Why there was no answer: the first word or two of each verdict's detail."""
        self._groups: dict[str, dict[str, Counter[tuple[str, str]]]] = {}

    def add(self, label: Stance, verdict: Verdict, **groups: str) -> None:
        """Count one verdict on a document that is, or was asked to be, `label`."""
        pair = (label.value, verdict.label)
        self.table[pair] += 1
        if verdict.state == UNANSWERED:
            self.reasons[verdict.detail.partition(":")[0]] += 1
        for kind, name in groups.items():
            self._groups.setdefault(kind, {}).setdefault(name, Counter())[pair] += 1

    @property
    def agreement(self) -> Share:
        """Verdicts that name the label, of all that were asked: no answer is no agreement."""
        return _agreement(self.table.items())

    def group(self, kind: str, name: str) -> Share:
        """Return the agreement within one group."""
        return _agreement(self._groups.get(kind, {}).get(name, Counter()).items())

    def as_json(self) -> dict[str, Json]:
        """Return agreement, confusion, kappa and what was unanswered."""
        agreement, answered = self.agreement, self._answered()
        kappa = cohens_kappa(self.table)
        return {
            "agreement": agreement.as_json(),
            "agreement_of_answered": Share(agreement.hits, answered).as_json(),
            "unanswered": {
                "count": self.table.total() - answered,
                "reasons": dict(self.reasons.most_common()),
            },
            "kappa": None if kappa is None else round(kappa, 4),
            "confusion": confusion(self.table),
        }

    def by(self, kind: str) -> list[dict[str, Json]]:
        """Return every group of a kind with its agreement and confusion, the worst first."""
        rows = [(_agreement(t.items()), name, t) for name, t in self._groups.get(kind, {}).items()]
        # By the interval's upper end: one miss of one is weaker news than thirty of forty.
        rows.sort(key=lambda row: (row[0].interval[1], row[0].rate or 0.0, row[1]))
        return [
            {kind: name, **share.as_json(), "confusion": confusion(table)}
            for share, name, table in rows
        ]

    def per_class(self) -> dict[str, Json]:
        """Return recall and precision of each stance; both None-rated where there is no case."""
        return {
            label: {
                "recall": Share(
                    self.table[label, label],
                    sum(n for (a, _), n in self.table.items() if a == label),
                ).as_json(),
                "precision": Share(
                    self.table[label, label],
                    sum(n for (_, b), n in self.table.items() if b == label),
                ).as_json(),
            }
            for label in (s.value for s in Stance)
        }

    def _answered(self) -> int:
        return sum(n for (_, read), n in self.table.items() if read != UNANSWERED)


def confusion(table: Counter[tuple[str, str]]) -> dict[str, Json]:
    """Return counts as label → reading → count, in the order of the stances, zeros left out."""
    return {
        label: {read: table[label, read] for read in READINGS if table[label, read]}
        for label in (s.value for s in Stance)
        if any(a == label for a, _ in table)
    }


def _agreement(cells: Iterable[tuple[tuple[str, str], int]]) -> Share:
    cells = list(cells)
    return Share(sum(n for (a, b), n in cells if a == b), sum(n for _, n in cells))
