"""The tools side by side: each turns texts into "is dropped" flags at a threshold.

A tool is (prepare, flag): `prepare` does once what does not depend on the threshold (signatures,
vectors); `flag` runs the tool itself at one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from dedup_corpus import cache
from numpy.typing import NDArray

from aligngen.core.config import DedupConfig
from aligngen.core.schema import Outcome
from aligngen.generator.dedup import Deduplicator, Item, MiniLMEmbedder, Sketch
from aligngen.generator.dedup.lsh import NearIndex
from aligngen.generator.dedup.sketch import UNIT
from aligngen.generator.dedup.text import band_keys, bands_for
from aligngen.generator.dedup.vectors import VectorIndex

Flags = NDArray[np.bool_]
LOWEST_JACCARD = 0.14
"""Below it an LSH table looks at too many pairs."""


class Point(NamedTuple):
    """An operating point: what a tool calls its threshold, and for us the cosine beside it."""

    threshold: float
    cosine: float = 1.0


# --- aligngen -----------------------------------------------------------------------------------


def sketches(texts: Sequence[str], meaning: bool) -> list[Sketch]:
    """Sketch every text, with more bands than any operating point uses."""
    config = DedupConfig(jaccard=LOWEST_JACCARD, meaning=meaning)
    maker = Deduplicator(config, MiniLMEmbedder() if meaning else None)
    return [maker.sketch(text, "") for text in texts]


def aligngen_scores(made: Sequence[Sketch]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each document's highest Jaccard and cosine to an earlier one."""
    near, vectors = NearIndex(), VectorIndex()
    jaccard, cosine = np.zeros(len(made)), np.zeros(len(made))
    keys = list(range(len(made)))
    for i, sketch in enumerate(made):
        twin = near.nearest(sketch.minhash, sketch.shingles, keys)
        jaccard[i] = twin.jaccard if twin else 0
        near.add(sketch.minhash, sketch.shingles)
    if made[0].vector is None:
        return jaccard, cosine
    stacked = np.stack([s.vector for s in made if s.vector is not None])
    for start in range(0, len(made), 512):
        block = stacked[start : start + 512]
        inside = np.tril(block.astype(np.float32) @ block.T.astype(np.float32), -1).max(axis=1)
        earlier = vectors.nearest(block).products if start else np.zeros(len(block))
        cosine[start : start + 512] = np.maximum(inside, earlier) / UNIT
        vectors.extend(block)
    return jaccard, cosine


def aligngen_point(made: Sequence[Sketch], clean: int, rate: float) -> Point:
    """Share the budget of false positives between words and meaning: nine parts to one.

    Words first: at equal rates they find more of these twins; meaning takes what is left over
    where the lowest Jaccard does not use its part up.
    """
    jaccard, cosine = aligngen_scores(made[:clean])
    budget = int(rate * clean)
    share = max(budget - max(1, budget // 10), 0) if made[0].vector is not None else budget
    words = max(float(np.sort(jaccard)[::-1][share]) + 1e-9, LOWEST_JACCARD)
    left = budget - int((jaccard >= words).sum())
    others = np.sort(cosine[jaccard < words])[::-1]
    return Point(words, min(1.0, float(others[max(left, 0)]) + 1e-6))


def aligngen_flags(made: Sequence[Sketch], point: Point) -> Flags:
    """Run the deduplicator itself at an operating point."""
    meaning = made[0].vector is not None
    config = DedupConfig(jaccard=point.threshold, cosine=point.cosine, meaning=meaning)
    judge = Deduplicator(config, MiniLMEmbedder() if meaning else None)
    bands = bands_for(point.threshold)
    flags: list[bool] = []
    for start in range(0, len(made), 256):
        items = [
            Item(start + i, "", "", s._replace(minhash=band_keys(s.shingles, bands)))
            for i, s in enumerate(made[start : start + 256])
        ]
        flags += [v.outcome is not Outcome.KEPT for v in judge.decide_many(items)]
    return np.array(flags)


# --- peers --------------------------------------------------------------------------------------


def rensa_prepare(texts: Sequence[str]) -> list[list[str]]:
    """Split into words, as rensa's README does."""
    return [text.split() for text in texts]


def rensa_flags(tokens: Sequence[list[str]], threshold: float) -> Flags:
    """Run RMinHashDeduplicator as the README does."""
    from rensa import RMinHashDeduplicator

    dedup = RMinHashDeduplicator(threshold=threshold, num_perm=128, use_lsh=True)
    keep = dedup.add_pairs((str(i), words) for i, words in enumerate(tokens))
    return ~np.array(keep)


def datasketch_prepare(texts: Sequence[str]) -> list[object]:
    """Make MinHash signatures of the set of words, as datasketch's README does."""
    from datasketch import MinHash

    sets = [[word.encode() for word in set(text.split())] for text in texts]
    return list(MinHash.generator(sets, num_perm=128))


def datasketch_flags(signatures: Sequence[object], threshold: float) -> Flags:
    """Insert what has no earlier match; matches are verified on the signatures."""
    from datasketch import MinHashLSH

    lsh = MinHashLSH(threshold=threshold, num_perm=128)
    flags = np.zeros(len(signatures), dtype=bool)
    for i, signature in enumerate(signatures):
        matches = lsh.query(signature)
        flags[i] = any(signature.jaccard(signatures[m]) >= threshold for m in matches)
        if not flags[i]:
            lsh.insert(i, signature, check_duplication=False)
    return flags


def semhash_prepare(texts: Sequence[str]) -> tuple[list[str], NDArray[np.float32], object]:
    """Encode with model2vec distilled from MiniLM (semhash's own default needs a hub)."""
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(cache() / "model2vec")
    return list(texts), model.encode(list(texts)), model


def semhash_flags(
    prepared: tuple[list[str], NDArray[np.float32], object], threshold: float
) -> Flags:
    """Run SemHash.self_deduplicate."""
    from semhash import SemHash

    texts, vectors, model = prepared
    hashed = SemHash.from_embeddings(vectors, texts, model=model)
    kept = hashed.self_deduplicate(threshold=threshold).selected
    left: dict[str, int] = {}
    for text in kept:
        left[text] = left.get(text, 0) + 1
    flags = np.ones(len(texts), dtype=bool)
    for i, text in enumerate(texts):
        if left.get(text, 0):
            left[text] -= 1
            flags[i] = False
    return flags


PEERS: dict[str, tuple[Callable[..., object], Callable[..., Flags], float, float]] = {
    "rensa": (rensa_prepare, rensa_flags, 0.15, 0.8),
    "datasketch": (datasketch_prepare, datasketch_flags, 0.2, 0.8),
    "semhash": (semhash_prepare, semhash_flags, 0.6, 0.999),
}
"""Name → prepare, flag, and the range in which the threshold is sought."""
