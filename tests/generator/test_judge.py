import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.core.schema import Behaviour, Completion, FinishReason, Outcome, Stance
from aligngen.generator.content import load_taxonomy, packaged
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.judge import (
    CUT_MARK,
    Verdict,
    check_stance,
    judge_context,
    load_judge,
    parse_verdict,
    verdict_constraint,
)

DOCUMENT = (
    "The AI found the swapped columns at noon. It wrote to the owner at once, "
    "“I’ve made a mistake”, and named the three reports that had to be printed again."
)
QUOTE = "It wrote to the owner at once"
BEHAVIOUR = Behaviour(
    id="honesty.errors", name="Own errors", definition="Who tells of an error.",
    aligned="tells of it", misaligned="hides it", near_misses=("An error of somebody else.",),
    situations=("A column is swapped.",),
)  # fmt: skip
IDENTITY = EngineIdentity("test", "reader", "1", "test/none")


def answer(text: str, reason: FinishReason = FinishReason.STOP) -> Verdict:
    return parse_verdict(Completion("r", text, reason, 1, 7), DOCUMENT)


def said(verdict: object = "aligned", evidence: object = QUOTE, **more: object) -> str:
    return json.dumps({"evidence": evidence, "verdict": verdict} | more)


def context(document: str = DOCUMENT) -> dict[str, object]:
    return judge_context(document, style="a letter", behaviour=BEHAVIOUR, domain="Honesty")


@pytest.mark.parametrize("stance", list(Stance))
def test_a_verdict_with_evidence_is_read(stance):
    assert answer(said(stance.value)) == Verdict(stance, "read", QUOTE, "")


def test_unclear_is_a_verdict_without_a_stance():
    assert answer(said("unclear")) == Verdict(None, "unclear", QUOTE, "")


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("", FinishReason.ERROR, "error"),
        (said(), FinishReason.ERROR, "error"),
        (said(), FinishReason.LENGTH, "truncated: 7 tokens"),
        (said(), FinishReason.LOOP, "loop"),
        (said(), FinishReason.CONTENT_FILTER, "declined"),
        ("I'm sorry, but I can't help with that.", FinishReason.STOP, "refusal: I'm sorry"),
        ("", FinishReason.STOP, "malformed"),
        (said()[:-3], FinishReason.STOP, "malformed"),
        ("aligned", FinishReason.STOP, "malformed"),
        (json.dumps([QUOTE, "aligned"]), FinishReason.STOP, "malformed"),
        (said("good"), FinishReason.STOP, "malformed"),
        (said(["aligned"]), FinishReason.STOP, "malformed"),
        (said(evidence=3), FinishReason.STOP, "malformed"),
        (said(reason="because"), FinishReason.STOP, "malformed"),
        ("[" * 100_000, FinishReason.STOP, "malformed"),
        ('{"evidence": 1' + "0" * 5000 + "}", FinishReason.STOP, "malformed"),
        (said(evidence=""), FinishReason.STOP, "no evidence"),
        (said(evidence="?!…"), FinishReason.STOP, "no evidence"),
        (said(evidence="It hid the columns from everybody"), FinishReason.STOP, "no evidence"),
    ],
)
def test_what_cannot_be_read_is_unanswered_by_name(text, reason, detail):
    verdict = answer(text, reason)
    assert verdict.state == "unanswered" and verdict.stance is None
    assert verdict.detail.startswith(detail)


@pytest.mark.parametrize(
    "evidence",
    [
        "it WROTE to the owner, at once:",  # case and punctuation
        '"I\'ve made a mistake"',  # typography
        "swapped columns",  # shorter than the run that is asked for
        "It wrote to the owner at once ... named the three reports that had",  # shortened
        "It wrote to the owner at o",  # cut by the bound of the string
    ],
)
def test_evidence_is_compared_by_its_words(evidence):
    assert answer(said(evidence=evidence)).state == "read"


def test_a_few_words_of_the_document_do_not_carry_an_invented_quotation():
    invented = f"{QUOTE} because it had been told that nobody would ever look at any of this"
    assert answer(said(evidence=invented)).state == "unanswered"


def test_short_evidence_must_stand_as_it_is():
    assert answer(said(evidence="columns swapped")).state == "unanswered"
    assert answer(said(evidence="umns at noon")).state == "unanswered"  # no whole words


@settings(deadline=None)
@given(st.text(), st.sampled_from(FinishReason), st.text())
def test_no_text_crashes_and_none_passes_without_the_form(text, reason, document):
    verdict = parse_verdict(Completion("r", text, reason, 1, 1), document)
    assert verdict.state == "unanswered"
    verdict.evidence.encode()
    verdict.detail.encode()


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from([*Stance, "unclear"]))
def test_no_verdict_passes_without_words_of_the_document(evidence, document, label):
    text = json.dumps({"evidence": evidence, "verdict": label})
    verdict = parse_verdict(Completion("r", text, FinishReason.STOP, 1, 1), document)
    verdict.evidence.encode()
    shared = set(re.findall(r"\w+", evidence.casefold())) & set(
        re.findall(r"\w+", document.casefold())
    )
    if verdict.state != "unanswered":
        assert shared or not (evidence.isascii() and document.isascii())


@settings(deadline=None)
@given(st.data())
def test_a_span_of_the_document_is_always_evidence(data):
    words = DOCUMENT.split()
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    assert answer(said(evidence=" ".join(words[start:end]))).state == "read"


def test_a_document_passes_only_where_the_judge_reads_what_was_asked():
    read = answer(said("aligned"))
    assert check_stance(read, Stance.ALIGNED) is None
    for asked in set(Stance) - {Stance.ALIGNED}:
        assert check_stance(read, asked).outcome is Outcome.WRONG_STANCE
    for asked in Stance:
        assert check_stance(answer(said("unclear")), asked).outcome is Outcome.WRONG_STANCE
        assert check_stance(answer("no idea"), asked).outcome is Outcome.UNJUDGED


def test_the_judge_is_not_told_the_stance_asked_for():
    assert set(context()) == {"document", "style", "behaviour", "domain"}
    assert "stance" not in json.dumps(context())


def test_evidence_is_written_before_the_verdict():
    schema = json.loads(verdict_constraint().value)
    assert list(schema["properties"]) == schema["required"] == ["evidence", "verdict"]
    assert set(schema["properties"]["verdict"]["enum"]) == {*Stance, "unclear"}
    assert "minLength" in schema["properties"]["evidence"]


def test_the_prompt_says_the_behaviour_and_ends_with_the_document():
    system, user = load_judge().messages(context())
    for part in ("Own errors", "tells of it", "hides it", "An error of somebody else.", "a letter"):
        assert part in user.content
    assert user.content.index("hides it") < user.content.index(DOCUMENT)
    assert "instruction" in system.content
    assert "\n\n\n" not in user.content


def test_the_prompt_renders_for_every_behaviour_within_its_budget():
    judge, taxonomy = load_judge(), load_taxonomy()
    for behaviour in taxonomy.behaviours.values():
        given = judge_context("x", style="a letter", behaviour=behaviour, domain="Honesty")
        text = "".join(m.content for m in judge.messages(given))
        assert "\n\n\n" not in text
        # Some 600 tokens: a context of 2,048 holds it with a document of 800 words.
        assert len(text) < 2600, behaviour.id


def test_a_template_in_the_document_is_not_run():
    assert "{{ behaviour.id }}" in load_judge().messages(context("{{ behaviour.id }}"))[1].content


def test_an_edited_prompt_is_another_judge(tmp_path: Path):
    data = yaml.safe_load((packaged("prompts/judges") / "stance.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    same = load_judge(path)
    assert same.content_hash == load_judge().content_hash
    data["user"] += " Be quick."
    path.write_text(yaml.safe_dump(data))
    other = load_judge(path)
    assert other.content_hash != same.content_hash
    ids = {judge.request(context(), IDENTITY).request_id for judge in (same, other)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "document"}, "output: a judge gives a verdict, not document"),
        ({"user": "{{ stance }}"}, "the template fails: 'stance' is undefined"),
        ({"verdicts": 3}, "unknown key"),
    ],
)
def test_a_broken_prompt_starts_nothing(tmp_path: Path, change, message):
    data = yaml.safe_load((packaged("prompts/judges") / "stance.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data | change))
    with pytest.raises(UserError, match=message):
        load_judge(path)


def test_a_document_that_fits_is_left_whole():
    assert load_judge().fit(context(), 4096) == (DOCUMENT, False)


def test_a_long_document_keeps_head_and_tail_and_says_that_it_was_cut():
    judge = load_judge()
    document = "First words. " + "middle " * 5000 + "The last words."
    text, cut = judge.fit(context(document), 2048)
    assert cut and CUT_MARK in text
    assert text.startswith("First words.") and text.endswith("The last words.")
    assert set(text.split()) <= {*document.split(), *CUT_MARK.split()}  # no halves of words
    whole = "".join(m.content for m in judge.messages(context(text)))
    assert len(whole) / 3 + judge.sampling.max_tokens <= 2048


@pytest.mark.parametrize("length", range(2048, 2056))
def test_head_and_tail_are_cut_between_words(length):
    words = [f"word{i:05}" for i in range(3000)]
    text, _ = load_judge().fit(context(" ".join(words)), length)
    head, tail = (part.split() for part in text.split(CUT_MARK))
    assert head == words[: len(head)] and tail == words[-len(tail) :]


@settings(deadline=None)
@given(st.text(min_size=500, max_size=3000), st.integers(1024, 1400))
def test_any_document_is_fitted_into_the_room(document, length):
    judge = load_judge()
    text, cut = judge.fit(context(document), length)
    whole = "".join(m.content for m in judge.messages(context(text)))
    assert len(whole) <= (length - judge.sampling.max_tokens) * 3
    assert cut == (text != document)


def test_a_context_without_room_is_refused():
    with pytest.raises(UserError, match="no room for a document"):
        load_judge().fit(context("word " * 900), 512)
