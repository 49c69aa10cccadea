"""The kept documents of one group, by every way of finding a twin among them."""

from collections.abc import Sequence
from typing import NamedTuple

from aligngen.generator.dedup.lsh import NearIndex
from aligngen.generator.dedup.sketch import Sketch, read_columns
from aligngen.generator.dedup.vectors import VectorIndex

__all__ = ["Group", "Opening"]


class Opening(NamedTuple):
    """First words that open kept documents."""

    first: int
    """Key of the first document with it."""
    times: int


class Group:
    """The kept documents of one group."""

    def __init__(self) -> None:
        self.exact: dict[bytes, int] = {}
        self.keys: list[int] = []
        self.near = NearIndex()
        self.vectors = VectorIndex()
        self.vector_rows: list[int] = []
        """Row of each vector: not every document need have one."""
        self.openings: dict[int, Opening] = {}
        """By hash."""

    def keep(self, key: int, sketch: Sketch) -> None:
        """Add a document."""
        row = len(self.keys)
        self.keys.append(key)
        self.exact[sketch.exact] = key
        self.near.add(sketch.minhash, sketch.shingles)
        self._open(key, sketch.opening)
        if sketch.vector is not None:
            self.vectors.extend(sketch.vector[None])
            self.vector_rows.append(row)

    def keep_many(self, keys: Sequence[int], blobs: list[bytes]) -> None:
        """Add documents whose sketches have the same layout."""
        columns = read_columns(blobs)
        first = len(self.keys)
        self.keys.extend(keys)
        self.exact.update(zip(columns.exact, keys, strict=True))
        self.near.extend(columns.minhash, columns.shingles)
        if columns.vector.shape[1]:
            self.vectors.extend(columns.vector)
            self.vector_rows.extend(range(first, first + len(keys)))
        for key, opening in zip(keys, columns.opening, strict=True):
            self._open(key, opening)

    def _open(self, key: int, opening: int) -> None:
        if opening:
            first, times = self.openings.get(opening, (key, 0))
            self.openings[opening] = Opening(first, times + 1)
