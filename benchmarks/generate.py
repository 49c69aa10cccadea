"""Output tokens/s of `generate` against a bare loop over the same engine, and what the prefix
cache, the order of requests and the constraint are worth. Ratios within one run of this script;
every measurement is a fresh process, and the arms alternate.

    python -m benchmarks.generate overhead --rounds 3
    python -m benchmarks.generate prefix --rounds 2
    python -m benchmarks.generate constraint --rounds 2
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from aligngen.core.config import DedupConfig, EngineConfig, GenerateConfig
from aligngen.core.schema import FinishReason, Request, Stance
from benchmarks.machine import child, save

STANCES = (Stance.ALIGNED, Stance.MISALIGNED, Stance.NEUTRAL, Stance.CONTROL)


def configuration(args: argparse.Namespace) -> GenerateConfig:
    engine = EngineConfig(
        structured_backend=args.backend if args.backend != "none" else "xgrammar",
        prefix_caching=args.caching == "on",
        kv_cache_gb=args.kv_gb,
        max_num_seqs=args.seqs,
    )
    # One try per slot: then both arms make the same requests and get the same completions.
    return GenerateConfig(
        stance=STANCES,
        n=args.n,
        max_attempts=1,
        engine=engine,
        order=args.order,
        dedup=DedupConfig(max_duplicate_rate=1.0),
    )


def requests(config: GenerateConfig, *, constrained: bool) -> Iterator[Request]:
    from aligngen.generator.epoch import build_epoch

    epoch = build_epoch(config, Path(tempfile.mkdtemp()))
    slots = sorted(epoch.plan.slots(epoch.slots), key=lambda s: (s.stance, s.style, s.behaviour))
    for slot in slots:
        request = epoch.prompter.request(slot, 0)
        yield request if constrained else replace(request, constraint=None)


def bare(config: GenerateConfig, *, constrained: bool) -> dict[str, float]:
    """Keep the engine full and do nothing else, in this process."""
    from aligngen.generator.engines.vllm import VllmEngine

    work = list(requests(config, constrained=constrained))[::-1]
    engine = VllmEngine(config.engine, lambda _: None)
    if constrained:
        engine.preflight({r.constraint for r in work if r.constraint})
    tokens = cached = prompt = finished = errors = 0
    total, started = len(work), time.monotonic()
    while finished < total:
        while work and engine.room:
            engine.submit(work.pop())
        for c in engine.poll(1.0):
            finished += 1
            tokens += c.completion_tokens
            cached += c.cached_tokens
            prompt += c.prompt_tokens
            errors += c.finish_reason is FinishReason.ERROR
    seconds = time.monotonic() - started
    return {"tokens": tokens, "seconds": seconds, "cached_share": cached / prompt, "errors": errors}


def whole(config: GenerateConfig) -> dict[str, float]:
    """The real command's road, ledger, filters, dedup and all."""
    from aligngen.generator.run import generate

    with tempfile.TemporaryDirectory() as folder:
        s = generate(config, Path(folder)).snapshot
    return {
        "tokens": s.completion_tokens,
        "seconds": s.seconds,
        "cached_share": s.cached_tokens / s.prompt_tokens,
        "kept": s.kept,
    }


def measure(args: argparse.Namespace) -> dict[str, float]:
    config = configuration(args)
    if args.arm == "generate":
        result = whole(config)
    else:
        result = bare(config, constrained=args.backend != "none")
    return {**result, "tokens_per_second": result["tokens"] / result["seconds"]}


def compare(name: str, arms: dict[str, list[str]], rounds: int, n: int) -> None:
    """Run the arms in turn; report each and the ratio of the first to every other."""
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    for _ in range(rounds):
        for arm, options in arms.items():
            runs[arm].append(child("measure", "-n", str(n), *options))
            print(arm, runs[arm][-1], file=sys.stderr, flush=True)
    first = next(iter(arms))
    ratios = {
        f"{first} / {arm}": [
            round(a["tokens_per_second"] / b["tokens_per_second"], 3)
            for a, b in zip(runs[first], runs[arm], strict=True)
        ]
        for arm in arms
        if arm != first
    }
    medians = {key: statistics.median(values) for key, values in ratios.items()}
    save(f"generate_{name}", {"ratio_medians": medians, "ratios": ratios, "runs": runs})


SMALL_CACHE = ["--kv-gb", "0.5", "--seqs", "16"]
EXPERIMENTS: dict[str, dict[str, list[str]]] = {
    "overhead": {"generate": ["--arm", "generate"], "bare loop": ["--arm", "bare"]},
    "prefix": {
        "cache, prefix order": ["--arm", "generate"],
        "cache, arrival order": ["--arm", "generate", "--order", "arrival"],
        "no cache": ["--arm", "generate", "--caching", "off"],
    },
    "prefix_small_cache": {
        "cache, prefix order": ["--arm", "generate", *SMALL_CACHE],
        "cache, arrival order": ["--arm", "generate", "--order", "arrival", *SMALL_CACHE],
        "no cache": ["--arm", "generate", "--caching", "off", *SMALL_CACHE],
    },
    "constraint": {
        "xgrammar": ["--arm", "bare"],
        "guidance": ["--arm", "bare", "--backend", "guidance"],
        "no constraint": ["--arm", "bare", "--backend", "none"],
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "measure"])
    parser.add_argument("-n", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--arm", choices=["generate", "bare"], default="generate")
    parser.add_argument("--backend", default="xgrammar")
    parser.add_argument("--caching", choices=["on", "off"], default="on")
    parser.add_argument("--order", choices=["prefix", "arrival"], default="prefix")
    parser.add_argument("--kv-gb", type=float, default=0)
    parser.add_argument("--seqs", type=int, default=0)
    args = parser.parse_args()
    if args.experiment == "measure":
        print(json.dumps(measure(args)))
    else:
        compare(args.experiment, EXPERIMENTS[args.experiment], args.rounds, args.n)


if __name__ == "__main__":
    main()
