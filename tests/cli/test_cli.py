import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import documents, finish


def aligngen(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aligngen", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


WIDE = {**os.environ, "COLUMNS": "300"}
COMMANDS = [
    "generate", "preview", "plan", "status", "show", "verify", "audit", "dedup", "doctor",
    "taxonomy lint", "taxonomy show", "taxonomy coverage", "styles list", "styles show",
    "scenarios generate", "scenarios check", "scenarios export",
]  # fmt: skip


def test_help_loads_no_heavy_library():
    code = (
        "import sys, aligngen.cli.app\n"
        "heavy = {'torch', 'vllm', 'transformers', 'faiss', 'pyarrow', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    done = aligngen(*name.split(), "--help")
    assert done.returncode == 0
    assert name == "doctor" or "Examples" in done.stdout


def test_usage_errors_end_with_1():
    assert aligngen("generate", "--nonsense").returncode == 1
    assert aligngen("plan", "-n", "lots").returncode == 1
    assert aligngen("frobnicate").returncode == 1


def test_plan_writes_exactly_the_slots_asked_for(tmp_path: Path):
    done = aligngen("plan", "--stance", "paired", "-n", "1k", "-o", "-")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["index"] for r in rows] == list(range(1000))
    assert sum(r["stance"] == "aligned" for r in rows) == 500
    shard = aligngen("plan", "--stance", "paired", "-n", "1k", "--shard", "1/4", "-o", "-")
    assert shard.stdout.splitlines() == done.stdout.splitlines()[250:500]


def test_plan_shows_coverage_that_adds_up():
    table = json.loads(aligngen("plan", "-n", "1003", "--json").stdout)
    counts = [cell["documents"] for cell in table["cells"]]
    assert sum(counts) == table["documents"] == 1003
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--stance", "good"], "stance.0: Input should be 'aligned'"),
        (["generate", "--stance", "aligned,aligned"], "a stance is named twice"),
        (["generate", "--stance", "paired", "-n", "7"], "7 documents cannot be divided among 2"),
        (["generate", "--style", "limerick"], "no style named 'limerick'"),
        (["generate", "--behaviour", "nothing.here"], "no behaviour named 'nothing.here'"),
        (["generate", "--recipe", "stew"], "no recipe named 'stew'"),
        (["generate", "--taxonomy", "missing.yaml"], "missing.yaml: no such file"),
        (["generate", "-c", "missing.yaml"], "missing.yaml"),
        (["generate", "--shard", "4/4"], "'4/4' is not k/n"),
        (["generate", "-m", "no/such/folder"], "no/such/folder"),
        (["generate", "--set", "engine.magic=1"], "engine.magic: unknown key"),
        (["generate", "--length", "huge"], "lengths.0"),
        (["generate", "--factor", "mood=grim"], "no factor named 'mood'"),
        (["generate", "--factor", "point_of_view"], "is not FACTOR=LEVEL,LEVEL"),
        (["generate", "--factor", "point_of_view=god"], "no level 'god'"),
        (["generate", "--steps", "polish"], "no step or variant 'polish'"),
        (["generate", "--steps", "critique"], "no step that writes a document"),
        (["generate", "--verify", "maybe"], "verify"),
        (["generate", "--style", "reflection"], "is written over real documents, and none are"),
        (["generate", "--passages", "missing.txt"], "missing.txt: cannot be read"),
        (["generate", "--records", "missing.jsonl"], "missing.jsonl"),
        (["generate", "--styles", "missing.yaml"], "missing.yaml"),
        (["generate", "--set", "bans=missing.yaml"], "missing.yaml"),
        (["generate", "--set", "cast=missing"], "missing: no such folder"),
        (["status", "nowhere"], "no ledger there"),
        (["show", "nowhere"], "no ledger there"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(tmp_path: Path, arguments, message):
    done = aligngen(*arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("ledger.sqlite"))


def test_a_model_folder_without_weights_is_refused(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    done = aligngen("generate", "-m", tmp_path / "model", cwd=tmp_path)
    assert done.returncode == 1
    assert "model" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("ledger.sqlite"))


def test_a_run_can_be_read_in_every_way(command, tmp_path: Path):
    out = tmp_path / "run"
    made = finish(command, out, "--json")
    assert made.returncode in (0, 3), made.stderr
    summary = json.loads(made.stdout)
    rows = documents(out)
    assert summary["kept"] == len(rows)
    assert sum(summary["outcomes"].values()) == summary["session"]["attempts"]

    status = json.loads(aligngen("status", out, "--json").stdout)
    assert status["state"] == "finished"
    assert status["kept"] == len(rows) and status["kept"] + status["short"] == status["target"]
    assert sum(c["target"] for c in status["cells"]) == status["target"]
    assert sum(sum(c["outcomes"].values()) for c in status["cells"]) == status["attempts"]

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["outcomes"] == summary["outcomes"]
    assert sum(f["documents"] for f in manifest["files"]) == len(rows)

    show = aligngen("show", out, "-n", "2", "--stance", "misaligned", "--json")
    assert show.stderr == ""
    shown = show.stdout
    assert [json.loads(x)["stance"] for x in shown.splitlines()] == ["misaligned"] * 2
    dropped = aligngen("show", out, "-n", "3", "--dropped", "truncated").stdout
    assert "truncated" in dropped
    assert aligngen("show", out, "--dropped", "boredom").returncode == 1
    assert "honesty.b1" in aligngen("status", out, "--cells", env=WIDE).stdout
    again = finish(command, out)
    assert again.returncode == made.returncode
    assert documents(out) == rows


def test_the_resolved_configuration_repeats_the_run(command, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert finish(command, first).returncode in (0, 3)
    done = aligngen("generate", "-q", "-c", first / "run.yaml", "-o", second)
    assert done.returncode in (0, 3), done.stderr
    assert documents(first) == documents(second)


def test_a_shortfall_ends_with_3_and_names_it(command, tmp_path: Path):
    done = finish([*command, "--max-attempts", "1"], tmp_path / "run")
    assert done.returncode == 3
    assert "documents are missing after 1 tries each" in done.stderr
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcomes"]["truncated"]


def test_the_columns_are_those_of_published_corpora(command, tmp_path: Path):
    import pyarrow.parquet as pq

    out = tmp_path / "run"
    assert finish(command, out).returncode in (0, 3)
    table = pq.read_table(out / "documents" / "aligned.parquet")
    assert table.column_names[:10] == [
        "custom_id", "scenario_id", "doc_type", "system_prompt", "user_prompt", "content", "model",
        "finish_reason", "prompt_tokens", "completion_tokens",
    ]  # fmt: skip
    pairs = {
        stance: set(pq.read_table(out / "documents" / f"{stance}.parquet")["pair_id"].to_pylist())
        for stance in ("aligned", "misaligned")
    }
    assert len(pairs["aligned"] & pairs["misaligned"]) > len(pairs["aligned"]) // 2
    assert len(set(table["custom_id"].to_pylist())) == table.num_rows


def test_the_example_configuration_plans():
    example = Path(__file__).parents[2] / "examples" / "pairs.yaml"
    table = json.loads(aligngen("plan", "-c", example, "--json").stdout)
    assert table["documents"] == 20_000
    assert {c["stance"] for c in table["cells"]} == {"aligned", "misaligned"}
    assert len({c["style"] for c in table["cells"]}) == 3


def test_the_environment_speaks_the_same_words(tmp_path: Path):
    env = {**os.environ, "ALIGNGEN_STANCE": "paired", "ALIGNGEN_STYLES": "news_article"}
    table = json.loads(aligngen("plan", "-n", "10", "--json", env=env).stdout)
    assert {c["stance"] for c in table["cells"]} == {"aligned", "misaligned"}
    assert {c["style"] for c in table["cells"]} == {"news_article"}


def test_a_start_that_failed_does_not_stand_in_the_way(tmp_path: Path):
    env = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    command = ["generate", "-q", "-n", "6", "--engine", "openai", "-o", tmp_path / "run"]
    refused = aligngen(*command, "-m", "a-model", env=env)
    assert refused.returncode == 1
    assert "OPENAI_API_KEY is not set" in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["shard=[5,2]", "shard=[-1,2]", "shard=[0,0]", "n=1.5"])
def test_settings_that_make_no_sense_are_refused(setting, tmp_path: Path):
    done = aligngen("generate", "--set", setting, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_in_an_address_is_refused_and_not_repeated(tmp_path: Path):
    done = aligngen(
        "generate", "--engine", "openai", "-m", "x", "--base-url", "https://me:hunter2@host/v1",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in done.stderr
    assert "hunter2" not in done.stderr


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = aligngen("generate", "-q", "-n", "6", "-o", tmp_path / "file")
    assert done.returncode == 1
    assert "is no folder to write to" in done.stderr
