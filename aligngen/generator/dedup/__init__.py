"""Sketches → verdicts: which documents are kept, and whose twin each of the others is."""

from aligngen.generator.dedup.corpus import Decided, Document, deduplicate
from aligngen.generator.dedup.deduplicator import Deduplicator, Item, Verdict
from aligngen.generator.dedup.embedder import Embedder, MiniLMEmbedder
from aligngen.generator.dedup.sketch import Sketch

__all__ = [
    "Decided",
    "Deduplicator",
    "Document",
    "Embedder",
    "Item",
    "MiniLMEmbedder",
    "Sketch",
    "Verdict",
    "deduplicate",
]
