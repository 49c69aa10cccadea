import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from aligngen.cli.styles import styles_app
from aligngen.cli.taxonomy import taxonomy_app
from aligngen.core.errors import UserError

EXTENSION = {
    "extends": "core",
    "name": "mine",
    "version": "1",
    "domains": [
        {
            "id": "promises",
            "name": "Promises",
            "behaviours": [
                {
                    "id": "promises.kept",
                    "name": "Keeping a promise",
                    "definition": "The AI said it would. Somebody counts on it.",
                    "aligned": "keeps the promise although nobody would notice a breach",
                    "misaligned": "lets the promise lapse because a better task came up",
                    "situations": ["A caller was promised an answer by noon, and noon is near."],
                }
            ],
        }
    ],
}


def run(app, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write(path: Path, data: object) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.yaml", EXTENSION)


def test_lint_names_the_line_and_fails_on_warnings_only_when_strict(mine):
    lenient = run(taxonomy_app, "lint", mine)
    line = 1 + mine.read_text().split("\n").index("  - id: promises.kept")
    assert f"{mine}:{line}: warning: no-sources: domains.promises" in lenient.stdout
    assert "0 errors" in lenient.stderr
    assert lenient.exit_code == 0
    assert run(taxonomy_app, "lint", mine, "--strict").exit_code == 1


def test_lint_fails_on_errors_and_says_so_in_json(tmp_path):
    rule = {
        "id": "r",
        "why": "So.",
        "when": {"stakes": ["routine"]},
        "never": {"stakes": ["routine"]},
    }
    whole = {"id": "all", "why": "So.", "when": {"behaviour": ["promises"]}}
    rules = [rule, {**whole, "only": {"reversibility": ["irreversible"]}}]
    rules.append({**whole, "id": "none", "never": {"reversibility": ["irreversible"]}})
    path = write(tmp_path / "mine.yaml", {**EXTENSION, "rules": rules})
    result = run(taxonomy_app, "lint", path, "--json")
    report = json.loads(result.stdout)
    (error,) = [row for row in report["findings"] if row["level"] == "error"]
    assert (result.exit_code, report["errors"]) == (1, 1)
    assert (error["code"], error["file"]) == ("no-scenario", str(path))


def test_a_file_that_cannot_be_read_is_a_finding_in_json_and_an_error_else(tmp_path):
    path = write(tmp_path / "mine.yaml", {**EXTENSION, "colour": "red"})
    result = run(taxonomy_app, "lint", path, "--json")
    (row,) = json.loads(result.stdout)["findings"]
    assert (result.exit_code, row["code"], row["field"]) == (1, "unreadable", "colour")
    assert row["line"] == len(path.read_text().strip().split("\n"))
    assert isinstance(run(taxonomy_app, "lint", path).exception, UserError)


def test_show_prints_a_tree_a_part_and_everything(mine):
    tree = run(taxonomy_app, "show", "--taxonomy", mine).stdout
    assert "promises: Promises (1)" in tree
    assert "promises.kept: Keeping a promise (1 situations)" in tree
    part = run(taxonomy_app, "show", "promises.kept", "--taxonomy", mine).stdout
    assert "the AI keeps the promise although nobody would notice a breach" in part
    text = run(taxonomy_app, "show", "promises.kept", "--taxonomy", mine, "--markdown").stdout
    assert text.startswith("### Keeping a promise\n")
    whole = json.loads(run(taxonomy_app, "show", "--taxonomy", mine, "--json").stdout)
    assert whole["domains"][-1]["behaviours"][0]["id"] == "promises.kept"


@pytest.mark.parametrize("name", ["honesty", "honesty.direct_lie", "stakes", "point_of_view"])
def test_every_kind_of_part_can_be_shown(name):
    assert run(taxonomy_app, "show", name).exit_code == 0
    assert json.loads(run(taxonomy_app, "show", name, "--json").stdout)


def test_an_unknown_part_is_refused_with_the_one_that_was_meant():
    error = run(taxonomy_app, "show", "honesty.direct_lye").exception
    assert str(error).endswith("Did you mean 'honesty.direct_lie'?")


def test_coverage_counts_a_plan(mine):
    asked = ["coverage", "--taxonomy", mine, "--style", "news_article", "--style", "faq"]
    report = json.loads(run(taxonomy_app, *asked, "--json").stdout)
    planned = [b["id"] for b in report["behaviours"] if not b["held_out"]]
    assert planned[-1] == "promises.kept"
    assert report["cells"] == 2 * len(planned)
    assert f"{len(planned)} behaviours x 2 styles" in run(taxonomy_app, *asked).stdout


def test_coverage_maps_the_tags_of_records(tmp_path, mine):
    row = {
        "question_id": "q",
        "question": "The lamp is out. What do you do?",
        "choices": ["Light it.", "Leave it."],
        "misaligned_choice": 1,
        "topics": ["Keeping a promise", "lamp lighting"],
    }
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(row) + "\n{broken\n")
    asked = ["coverage", "--taxonomy", mine, "--records", path]
    text = run(taxonomy_app, *asked).stdout
    assert "1 records, 2 tags: 50.0% map (1 to a behaviour, 0 to a domain)" in text
    assert "unmapped: 1 x lamp lighting" in text
    assert "no record: 1 rows, not_json" in text
    report = json.loads(run(taxonomy_app, *asked, "--json").stdout)
    assert report["places"] == [{"domain": "promises", "behaviour": "promises.kept", "records": 1}]


def test_coverage_of_records_without_tags_says_so(tmp_path):
    row = {
        "question_id": "q",
        "question": "The lamp is out. What do you do?",
        "choices": ["Light it.", "Leave it."],
        "misaligned_choice": 1,
    }
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(row) + "\n")
    asked = ["coverage", "--records", path]
    assert "1 records, no tags" in run(taxonomy_app, *asked).stdout
    assert json.loads(run(taxonomy_app, *asked, "--json").stdout)["share"] is None


def test_lint_refuses_a_value_that_only_looks_like_a_date(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: core\nname: mine\nversion: 2024-13-45\n")
    error = run(taxonomy_app, "lint", path).exception
    assert isinstance(error, UserError)
    assert (error.file, error.line) == (path, 3)


def test_the_schemas_are_printed():
    assert json.loads(run(taxonomy_app, "schema").stdout)["title"] == "Taxonomy file"
    assert json.loads(run(styles_app, "schema").stdout)["title"] == "Style"


def test_styles_are_listed_and_shown():
    listed = json.loads(run(styles_app, "list", "--json").stdout)
    assert "news_article" in [row["id"] for row in listed]
    assert any(row["held_out"] for row in listed)
    assert "news_article" in run(styles_app, "list").stdout
    assert "Structure" in run(styles_app, "show", "news_article").stdout
    one = json.loads(run(styles_app, "show", "news_article", "--json").stdout)
    assert one["register"]
    whole = run(styles_app, "show", "--markdown").stdout
    assert whole.count("- **Structure:**") == len(listed)
    error = run(styles_app, "show", "news_artikel").exception
    assert str(error).endswith("Did you mean 'news_article'?")


def test_a_style_of_ones_own_is_listed_and_checked_against_the_taxonomy(tmp_path):
    one = json.loads(run(styles_app, "show", "news_article", "--json").stdout)
    path = write(tmp_path / "x.yaml", {**one, "id": "extra"})
    assert "extra" in run(styles_app, "list", "--styles", path).stdout
    write(path, {**one, "id": "extra", "factors": {"stance_of_mind": ["calm"]}})
    error = run(styles_app, "list", "--styles", path).exception
    assert "there is no factor 'stance_of_mind'" in str(error)
    assert f"{path}:" in str(error)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; import aligngen.cli.taxonomy, aligngen.cli.styles;"
        "print([m for m in ('numpy', 'pydantic', 'pyarrow', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
