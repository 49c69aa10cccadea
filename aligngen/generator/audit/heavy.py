"""A stream of keys → every key that is frequent, in bounded memory.

Misra and Gries (1982), "Finding repeated elements", in the batched, mergeable form of Agarwal et
al. (2012), "Mergeable summaries": exact counts of a batch are added to the summary, and where more
than k keys stand in it the (k+1)-th largest count is taken from all of them.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeavyHitters"]


class HeavyHitters:
    """At most `counters` keys with counts that are too low by `error` at most, never too high.

    After N keys, error ≤ N / (counters + 1): every key that came more than N / (counters + 1)
    times is in the summary. `error` is what was really taken, mostly far less than that bound.
    Memory: fewer than 2 · counters keys wait beside the summary, 32 bytes · counters in all,
    whatever N is.
    """

    def __init__(self, counters: int) -> None:
        if counters < 1:
            raise ValueError(f"counters must be at least 1, got {counters}")
        self.counters = counters
        self.seen = 0
        """N: how many keys came."""
        self._error = 0
        self._keys = np.empty(0, dtype=np.uint64)
        self._counts = np.empty(0, dtype=np.int64)
        self._waiting: list[NDArray[np.uint64]] = []
        self._waits = 0

    def update(self, keys: NDArray[np.uint64]) -> None:
        """Count each key once for each time that it stands in `keys`."""
        for start in range(0, len(keys), self.counters):
            part = keys[start : start + self.counters]
            self.seen += len(part)
            self._waiting.append(part.copy())
            self._waits += len(part)
            if self._waits >= self.counters:
                self._settle()

    @property
    def error(self) -> int:
        """How much too low a count can be; a key that came more often than this is here."""
        self._settle()
        return self._error

    def items(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the keys, sorted, and the lower bounds of their counts."""
        self._settle()
        return self._keys, self._counts

    def _settle(self) -> None:
        if not self._waits:
            return
        new, new_counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._waits = [], 0
        keys, inverse = np.unique(np.concatenate([self._keys, new]), return_inverse=True)
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, inverse, np.concatenate([self._counts, new_counts]))
        if len(keys) > self.counters:
            place = len(keys) - self.counters - 1
            surplus = int(np.partition(counts, place)[place])
            counts -= surplus
            keys, counts = keys[counts > 0], counts[counts > 0]
            self._error += surplus
        self._keys, self._counts = keys, counts
