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
    """The kept documents of one group.

    Of each distinct opening it holds an entry of a dict and a 64-bit hash, 70 to 90 bytes, which is
    80 MB for a million; of one that comes again, 30 to 60 bytes more.
    """

    def __init__(self) -> None:
        self.exact: dict[bytes, int] = {}
        self.keys: list[int] = []
        self.near = NearIndex()
        self.vectors = VectorIndex()
        self.vector_rows: list[int] = []
        """Row of each vector: not every document need have one."""
        self._first_opened: dict[int, int] = {}
        """Key of the first document with an opening, by its hash."""
        self._times_opened: dict[int, int] = {}
        """Of the openings that come again, how often they stand: in prose most stand once."""

    def keep(self, key: int, sketch: Sketch) -> None:
        """Add a document."""
        row = len(self.keys)
        self.keys.append(key)
        self.exact[sketch.exact] = key
        self.near.add(sketch.minhash, sketch.shingles)
        self.open(key, sketch.opening)
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
            self.open(key, opening)

    def open(self, key: int, opening: int) -> None:
        """Count the opening of a document; 0 stands for none."""
        if not opening:
            return
        if opening in self._first_opened:
            self._times_opened[opening] = self._times_opened.get(opening, 1) + 1
        else:
            self._first_opened[opening] = key

    def opening(self, opening: int) -> Opening | None:
        """Return what is known of an opening by its hash, or None if no document has it."""
        first = self._first_opened.get(opening)
        return None if first is None else Opening(first, self._times_opened.get(opening, 1))

    @property
    def compares_openings(self) -> bool:
        """Whether any document was added with its opening."""
        return bool(self._first_opened)
