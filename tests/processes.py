"""Real `aligngen generate` processes over a replaying engine."""

import subprocess
from pathlib import Path

import pyarrow.parquet as pq


def finish(command: list[str], out: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "-o", str(out), *extra], capture_output=True, text=True, timeout=120, check=False
    )


def documents(out: Path) -> list[tuple[int, str, str]]:
    rows = []
    for stance in ("aligned", "misaligned"):
        table = pq.read_table(out / "documents" / f"{stance}.parquet")
        rows += zip(*(table[c].to_pylist() for c in ("slot", "request_id", "text")), strict=True)
    return sorted(rows)
