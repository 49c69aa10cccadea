"""Small content of our own, so that tests of the machinery don't move with the packaged content."""

from pathlib import Path

import pytest
import yaml

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
