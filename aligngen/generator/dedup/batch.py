"""Candidates decided together: their nearest kept vectors by few large products."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.generator.dedup.sketch import Sketch
from aligngen.generator.dedup.vectors import VectorIndex

__all__ = ["BatchVectors", "Best", "Item"]


class Item(NamedTuple):
    """A candidate whose turn has come."""

    key: int
    group: str
    cell: str
    sketch: Sketch


class Best(NamedTuple):
    """A row of the index and its integer product with the candidate."""

    row: int
    product: int


_NONE = Best(-1, -(1 << 30))


class BatchVectors:
    """Nearest kept vectors for a batch: one product with the index, then one within the batch.

    The product with the index is taken when the first item of a group comes as far as meaning: what
    is exactly or nearly the same needs none.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._groups = [item.group for item in items]
        self._vectors = [item.sketch.vector for item in items]
        self._indexed: dict[str, dict[int, Best]] = {}
        self._kept: dict[str, list[int]] = {}
        self._rows: dict[str, list[int]] = {}

    def _get(self, number: int) -> NDArray[np.int16]:
        vector = self._vectors[number]
        assert vector is not None
        return vector

    def _ask(self, name: str, index: VectorIndex, first: int) -> dict[int, Best]:
        numbers = [
            i
            for i, vector in enumerate(self._vectors)
            if i >= first and vector is not None and self._groups[i] == name
        ]
        if not index.size:
            return {}
        nearest = index.nearest(np.stack([self._get(i) for i in numbers]))
        found = zip(nearest.rows, nearest.products, strict=True)
        return {i: Best(int(r), int(p)) for i, (r, p) in zip(numbers, found, strict=True)}

    def nearest(self, number: int, index: VectorIndex) -> Best:
        """Return the best of the index and of what the batch has kept since it was asked."""
        name, vector = self._groups[number], self._vectors[number]
        if vector is None:
            return _NONE
        if name not in self._indexed:
            self._indexed[name] = self._ask(name, index, number)
        best = self._indexed[name].get(number, _NONE)
        kept = self._kept.get(name)
        if not kept:
            return best
        others = np.stack([self._get(i) for i in kept]).astype(np.float32)
        products = others @ vector.astype(np.float32)
        at = int(products.argmax())
        inside = Best(self._rows[name][at], int(products[at]))
        return inside if inside.product > best.product else best

    def keep(self, number: int, row: int) -> None:
        """Note that an item of the batch was kept, as this row of its group's index."""
        name = self._groups[number]
        if self._vectors[number] is not None and name in self._indexed:
            self._kept.setdefault(name, []).append(number)
            self._rows.setdefault(name, []).append(row)
