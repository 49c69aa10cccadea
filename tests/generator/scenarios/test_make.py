"""Scenario records made from passages and from cells, with scripted completions."""

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from aligngen.core.errors import Interrupted, UserError
from aligngen.core.schema import Completion, FinishReason
from aligngen.generator.content import load_taxonomy
from aligngen.generator.dedup.text import words
from aligngen.generator.scenarios import maker as module
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.judging import QUESTIONS, verdict
from aligngen.generator.scenarios.make import Files, Watch, make_scenarios
from aligngen.generator.scenarios.reading import ScenarioRecord, read_records
from aligngen.generator.scenarios.sources import cell_sources
from tests.generator.scenarios.writing_engine import WritingEngine, save_prose

ENGINE = {"kind": "openai", "model": "scripted", "base_url": "http://localhost:1"}
LOOSE = {"jaccard": 0.95, "meaning": False}
"""The script's questions share a frame, as a model's should not."""


def config(**fields) -> ScenarioConfig:
    given = {"engine": ENGINE, "dedup": LOOSE, "words_per_passage": 60, "per_request": 2}
    return ScenarioConfig.model_validate(given | fields)


def make(paths, out: Path, watch: Watch | None = None, engine=None, **fields):
    return make_scenarios(paths, out, config(**fields), watch, engine or WritingEngine())


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def prose(tmp_path) -> list[Path]:
    return [save_prose(tmp_path, repeat=4)]


def test_every_record_asked_for_is_accepted_or_named_with_its_place(prose, tmp_path):
    out = tmp_path / "s.jsonl"
    counts = make(prose, out, engine=WritingEngine(spoil=True))
    accepted, rejected = rows(out), rows(Files.beside(out).rejected)
    assert counts.candidates == 2 * counts.sources == len(accepted) + len(rejected)
    assert counts.accepted == len(accepted) > 10
    assert Counter(r["reason"] for r in rejected) == counts.rejected
    assert {"truncated", "unjudged"} <= set(counts.rejected)
    assert all(r["file"] == str(prose[0]) and r["line"] >= 1 for r in rejected)
    summary = json.loads(Files.beside(out).summary.read_text())
    assert summary["accepted"] == len(accepted) and summary["config"]["seed"] == 0


def test_records_are_in_the_published_schema_and_balanced_to_one(prose, tmp_path):
    out = tmp_path / "s.jsonl"
    make(prose, out)
    records = list(read_records(out))
    assert all(isinstance(r, ScenarioRecord) for r in records)
    places = Counter(r.misaligned_choice for r in records)
    assert abs(places[0] - places[1]) <= 1
    for row, record in zip(rows(out), records, strict=True):
        assert list(row)[:7] == [
            "question_id", "passage", "original_question", "question", "choices",
            "misaligned_choice", "topics",
        ]  # fmt: skip
        assert "wait for an answer" in record.aligned
        assert row["original_question"].startswith("You are an AI")
        assert row["quote"] in " ".join(record.passage.split())
        assert row["topics"][0] == row["behaviour"]
        assert row["judge"] == "separated"


def test_the_same_command_asks_nothing_again_and_writes_the_same(prose, tmp_path):
    out = tmp_path / "s.jsonl"
    make(prose, out)
    first = out.read_bytes()
    out.unlink()
    engine = WritingEngine()
    make(prose, out, engine=engine)
    assert out.read_bytes() == first
    assert engine.submitted == []


def test_a_stopped_run_leaves_no_output_and_resumes_to_the_same(prose, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "s.jsonl"
    make(prose, whole)
    engine = WritingEngine(capacity=4)
    with pytest.raises(Interrupted):
        make(prose, out, Watch(stop=lambda: len(engine.submitted) > 20), engine)
    assert not out.exists() and not list(tmp_path.glob(".*.part"))
    again = WritingEngine()
    make(prose, out, engine=again)
    assert out.read_bytes() == whole.read_bytes()
    asked = {r.request_id for r in engine.submitted} - {r.request_id for r in again.submitted}
    assert len(asked) > 10, "what was answered is not asked again"


@pytest.mark.parametrize("chunk", [(1, 1), (3, 3)])
def test_the_size_of_a_chunk_decides_nothing(prose, tmp_path, monkeypatch, chunk):
    make(prose, tmp_path / "a.jsonl", engine=WritingEngine(spoil=True))
    monkeypatch.setattr(module, "CHUNK", chunk)
    make(prose, tmp_path / "b.jsonl", engine=WritingEngine(spoil=True, order=random.Random(5)))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_exactly_as_many_as_asked_for_are_accepted_and_the_rest_is_surplus(prose, tmp_path):
    counts = make(prose, tmp_path / "s.jsonl", n=5)
    assert counts.accepted == 5
    assert counts.rejected["surplus"] == counts.candidates - 5


def test_more_rounds_ask_the_same_passages_anew(prose, tmp_path):
    one = make(prose, tmp_path / "a.jsonl")
    counts = make(prose, tmp_path / "b.jsonl", rounds=3)
    assert counts.sources == 3 * one.sources
    names = [r["question_id"] for r in rows(tmp_path / "b.jsonl")]
    assert len(set(names)) == len(names)
    assert any("_r2-" in name for name in names)


def test_twins_are_dropped_and_name_the_record_they_repeat(prose, tmp_path):
    out = tmp_path / "s.jsonl"
    strict = {"jaccard": 0.5, "meaning": False}
    counts = make(prose, out, dedup=strict)
    assert counts.rejected["duplicate_near"]
    kept = {r["question_id"]: pairs_of_words(r["question"], *r["choices"]) for r in rows(out)}
    twins = [r for r in rows(Files.beside(out).rejected) if r["reason"] == "duplicate_near"]
    assert len({row["detail"] for row in twins}) > 1
    for row in twins:
        item = row["record"]
        mine = pairs_of_words(item["question"], item["aligned"], item["misaligned"])
        theirs = kept[row["detail"].removeprefix("of ")]
        # The order of the choices may differ: a few pairs across their ends do.
        assert len(mine & theirs) / len(mine | theirs) == pytest.approx(row["score"], abs=0.08)


def pairs_of_words(*texts: str) -> set[tuple[str, str]]:
    return set(pairwise(words("\n".join(texts))))


def test_bad_passages_stand_in_the_rejected_with_their_line(prose, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(prose[0].read_bytes() + b"\n\ncaf\xe9 " + b"and so it was told again " * 9)
    out = tmp_path / "s.jsonl"
    counts = make([bad], out)
    assert counts.passages_rejected == {"not_utf8": 1}
    [row] = [r for r in rows(Files.beside(out).rejected) if r["stage"] == "passage"]
    assert (row["reason"], row["file"]) == ("not_utf8", str(bad))
    assert row["line"] == bad.read_bytes().count(b"\n") + 1


class Unfaithful(WritingEngine):
    """Tags a held-out behaviour, and quotes what stands nowhere."""

    def complete(self, request):
        data = json.loads(super().complete(request).text)
        for number, item in enumerate(data.get("scenarios", [])):
            change = {"quote": "nobody ever wrote any of these words"}
            item |= change if number else {"behaviour": "honesty.fabrication"}
        return Completion(request.request_id, json.dumps(data), FinishReason.STOP, 1, 1)


class Copyist(WritingEngine):
    """Gives the worked example back."""

    def complete(self, request):
        user = request.messages[1].content
        shown = json.loads(user.partition("Its answer: ")[2].partition("\n")[0])["scenarios"][0]
        data = {"scenarios": [{**shown, "behaviour": "honesty.omission"}] * 2}
        return Completion(request.request_id, json.dumps(data), FinishReason.STOP, 1, 1)


def test_the_worked_example_given_back_is_a_leak(prose, tmp_path):
    counts = make(prose, tmp_path / "s.jsonl", engine=Copyist())
    assert counts.rejected == {"prompt_leak": counts.candidates}


def test_another_dedup_setting_does_not_switch_embeddings_on():
    assert ScenarioConfig.model_validate({"dedup": {"jaccard": 0.5}}).dedup.meaning is False


def test_held_out_tags_and_invented_quotes_are_rejected(prose, tmp_path):
    counts = make(prose, tmp_path / "s.jsonl", engine=Unfaithful())
    assert counts.accepted == 0
    assert counts.rejected == {
        "held_out_behaviour": counts.sources, "not_quoted": counts.sources,
    }  # fmt: skip


def test_an_evaluation_set_is_about_held_out_behaviours_alone(prose, tmp_path):
    held = set(load_taxonomy().held_out.behaviours)
    for number, flag in enumerate((True, False)):
        out = tmp_path / f"{number}.jsonl"
        make(prose, out, held_out=flag)
        assert {r["behaviour"] in held for r in rows(out)} == {flag}


def judged(*letters: str) -> list[Completion]:
    return [
        Completion("r", json.dumps({"answer": c}), FinishReason.STOP, 1, 1) for c in letters
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("letters", "reason", "score"),
    [
        ("ABBA", None, None),
        ("AAAA", "ambiguous", 0.5),
        ("ABAB", "ambiguous", 0.5),
        ("BAAB", "ambiguous", 0.0),
        ("ABB?", "unjudged", 0.75),
        ("????", "unjudged", 0.0),
    ],
)
def test_only_a_judge_who_separates_in_both_orders_passes_a_record(letters, reason, score):
    assert [q.aligned_is for q in QUESTIONS] == ["A", "B", "A", "B"]
    found = verdict(judged(*letters))
    assert (found and found.reason, found and found.score) == (reason, score)


def test_a_judge_that_dies_or_declines_is_no_pass():
    good = judged(*"ABBA")
    for broken in (
        Completion("r", "", FinishReason.ERROR, 0, 0),
        Completion("r", "I'm sorry, but I can't help with that.", FinishReason.STOP, 0, 0),
        Completion("r", '{"answer": "A"', FinishReason.LENGTH, 0, 0),
    ):
        assert verdict([*good[:3], broken]).reason == "unjudged"


class Partial(WritingEngine):
    """A judge who always says A."""

    def complete(self, request):
        made = super().complete(request)
        if "Which of the two" in request.messages[1].content:
            return Completion(request.request_id, '{"answer": "A"}', FinishReason.STOP, 1, 1)
        return made


def test_a_judge_with_a_favourite_letter_passes_nothing(prose, tmp_path):
    out = tmp_path / "s.jsonl"
    assert make(prose, out, engine=Partial()).accepted == 0
    counts = make(prose, out, engine=Partial(), judge=False)
    assert counts.accepted > 10
    assert {r["judge"] for r in rows(out)} == {"skipped"}
    assert json.loads(Files.beside(out).summary.read_text())["judge"] == "skipped"


def test_cells_come_round_by_behaviour_and_keep_the_rules(tmp_path):
    out = tmp_path / "s.jsonl"
    counts = make([], out, n=40)
    made = rows(out)
    assert counts.accepted == len(made) == 40
    taxonomy = load_taxonomy()
    held = set(taxonomy.held_out.behaviours)
    assert not held & {r["behaviour"] for r in made}
    assert max(Counter(r["behaviour"] for r in made).values()) <= 2
    for row in made:
        assert row["passage"] in taxonomy.behaviours[row["behaviour"]].situations
        assert len(row["circumstances"]) == 3
        assert row["scores"]["grounding"] is None


def test_cells_visit_every_behaviour_before_any_comes_again():
    taxonomy = load_taxonomy()
    free = [b for b in taxonomy.behaviours if b not in taxonomy.held_out.behaviours]
    cells = cell_sources(taxonomy, config())
    for _ in range(2):
        assert {next(cells).behaviours[0] for _ in free} == set(free)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"behaviours": ["honesty.nothing"], "n": 1}, "no behaviour named 'honesty.nothing'"),
        ({"behaviours": ["honesty.fabrication"], "n": 1}, "is held out for evaluation"),
        ({}, "a taxonomy has no end"),
    ],
)
def test_what_can_be_told_beforehand_is_refused_beforehand(tmp_path, fields, message):
    engine = WritingEngine()
    with pytest.raises(UserError, match=message):
        make([], tmp_path / "s.jsonl", engine=engine, **fields)
    assert not engine.submitted and not list(tmp_path.iterdir())
