"""Documents → unit vectors: those that dedup stored in the run's ledger, else MiniLM's."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.core.errors import UserError
from aligngen.core.schema import Outcome
from aligngen.generator.audit.documents import AuditDocument
from aligngen.generator.dedup import Embedder, MiniLMEmbedder, Sketch
from aligngen.generator.ledger import Ledger

__all__ = ["Vectors", "sample_vectors"]


class Vectors(NamedTuple):
    """Vectors of some documents."""

    documents: list[AuditDocument]
    rows: NDArray[np.float32]
    """One unit vector per document; zeros where nothing was embedded."""
    source: str
    """`ledger`, or the name of the model that embedded them."""


def sample_vectors(
    documents: Sequence[AuditDocument],
    ledger: Path | None,
    *,
    most_embedded: int = 300,
    embedder: Embedder | None = None,
) -> Vectors:
    """Return the vectors of the documents, from their run's ledger where all of them are there.

    Give a ledger only where every document is of its run: they are found by slot. Elsewhere
    (several runs, plain files, a ledger without vectors or of another version) the first
    `most_embedded` documents are embedded, some 30 ms each on one core; 0 embeds none, and no
    vector comes back.
    """
    stored = _stored(documents, ledger) if ledger is not None else None
    if stored is not None:
        return stored
    chosen = list(documents[:most_embedded])
    if not chosen:
        return Vectors([], np.empty((0, 0), dtype=np.float32), "none")
    embedder = embedder or MiniLMEmbedder()
    rows = embedder.encode([document.text for document in chosen])
    return Vectors(chosen, rows, getattr(embedder, "name", type(embedder).__name__))


def _stored(documents: Sequence[AuditDocument], ledger: Path) -> Vectors | None:
    slots = {document.slot for document in documents if document.slot is not None}
    if not slots or any(document.slot is None for document in documents):
        return None
    try:
        found = _kept_vectors(ledger, slots)
    except UserError:
        return None  # the documents can be read without it; the report names where vectors are from
    if len(found) < len(slots):
        return None
    rows = np.stack([found[d.slot] for d in documents if d.slot is not None]).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return Vectors(list(documents), rows / np.where(lengths > 0, lengths, 1), "ledger")


def _kept_vectors(ledger: Path, slots: set[int]) -> dict[int, NDArray[np.int16]]:
    found: dict[int, NDArray[np.int16]] = {}
    with Ledger.read(ledger) as reader:
        for slot, outcome, blob in reader.decided_sketches(max(slots) + 1):
            if slot in slots and outcome is Outcome.KEPT:
                vector = Sketch.from_blob(blob).vector
                if vector is not None:
                    found[slot] = vector
    return found
