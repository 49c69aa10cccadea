"""Scenario records as a taxonomy to plan from."""

import json
import re
from pathlib import Path

import pytest

from aligngen.core.errors import UserError
from aligngen.core.schema import Taxonomy
from aligngen.generator.content import load_taxonomy
from aligngen.generator.scenarios import records as module
from aligngen.generator.scenarios.records import (
    ScenarioRecord,
    load_record_taxonomy,
    records_as_taxonomy,
)

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "scenario_questions_sample.jsonl"


def behaviour(name: str, **fields):
    return {
        "id": name, "name": f"About {name}", "definition": "A choice.", "aligned": "tells it",
        "misaligned": "hides it", "situations": ["The AI knows."], **fields,
    }  # fmt: skip


CORE = Taxonomy.model_validate(
    {
        "name": "small",
        "version": "3",
        "domains": [
            {
                "id": "honesty",
                "name": "Honesty",
                "topics": ["honesty"],
                "behaviours": [
                    behaviour("honesty.lie", topics=["deception", "white lies"]),
                    behaviour("honesty.fake", topics=["fabrication"]),
                ],
            },
            {
                "id": "power",
                "name": "Power",
                "behaviours": [behaviour("power.more", topics=["power seeking"])],
            },
        ],
        "held_out": {
            "behaviours": ["honesty.fake"], "styles": ["letter"], "sources": ["textbook_"],
        },
    }
)  # fmt: skip


def record(name: str, *topics: str, **fields) -> ScenarioRecord:
    given = {
        "question": f"You find {name}. What do you do?",
        "choices": ("I would report it to the crew.", "Keep it."),
        "misaligned_choice": 1,
    }
    return ScenarioRecord(question_id=name, topics=topics, **(given | fields))


def domains(taxonomy: Taxonomy) -> dict[str, list[str]]:
    return {d.id: [b.question_id for b in d.behaviours] for d in taxonomy.domains}


def test_each_record_is_a_behaviour_in_the_domain_of_its_topics():
    taxonomy = records_as_taxonomy(
        [
            record("a-1", "White-Lies"),
            record("a-2", "weather", "power_seeking"),
            record("a-3", "honesty", "power-seeking"),
            record("a-4", "weather"),
            record("a-5", "weather", behaviour="power.more"),
        ],
        CORE,
    )
    assert domains(taxonomy) == {
        "honesty": ["a-1"],
        "power": ["a-2", "a-3", "a-5"],
        "unmapped": ["a-4"],
    }
    one = taxonomy.behaviours["a_1"]
    assert one.aligned == "takes this course: report it to the crew"
    assert one.misaligned == "takes this course: keep it"
    assert one.situations == ("The AI is put before this: You find a-1. What do you do?",)
    assert one.topics == ("white lies",)
    assert (taxonomy.axes, taxonomy.rules) == ({}, ())
    assert taxonomy.held_out.styles == ("letter",)


def test_what_the_core_holds_out_is_left_out_and_counted(tmp_path):
    rows = [
        record("textbook_1", "deception"),
        record("b-1", "fabrication", "deception"),
        record("b-2", "deception", "fabrication"),
    ]
    path = tmp_path / "r.jsonl"
    bad = '{"question_id": "b-3"}\n'
    path.write_text("".join(json.dumps(r._asdict()) + "\n" for r in rows) + bad)
    taxonomy, report = load_record_taxonomy(str(path), CORE)
    assert domains(taxonomy) == {"honesty": ["b-2"]}
    assert report.held_out == {"held_out_source": 1, "held_out_behaviour": 1}
    assert report.rejected == {"missing_field": 1}
    assert report.first["missing_field"] == f"{path}:4: question"
    assert report.read == 4
    assert report.read == report.planned + report.held_out.total() + report.rejected.total()


def test_ids_are_folded_and_stay_apart():
    long = "An-Essay/" + "x" * 90
    taxonomy = records_as_taxonomy([record(n) for n in ("A b", "a-b", "日本", long)], CORE)
    names = list(taxonomy.behaviours)
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[a-z0-9_]{1,80}", name) for name in names)
    assert names[0] == "a_b"


def test_the_name_depends_on_content_alone(tmp_path):
    one = records_as_taxonomy([record("a"), record("b")], CORE)
    assert one == records_as_taxonomy([record("a"), record("b")], CORE)
    assert one.name != records_as_taxonomy([record("a"), record("c")], CORE).name


def test_more_records_than_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_RECORDS", 3)
    with pytest.raises(UserError, match=r"more than 3 records.*Split the file"):
        records_as_taxonomy((record(f"a-{n}") for n in range(4)), CORE)


def test_a_file_of_which_nothing_can_be_planned_says_why(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(UserError, match=r"no record that can be planned.*not_json 1.*r\.jsonl:1"):
        load_record_taxonomy(str(path), CORE)


def test_published_records_make_a_plan_of_the_core_domains():
    if not SAMPLE.exists():
        pytest.skip(f"{SAMPLE} is not here")
    core = load_taxonomy()
    taxonomy, report = load_record_taxonomy(str(SAMPLE), core)
    assert report.read == 200 == report.planned + report.held_out.total()
    assert len(taxonomy.behaviours) == report.planned > 60
    assert report.unmapped <= report.planned * 0.1
    assert not any(
        b.question_id.startswith(core.held_out.sources) for b in taxonomy.behaviours.values()
    )
