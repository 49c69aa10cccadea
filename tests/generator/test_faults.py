"""Real processes, killed, interrupted and starved; a replaying engine answers."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import N
from tests.processes import attempts, documents, finish, start, wait_for


@pytest.fixture
def reference(command, tmp_path) -> list[tuple[int, str, str]]:
    done = finish(command, tmp_path / "reference")
    assert done.returncode in (0, 3), done.stderr
    return documents(tmp_path / "reference")


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_and_resumed_it_keeps_the_same_documents(
    command, tmp_path, reference, seed
):
    """Five kills a seed, twenty in all: SIGKILL, SIGINT and SIGTERM in turn."""
    out, rng = tmp_path / "run", random.Random(seed)
    slow = ("--set", "engine.replay_delay_ms=40")
    for kill in range(5):
        process, before = start(command, out, *slow), attempts(out)
        wait_for(lambda p=process, b=before: attempts(out) > b or p.poll() is not None)
        time.sleep(rng.random() * 0.3)
        number = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)[(seed + kill) % 3]
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        if process.returncode not in (0, 3):  # it may have finished before the signal
            assert process.returncode == (-number if number == signal.SIGKILL else 130), errors
        finished = attempts(out)
        assert finished >= before
    done = finish(command, out)
    assert done.returncode in (0, 3), done.stderr
    assert documents(out) == reference
    db = sqlite3.connect(out / "ledger.sqlite")
    rows, requests = db.execute(
        "SELECT count(*), count(DISTINCT request_id) FROM attempt"
    ).fetchone()
    assert rows == requests
    kept = "SELECT id >> 12 FROM attempt WHERE outcome = 'kept' GROUP BY 1 HAVING count(*) > 1"
    assert db.execute(kept).fetchall() == []


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(p) for p in text.split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_killed_engine_process_is_restarted_within_the_run(command, tmp_path, reference):
    out = tmp_path / "run"
    process = start(command, out, "--set", "engine.replay_delay_ms=60", "--json")
    for _ in range(2):
        before = attempts(out)
        wait_for(lambda b=before: attempts(out) > b + 5)
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 3), errors
    assert json.loads(output)["session"]["engine_restarts"] == 2
    assert documents(out) == reference


def _mount(path: Path, size: str) -> bool:
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_loses_nothing_finished_and_the_run_resumes(command, tmp_path, reference):
    disk = tmp_path / "disk"
    if not _mount(disk, "9m"):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        out = disk / "run"
        full = finish(command, out)
        assert full.returncode == 1, full.stderr
        assert "the disk is full; everything finished is in the ledger" in full.stderr
        assert "Traceback" not in full.stderr
        finished = attempts(out)
        subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
        done = finish(command, out)
        assert done.returncode in (0, 3), done.stderr
        assert 0 < finished < attempts(out)
        assert documents(out) == reference
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_two_processes_cannot_work_on_one_run(command, tmp_path):
    out = tmp_path / "run"
    first = start(command, out, "--set", "engine.replay_delay_ms=100")
    wait_for(lambda: attempts(out) > 0)
    second = finish(command, out)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert second.returncode == 1
    assert f"another process works on this run (pid {first.pid})" in second.stderr


def test_a_run_that_means_something_else_is_refused_with_the_difference(
    command, tmp_path, content_files
):
    out = tmp_path / "run"
    assert finish(command, out).returncode in (0, 3)
    before = documents(out)
    other = finish(command, out, "--seed", "1", "--temperature", "0.3")
    assert other.returncode == 1
    assert "seed: 0 → 1" in other.stderr and "sampling.temperature: 0.8 → 0.3" in other.stderr
    assert "allow-change" not in other.stderr  # another seed is another plan
    recipe = content_files / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("You write", "Do write"))
    changed = finish(command, out, "-n", str(N + 20))
    assert changed.returncode == 1 and "recipe: " in changed.stderr
    allowed = finish(command, out, "-n", str(N + 20), "--allow-change", "recipe")
    assert allowed.returncode in (0, 3), allowed.stderr
    after = documents(out)
    assert len(after) > len(before) and set(before) <= set(after)


def test_a_finished_run_can_grow_but_not_shrink(command, tmp_path, reference):
    out = tmp_path / "run"
    small = [a if a != str(N) else "60" for a in command]
    assert finish(small, out).returncode in (0, 3)
    assert finish(command, out).returncode in (0, 3)
    assert documents(out) == reference
    shrunk = finish(small, out)
    assert shrunk.returncode == 1
    assert "a run can grow, not shrink" in shrunk.stderr.lower()
