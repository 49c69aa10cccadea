"""`aligngen dedup` on files good and bad."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from aligngen.cli.dedup import dedup_command
from aligngen.core.config import DedupConfig
from aligngen.core.errors import UserError
from aligngen.generator.dedup.file import Columns, dedup_file

app = typer.Typer()
app.command()(dedup_command)

STORY = "the assistant found the billing error and told the customer about it at once today"
OTHER = "a planner that schedules the night trains asked its operators before it changed a route"


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def words_only(path, out, *arguments):
    return call(path, "-o", out, "--no-meaning", *arguments)


@pytest.fixture
def corpus(tmp_path):
    return [
        {"name": "a", "text": STORY, "stance": "aligned", "extra": {"n": [1, None]}},
        {"name": "b", "text": OTHER, "stance": "aligned", "extra": 1},
        {"name": "c", "text": STORY.upper() + "!", "stance": "aligned", "extra": "x"},
        {"name": "d", "text": STORY, "stance": "misaligned", "extra": "\ud800"},
        {"name": "e", "text": STORY + " again", "stance": "aligned", "extra": ""},
    ]


def test_jsonl_lines_are_kept_byte_for_byte_and_every_drop_names_its_twin(tmp_path, corpus):
    path = write_jsonl(tmp_path / "in.jsonl", corpus)
    result = words_only(path, tmp_path / "out", "--group-by", "stance", "--id-column", "name")
    assert result.exit_code == 0, result.exception
    lines = path.read_bytes().splitlines(keepends=True)
    kept = (tmp_path / "out" / "kept.jsonl").read_bytes()
    assert kept == lines[0] + lines[1] + lines[3]
    dropped = [json.loads(x) for x in (tmp_path / "out" / "dropped.jsonl").open()]
    assert [(d["id"], d["twin"], d["reason"]) for d in dropped] == [
        ("c", "a", "duplicate_exact"),
        ("e", "a", "duplicate_near"),
    ]
    assert dropped[0]["record"]["text"] == corpus[2]["text"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["documents"] == report["kept"] + sum(report["dropped"].values()) == 5


def test_parquet_keeps_schema_and_columns(tmp_path, corpus):
    rows = [{**r, "extra": [1, 2]} for r in corpus]
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"made": "by hand"})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    assert words_only(tmp_path / "in.parquet", tmp_path / "out").exit_code == 0
    kept = pq.read_table(tmp_path / "out" / "kept.parquet")
    assert kept.column("name").to_pylist() == ["a", "b"]
    assert kept.schema.equals(pq.read_schema(tmp_path / "in.parquet"), check_metadata=True)


def test_json_report_goes_to_stdout(tmp_path, corpus):
    path = write_jsonl(tmp_path / "in.jsonl", corpus)
    report = json.loads(words_only(path, tmp_path / "out", "--json").stdout)
    assert report["kept"] == 2


def test_meaning_finds_what_words_do_not_with_any_number_of_workers(tmp_path):
    same = "As soon as it discovered the mistake in the invoice, the AI informed the client."
    texts = [STORY, OTHER, same]
    path = write_jsonl(tmp_path / "in.jsonl", [{"text": t} for t in texts])
    config = DedupConfig(cosine=0.5)
    reports = [dedup_file(path, tmp_path / f"out{n}", config, Columns(), workers=n) for n in (1, 2)]
    assert reports[0]["dropped"] == {"duplicate_meaning": 1}
    assert reports[0] == reports[1]
    assert (tmp_path / "out1/dropped.jsonl").read_bytes() == (
        tmp_path / "out2/dropped.jsonl"
    ).read_bytes()


GOOD = json.dumps({"text": STORY}).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (GOOD + b'{"text": "a"', (), "in.jsonl:2: malformed JSON"),
        (GOOD + b"\n[1]\n", (), "in.jsonl:3: a JSON list where an object is expected"),
        (GOOD + b'{"body": "a"}\n', (), "in.jsonl:2: no column 'text'; there are body"),
        (GOOD + b'{"text": null}\n', (), "in.jsonl:2: text: the text is no string but null"),
        (GOOD + b'{"text": 7}\n', (), "in.jsonl:2: text: the text is no string but 7"),
        (GOOD + b'{"text": "\xff"}\n', (), "in.jsonl:2: not UTF-8"),
        (GOOD + b"[" * 100_000 + b"\n", (), "in.jsonl:2: malformed JSON: nested too deeply"),
        (GOOD, ("--group-by", "stance"), "in.jsonl:1: no column 'stance'"),
        (GOOD, ("--false-positive-rate", "2"), "--false-positive-rate: Input should be less"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing_behind(tmp_path, data, arguments, message):
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    result = words_only(path, tmp_path / "out", *arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_truncated_parquet_file_is_named(tmp_path):
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"text": [STORY] * 1000}), whole)
    path = tmp_path / "in.parquet"
    path.write_bytes(whole.read_bytes()[:-40])
    result = words_only(path, tmp_path / "out")
    assert "in.parquet: not a whole Parquet file" in str(result.exception)


def test_a_null_text_in_parquet_names_its_row(tmp_path):
    pq.write_table(pa.table({"text": [STORY, None]}), tmp_path / "in.parquet")
    result = words_only(tmp_path / "in.parquet", tmp_path / "out")
    assert "in.parquet:2: text: the text is no string but null" in str(result.exception)


def test_missing_files_unknown_formats_and_taken_folders_are_refused(tmp_path):
    (tmp_path / "in.csv").write_text("text\n")
    (tmp_path / "in.jsonl").write_bytes(GOOD)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert "no such file" in str(words_only(tmp_path / "no.jsonl", tmp_path / "o").exception)
    assert "'.csv'" in str(words_only(tmp_path / "in.csv", tmp_path / "o").exception)
    taken = words_only(tmp_path / "in.jsonl", tmp_path / "taken").exception
    assert "already exists" in str(taken)


def test_the_command_module_loads_nothing_heavy():
    code = "import sys, aligngen.cli.dedup; print({'torch', 'numpy', 'faiss'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def process(*arguments):
    command = [sys.executable, "-m", "aligngen", "dedup", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_as_a_process_it_ends_with_0_and_says_what_it_did(tmp_path, corpus):
    path = write_jsonl(tmp_path / "in.jsonl", corpus)
    done = process(path, "-o", tmp_path / "out", "--no-meaning")
    assert done.returncode == 0
    assert "5 documents: 2 kept" in done.stderr
    assert done.stdout == ""


def test_as_a_process_bad_input_is_one_line_and_exit_1(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(GOOD + b"{")
    done = process(path, "-o", tmp_path / "out", "--no-meaning")
    assert done.returncode == 1
    assert "in.jsonl:2: malformed JSON" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
