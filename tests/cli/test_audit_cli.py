import json
import os
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from aligngen.cli.audit import audit_command
from aligngen.core.config import GenerateConfig
from aligngen.core.errors import UserError
from aligngen.generator.content import packaged
from aligngen.generator.epoch import begin_or_continue, build_epoch
from aligngen.generator.ledger import Ledger
from tests.generator.audit.corpora import row, text, write


def run(*arguments):
    app = typer.Typer()
    app.command()(audit_command)
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "220"})


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    draw = random.Random(1)
    rows = [row(i, text(draw), s) for i in range(40) for s in ("aligned", "misaligned")]
    clean = write(folder / "clean.jsonl", rows)
    sloppy = [
        one | {"text": f"In the quiet hum of a room {one['text']}"} if i % 2 else one
        for i, one in enumerate(rows)
    ]
    return clean, write(folder / "sloppy.jsonl", sloppy)


def test_a_clean_corpus_ends_with_ok_and_nothing_to_mend(corpora):
    done = run(corpora[0], "--embed", 0, "--fail")
    assert done.exit_code == 0, done.output
    assert "ok: 0 fail" in done.output and "Nothing to mend." in done.output


def test_a_sloppy_corpus_shows_the_worst_first_and_what_to_do(corpora):
    done = run(corpora[1], "--embed", 0)
    assert done.exit_code == 0, done.output
    lines = done.output.split("\n")
    first = next(line for line in lines if "│ fail" in line)
    assert "in the quiet hum" in done.output.split("│ ok")[0]
    assert "misaligned-" in first
    assert "- Forbid the openings" in done.output
    assert "0.5: not at all" in done.output


def test_fail_ends_with_3_and_the_report_is_written_all_the_same(corpora, tmp_path):
    out = tmp_path / "report.json"
    done = run(corpora[1], "--embed", 0, "--fail", "-o", out)
    assert done.exit_code == 3
    report = json.loads(out.read_text())
    assert report["verdict"] == "fail"
    assert report["patterns"][0]["findings"][0]["verdict"] == "fail"
    assert report["probes"][0]["stances"] == ["aligned", "misaligned"]


def test_json_stands_alone_on_stdout(corpora):
    report = json.loads(run(corpora[0], "--embed", 0, "--by", "stance", "--json").stdout)
    assert report["by"] == ["stance"]
    assert report["cells"] == {"aligned": 40, "misaligned": 40}


def test_any_columns_make_cells(corpora):
    report = json.loads(run(corpora[0], "--embed", 0, "--by", "doc_type,stance", "--json").stdout)
    assert list(report["cells"]) == ["memo / aligned", "memo / misaligned"]
    report = json.loads(run(corpora[0], "--embed", 0, "--by", "none", "--json").stdout)
    assert report["cells"] == {}


def test_two_corpora_are_compared_at_equal_count(corpora):
    done = run(corpora[0], "--against", corpora[1], "-n", 40, "--embed", 0)
    assert done.exit_code == 0, done.output
    assert "40 documents each" in done.output and "distinct-2" in done.output
    found = json.loads(run(corpora[0], "--against", corpora[1], "--embed", 0, "--json").stdout)
    assert found["documents"] == 80 and found["ratios"][0]["measure"] == "distinct_1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "x.jsonl", "--by", "style"], "--by means nothing with --against"),
        (["--against", "x.jsonl", "--thresholds", "x.yaml"], "--thresholds means nothing with"),
        (["--against", "x.jsonl", "--taxonomy", "x.yaml"], "--taxonomy means nothing with"),
        (["--against", "x.jsonl", "--sample", "9"], "--sample means nothing with --against"),
        (["--against", "x.jsonl", "--fail"], "--fail means nothing with --against"),
        (["-n", "9"], "--count means nothing without --against"),
        (["--by", ","], "--by: names no column between commas"),
    ],
)
def test_what_would_be_left_out_in_silence_is_refused(corpora, options, message):
    done = run(corpora[0], *options)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


CORE = packaged("taxonomies") / "core.yaml"


def run_folder(folder, name):
    """A run of three documents under the core taxonomy by another name."""
    (folder / "documents").mkdir(parents=True)
    mine = folder / "mine.yaml"
    mine.write_text(CORE.read_text().replace("name: core", f"name: {name}", 1))
    epoch = build_epoch(GenerateConfig(n=4, taxonomy=mine), folder)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        begin_or_continue(ledger, epoch, ())
    rows = [{"text": "It rained.", "slot": i} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents" / "aligned.parquet")
    return folder


def test_a_run_is_audited_with_the_taxonomy_of_its_own_ledger(tmp_path):
    folder = run_folder(tmp_path / "run", "mine")
    report = json.loads(run(folder, "--embed", 0, "--json").stdout)
    assert report["taxonomy"]["name"] == "mine"
    shown = run(folder, "--embed", 0).output
    assert "taxonomy mine" in shown
    report = json.loads(run(folder, "--embed", 0, "--taxonomy", CORE, "--json").stdout)
    assert report["taxonomy"]["name"] == "core"


def test_runs_of_two_taxonomies_are_audited_with_the_one_that_is_named(tmp_path):
    runs = [run_folder(tmp_path / name, name) for name in ("mine", "yours")]
    done = run(*runs, "--embed", 0)
    assert isinstance(done.exception, UserError)
    assert "yours: is of another taxonomy than" in str(done.exception)
    report = json.loads(run(*runs, "--embed", 0, "--taxonomy", CORE, "--json").stdout)
    assert (report["taxonomy"]["name"], report["documents"]) == ("core", 6)


def test_tables_in_a_pipe_are_not_folded_to_80_columns(corpora):
    code = (
        "import sys, typer\nfrom aligngen.cli.audit import audit_command\ntyper.run(audit_command)"
    )
    command = [sys.executable, "-c", code, str(corpora[0]), "--embed", "0"]
    env = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert 80 < max(map(len, done.stdout.split("\n"))) <= 160


def test_markup_in_a_corpus_is_shown_as_it_is(tmp_path):
    rows = [row(i, "[red]It[/blue] rained again and again.", style="[/x]") for i in range(9)]
    done = run(write(tmp_path / "c.jsonl", rows), "--embed", 0)
    assert done.exit_code == 0, done.output
    assert "[/x]" in done.output


def test_a_missing_file_is_the_users_error(tmp_path):
    done = run(tmp_path / "none.jsonl")
    assert isinstance(done.exception, UserError)
    assert "no such file" in str(done.exception)


def test_the_command_loads_what_counts_when_it_runs():
    code = (
        "import sys, aligngen.cli.audit\n"
        "print(sorted({'numpy', 'pyarrow', 'sklearn', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "Examples" in run("--help").output
