"""A seeded sample of a stream, whole groups at a time, in bounded memory.

Bottom-k sampling: the groups whose hashed names are smallest stay. Which do depends on the names
and the seed alone, not on the order of the files; siblings that stand in different files stay
together.
"""

import hashlib
import heapq
from typing import Generic, TypeVar

__all__ = ["GroupSample"]

T = TypeVar("T")


class GroupSample(Generic[T]):
    """Whole groups, of which at most `limit` members are held together."""

    def __init__(self, limit: int, seed: int = 0) -> None:
        self._limit, self._seed = limit, str(seed).encode()
        self._groups: dict[str, list[T]] = {}
        self._heap: list[tuple[int, str]] = []
        self._cut = 1 << 64
        self._held = 0

    def add(self, group: str, member: T) -> None:
        """Offer one member."""
        rank = self._rank(group)
        if rank >= self._cut:
            return
        if group not in self._groups:
            self._groups[group] = []
            heapq.heappush(self._heap, (-rank, group))
        self._groups[group].append(member)
        self._held += 1
        while self._held > self._limit:
            worst, name = heapq.heappop(self._heap)
            self._cut = -worst
            self._held -= len(self._groups.pop(name))

    def _rank(self, group: str) -> int:
        data = group.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=self._seed).digest(), "big")

    def groups(self) -> dict[str, list[T]]:
        """Return the groups in the order of their hashes."""
        return {name: self._groups[name] for name in sorted(self._groups, key=self._rank)}
