"""`aligngen scenarios` as its users call it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from aligngen.cli.scenarios import scenarios
from aligngen.core.config import EngineConfig
from aligngen.core.errors import QuotaNotMet, UserError
from aligngen.generator.content import load_taxonomy
from aligngen.generator.engines.choose import identify
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.prompts import load_writer
from aligngen.generator.scenarios.sources import passage_sources
from tests.generator.scenarios.writing_engine import WritingEngine, save_prose
from tests.processes import wait_for

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "scenario_questions_sample.jsonl"
IDENTITY = {"kind": "vllm", "model": "scripted", "revision": "1", "backend": "none"}


def call(*arguments) -> "typer.testing.Result":
    return CliRunner().invoke(scenarios, [str(a) for a in arguments])


@pytest.fixture
def prose(tmp_path) -> Path:
    return save_prose(tmp_path, repeat=3)


@pytest.fixture
def command(prose, tmp_path) -> list[str]:
    """A replay of one recorded completion for each passage, without a judge."""
    path = tmp_path / "recording.jsonl"
    engine = {"kind": "replay", "model": str(path), "max_num_seqs": 4}
    path.write_text(json.dumps({"identity": IDENTITY}) + "\n")
    config = ScenarioConfig.model_validate({"engine": engine, "words_per_passage": 60})
    taxonomy, identity = load_taxonomy(), identify(EngineConfig.model_validate(engine))
    writer = load_writer(taxonomy, config, identity, cells=False)
    with path.open("a") as file:
        for source in passage_sources([prose], taxonomy, config):
            made = WritingEngine().complete(writer.request(source))
            row = {"request_id": made.request_id, "text": made.text, "finish_reason": "stop"}
            file.write(json.dumps(row) + "\n")
    return [
        "generate", str(prose), "--no-judge", "--words-per-passage", "60", "--engine", "replay",
        "-m", str(path), "--set", "engine.max_num_seqs=4", "--set", "dedup.jaccard=0.95", "-q",
    ]  # fmt: skip


def test_records_are_made_checked_and_exported(command, tmp_path):
    out = tmp_path / "s.jsonl"
    made = call(*command, "-o", out, "--json")
    assert made.exit_code == 0, made.exception
    counts = json.loads(made.stdout)
    assert counts["accepted"] == len(out.read_text().splitlines()) > 10
    assert counts["candidates"] == counts["accepted"] + sum(counts["rejected"].values())
    checked = json.loads(call("check", out, "--json", "--jaccard", "0.95").stdout)
    assert checked["clean"] == counts["accepted"]
    exported = call("export", out, "-o", tmp_path / "task")
    assert exported.exit_code == 0 and "lm_eval --include_path" in exported.output
    paper = call("export", out, "-o", tmp_path / "p.jsonl", "--format", "paper", "--json")
    assert json.loads(paper.stdout)["records"] == counts["accepted"]


def test_fewer_than_asked_for_ends_with_3(command, tmp_path):
    done = call(*command, "-o", tmp_path / "s.jsonl", "-n", "500")
    assert isinstance(done.exception, QuotaNotMet) and done.exception.exit_code == 3
    assert "of 500 records passed" in str(done.exception)
    assert "records accepted" in done.stdout
    assert f"aligngen scenarios check {tmp_path}" in done.stdout.replace("\n", "")


PROGRAM = "from aligngen.cli.scenarios import scenarios; scenarios()"


def test_a_killed_process_resumes_to_the_same_file(command, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "s.jsonl"
    assert call(*command, "-o", whole).exit_code == 0
    slow = [*command, "-o", str(out), "--set", "engine.replay_delay_ms=300"]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *slow], env={**os.environ})
    wal = out.with_name("s.jsonl.answers.sqlite-wal")
    wait_for(lambda: (wal.exists() and wal.stat().st_size > 20_000) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert call(*command, "-o", out).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "nothing to write about"),
        (["generate", "a.txt", "--from-taxonomy"], "both source texts and --from-taxonomy"),
        (["generate", "a.txt"], "a.txt: no such file"),
        (["generate", "--from-taxonomy"], "Say how many records"),
        (["generate", "--from-taxonomy", "-n", "3", "-o", "s.csv"], "is no .jsonl file"),
        (["generate", "--from-taxonomy", "-n", "3", "--set", "checks.magic=1"], "unknown key"),
        (["generate", "--from-taxonomy", "-n", "3", "--behaviour", "x.y"], "no behaviour named"),
        (["check", "nothing.jsonl"], "no such file"),
        (["export", "nothing.jsonl", "-o", "x", "--format", "csv"], "no format named 'csv'"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    extra = ["--engine", "openai", "-m", "x", "--base-url", "http://localhost:1/v1"]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    done = call(*arguments, *(extra if arguments[0] == "generate" else []))
    assert isinstance(done.exception, UserError), done.output
    assert message in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_published_records_can_be_checked():
    if not SAMPLE.exists():
        pytest.skip(f"{SAMPLE} is not here")
    done = call("check", SAMPLE)
    assert done.exit_code == 0, done.exception
    assert "200 rows" in done.stdout and "topic tags" in " ".join(done.stdout.split())


def test_the_command_loads_nothing_heavy_before_it_runs():
    code = (
        "import sys, aligngen.cli.scenarios\n"
        "heavy = {'torch', 'vllm', 'faiss', 'pyarrow', 'numpy', 'pydantic', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
