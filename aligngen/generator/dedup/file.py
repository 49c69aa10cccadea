"""A corpus file → a folder of what was kept, what was dropped and why, and a report."""

import json
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

from aligngen.core.config import DedupConfig
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Outcome
from aligngen.generator.corpus_io import Chunk, Record, Writer, open_corpus
from aligngen.generator.dedup.corpus import Decided, Document, deduplicate
from aligngen.generator.dedup.deduplicator import Deduplicator
from aligngen.generator.dedup.embedder import MiniLMEmbedder

__all__ = ["Columns", "dedup_file"]


class Columns(NamedTuple):
    """Which columns of the corpus mean what."""

    text: str = "text"
    group: str = ""
    """Documents with different values are never compared."""
    cell: str = ""
    """Documents with one value share a threshold; the group where none is named."""
    id: str = ""
    """Names documents in `dropped.jsonl`; the row number, from 0, where none is named."""

    @property
    def others(self) -> list[str]:
        """The named columns besides the text."""
        return [name for name in (self.group, self.cell, self.id) if name]


def dedup_file(
    path: Path, out: Path, config: DedupConfig, columns: Columns, *, workers: int = 1
) -> dict[str, Json]:
    """Deduplicate a file into a new folder; nothing stands there before everything is done."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("already exists", file=out, remedy="Name another folder with -o.")
    corpus = open_corpus(path)
    judge = Deduplicator(config, MiniLMEmbedder() if config.meaning else None)
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    aside.mkdir(parents=True)
    try:
        with ExitStack() as stack:
            kept = stack.enter_context(corpus.writer(aside / f"kept{corpus.suffix}"))
            dropped = stack.enter_context((aside / "dropped.jsonl").open("w", encoding="utf-8"))
            sorter = _Sorter(kept, dropped, columns)
            chunks = corpus.chunks(columns.text, columns.others)
            documents = sorter.documents(chunks)
            for decided in deduplicate(documents, config, deduplicator=judge, workers=workers):
                sorter.sort(decided)
        report: dict[str, Json] = {
            "input": path.name,
            "columns": columns._asdict(),
            "config": config.model_dump(),
            **sorter.totals(),
            "dedup": judge.report(),
        }
        (aside / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return report


class _Sorter:
    """Hands out documents, and sends the rows they came from where the verdicts say."""

    def __init__(self, kept: Writer, dropped: IO[str], columns: Columns) -> None:
        self._kept, self._dropped, self._columns = kept, dropped, columns
        self._chunks: deque[Chunk] = deque()
        self._keep: list[bool] = []
        self._ids: list[Json] = []
        self._outcomes: Counter[Outcome] = Counter()

    def documents(self, chunks: Iterator[Chunk]) -> Iterator[Document]:
        """Yield the documents of chunks, which are held until their verdicts are in."""
        for chunk in chunks:
            self._chunks.append(chunk)
            for record in chunk.records:
                if self._columns.id:
                    self._ids.append(record[self._columns.id])
                yield self._document(record)

    def _document(self, record: Record) -> Document:
        group = str(record[self._columns.group]) if self._columns.group else ""
        cell = str(record[self._columns.cell]) if self._columns.cell else ""
        # A cell lies within a group: its threshold describes what is compared there.
        name = "/".join(part for part in (group, cell) if part)
        return Document(str(record[self._columns.text]), group, name)

    def sort(self, decided: Decided) -> None:
        """Note the next verdict; write its chunk when all verdicts of it are in."""
        chunk = self._chunks[0]
        outcome = decided.verdict.outcome
        self._outcomes[outcome] += 1
        if outcome is not Outcome.KEPT:
            self._drop(decided, chunk.records[len(self._keep)])
        self._keep.append(outcome is Outcome.KEPT)
        if len(self._keep) == len(chunk.records):
            self._kept.write(self._chunks.popleft(), self._keep)
            self._keep = []

    def _drop(self, decided: Decided, record: Record) -> None:
        verdict = decided.verdict
        line = {
            "id": self._name(decided.key),
            "twin": None if verdict.twin is None else self._name(verdict.twin),
            "reason": verdict.outcome.value,
            "score": None if verdict.score is None else round(verdict.score, 6),
            "threshold": verdict.threshold,
            "record": record,
        }
        self._dropped.write(json.dumps(line, default=str) + "\n")

    def _name(self, key: int) -> Json:
        return self._ids[key] if self._columns.id else key

    def totals(self) -> dict[str, Json]:
        """Return how many rows came in, and what became of them."""
        dropped = {o.value: n for o, n in sorted(self._outcomes.items()) if o is not Outcome.KEPT}
        return {
            "documents": self._outcomes.total(),
            "kept": self._outcomes[Outcome.KEPT],
            "dropped": dropped,
        }
