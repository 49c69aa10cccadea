"""Candidates for near-duplicates: sorted MinHash bands, verified by exact Jaccard similarity.

Rows come in with increasing number. Postings are sorted `band key << 32 | row` integers in a few
levels of growing size, so that a million rows load by one vectorised sort, and looking up all bands
of a document is one binary search per level.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NearIndex", "NearTwin"]

_TAIL = 2048
_SHIFT = np.uint64(32)
_ONE = np.uint64(1)


class NearTwin(NamedTuple):
    """The most similar row so far."""

    row: int
    jaccard: float


class NearIndex:
    """Rows by MinHash band."""

    def __init__(self) -> None:
        self._levels: list[NDArray[np.uint64]] = []
        self._loaded: list[NDArray[np.uint64]] = []
        self._tail: list[NDArray[np.uint32]] = []
        self._tail_matrix: NDArray[np.uint32] | None = None
        self._tail_rows: list[int] = []
        self._shingles: list[bytes] = []

    def add(self, bands: NDArray[np.uint32], shingles: NDArray[np.uint32]) -> None:
        """Add the next row; one without shingles can be nobody's near-duplicate."""
        row = len(self._shingles)
        self._shingles.append(shingles.astype("<u4", copy=False).tobytes())
        if not len(bands):
            return
        self._tail.append(bands)
        self._tail_rows.append(row)
        self._tail_matrix = None
        if len(self._tail) == _TAIL:
            self._push(_postings(np.stack(self._tail), np.array(self._tail_rows)))
            self._tail, self._tail_rows = [], []

    def extend(self, bands: NDArray[np.uint32], shingles: list[bytes]) -> None:
        """Add many rows at once."""
        first = len(self._shingles)
        self._shingles.extend(shingles)
        if bands.shape[1]:
            # Sorted at the first look-up, all at once: a restart need not wait for it.
            self._loaded.append(_postings(bands, np.arange(first, first + len(bands))))

    def nearest(
        self, bands: NDArray[np.uint32], shingles: NDArray[np.uint32], keys: list[int]
    ) -> NearTwin | None:
        """Return the candidate of highest Jaccard similarity; of equals, that of the lowest key."""
        rows = self._candidates(bands)
        if not len(rows):
            return None
        scores = self._jaccard(shingles, rows)
        best = scores.max()
        row = min((int(r) for r in rows[scores == best]), key=keys.__getitem__)
        return NearTwin(row, float(best))

    def _settle(self) -> None:
        if self._loaded:
            self._push(np.concatenate(self._loaded))
            self._loaded = []

    def _push(self, postings: NDArray[np.uint64]) -> None:
        postings.sort()
        while self._levels and len(self._levels[-1]) <= len(postings):
            postings = np.concatenate((self._levels.pop(), postings))
            postings.sort(kind="stable")  # merges sorted runs, four times faster than a new sort
        self._levels.append(postings)

    def _candidates(self, bands: NDArray[np.uint32]) -> NDArray[np.int64]:
        if not len(bands):
            return np.empty(0, dtype=np.int64)
        self._settle()
        found = [_lookup(level, bands) for level in self._levels]
        if self._tail:
            if self._tail_matrix is None:
                self._tail_matrix = np.stack(self._tail)
            hits = (self._tail_matrix == bands).any(axis=1)
            found.append(np.array(self._tail_rows)[hits])
        return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def _jaccard(
        self, shingles: NDArray[np.uint32], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        others = [self._shingles[row] for row in rows]
        sizes = np.array([len(other) // 4 for other in others])
        pool = np.frombuffer(b"".join(others), "<u4")
        at = np.minimum(np.searchsorted(shingles, pool), len(shingles) - 1)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        shared = np.add.reduceat((shingles[at] == pool).astype(np.int64), starts)
        return np.asarray(shared / (sizes + len(shingles) - shared), dtype=np.float64)


def _postings(bands: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    keys = bands.astype(np.uint64) << _SHIFT
    return (keys | rows.astype(np.uint64)[:, None]).ravel()


def _lookup(level: NDArray[np.uint64], bands: NDArray[np.uint32]) -> NDArray[np.int64]:
    keys = np.sort(bands).astype(np.uint64)
    starts = np.searchsorted(level, keys << _SHIFT)
    # A level's largest key may be 2³²-1, whose successor would overflow a shift of 32 bits.
    ends = np.searchsorted(level, (keys << _SHIFT) | ((_ONE << _SHIFT) - _ONE), side="right")
    parts = [level[a:b] for a, b in zip(starts, ends, strict=True) if b > a]
    if not parts:
        return np.empty(0, dtype=np.int64)
    return (np.concatenate(parts) & ((_ONE << _SHIFT) - _ONE)).astype(np.int64)
