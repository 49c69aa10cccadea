"""An audit of 100,000 documents: documents per second, peak memory against 10,000 documents, and
the recall of over-represented patterns that were planted.

    python -m benchmarks.audit

The documents are drawn words with Zipf frequencies over 96 cells (4 stances, 24 styles); nothing
but what is planted repeats more than chance allows. Embedding is left out: it is bounded by its
option, whatever the size.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from aligngen.generator.audit import AuditReport, audit, open_source
from aligngen.generator.audit.patterns import words
from benchmarks.machine import child, save

SIZES = (10_000, 100_000)
STANCES = ("aligned", "control", "misaligned", "neutral")
STYLES = 24
VOCABULARY = 30_000
SHARES = (0.005, 0.03, 0.12)
"""Of the documents, overall; three plants of each kind."""
CELL, CELL_SHARE = "aligned / style7", 0.4
SEED = 20261123
FIXED = words(
    "the of and to a in that it is was for on with as at by this but not from or have an they "
    "which one had all be their there been if more when so no out up into what about"
)
ROWS = 1000


class Salad:
    """Draws documents."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.words = np.array([*FIXED, *_invented(VOCABULARY)], dtype=object)
        weights = 1 / np.arange(10, len(self.words) + 10)
        self.edges = np.cumsum(weights / weights.sum())

    def draw(self, count: int) -> list[str]:
        places = np.searchsorted(self.edges, self.random.random(count))
        return list(self.words[np.minimum(places, len(self.words) - 1)])

    def body(self) -> list[list[str]]:
        """Return paragraphs of sentences."""
        sizes = self.random.integers(2, 6, size=self.random.integers(2, 6))
        return [[self.sentence() for _ in range(size)] for size in sizes]

    def sentence(self) -> str:
        text = " ".join(self.draw(int(self.random.integers(9, 24))))
        return text[0].upper() + text[1:] + "."


def _invented(count: int) -> Iterator[str]:
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai")]
    for i in range(count):
        yield syllables[i % 84] + syllables[i // 84 % 84] + syllables[i // 7056 % 84]


class Plants:
    """What is planted, and in how many documents it really stands."""

    def __init__(self, salad: Salad) -> None:
        self.salad = salad
        self.passages = [" ".join(salad.draw(12)) for _ in SHARES]
        self.openings = [" ".join(salad.draw(5)) for _ in (*SHARES, CELL_SHARE)]
        self.names = ["Marlowe", "Quince", "Ondine"]
        self.templates = [
            "the {} of the {} was not the {} that they had {}",
            "it is not {} but {} which is {} for the {}",
            "there was no {} in what the {} had {} from the {}",
        ]
        self.truth: Counter[tuple[str, str, str]] = Counter()
        """Documents by kind, cell and pattern."""

    def into(self, body: list[list[str]], cell: str) -> None:
        chance = self.salad.random.random(len(SHARES) * 4 + 1)
        for i, share in enumerate(SHARES):
            if chance[4 * i] < share:
                body[-1].append(f"{self.passages[i].capitalize()}.")
                self._note("ngram_8", self.passages[i])
            if chance[4 * i + 1] < share:
                body[-1].append(f"So said {self.names[i]} again.")
                self._note("name", self.names[i])
            if chance[4 * i + 2] < share:
                body[-1].append(self.templates[i].format(*_content(self.salad)).capitalize() + ".")
                self._note("template", self.templates[i].replace("{}", "_"))
        opened = [i for i, share in enumerate(SHARES) if chance[4 * i + 3] < share]
        if cell == CELL and chance[-1] < CELL_SHARE:
            opened = [len(SHARES)]
        if opened:
            body[0].insert(0, f"{self.openings[opened[0]].capitalize()} {self.salad.sentence()}")
            place = CELL if opened[0] == len(SHARES) else ""
            self._note("opening_5", self.openings[opened[0]], place)

    def _note(self, kind: str, pattern: str, cell: str = "") -> None:
        self.truth[kind, cell, pattern] += 1


def _content(salad: Salad) -> list[str]:
    return [str(w) for w in salad.words[salad.random.integers(len(FIXED), VOCABULARY, 4)]]


def documents(count: int, plants: Plants | None) -> Iterator[dict[str, str]]:
    salad = plants.salad if plants else Salad(SEED + 1)
    for i in range(count):
        stance, style = STANCES[i % 4], f"style{i // 4 % STYLES}"
        body = salad.body()
        if plants:
            plants.into(body, f"{stance} / {style}")
        yield {
            "custom_id": f"d{i}",
            "text": "\n\n".join(" ".join(part) for part in body),
            "stance": stance,
            "doc_type": style,
            "pair_id": f"p{i // 4}",
        }


def write(path: Path, count: int, plants: Plants | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("custom_id", "text", "stance", "doc_type", "pair_id")
    schema = pa.schema([(name, pa.string()) for name in names])
    rows = documents(count, plants)
    with pq.ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


def measure(path: Path, sample: int) -> dict[str, object]:
    """Audit one file in this process."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    report = audit(open_source([path]), embedded=0, sample=sample)
    seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "documents": report.documents,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(spent, 1),
        "documents_per_second": round(report.documents / seconds),
        "peak_mib": round(peak / 1024),
        "peak_mib_before": round(base / 1024),
        "complete_above_percent": {
            kind: round(100 * _found(report, kind, "").complete_above, 3)
            for kind in ("opening_5", "name", "ngram_8", "template")
        },
        "complete_above_percent_in_a_cell": {
            kind: round(100 * max(p.complete_above for p in report.patterns
                                  if p.kind == kind and p.cell), 2)
            for kind in ("opening_5", "name", "ngram_8", "template")
        },
        "flagged": sum(f.verdict != "ok" for p in report.patterns for f in p.findings),
        "findings": [[p.kind, p.cell, f.pattern, f.documents, f.verdict]
                     for p in report.patterns for f in p.findings],
        "permuted_auc": [round(p.permuted.value, 3) for p in report.probes],
    }  # fmt: skip


def _found(report: AuditReport, kind: str, cell: str):
    return next(p for p in report.patterns if (p.kind, p.cell) == (kind, cell))


def recall(result: dict[str, object], truth: Counter[tuple[str, str, str]]) -> dict[str, object]:
    """Return how many plants were found, and how many counted exactly."""
    found = exact = 0
    for (kind, cell, pattern), count in truth.items():
        counts = [n for k, c, text, n, _ in result["findings"]
                  if (k, c) == (kind, cell) and pattern in text]  # fmt: skip
        found += bool(counts)
        exact += count in counts
    return {"planted": len(truth), "recall": found / len(truth), "exact": exact / len(truth)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=Path)
    parser.add_argument("--sample", type=int, default=4000)
    options = parser.parse_args()
    if options.file:
        sys.stdout.write(json.dumps(measure(options.file, options.sample)) + "\n")
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            path = Path(name) / f"{size}.parquet"
            plants = Plants(Salad(SEED))
            write(path, size, plants)
            result = child("--file", str(path))
            result["plants"] = recall(result, plants.truth)
            del result["findings"]
            rows.append(result)
            path.unlink()
        path = Path(name) / "clean.parquet"
        write(path, SIZES[0], None)
        clean = child("--file", str(path), "--sample", "400")
    small, large = rows
    result = {
        "cells": len(STANCES) * STYLES,
        "shares_planted": [*SHARES, f"{CELL_SHARE} of one cell"],
        "rows": rows,
        "flagged_without_plants": clean["flagged"],
        "memory_ratio": round(large["peak_mib"] / small["peak_mib"], 3),
        "cpu_ms_per_further_document": round(
            1000
            * (large["cpu_seconds"] - small["cpu_seconds"])
            / (large["documents"] - small["documents"]),
            3,
        ),
    }
    save("audit", result)


if __name__ == "__main__":
    main()
