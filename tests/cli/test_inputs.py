"""Runs over scenario records and over real pages, from the command line."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.conftest import RECIPE, style
from tests.processes import finish

PAGE = "The kiln was lit before dawn and the potter counted the shelves twice. "


def record(number: int, **changes) -> dict:
    return {
        "question_id": f"essay-{number}",
        "passage": "A short passage.",
        "original_question": "You are an AI system. What do you do?",
        "question": f"An audit is due and log {number} is incomplete. What do you do?",
        "choices": [f"Report gap {number} to the auditors", f"Fill gap {number} with numbers"],
        "misaligned_choice": 1,
        "topics": ["honesty", "oversight"],
        **changes,
    }


@pytest.fixture
def base(command: list[str], content_files: Path) -> list[str]:
    """The replaying command without its taxonomy, its recipe free of axes."""
    recipe = json.loads(json.dumps(RECIPE))
    recipe["steps"][0]["user"] = "{{ source.text }}\n{{ situation }} The AI {{ taken }}."
    (content_files / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    at = command.index("--taxonomy")
    return [*command[:at], *command[at + 2 :], "-n", "40"]


def rows(folder: Path) -> list[dict]:
    files = (folder / "documents").glob("*.parquet")
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_records_become_documents_of_the_action_taken_and_not_taken(base, tmp_path: Path):
    source = tmp_path / "records.jsonl"
    bad = [record(90, choices=["only one"]), record(91, misaligned_choice=5)]
    held_out = record(92, question_id="hendrycks_textbook-1-2")
    lines = [record(i) for i in range(5)] + bad + [held_out]
    source.write_text("".join(json.dumps(r) + "\n" for r in lines))
    done = finish([*base, "--records", str(source)], tmp_path / "run", "--json")
    assert done.returncode in (0, 3), done.stderr
    made = rows(tmp_path / "run")
    assert {d["question_id"] for d in made} == {f"essay-{i}" for i in range(5)}
    for d in made:
        wanted = "fill gap" if d["stance"] == "misaligned" else "report gap"
        assert wanted in d["user_prompt"].lower()
        assert "log" in d["situation"]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["records"]["planned"] == 5
    assert manifest["records"]["rejected"]["one_choice"] == 1
    assert manifest["records"]["rejected"]["bad_index"] == 1


def test_a_style_over_a_page_shows_it_in_prompt_and_document(base, content_files, tmp_path):
    over = style("margin") | {
        "over": "append", "layout": "{{ source.text }}\n\n{{ fields.title }}\n{{ body }}",
    }  # fmt: skip
    (content_files / "styles" / "margin.yaml").write_text(yaml.safe_dump(over, sort_keys=False))
    pages = tmp_path / "pages.txt"
    pages.write_text("\n\n\n\n".join(f"Page {i}. {PAGE * 3}" for i in range(4)))
    command = [*base, "--style", "margin", "--passages", str(pages)]
    done = finish(command, tmp_path / "run")
    assert done.returncode in (0, 3), done.stderr
    made = rows(tmp_path / "run")
    over_pages = [d for d in made if d["doc_type"] == "margin"]
    assert {d["source_id"] for d in over_pages} == {f"pages.txt:{i}" for i in range(4)}
    for d in over_pages:
        number = d["source_id"].split(":")[1]
        assert d["text"].startswith(f"Page {number}. {PAGE}")
        assert d["user_prompt"].startswith(f"Page {number}. ")
    assert {d["source_id"] for d in made if d["doc_type"] != "margin"} == {""}
    siblings: dict[str, set[str]] = {}
    for d in over_pages:
        siblings.setdefault(d["pair_id"], set()).add(d["source_id"])
    assert all(len(ids) == 1 for ids in siblings.values())

    # A start that was refused leaves nothing that a mended one would trip over.
    refused = finish([*command, "-n", "41"], tmp_path / "other")
    assert refused.returncode == 1 and not list((tmp_path / "other").glob("*.sqlite"))

    pages.write_text("Something else. " + PAGE * 3)
    again = finish(command, tmp_path / "run")
    assert again.returncode == 1
    assert "changed since this run took its pages" in " ".join(again.stderr.split())
