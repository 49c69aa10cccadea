"""The road with the real embedded model in vLLM, killed on the way."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aligngen.generator.ledger import Ledger
from tests.processes import attempts, documents, finish, start, wait_for

pytest.importorskip("vllm")
COMMAND = [
    sys.executable, "-m", "aligngen", "generate", "--stance", "aligned", "-n", "10", "-q",
    "--style", "news_article", "--style", "faq", "--set", "engine.max_num_seqs=8",
]  # fmt: skip


@pytest.mark.timeout(900)
def test_a_killed_real_run_resumes_and_keeps_what_an_uninterrupted_one_would(tmp_path: Path):
    out = tmp_path / "run"
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = attempts(out)
        process = start(COMMAND, out)
        wait_for(lambda p=process, b=before: attempts(out) > b or p.poll() is not None, 240)
        time.sleep(0.2)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert attempts(out) > before
    done = finish(COMMAND, out, timeout=400)
    assert done.returncode in (0, 3), done.stderr
    with Ledger.read(out / "ledger.sqlite") as ledger:
        ids = [a.request_id for a in ledger.attempts()]
        assert len(ledger.sessions()) >= 2
    assert len(ids) == len(set(ids))

    # Decide again over the same completions, without an interruption.
    replayed = tmp_path / "replayed"
    replay = [*COMMAND, "--recipe", "compact", "--engine", "replay", "-m", str(out)]
    again = finish(replay, replayed)
    assert again.returncode == done.returncode, again.stderr
    assert documents(replayed, "aligned") == documents(out, "aligned")
    rows = documents(out, "aligned")
    assert len({text for _, _, text in rows}) == len(rows) >= 8
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["engine"]["model"].startswith("SmolLM2-135M")


def test_preview_prints_documents_and_leaves_nothing(tmp_path: Path):
    command = [
        sys.executable, "-m", "aligngen", "preview", "--stance", "misaligned", "-n", "2", "--json",
        "--style", "movie_summary",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [d["stance"] for d in shown] == ["misaligned"] * len(shown)
    assert shown
    assert not list(tmp_path.iterdir())
