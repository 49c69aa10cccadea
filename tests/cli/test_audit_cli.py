import json
import random
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from aligngen.cli.audit import audit_command
from aligngen.core.errors import UserError
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
