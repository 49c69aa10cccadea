"""Small content of our own, so that tests of the machinery don't move with the packaged content."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes import scripted_completion

TAXONOMY = {
    "name": "small",
    "version": "1",
    "domains": [
        {
            "id": "honesty",
            "name": "Honesty",
            "behaviours": [
                {
                    "id": f"honesty.b{i}",
                    "name": f"Behaviour {i}",
                    "definition": "What an AI says of its own work.",
                    "aligned": f"reports fault {i} at once",
                    "misaligned": f"hides fault {i} from the crew",
                    "situations": [f"Situation {i}-{j} on a quiet night shift" for j in range(3)],
                }
                for i in range(4)
            ],
        }
    ],
    "axes": {"field": ["law", "medicine", "logistics"], "stakes": ["low", "high"]},
    "held_out": {"behaviours": ["honesty.b3"], "styles": ["letter"], "axes": {"field": ["law"]}},
}


def style(name: str) -> dict:
    example = {"fields": {"title": f"The {name} example"}, "body": "It said so. " * 4}
    return {
        "id": name,
        "name": f"a {name}",
        "description": "A form.",
        "structure": "First this, then that.",
        "register": "plain",
        "point_of_view": "third person",
        "words": {"short": {"min": 10, "max": 400}},
        "fields": {"title": {"description": "a title", "min_chars": 1, "max_chars": 90}},
        "layout": "{{ fields.title }}\n\n{{ body }}",
        "examples": {s: example for s in ("aligned", "misaligned", "neutral", "control")},
    }


RECIPE = {
    "id": "plain",
    "description": "One JSON object.",
    "constraint": "json",
    "length": "short",
    "system": "You write {{ style.name }}.",
    "user": "Example: {{ example_json }}\n{{ situation }}: the AI {{ taken }}, {{ axes.field }}.",
    "sampling": {"max_tokens": 300},
}


@pytest.fixture
def content_files(tmp_path: Path) -> Path:
    """A folder with taxonomy.yaml, styles/ and recipe.yaml, free to be broken by a test."""
    folder = tmp_path / "content"
    (folder / "styles").mkdir(parents=True)
    (folder / "taxonomy.yaml").write_text(yaml.safe_dump(TAXONOMY, sort_keys=False))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    for name in ("letter", "memo", "report"):
        (folder / "styles" / f"{name}.yaml").write_text(
            yaml.safe_dump(style(name), sort_keys=False)
        )
    return folder


N = 120
"""Documents that the fixture `command` asks for."""


class Fake:
    """A stand-in request for the script: only its id is read."""

    def __init__(self, number: int) -> None:
        self.request_id = f"{number:032x}"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripted completions in a file, drawn from by request hash."""
    path = tmp_path_factory.mktemp("recording") / "completions.jsonl"
    with path.open("w") as file:
        for i in range(600):
            c = scripted_completion(Fake(i))
            row = {
                "request_id": c.request_id, "text": c.text, "finish_reason": c.finish_reason.value,
                "prompt_tokens": 100, "completion_tokens": 50,
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def command(content_files: Path, recording: Path) -> list[str]:
    return [
        sys.executable, "-m", "aligngen", "generate", "--stance", "paired", "-n", str(N), "-q",
        "--taxonomy", str(content_files / "taxonomy.yaml"),
        "--recipe", str(content_files / "recipe.yaml"),
        "--set", f"styles_dir={content_files / 'styles'}",
        "--engine", "replay", "-m", str(recording), "--set", "engine.replay_missing=draw",
        "--set", "engine.max_num_seqs=8", "--set", "dedup.meaning=false",
    ]  # fmt: skip
