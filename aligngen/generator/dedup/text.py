"""Text → what the cheap stages compare: an exact hash, hashed word 2-grams, MinHash band keys.

All of it is a pure function of the text and of what the cell's style dictates; no seed, no state.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OPENING_WORDS",
    "Bands",
    "band_keys",
    "bands_for",
    "boilerplate_hashes",
    "exact_hash",
    "opening_hash",
    "shingle_hashes",
    "words",
]

_MOST_BANDS = 128

OPENING_WORDS = 5
"""Words that make an opening."""
_OPENING_CHARS = 400
"""Characters of a body in which its first words are looked for."""


class Bands(NamedTuple):
    """The shape of an LSH table: a pair is a candidate where any band of `rows` hashes agrees."""

    rows: int
    bands: int

    def recall(self, jaccard: float) -> float:
        """Return the probability that a pair of this similarity becomes a candidate."""
        return float(1 - (1 - jaccard**self.rows) ** self.bands)


def bands_for(jaccard: float) -> Bands:
    """Return the shape that finds pairs at the threshold: 98 %, and most of those just above.

    Three rows keep distinct documents apart (at 0.03 one pair in 600 is looked at), but below 0.4
    they would miss too much; two rows look at one pair in ten.
    """
    rows = 3 if jaccard >= 0.4 else 2
    count = math.ceil(math.log(0.02) / math.log(1 - min(jaccard, 0.99) ** rows))
    return Bands(rows, min(max(16, count), _MOST_BANDS))


_WORD = re.compile(r"\w+")
_MIX_LEFT, _MIX_RIGHT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_HALF = np.uint64(32)


def words(text: str) -> list[str]:
    """Return the words of `text`, compatibility-normalised and case-folded, without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def exact_hash(text: str, tokens: list[str]) -> bytes:
    """Hash the words of a text; of a text without any word, the text itself."""
    body = " ".join(tokens) if tokens else "\x00" + text
    return hashlib.blake2b(body.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def opening_hash(text: str) -> int:
    """Hash the first words of a body to 64 bits; 0 where it has none."""
    first = words(text[:_OPENING_CHARS])[:OPENING_WORDS]
    if not first:
        return 0
    digest = hashlib.blake2b(" ".join(first).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass"))


def shingle_hashes(tokens: list[str]) -> NDArray[np.uint32]:
    """Return the sorted, unique 32-bit hashes of the word 2-grams."""
    if len(tokens) < 2:
        return np.empty(0, dtype=np.uint32)
    codes = np.fromiter(map(_word_hash, tokens), dtype=np.uint64, count=len(tokens))
    mixed = (codes[:-1] + np.uint64(1)) * _MIX_LEFT ^ (codes[1:] + np.uint64(1)) * _MIX_RIGHT
    mixed ^= mixed >> _HALF
    return np.unique((mixed * _MIX_LEFT >> _HALF).astype(np.uint32))


def boilerplate_hashes(texts: Iterable[str]) -> NDArray[np.uint32]:
    """Return the 2-gram hashes that any of the texts contains."""
    parts = [shingle_hashes(words(text)) for text in texts]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.uint32)


def _coefficients() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    # Multiply-shift hashing (Dietzfelbinger et al. 1997) with constants drawn once for all.
    random = np.random.Generator(np.random.PCG64(20261123))
    size = (3 * _MOST_BANDS, 1)
    odd = random.integers(0, 1 << 63, size=size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return odd, random.integers(0, 1 << 63, size=size, dtype=np.uint64)


_ODD, _SHIFT = _coefficients()


def band_keys(shingles: NDArray[np.uint32], bands: Bands) -> NDArray[np.uint32]:
    """Return the MinHash signature, folded to one 32-bit key per LSH band; empty for no shingle.

    The Jaccard similarity is verified on the shingles themselves, so of the signature no more than
    the bands is needed, and the band's number is part of its key.
    """
    if not len(shingles):
        return np.empty(0, dtype=np.uint32)
    size = bands.rows * bands.bands
    hashes = shingles.astype(np.uint64) * _ODD[:size] + _SHIFT[:size]
    signature = (hashes >> _HALF).min(axis=1).reshape(bands.bands, bands.rows)
    key = np.arange(bands.bands, dtype=np.uint64) * _MIX_RIGHT
    for row in range(bands.rows):
        key = (key ^ signature[:, row]) * _MIX_LEFT
        key ^= key >> _HALF
    return key.astype(np.uint32)
