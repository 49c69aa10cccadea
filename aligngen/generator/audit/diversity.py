"""Texts and vectors → how varied they are. Every function stands by itself, for releases and
studies too.

Text measures grow or shrink with the amount of text: compare them at equal count and length only.
"""

import math
import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligngen.generator.audit.patterns import words

__all__ = [
    "NearestCosines",
    "compression_ratio",
    "coverage",
    "distinct_n",
    "entropy",
    "nearest_cosines",
    "normalised_entropy",
    "self_repetition",
    "vendi_score",
]

_BLOCK = 1024


def distinct_n(texts: Iterable[str], n: int, *, tokens: int | None = None) -> float:
    """Return distinct word n-grams over all word n-grams (distinct-n; Li et al. 2016, NAACL,
    arXiv 1510.03055).

    In [0, 1]; 0 where there is no n-gram. It falls as text grows, since words recur (Liu et al.
    2022, ACL, arXiv 2202.13587): to compare corpora, give `tokens`, and of both the first so many
    words are counted. n-grams do not cross documents. Linear; memory holds the distinct ones.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    seen: set[Hashable] = set()
    total, left = 0, math.inf if tokens is None else tokens
    for text in texts:
        if left <= 0:
            break
        found = words(text)[: None if left == math.inf else int(left)]
        left -= len(found)
        grams = list(zip(*(found[i:] for i in range(n)), strict=False))
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else 0.0


def compression_ratio(texts: Iterable[str]) -> float:
    """Return UTF-8 bytes over DEFLATE-compressed bytes of the texts, joined by line breaks.

    Higher is more repetitive (Shaib et al. 2024, arXiv 2403.00553, who use gzip, the same DEFLATE).
    It sees repeats within 32 KiB only. NaN without text. Streams.
    """
    packer = zlib.compressobj(9)
    raw = packed = 0
    for text in texts:
        data = (text + "\n").encode("utf-8", "surrogatepass")
        raw += len(data)
        packed += len(packer.compress(data))
    packed += len(packer.flush())
    return raw / packed if raw else math.nan


def self_repetition(texts: Sequence[str], n: int = 4) -> float:
    """Return the mean over documents of ln(1 + how many of its distinct n-grams stand in another).

    After Salkar et al. (2022, AACL, "Self-repetition in abstractive neural summarizers"), as used
    in arXiv 2403.00553. 0 where no n-gram is shared; it grows with length and count. NaN without
    text. Linear; memory holds the distinct n-grams.
    """
    grams = [_distinct_grams(text, n) for text in texts]
    held = Counter(gram for document in grams for gram in document)
    scores = [math.log1p(sum(held[gram] > 1 for gram in document)) for document in grams]
    return float(np.mean(scores)) if scores else math.nan


def _distinct_grams(text: str, n: int) -> set[tuple[str, ...]]:
    found = words(text)
    return set(zip(*(found[i:] for i in range(n)), strict=False))


class NearestCosines(NamedTuple):
    """How near each document's nearest neighbour lies."""

    mean: float
    quantiles: dict[str, float]
    """5, 25, 50, 75, 95 and 99 %."""
    documents: int


def nearest_cosines(vectors: NDArray[np.floating]) -> NearestCosines:
    """Return the distribution of each row's largest cosine with another row.

    Rows are normalised, and those of zeros left out. Quadratic in rows, in blocks of 1,024: for
    samples. NaN for fewer than two rows.
    """
    rows = _unit(vectors)
    if len(rows) < 2:
        return NearestCosines(math.nan, {}, len(rows))
    nearest = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        cosines = rows[start : start + _BLOCK] @ rows.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        nearest[start : start + _BLOCK] = cosines.max(axis=1)
    marks = (5, 25, 50, 75, 95, 99)
    quantiles = {
        str(q): float(v) for q, v in zip(marks, np.percentile(nearest, marks), strict=True)
    }
    return NearestCosines(float(nearest.mean()), quantiles, len(rows))


def vendi_score(vectors: NDArray[np.floating], *, centred: bool = True) -> float:
    """Return the effective number of different documents (Friedman and Dieng 2023, TMLR, arXiv
    2210.02410): exp of the entropy of the eigenvalues of the mean outer product of unit vectors.

    With cosine as the similarity, the d x d form has the non-zero eigenvalues of the n x n one, so
    the cost is n·d² + d³. From 1 (copies) to min(n, d). `centred` takes the mean vector away first
    and normalises again: sentence vectors share a large common part, beside which templates hardly
    show. Rows equal to the mean are left out; 1 where none remains. Bounded by d, it saturates:
    compare at equal count.
    """
    rows = _unit(vectors)
    if not len(rows):
        return math.nan
    if centred:
        rows = rows - rows.mean(axis=0)
        rows = _unit(rows[np.linalg.norm(rows, axis=1) > 1e-6])
        if not len(rows):
            return 1.0
    eigenvalues = np.linalg.eigvalsh(rows.T @ rows / len(rows))
    shares = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rows at length 1, those of zeros left out: they have no direction."""
    rows = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    some = lengths[:, 0] > 0
    unit: NDArray[np.float64] = rows[some] / lengths[some]
    return unit


def entropy(counts: Mapping[str, int]) -> float:
    """Return the Shannon entropy of counts in bits (Shannon 1948); 0 without counts."""
    shares = np.array([n for n in counts.values() if n > 0], dtype=np.float64)
    shares /= max(1.0, shares.sum())
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def normalised_entropy(counts: Mapping[str, int], possible: int | None = None) -> float:
    """Return the entropy over that of `possible` equal values (Pielou's evenness, 1966), in [0, 1].

    `possible` is how many values were counted by default; 1 where there is only one.
    """
    values = possible or len(counts)
    return entropy(counts) / math.log2(values) if values > 1 else 1.0


def coverage(filled: int, possible: int) -> float:
    """Return the share of possible cells that hold a document; NaN where none is possible."""
    return filled / possible if possible else math.nan
