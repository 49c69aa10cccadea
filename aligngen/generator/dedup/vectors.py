"""Nearest kept vector by exact integer products: all of them in blocks, or FAISS IVF above a size.

Below EXACT_LIMIT rows every product is taken. Above it, k-means lists restrict which rows are
looked at, but the products that decide are the same exact integers: FAISS holds the quantised
vectors in float16, where integers to 2¹¹ are exact, and sums them in float32, exact to 2²⁴. The
centroids are computed in integers too, so the lists are the same after a restart, on any number of
threads.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.generator.dedup.sketch import SCALE

if TYPE_CHECKING:
    import faiss

__all__ = ["EXACT_LIMIT", "Nearest", "VectorIndex"]

EXACT_LIMIT = 131_072
_BLOCK = 16_384
_LISTS, _PROBES, _ROUNDS, _SAMPLE = 1024, 16, 4, 16
_TIES = 4


class Nearest(NamedTuple):
    """The best row and integer product of each query; row -1 where the index is empty."""

    rows: NDArray[np.int64]
    products: NDArray[np.int64]


class VectorIndex:
    """Rows of quantised vectors, in order of arrival."""

    def __init__(self, exact_limit: int = EXACT_LIMIT) -> None:
        self._exact_limit = exact_limit
        self._pending: list[NDArray[np.int16]] = []
        self._blocks: list[NDArray[np.float32]] = []
        self._in_blocks = 0
        self._ivf: faiss.IndexIVFScalarQuantizer | None = None
        self.size = 0

    @property
    def kind(self) -> str:
        """Which way rows are searched."""
        if self.size <= self._exact_limit:
            return "exact"
        return f"IVF{_LISTS},SQfp16 nprobe={_PROBES}"

    def extend(self, vectors: NDArray[np.int16]) -> None:
        """Add rows; nothing is computed before the next search."""
        if len(vectors):
            self._pending.append(vectors)
            self.size += len(vectors)

    def nearest(self, queries: NDArray[np.int16]) -> Nearest:
        """Return the best row of each query; of equals, the earliest."""
        self._settle()
        points = queries.astype(np.float32)
        if self._ivf is not None:
            return self._nearest_ivf(self._ivf, points)
        best = Nearest(
            np.full(len(points), -1, dtype=np.int64), np.full(len(points), -(1 << 30), np.int64)
        )
        for number, block in enumerate(self._blocks):
            rows = min(_BLOCK, self._in_blocks - number * _BLOCK)
            _improve(best, points @ block[:rows].T, number * _BLOCK)
        return best

    def _settle(self) -> None:
        for vectors in self._pending:
            room = max(0, self._exact_limit - self._in_blocks) if self._ivf is None else 0
            self._append(vectors[:room].astype(np.float32))
            if len(vectors) > room:
                self._add_ivf(vectors[room:].astype(np.float32))
        self._pending = []

    def _append(self, vectors: NDArray[np.float32]) -> None:
        while len(vectors):
            offset = self._in_blocks % _BLOCK
            if offset == 0:
                self._blocks.append(np.empty((_BLOCK, vectors.shape[1]), dtype=np.float32))
            part = vectors[: _BLOCK - offset]
            self._blocks[-1][offset : offset + len(part)] = part
            self._in_blocks += len(part)
            vectors = vectors[len(part) :]

    def _add_ivf(self, vectors: NDArray[np.float32]) -> None:
        if self._ivf is None:
            # Whatever arrives together, the lists are made of the first `exact_limit` rows alone.
            rows = np.concatenate(self._blocks)[: self._in_blocks]
            self._blocks = []
            self._ivf = _build(rows)
        self._ivf.add(vectors)

    def _nearest_ivf(
        self, index: "faiss.IndexIVFScalarQuantizer", points: NDArray[np.float32]
    ) -> Nearest:
        products, rows = index.search(points, _TIES)
        ties = np.where(products == products[:, :1], rows, np.iinfo(np.int64).max)
        return Nearest(ties.min(axis=1), np.rint(products[:, 0]).astype(np.int64))


def _improve(best: Nearest, products: NDArray[np.float32], first_row: int) -> None:
    columns = products.argmax(axis=1)
    values = products[np.arange(len(columns)), columns].astype(np.int64)
    # Strictly better only: blocks come in order of rows, so the earliest of equals stays.
    better = values > best.products
    best.rows[better] = columns[better] + first_row
    best.products[better] = values[better]


def _build(rows: NDArray[np.float32]) -> "faiss.IndexIVFScalarQuantizer":
    import faiss

    centroids = _centroids(rows)
    dim = rows.shape[1]
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(centroids)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer,
        dim,
        len(centroids),
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
        False,
    )
    index.train(centroids)
    index.nprobe = min(_PROBES, len(centroids))
    index.add(rows)
    return index


def _centroids(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return k-means centroids by spherical Lloyd rounds in integers, from a fixed sample."""
    lists = min(_LISTS, max(1, len(rows) // 39))
    step = max(1, len(rows) // (lists * _SAMPLE))
    sample = np.ascontiguousarray(rows[::step])
    centroids = sample[:: max(1, len(sample) // lists)][:lists].copy()
    for _ in range(_ROUNDS):
        nearest = (sample @ centroids.T).argmax(axis=1)
        sums = np.zeros(centroids.shape, dtype=np.float64)
        np.add.at(sums, nearest, sample)
        norms = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
        moved = np.rint(sums / np.maximum(norms, 1) * SCALE).astype(np.float32)
        centroids = np.where(norms > 0, moved, centroids)
    return np.ascontiguousarray(centroids)
