"""How the cost of a decision grows with the number of kept vectors, and what the ANN index misses.

    python benchmarks/dedup_growth.py

Vectors: MiniLM's of real passages (ALIGNGEN_BENCH_CACHE), multiplied by mixing two of them and
noise. Queries: twins of indexed vectors at known cosines. The cost that counts is the one of a run
that decides one document at a time.
"""

import json
import time
from pathlib import Path

import numpy as np
from dedup import machine
from dedup_corpus import cache, clean_passages
from numpy.typing import NDArray

from aligngen.generator.dedup import MiniLMEmbedder
from aligngen.generator.dedup.sketch import quantise
from aligngen.generator.dedup.vectors import VectorIndex

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
COSINES = (0.7, 0.8, 0.9)
QUERIES = 200


def seeds(count: int) -> NDArray[np.float32]:
    """Return vectors of real passages, cached."""
    stored = cache() / f"vectors{count}.npy"
    if not stored.is_file():
        np.save(stored, MiniLMEmbedder().encode(clean_passages(count)))
    return np.load(stored)


def mixtures(real: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return vectors that are clustered as the real ones are, without being twins of each other."""
    a, b = real[rng.integers(0, len(real), (2, count))]
    noise = rng.standard_normal(a.shape, dtype=np.float32) / np.sqrt(a.shape[1])
    mixed = 0.6 * a + 0.4 * b + 0.6 * noise
    return quantise(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))


def twins(vectors: NDArray[np.int16], cosine: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return vectors at a cosine to the given ones."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    away = rng.standard_normal(unit.shape)
    away -= (away * unit).sum(axis=1, keepdims=True) * unit
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return quantise((cosine * unit + np.sqrt(1 - cosine**2) * away).astype(np.float32))


def main() -> None:
    """Grow one index through the sizes."""
    rng = np.random.default_rng(20261123)
    real = seeds(2000)
    index, rows, all_vectors = VectorIndex(), [], []
    for size in SIZES:
        for start in range(index.size, size, 10_000):
            vectors = mixtures(real, min(10_000, size - start), rng)
            all_vectors.append(vectors)
            index.extend(vectors)
        start_build = time.process_time()
        index.nearest(all_vectors[0][:1])
        build = time.process_time() - start_build
        rows.append({"size": size, "kind": index.kind, "settle_cpu_s": round(build, 2)})
        rows[-1] |= _measure(index, np.concatenate(all_vectors), rng)
    first, last = rows[0], rows[-1]
    exponent = np.log(last["cpu_ms"] / first["cpu_ms"]) / np.log(last["size"] / first["size"])
    result = {
        "command": "python benchmarks/dedup_growth.py",
        "machine": machine(),
        "exponent_of_a_decision": round(float(exponent), 3),
        "exponent_of_a_corpus": round(1 + float(exponent), 3),
        "rows": rows,
    }
    out = Path(__file__).parent / "results" / "dedup_growth.json"
    out.write_text(json.dumps(result, indent=1) + "\n")


def _measure(
    index: VectorIndex, vectors: NDArray[np.int16], rng: np.random.Generator
) -> dict[str, object]:
    recall = {}
    for cosine in COSINES:
        chosen = rng.integers(0, len(vectors), QUERIES)
        queries = twins(vectors[chosen], cosine, rng)
        found = index.nearest(queries)
        truth = (queries.astype(np.int64) * vectors[chosen].astype(np.int64)).sum(axis=1)
        # Mixtures can lie nearer than the planted twin: what counts is the score that decides.
        recall[str(cosine)] = float((found.products >= truth).mean())
    start, cpu = time.perf_counter(), time.process_time()
    for query in queries:
        index.nearest(query[None])
    return {
        "recall_at_cosine": recall,
        "ms": round(1000 * (time.perf_counter() - start) / QUERIES, 3),
        "cpu_ms": round(1000 * (time.process_time() - cpu) / QUERIES, 3),
    }


if __name__ == "__main__":
    main()
