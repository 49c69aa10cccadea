"""Documents, read twice → over-represented patterns with exact counts, overall and per cell.

The first reading keeps a bounded summary per kind of pattern and cell; the second counts what
survived exactly. A pattern is counted once per document (document frequency).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligngen.core.errors import UserError
from aligngen.generator.audit.documents import AuditDocument
from aligngen.generator.audit.heavy import HeavyHitters
from aligngen.generator.audit.patterns import KINDS, Batch, Found, batches
from aligngen.generator.audit.thresholds import Limit, Scope, Thresholds, Verdict, wilson_low

__all__ = ["OVERALL", "CellPatterns", "Finding", "PatternCounter", "count_patterns"]

OVERALL = ""
"""Name of the whole corpus among the cells."""

_SHOWN = 10
_CANDIDATES = 50
_EXAMPLES = 3
_CELL_SHARE = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """A pattern and the documents that hold it."""

    pattern: str
    documents: int
    share: float
    """Of the cell's documents."""
    low: float
    """Lower end of the share's 95 % interval, which the limits are held against."""
    verdict: Verdict
    examples: tuple[str, ...]
    """Ids of the first documents that hold it."""


@dataclass(frozen=True, slots=True)
class CellPatterns:
    """The most frequent patterns of one kind in one cell."""

    kind: str
    cell: str
    """Empty: the whole corpus."""
    documents: int
    complete_above: float
    """Every pattern with a larger share of the cell's documents was found."""
    findings: tuple[Finding, ...]
    """Worst first: every flagged one, and the most frequent others up to ten."""
    verdict: Verdict
    """That on the worst pattern; `unmeasured` in a cell too small for one."""


class PatternCounter:
    """The first reading: which patterns may be frequent.

    Memory is bounded by the summaries: 20 MB for the corpus and 1.3 MB for each cell, whatever the
    number of documents.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.cells = Counter[str]()
        """Documents by cell; the whole corpus under OVERALL."""
        self._summaries: dict[tuple[str, str], HeavyHitters] = {}

    def add(self, batch: Batch) -> None:
        """Count the patterns of a batch."""
        names, index = _cells_of(batch)
        self.cells.update(document.cell for document in batch.documents if document.cell)
        self.cells[OVERALL] += len(batch.documents)
        self._refuse_too_many()
        for kind, found in batch.found.items():
            self._summary(kind, OVERALL).update(found.keys)
            for name, chosen in _by_cell(names, index, found):
                self._summary(kind, name).update(found.keys[chosen])

    def summary(self, kind: str, cell: str = OVERALL) -> HeavyHitters:
        """Return the summary of a kind in a cell."""
        return self._summary(kind, cell)

    def _summary(self, kind: str, cell: str) -> HeavyHitters:
        if (kind, cell) not in self._summaries:
            counters = KINDS[kind].counters // (_CELL_SHARE if cell else 1)
            self._summaries[kind, cell] = HeavyHitters(counters)
        return self._summaries[kind, cell]

    def _refuse_too_many(self) -> None:
        if len(self.cells) - 1 > self.thresholds.most_cells:
            raise UserError(
                f"more than {self.thresholds.most_cells} cells",
                field="--by",
                remedy="Name columns with fewer values, or raise most_cells in the thresholds.",
            )


class _ExactCounter:
    """The second reading: how many documents hold each candidate."""

    def __init__(self, first: PatternCounter) -> None:
        self._cells = [OVERALL, *sorted(first.cells.keys() - {OVERALL})]
        self._place = {name: i for i, name in enumerate(self._cells)}
        self._first = first
        self._documents = 0
        self._kinds = {kind: self._candidates(kind) for kind in KINDS}

    def _candidates(self, kind: str) -> "_Candidates":
        by_cell = [_candidate_keys(self._first, kind, cell) for cell in self._cells]
        keys = np.unique(np.concatenate(by_cell))
        wanted = np.zeros((len(by_cell), len(keys)), dtype=bool)
        for row, some in enumerate(by_cell):
            wanted[row, np.searchsorted(keys, some)] = True
        return _Candidates(keys, wanted)

    def add(self, batch: Batch) -> None:
        """Count the candidates in a batch."""
        self._documents += len(batch.documents)
        if any(document.cell not in self._place for document in batch.documents):
            raise _changed()
        cells = np.array([self._place[d.cell] for d in batch.documents], dtype=np.int64)
        ids = [document.id for document in batch.documents]
        for kind, found in batch.found.items():
            self._kinds[kind].add(found, cells, ids)

    def results(self) -> Iterator[CellPatterns]:
        """Yield every kind in every cell; refuse a corpus that was not the same both times."""
        if self._documents != self._first.cells[OVERALL]:
            raise _changed()
        for kind, candidates in self._kinds.items():
            scope = self._first.thresholds.patterns.get(kind, Scope())
            for row, cell in enumerate(self._cells):
                limit = scope.cell if cell else scope.overall
                yield self._result(kind, candidates, row, limit)

    def _result(self, kind: str, candidates: "_Candidates", row: int, limit: Limit) -> CellPatterns:
        cell, total = self._cells[row], self._first.cells[self._cells[row]]
        found = candidates.counted(row)
        if kind == "ngram_8":
            found = join_overlapping(found)
        least = self._first.thresholds.least_documents
        findings = [_finding(*one, total, limit, least) for one in found if one[1] > 1 and one[2]]
        findings.sort(key=lambda f: (-_RANK[f.verdict], -f.documents, f.pattern))
        flagged = sum(f.verdict != "ok" for f in findings)
        error = self._first.summary(kind, cell).error
        shown = tuple(findings[: max(_SHOWN, flagged)])
        worst = shown[0].verdict if shown else "ok"
        verdict: Verdict = "unmeasured" if total < least else worst
        return CellPatterns(kind, cell, total, error / max(1, total), shown, verdict)


_RANK: dict[Verdict, int] = {"unmeasured": 0, "ok": 0, "warn": 1, "fail": 2}

_Counted = tuple[str, int, tuple[str, ...]]
"""Pattern, documents, examples."""


class _Candidates:
    """Exact counts of some keys in every cell that asked for them."""

    def __init__(self, keys: NDArray[np.uint64], wanted: NDArray[np.bool_]) -> None:
        self._keys, self._wanted = keys, wanted
        self._counts = np.zeros(wanted.shape, dtype=np.int64)
        self._texts: dict[int, str] = {}
        self._examples: dict[tuple[int, int], list[str]] = {}

    def add(self, found: Found, cells: NDArray[np.int64], ids: list[str]) -> None:
        if not len(self._keys) or not len(found.keys):
            return
        place = np.minimum(np.searchsorted(self._keys, found.keys), len(self._keys) - 1)
        hits = np.flatnonzero(self._keys[place] == found.keys)
        columns, owners = place[hits], found.documents[hits]
        for column, first in zip(*np.unique(columns, return_index=True), strict=True):
            if int(column) not in self._texts:
                self._texts[int(column)] = found.text(int(hits[first]))
        overall = np.zeros_like(columns)
        self._count(overall, columns, owners, ids)
        inside = cells[owners] > 0
        self._count(cells[owners][inside], columns[inside], owners[inside], ids)

    def _count(
        self,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        owners: NDArray[np.int64],
        ids: list[str],
    ) -> None:
        new = (self._counts[rows, columns] < _EXAMPLES) & self._wanted[rows, columns]
        for row, column, owner in zip(rows[new], columns[new], owners[new], strict=True):
            examples = self._examples.setdefault((int(row), int(column)), [])
            if len(examples) < _EXAMPLES:
                examples.append(ids[owner])
        np.add.at(self._counts, (rows, columns), 1)

    def counted(self, row: int) -> list[_Counted]:
        """Return what was counted in a cell, most frequent first."""
        chosen = np.flatnonzero(self._wanted[row])
        found = [
            (self._texts[c], int(self._counts[row, c]), tuple(self._examples.get((row, c), ())))
            for c in map(int, chosen)
            if c in self._texts
        ]
        return sorted(found, key=lambda one: (-one[1], one[0]))


def count_patterns(
    read: Callable[[], Iterable[AuditDocument]], thresholds: Thresholds
) -> list[CellPatterns]:
    """Return the patterns of every kind overall and per cell; `read` is called twice."""
    ignored = frozenset(thresholds.ignored_names)
    first = PatternCounter(thresholds)
    for batch in batches(read(), ignored):
        first.add(batch)
    return count_exactly(batches(read(), ignored), first)


def count_exactly(again: Iterable[Batch], first: PatternCounter) -> list[CellPatterns]:
    """Return the exact counts of what the first reading found, by reading again."""
    second = _ExactCounter(first)
    for batch in again:
        second.add(batch)
    return list(second.results())


def join_overlapping(found: list[_Counted]) -> list[_Counted]:
    """Join n-grams that overlap in all words but one, and stand in about as many documents.

    A copied passage of m words is then one finding rather than m-7. The count is the smallest of
    the joined ones.
    """
    after = {pattern.rsplit(" ", 1)[0]: one for one in reversed(found) for pattern in [one[0]]}
    before = {pattern.split(" ", 1)[1]: one for one in reversed(found) for pattern in [one[0]]}
    used: set[str] = set()
    joined: list[_Counted] = []
    for one in found:
        if one[0] in used:
            continue
        used.add(one[0])
        right = _chain(one, after, lambda p: p.split(" ", 1)[1], used)
        left = _chain(one, before, lambda p: p.rsplit(" ", 1)[0], used)
        head = [other[0].split(" ", 1)[0] for other in reversed(left)]
        tail = [other[0].rsplit(" ", 1)[1] for other in right]
        count = min(other[1] for other in (one, *left, *right))
        joined.append((" ".join([*head, one[0], *tail]), count, one[2]))
    return joined


def _chain(
    one: _Counted, by_overlap: dict[str, _Counted], overlap: Callable[[str], str], used: set[str]
) -> list[_Counted]:
    chain: list[_Counted] = []
    here = one
    while (there := by_overlap.get(overlap(here[0]))) and there[0] not in used:
        if not 0.8 <= there[1] / one[1] <= 1.25:
            break
        used.add(there[0])
        chain.append(there)
        here = there
    return chain


def _changed() -> UserError:
    return UserError(
        "the corpus changed between the two readings", remedy="Audit it when nothing writes to it."
    )


def _finding(
    pattern: str, count: int, examples: tuple[str, ...], total: int, limit: Limit, least: int
) -> Finding:
    low = wilson_low(count, total)
    verdict: Verdict = limit.judge(low) if count >= least else "ok"
    return Finding(pattern, count, count / total, low, verdict, examples)


def _candidate_keys(first: PatternCounter, kind: str, cell: str) -> NDArray[np.uint64]:
    """Return the keys that could reach a limit, and the most frequent ones besides."""
    summary = first.summary(kind, cell)
    keys, counts = summary.items()
    scope = first.thresholds.patterns.get(kind, Scope())
    lowest = (scope.cell if cell else scope.overall).lowest * first.cells[cell]
    reach = counts + summary.error >= max(lowest, first.thresholds.least_documents)
    if len(keys) > _CANDIDATES:
        reach[np.argsort(-counts, kind="stable")[:_CANDIDATES]] = True
    else:
        reach[:] = True
    return keys[reach]


def _cells_of(batch: Batch) -> tuple[list[str], NDArray[np.int64]]:
    """Return the cells of a batch, and the index of each document's."""
    names = sorted({document.cell for document in batch.documents})
    place = {name: i for i, name in enumerate(names)}
    return names, np.array([place[d.cell] for d in batch.documents], dtype=np.int64)


def _by_cell(
    names: list[str], index: NDArray[np.int64], found: Found
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    cells = index[found.documents]
    order = np.argsort(cells, kind="stable")
    edges = np.searchsorted(cells[order], np.arange(len(names) + 1))
    for i, name in enumerate(names):
        if name and edges[i + 1] > edges[i]:
            yield name, order[edges[i] : edges[i + 1]]
