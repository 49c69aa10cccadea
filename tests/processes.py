"""Real `aligngen generate` processes over a replaying engine."""

import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq


def finish(
    command: list[str], out: Path, *extra: str, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "-o", str(out), *extra],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def documents(out: Path, *stances: str) -> list[tuple[int, str, str]]:
    """Slot, request and text of every document of the stances, the two of a pair by default."""
    rows: list[tuple[int, str, str]] = []
    for stance in stances or ("aligned", "misaligned"):
        table = pq.read_table(out / "documents" / f"{stance}.parquet")
        rows += zip(*(table[c].to_pylist() for c in ("slot", "request_id", "text")), strict=True)
    return sorted(rows)


def attempts(out: Path) -> int:
    try:
        db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
        return db.execute("SELECT count(*) FROM attempt").fetchone()[0]
    except sqlite3.Error:
        return 0


def wait_for(claim: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def start(command: list[str], out: Path, *extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "-o", str(out), *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
