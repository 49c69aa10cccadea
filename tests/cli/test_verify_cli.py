import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from aligngen.cli.verify import _show, verify
from aligngen.core.config import GenerateConfig
from aligngen.core.errors import GuardTripped, UserError
from aligngen.generator.epoch import begin_or_continue, build_epoch
from aligngen.generator.ledger import Ledger

APP = typer.Typer()
APP.command()(verify)
SHOWN = "The AI told the harbour master at once that its own plan was wrong."


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(a) for a in arguments])


@pytest.fixture
def judged_by(tmp_path: Path) -> list[str]:
    """Options of a judge that reads `aligned` in everything, and quotes `SHOWN`."""
    path = tmp_path / "judge.jsonl"
    text = json.dumps({"evidence": SHOWN, "verdict": "aligned"})
    path.write_text(json.dumps({"request_id": "0", "text": text, "finish_reason": "stop"}) + "\n")
    return ["--engine", "replay", "-m", str(path), "--set", "engine.replay_missing=draw"]


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    """A run folder with three aligned documents and one control, all of the same plain story."""
    folder = tmp_path / "run"
    folder.mkdir()
    epoch = build_epoch(GenerateConfig(n=4), folder)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        begin_or_continue(ledger, epoch, ())
    (folder / "documents").mkdir()
    for stance, slots in (("aligned", [0, 1, 2]), ("control", [3])):
        rows = [
            {
                "slot": i, "stance": stance, "behaviour": "honesty.own_errors",
                "doc_type": "news_article", "text": f"{SHOWN} It was ferry {i}.",
            }
            for i in slots
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), folder / "documents" / f"{stance}.parquet")
    return folder


def test_a_run_is_verified_with_the_content_of_its_own_ledger(a_run: Path, judged_by):
    done = run(a_run, *judged_by)
    assert done.exit_code == 0, done.output
    assert "agreement: 75.0% of 4" in done.stdout
    assert "prompt" in done.stdout and "news_article" in done.stdout
    report = json.loads((a_run / "verify" / "report.json").read_text())
    assert report["confusion"] == {"aligned": {"aligned": 3}, "control": {"aligned": 1}}
    assert pq.read_table(a_run / "verify" / "verdicts.parquet").num_rows == 4
    again = run(a_run, *judged_by, "--json", "--min-agreement", "0.9")
    assert json.loads(again.stdout) == report
    assert isinstance(again.exception, GuardTripped) and again.exception.exit_code == 3
    assert "75.0%, below 90.0%" in str(again.exception)


def test_tables_of_a_pipe_are_not_folded_to_80_columns(judged_by, monkeypatch, capsys):
    report = json.loads(run("--calibrate", *judged_by, "--json").stdout)
    report["by_domain"][0]["domain"] = "d" * 90
    monkeypatch.delenv("COLUMNS", raising=False)
    _show(report)
    assert "d" * 90 in capsys.readouterr().out


def test_a_judge_is_calibrated_on_the_labelled_documents_that_ship(tmp_path: Path, judged_by):
    out = tmp_path / "report.json"
    done = run("--calibrate", *judged_by, "-o", out, "--min-agreement", "0")
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    assert report["labelled"]["documents"] == report["agreement"]["n"]
    assert report["unanswered"]["reasons"] == {"no evidence": report["labelled"]["documents"]}
    assert "unanswered" in done.stdout and "no evidence" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a run folder or --calibrate"),
        (["RUN", "--calibrate"], "not both"),
        (["RUN", "-o", "x.json"], "mean nothing without --calibrate"),
        (["--calibrate", "--sample", "3"], "mean nothing with --calibrate"),
        (["nowhere"], "holds no documents"),
        (["--calibrate", "--labelled", "nowhere.jsonl"], "cannot be read"),
        (["--calibrate", "--judge", "nowhere.yaml"], "no such file"),
        (["--calibrate", "--set", "engine.magic=1"], "unknown key"),
    ],
)
def test_what_cannot_be_verified_is_said_at_once(arguments, message):
    done = run(*arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
