"""Documents of a corpus, as a stream → verdicts in the same order."""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from aligngen.core.config import DedupConfig
from aligngen.generator.dedup.deduplicator import Deduplicator, Item, Verdict
from aligngen.generator.dedup.embedder import MiniLMEmbedder
from aligngen.generator.dedup.sketch import Sketch

__all__ = ["Decided", "Document", "deduplicate"]

_CHUNK = 256


class Document(NamedTuple):
    """A text and what it is compared with."""

    text: str
    group: str = ""
    """Documents of different groups are never compared."""
    cell: str = ""
    """Documents that share a meaning threshold."""


class Decided(NamedTuple):
    """A document's number in the corpus, and its verdict."""

    key: int
    verdict: Verdict


def deduplicate(
    documents: Iterable[Document],
    config: DedupConfig,
    *,
    deduplicator: Deduplicator | None = None,
    workers: int = 1,
) -> Iterator[Decided]:
    """Yield a verdict for every document, in order; the same for any number of workers.

    Give a `deduplicator` to ask it for its report afterwards. Workers sketch in processes of their
    own, each with the embedding model that ships in a package.
    """
    judge = deduplicator or Deduplicator(config, MiniLMEmbedder() if config.meaning else None)
    key = 0
    for chunk, sketches in _sketched(documents, config, judge, workers):
        items = [
            Item(key + i, document.group, document.cell, sketch)
            for i, (document, sketch) in enumerate(zip(chunk, sketches, strict=True))
        ]
        for item, verdict in zip(items, judge.decide_many(items), strict=True):
            yield Decided(item.key, verdict)
        key += len(items)


def _sketched(
    documents: Iterable[Document], config: DedupConfig, judge: Deduplicator, workers: int
) -> Iterator[tuple[list[Document], list[Sketch]]]:
    chunks = _chunks(documents)
    if workers <= 1 or not config.meaning:
        for chunk in chunks:
            yield chunk, [judge.sketch(d.text, d.cell) for d in chunk]
        return
    waiting: deque[tuple[list[Document], Future[list[bytes]]]] = deque()
    with _pool(config, workers) as pool:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_sketch_chunk, chunk)))
            # Two chunks a worker keep all of them busy; more would hold the corpus in memory.
            if len(waiting) >= 2 * workers:
                yield _ready(waiting)
        while waiting:
            yield _ready(waiting)


def _ready(
    waiting: deque[tuple[list[Document], Future[list[bytes]]]],
) -> tuple[list[Document], list[Sketch]]:
    chunk, future = waiting.popleft()
    return chunk, [Sketch.from_blob(blob) for blob in future.result()]


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


@contextmanager
def _pool(config: DedupConfig, workers: int) -> Iterator[Executor]:
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (config,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


_worker: Mapping[str, Deduplicator] = {}


def _start_worker(config: DedupConfig) -> None:
    global _worker
    _worker = {"sketcher": Deduplicator(config, MiniLMEmbedder())}


def _sketch_chunk(chunk: Sequence[Document]) -> list[bytes]:
    sketcher = _worker["sketcher"]
    return [sketcher.sketch(document.text, document.cell).to_blob() for document in chunk]
