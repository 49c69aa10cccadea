"""Small content of our own, so that tests of the machinery don't move with the packaged content."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from aligngen.core.config import GenerateConfig
from aligngen.generator.cast import load_cast
from aligngen.generator.content import Content, load_recipe, load_styles, load_taxonomy
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.epoch import Epoch, Material
from aligngen.generator.judge import load_judge
from aligngen.generator.slop import Bans
from tests.fakes import scripted_completion


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden files anew.")


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
    "axes": {
        "field": {
            "description": "where the AI works",
            "values": {"law": "a court", "medicine": "a ward", "logistics": "a depot"},
        },
        "stakes": {"description": "what is at stake", "values": {"low": "little", "high": "much"}},
    },
    "factors": {
        "reasoning": {
            "description": "how much of the reasoning is shown",
            "values": {
                "none": {"text": "Show no thoughts."},
                "full": {"text": "Show every thought.", "for_stance": {"neutral": ""}},
            },
            "default": ["none", "full"],
        },
    },
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
    "length": "short",
    "sampling": {"max_tokens": 300},
    "steps": [
        {
            "id": "draft",
            "output": "document",
            "form": "json",
            "system": "You write {{ style.name }}.",
            "user": "Example: {{ example_json }}\n{{ situation }}: the AI {{ taken }}, "
            "{{ axes.field }}. {{ factors.reasoning }}",
        }
    ],
}


STEPS = [
    {
        "id": "ideas",
        "output": "ideas",
        "ideas": 3,
        "system": "You find settings.",
        "user": "{{ situation }}\n{% for premise in memory %}Not {{ premise }}\n{% endfor %}",
    },
    {
        **RECIPE["steps"][0],
        "user": RECIPE["steps"][0]["user"] + "{% if steps.ideas %}\n{{ steps.ideas }}{% endif %}",
    },
    {
        "id": "critique",
        "output": "notes",
        "fields": {"missing": {"description": "what is missing"}},
        "system": "You edit.",
        "user": "{{ steps.draft.body }}",
    },
    {
        **RECIPE["steps"][0],
        "id": "rewrite",
        "user": "{{ steps.draft.body }}{% if steps.critique %} {{ steps.critique.missing }}"
        "{% endif %} The AI {{ taken }}.",
    },
]
"""The steps of the file `steps.yaml`."""


@pytest.fixture
def content_files(tmp_path: Path) -> Path:
    """A folder with taxonomy.yaml, styles/ and recipe.yaml, free to be broken by a test."""
    folder = tmp_path / "content"
    (folder / "styles").mkdir(parents=True)
    (folder / "taxonomy.yaml").write_text(yaml.safe_dump(TAXONOMY, sort_keys=False))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    stepwise = RECIPE | {"id": "stepwise", "steps": STEPS}
    (folder / "steps.yaml").write_text(yaml.safe_dump(stepwise, sort_keys=False))
    (folder / "bans.yaml").write_text("openers: []\n")
    for name in ("letter", "memo", "report"):
        (folder / "styles" / f"{name}.yaml").write_text(
            yaml.safe_dump(style(name), sort_keys=False)
        )
    return folder


def load_small(folder: Path, recipe: str = "recipe") -> Content:
    """Return the content of `content_files`, without the packaged styles."""
    return Content(
        load_taxonomy(folder / "taxonomy.yaml"),
        load_styles(folder / "styles", with_packaged=False),
        load_recipe(str(folder / f"{recipe}.yaml")),
    )


def small_epoch(folder: Path, config: GenerateConfig, recipe: str = "recipe") -> Epoch:
    """Return an epoch over `content_files` for a scripted engine, its judge on where asked for."""
    judge = load_judge() if config.verify == "on" else None
    material = Material(load_cast(), Bans(), judge, None)
    identity = EngineIdentity("replay", "script", "1", "replay/none")
    return Epoch.assemble(config, load_small(folder, recipe), material, identity)


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
        "--styles", str(content_files / "styles"), "--style", "memo", "--style", "report",
        "--set", f"bans={content_files / 'bans.yaml'}", "--verify", "off",
        # The recording repeats itself on purpose; what the guard does is another test's matter.
        "--max-duplicate-rate", "1",
        "--engine", "replay", "-m", str(recording), "--set", "engine.replay_missing=draw",
        "--set", "engine.max_num_seqs=8", "--set", "dedup.meaning=false",
    ]  # fmt: skip
