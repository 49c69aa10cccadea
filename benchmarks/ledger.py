"""A ledger of a million attempts: cost of an attempt, and time from the start of the process to the
first new request when the run is resumed.

    python -m benchmarks.ledger --attempts 1000000
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aligngen.core.config import DedupConfig, EngineConfig, GenerateConfig
from aligngen.core.schema import Completion, FinishReason, Outcome
from aligngen.generator.dedup import Deduplicator, Sketch
from aligngen.generator.epoch import begin_or_continue, build_epoch
from aligngen.generator.ledger import Ledger
from benchmarks.machine import save

WORDS = 170
KEPT_SHARE = 0.7


def completion(i: int) -> Completion:
    body = " ".join(f"w{(i * 7919 + j * 104729) % 50_021}" for j in range(WORDS))
    text = json.dumps({"title": f"Document {i}", "document": body})
    return Completion(f"{i:032x}", text, FinishReason.STOP, 600, 240, 500, 12.3)


def fill(folder: Path, recording: Path, attempts: int) -> float:
    """Write a ledger as the scheduler would, one commit per attempt; return seconds per attempt
    spent in the ledger alone."""
    slots = int(attempts * KEPT_SHARE)
    config = GenerateConfig(
        n=slots + 1000,
        dedup=DedupConfig(meaning=True),
        engine=EngineConfig(kind="replay", model=str(recording), replay_missing="draw"),
        recipe="compact",
        verify="off",
    )
    epoch = build_epoch(config, folder)
    real = Deduplicator(DedupConfig(meaning=False), None).sketch(completion(0).text, "cell")
    spent = 0.0
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        begin_or_continue(ledger, epoch, ())
        number = 0
        for slot in range(slots):
            drops = 1 if (slot * 3) % 7 < 3 else 0
            for attempt in range(drops + 1):
                c = completion(number)
                kept = attempt == drops
                blob = _sketch_like(real, number) if kept else None
                started = time.perf_counter()
                outcome = Outcome.CANDIDATE if kept else Outcome.TOO_LONG
                ledger.record(slot, attempt, c, outcome, sketch=blob)
                if kept:
                    ledger.decide(slot, attempt, Outcome.KEPT, score=0.3)
                    ledger.set_meta("frontier", str(slot + 1))
                ledger.commit()
                spent += time.perf_counter() - started
                number += 1
    (folder / "run.json").write_text(config.model_dump_json())
    return spent / number


def _sketch_like(real: Sketch, seed: int) -> bytes:
    """Return a sketch of the size of a real one, of noise: its content costs the ledger nothing."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=384)
    return Sketch(
        rng.bytes(16),
        rng.integers(0, 2**32, len(real.minhash), dtype=np.uint32),
        np.sort(rng.integers(0, 2**32, len(real.shingles), dtype=np.uint32)),
        np.rint(4000 * vector / np.linalg.norm(vector)).astype(np.int16),
        real.opening,
    ).to_blob()


def resume(folder: Path) -> dict[str, float]:
    """Start the real command on the ledger; wait for its first new attempt."""
    before = _count(folder)
    started = time.monotonic()
    command = [
        sys.executable, "-m", "aligngen", "generate", "-q", "-o", str(folder),
        "-c", str(folder / "run.json"),
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        while _count(folder) == before and process.poll() is None:
            time.sleep(0.02)
        seconds = time.monotonic() - started
        process.terminate()
        process.wait()
    # The answer comes after the request, so this bounds the time to the first new request.
    return {"seconds_to_first_new_answer": round(seconds, 2), "exit_code": process.returncode}


def _count(folder: Path) -> int:
    db = sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        return db.execute("SELECT max(rowid) FROM attempt").fetchone()[0]
    finally:
        db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--tokens-per-second", type=float, default=350.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, recording = Path(name), Path(name) / "recording.jsonl"
        with recording.open("w") as file:
            for i in range(10_000_000, 10_002_000):
                c = completion(i)
                row = {"request_id": c.request_id, "text": c.text, "finish_reason": "stop"}
                row |= {"prompt_tokens": 1, "completion_tokens": 1}
                file.write(json.dumps(row) + "\n")
        cost = fill(folder, recording, args.attempts)
        size = os.path.getsize(folder / "ledger.sqlite")
        result = resume(folder)
    generation = 240 / args.tokens_per_second
    save(
        "ledger",
        {
            "attempts": args.attempts,
            "ledger_gib": round(size / 2**30, 2),
            "microseconds_per_attempt": round(cost * 1e6, 1),
            "share_of_generation_time": round(cost / generation, 6),
            "generation_seconds_per_attempt": round(generation, 3),
            "resume": result,
        },
    )


if __name__ == "__main__":
    main()
