"""Dedup side by side: recall on planted twins at matched false-positive rates, cost and memory.

    ALIGNGEN_BENCH_CACHE=DIR python benchmarks/dedup.py --size 10000

Each tool runs in a process of its own. Its threshold is sought on the clean passages alone until
it flags the target share of them; then it runs over the whole corpus. A pair counts as found where
either of its documents is dropped.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from dedup_corpus import KINDS, Planted, plant

RATES = (0.001, 0.01)
RESULTS = Path(__file__).parent / "results" / "dedup.json"


def _stored(path: Path) -> dict[str, list[dict[str, object]]]:
    return json.loads(path.read_text()) if path.is_file() else {"rows": []}


def measure(tool: str, size: int) -> dict[str, object]:
    """Run one tool over one corpus."""
    corpus = plant(size)
    clean = corpus.kinds.count("clean")
    base = _peak_mb()
    run = _run_aligngen if tool.startswith("aligngen") else _run_peer
    result = run(tool, corpus, clean)
    return {"tool": tool, "size": size, "corpus_mb": base, "peak_mb": _peak_mb(), **result}


def _run_aligngen(tool: str, corpus: Planted, clean: int) -> dict[str, object]:
    import dedup_tools as tools

    warm = tools.sketches(corpus.texts[:2], tool == "aligngen")
    start = _clock()
    made = tools.sketches(corpus.texts, warm[0].vector is not None)
    sketching = _since(start)
    rates = {}
    for rate in RATES:
        point = tools.aligngen_point(made, clean, rate)
        rates[str(rate)] = _judge(
            corpus,
            clean,
            sketching,
            list(point),
            lambda m, p=point: tools.aligngen_flags(m, p),
            made,
        )
    return {"prepare": sketching, "rates": rates}


def _run_peer(tool: str, corpus: Planted, clean: int) -> dict[str, object]:
    import dedup_tools as tools

    prepare, flags, low, high = tools.PEERS[tool]
    prepare(corpus.texts[:2])
    start = _clock()
    prepared = prepare(corpus.texts)
    sketching = _since(start)
    part = _head(prepared, clean)
    rates = {}
    for rate in RATES:
        bracket = _bracket(tool, len(corpus.texts), rate, low, high)
        threshold = _seek(lambda t: float(flags(part, t).mean()), rate, *bracket)
        run = partial(flags, threshold=threshold)
        rates[str(rate)] = _judge(corpus, clean, sketching, [threshold], run, prepared)
    return {"prepare": sketching, "rates": rates}


def _bracket(
    tool: str, size: int, rate: float, low: float, high: float
) -> tuple[float, float, int]:
    """Start from the threshold found at a tenth of the size, where there is one: it only grows."""
    for row in _stored(RESULTS)["rows"]:
        if (row["tool"], row["size"]) == (tool, size // 10) and size >= 100_000:
            known = row["rates"][str(rate)]["point"][0]
            return max(low, known - 0.02), min(high, known + 0.12), 4
    return low, high, 8


def _head(prepared: object, clean: int) -> object:
    if isinstance(prepared, tuple):
        texts, vectors, model = prepared
        return texts[:clean], vectors[:clean], model
    assert isinstance(prepared, Sequence)
    return prepared[:clean]


def _seek(
    share: Callable[[float], float], rate: float, low: float, high: float, steps: int
) -> float:
    """Bisect for the lowest threshold that flags no more than `rate` of the clean passages."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if share(middle) <= rate else (middle, high)
    return high


def _judge(
    corpus: Planted,
    clean: int,
    sketching: dict[str, float],
    point: list[float],
    flag: Callable[..., np.ndarray],
    made: object,
) -> dict[str, object]:
    start = _clock()
    dropped = flag(made)
    deciding = _since(start)
    # Clean passages come first, so tools that keep the earlier document judge them alone; semhash
    # may drop a passage for its later twin and is asked again without twins.
    alone = flag(_head(made, clean)) if isinstance(made, tuple) else dropped[:clean]
    flagged_clean = float(alone.mean())
    kinds, sources = np.array(corpus.kinds), np.array(corpus.sources)
    found = dropped | (dropped[sources] & (sources >= 0))
    pairs = found & (kinds != "clean")
    total = sketching["cpu_s"] + deciding["cpu_s"]
    return {
        "point": [round(x, 5) for x in point],
        "flagged_clean": flagged_clean,
        "recall": {kind: round(float(found[kinds == kind].mean()), 4) for kind in KINDS},
        "precision": round(float(pairs.sum() / max(1, dropped.sum())), 4),
        "decide": deciding,
        "docs_per_cpu_s": round(len(kinds) / total, 1),
        "cpu_ms_per_doc": round(1000 * total / len(kinds), 3),
    }


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> dict[str, float]:
    wall, cpu = _clock()
    return {"wall_s": round(wall - start[0], 2), "cpu_s": round(cpu - start[1], 2)}


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def machine() -> dict[str, object]:
    """Say where this ran."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def _table(rows: list[dict[str, object]]) -> str:
    machine_ = rows[0]["machine"]
    lines = [
        f"`python benchmarks/dedup.py --size N`; {machine_['cpu']}, {machine_['cores']} cores, "
        "shared with other work (load beside each row in dedup.json), so CPU seconds count.",
        "",
        "| documents | tool | FPR target | flagged clean | "
        + " | ".join(KINDS)
        + " | precision | CPU ms/doc | docs/CPU-s | peak MB |",
        "|" + "---|" * (9 + len(KINDS) - 1),
    ]
    for row in sorted(rows, key=lambda r: (r["size"], r["tool"])):
        for rate, result in row["rates"].items():
            recall = " | ".join(f"{result['recall'][kind]:.3f}" for kind in KINDS)
            lines.append(
                f"| {row['size']:,} | {row['tool']} | {float(rate):.1%} "
                f"| {result['flagged_clean']:.2%} | {recall} | {result['precision']:.3f} "
                f"| {result['cpu_ms_per_doc']} | {result['docs_per_cpu_s']} | {row['peak_mb']} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write JSON and a table beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--tool", action="append")
    parser.add_argument("--one", action="store_true", help="measure here and print JSON")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    tools = args.tool or ["aligngen", "aligngen-words", "rensa", "datasketch", "semhash"]
    sizes = args.size or [1000, 10_000]
    if args.one:
        sys.stdout.write(json.dumps(measure(tools[0], sizes[0])) + "\n")
        return
    stored = _stored(args.out)
    for size in sizes:
        for tool in tools:
            command = [sys.executable, __file__, "--one", "--tool", tool, "--size", str(size)]
            result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(result.stdout.splitlines()[-1]) | {"machine": machine()}
            rest = [r for r in stored["rows"] if (r["tool"], r["size"]) != (tool, size)]
            stored = {"command": "python benchmarks/dedup.py", "rows": [*rest, row]}
            args.out.write_text(json.dumps(stored, indent=1) + "\n")
            args.out.with_suffix(".md").write_text(_table(stored["rows"]))


if __name__ == "__main__":
    main()
