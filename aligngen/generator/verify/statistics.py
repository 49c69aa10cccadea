"""How sure a share is, and how far two raters agree beyond chance."""

from collections.abc import Mapping
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

from aligngen.core.hashing import Json

__all__ = ["Share", "cohens_kappa", "wilson_interval"]


class Share(NamedTuple):
    """A share of `n` cases, with its 95 % Wilson interval; 0 to 1 where `n` is 0."""

    hits: int
    n: int

    @property
    def rate(self) -> float | None:
        """The share itself; None of nothing."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """The interval's ends."""
        return wilson_interval(self.hits, self.n)

    def as_json(self) -> dict[str, Json]:
        """Return plain data."""
        low, high = self.interval
        rate = None if self.rate is None else round(self.rate, 4)
        return {
            "hits": self.hits, "n": self.n, "rate": rate,
            "low": round(low, 4), "high": round(high, 4),
        }  # fmt: skip


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a binomial share, (0, 1) where `n` is 0.

    Unlike the normal interval it holds its level for small `n` and for shares near 0 and 1.
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22,
    1927, 209-212; recommended by L. Brown, T. Cai and A. DasGupta, Statistical Science 16, 2001,
    101-133.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"hits must be between 0 and n, got {hits} of {n}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = hits / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / n + weight / (4 * n))
    # At the ends exactly, where rounding would leave the share outside its own interval.
    return (middle - half if hits else 0.0), (middle + half if hits < n else 1.0)


def cohens_kappa(table: Mapping[tuple[str, str], int]) -> float | None:
    """Return the agreement of two raters beyond chance, from counts by (first, second) label.

    1 is full agreement, 0 what raters with these label frequencies reach by chance. None where it
    is not defined: no cases, or chance alone agrees always. J. Cohen, A coefficient of agreement
    for nominal scales, Educational and Psychological Measurement 20, 1960, 37-46.
    """
    n = sum(table.values())
    if not n:
        return None
    first: dict[str, int] = {}
    second: dict[str, int] = {}
    for (a, b), count in table.items():
        first[a] = first.get(a, 0) + count
        second[b] = second.get(b, 0) + count
    observed = sum(count for (a, b), count in table.items() if a == b) / n
    # Compared as integers: a share of 1 must not be missed by a rounding.
    by_chance = sum(count * second.get(label, 0) for label, count in first.items())
    if by_chance == n * n:
        return None
    expected = by_chance / (n * n)
    return (observed - expected) / (1 - expected)
