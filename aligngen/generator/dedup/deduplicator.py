"""Decisions in slot order: exact, near, opening, then meaning; the earliest slot is kept."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from aligngen.core.config import DedupConfig
from aligngen.core.hashing import Json
from aligngen.core.schema import Outcome
from aligngen.generator.dedup.batch import BatchVectors, Best, Item
from aligngen.generator.dedup.calibration import CellThreshold
from aligngen.generator.dedup.embedder import Embedder
from aligngen.generator.dedup.kept import Group
from aligngen.generator.dedup.sketch import UNIT, Sketch, layout, quantise
from aligngen.generator.dedup.text import (
    OPENING_WORDS,
    band_keys,
    bands_for,
    boilerplate_hashes,
    exact_hash,
    opening_hash,
    shingle_hashes,
    words,
)

__all__ = ["Deduplicator", "Item", "Row", "Verdict"]

Row = tuple[int, str, str, Outcome, bytes]
"""(key, group, cell, outcome, blob) of a decided candidate."""

_CHUNK = 65_536

OPENING_SHARE = 0.005
"""Share of a group's kept documents that may open with the same words, where this allows more than
`DedupConfig.max_same_opening`: in a million documents some openings come again by chance."""


class Verdict(NamedTuple):
    """What became of a candidate, and why."""

    outcome: Outcome
    """KEPT or one of DUPLICATE_*."""
    twin: int | None
    """Key of the kept document it duplicates."""
    score: float | None
    """Similarity to the twin, or the number of kept documents that open as it does; of a kept
    document, cosine to its nearest kept neighbour."""
    threshold: float
    """What the score was held against."""


class Deduplicator:
    """Keeps a document unless an earlier kept one of its group is its twin."""

    def __init__(
        self,
        config: DedupConfig,
        embedder: Embedder | None,
        boilerplate: Mapping[str, Sequence[str]] = {},
    ) -> None:
        self._config = config
        self._bands = bands_for(config.jaccard)
        self._embedder = embedder if config.meaning else None
        self._boilerplate = {cell: boilerplate_hashes(t) for cell, t in boilerplate.items()}
        self._groups: dict[str, Group] = {}
        self._cells: dict[str, CellThreshold] = {}
        self._counts: dict[str, Counter[str]] = {}

    def sketch(self, text: str, cell: str, *, opening: str = "") -> Sketch:
        """Return what is compared of a text; depends on nothing but the text and its cell.

        `opening` is the beginning of the body, where openings are to be compared.
        """
        tokens = words(text)
        shingles = shingle_hashes(tokens)
        dictated = self._boilerplate.get(cell)
        if dictated is not None:
            shingles = np.setdiff1d(shingles, dictated, assume_unique=True)
        vector = None
        if self._embedder is not None:
            vector = quantise(self._embedder.encode([text])[0])
        return Sketch(
            exact_hash(text, tokens),
            band_keys(shingles, self._bands),
            shingles,
            vector,
            opening_hash(opening),
        )

    def decide(self, key: int, group: str, cell: str, sketch: Sketch) -> Verdict:
        """Keep or drop the next candidate in slot order."""
        return self.decide_many([Item(key, group, cell, sketch)])[0]

    def decide_many(self, items: Sequence[Item]) -> list[Verdict]:
        """Decide candidates in slot order; the same verdicts as one by one, with fewer products."""
        vectors = BatchVectors(items)
        return [self._decide(number, item, vectors) for number, item in enumerate(items)]

    def _decide(self, number: int, item: Item, vectors: BatchVectors) -> Verdict:
        group = self._groups.setdefault(item.group, Group())
        cell = self._cell(item.cell)
        verdict = self._exact(group, item) or self._near(group, item) or self._opening(group, item)
        if verdict is None:
            verdict = self._meaning(group, item, cell, vectors.nearest(number, group.vectors))
            if item.sketch.vector is not None:
                cell.see(item.sketch.vector)
        if verdict.outcome is Outcome.KEPT:
            group.keep(item.key, item.sketch)
            vectors.keep(number, group.vectors.size - 1)
        self._counts.setdefault(item.cell, Counter())[verdict.outcome.value] += 1
        return verdict

    def _exact(self, group: Group, item: Item) -> Verdict | None:
        twin = group.exact.get(item.sketch.exact)
        return None if twin is None else Verdict(Outcome.DUPLICATE_EXACT, twin, 1.0, 1.0)

    def _near(self, group: Group, item: Item) -> Verdict | None:
        twin = group.near.nearest(item.sketch.minhash, item.sketch.shingles, group.keys)
        if twin is None or twin.jaccard < self._config.jaccard:
            return None
        key = group.keys[twin.row]
        return Verdict(Outcome.DUPLICATE_NEAR, key, twin.jaccard, self._config.jaccard)

    def _opening(self, group: Group, item: Item) -> Verdict | None:
        least = self._config.max_same_opening
        known = group.opening(item.sketch.opening)
        if known is None or not least:
            return None
        allowed = max(least, int(OPENING_SHARE * len(group.keys)))
        if known.times < allowed:
            return None
        return Verdict(Outcome.DUPLICATE_OPENING, known.first, float(known.times), float(allowed))

    def _meaning(self, group: Group, item: Item, cell: CellThreshold, nearest: Best) -> Verdict:
        threshold = cell.value
        if nearest.row < 0:  # Nothing to compare with.
            return Verdict(Outcome.KEPT, None, None, threshold.cosine)
        score = min(1.0, max(0.0, nearest.product / UNIT))
        if nearest.product < threshold.product:
            return Verdict(Outcome.KEPT, None, score, threshold.cosine)
        key = group.keys[group.vector_rows[nearest.row]]
        return Verdict(Outcome.DUPLICATE_MEANING, key, score, threshold.cosine)

    def _cell(self, name: str) -> CellThreshold:
        if name not in self._cells:
            self._cells[name] = CellThreshold(self._config)
        return self._cells[name]

    def restore(self, rows: Iterable[Row]) -> None:
        """Reload decided candidates in slot order, into a deduplicator that has decided nothing."""
        remaining = iter(rows)
        while chunk := list(islice(remaining, _CHUNK)):
            self._restore_cells(chunk)
            kept: dict[str, list[tuple[int, bytes]]] = {}
            for key, group, _, outcome, blob in chunk:
                if outcome is Outcome.KEPT:
                    kept.setdefault(group, []).append((key, blob))
            for group, pairs in kept.items():
                # Runs of one layout, not all of one layout: rows must stay in slot order.
                for _, run in groupby(pairs, lambda pair: layout(pair[1])):
                    keys, blobs = zip(*run, strict=True)
                    self._groups.setdefault(group, Group()).keep_many(keys, list(blobs))

    def _restore_cells(self, chunk: list[Row]) -> None:
        for (cell, outcome), times in Counter(map(itemgetter(2, 3), chunk)).items():
            self._counts.setdefault(cell, Counter())[outcome.value] += times
        for _, _, cell, outcome, blob in chunk:
            threshold = self._cell(cell)
            if threshold.wants and outcome in (Outcome.KEPT, Outcome.DUPLICATE_MEANING):
                vector = Sketch.from_blob(blob).vector
                if vector is not None:
                    threshold.see(vector)

    def report(self) -> Json:
        """Return thresholds and how they were calibrated, counts by cell, and the index in use."""
        return {
            "jaccard": self._config.jaccard,
            "bands": {
                **self._bands._asdict(),
                "recall_at_threshold": round(self._bands.recall(self._config.jaccard), 4),
            },
            "openings": {
                "compared": any(group.compares_openings for group in self._groups.values()),
                "words": OPENING_WORDS,
                "share": OPENING_SHARE,
            },
            "meaning": self._embedder is not None,
            "embedder": getattr(self._embedder, "name", type(self._embedder).__name__),
            "false_positive_rate": self._config.false_positive_rate,
            "thresholds": {name: cell.as_json() for name, cell in sorted(self._cells.items())},
            "counts": {cell: dict(sorted(c.items())) for cell, c in sorted(self._counts.items())},
            "index": {
                name: {"kept": len(group.keys), "vectors": group.vectors.kind}
                for name, group in sorted(self._groups.items())
            },
        }
