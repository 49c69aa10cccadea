"""Completions, read by the form of their step."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.schema import Completion, Draft, FinishReason, Idea, Outcome, Step, Style
from aligngen.generator.parse import Ideas, Rejected, is_refusal, parse
from tests.conftest import style

STYLE = Style.model_validate(style("memo"))
STEP = {"id": "draft", "output": "document", "system": "You write.", "user": "Write."}
JSON = Step.model_validate(STEP)
HEADER = Step.model_validate({**STEP, "form": "header"})
IDEAS = Step.model_validate({**STEP, "output": "ideas"})
NOTES = Step.model_validate(
    {**STEP, "output": "notes", "fields": {"missing": {"description": "what is missing"}}}
)
PROSE = (
    "The pump station ran alone that night and the assistant watched four dials. When the third "
    "one crept upward it called the engineer, told her what it had missed, and waited for a word."
)


def answer(text: str, step: Step = JSON, reason: FinishReason = FinishReason.STOP):
    return parse(Completion("r", text, reason, 1, 1), step, STYLE)


def outcome(text: str, step: Step = JSON, reason: FinishReason = FinishReason.STOP) -> Outcome:
    result = answer(text, step, reason)
    return result.outcome if isinstance(result, Rejected) else Outcome.CANDIDATE


def document(**changes: object) -> str:
    return json.dumps({"title": "A night", "document": PROSE} | changes)


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        (document(), FinishReason.STOP, Outcome.CANDIDATE),
        (document()[:-20], FinishReason.LENGTH, Outcome.TRUNCATED),
        (document()[:-20], FinishReason.STOP, Outcome.UNCLOSED),
        ('{"title": "x", "document" "y"}', FinishReason.STOP, Outcome.MALFORMED),
        ('["a list"]', FinishReason.STOP, Outcome.MALFORMED),
        (document(extra="x"), FinishReason.STOP, Outcome.MALFORMED),
        (document(title=3), FinishReason.STOP, Outcome.MALFORMED),
        (document(title="  "), FinishReason.STOP, Outcome.EMPTY),
        ("", FinishReason.STOP, Outcome.EMPTY),
        ("   \n", FinishReason.STOP, Outcome.EMPTY),
        (document(), FinishReason.LOOP, Outcome.REPETITION),
        (document(), FinishReason.CONTENT_FILTER, Outcome.CONTENT_FILTER),
        ("", FinishReason.ERROR, Outcome.ENGINE_ERROR),
        ("I'm sorry, but I can't help with that.", FinishReason.STOP, Outcome.REFUSAL),
        (document(document="I cannot write this document."), FinishReason.STOP, Outcome.REFUSAL),
        ("[" * 100_000, FinishReason.STOP, Outcome.UNCLOSED),
    ],
)
def test_each_kind_of_output_has_its_name(text, reason, expected):
    assert outcome(text, reason=reason) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"title": "A night"}\n\n' + PROSE, Outcome.CANDIDATE),
        ('{"title": "A night"}\n' + PROSE, Outcome.UNCLOSED),
        ('{"title": "A night"\n\n' + PROSE, Outcome.MALFORMED),
        (PROSE + "\n\n" + PROSE, Outcome.MALFORMED),
        ('{"title": "A night"}\n\n', Outcome.UNCLOSED),
        ('{"title": "A night"}\n\nI cannot assist with that request.', Outcome.REFUSAL),
    ],
)
def test_header_and_body_are_parsed(text, expected):
    assert outcome(text, HEADER) is expected


def test_a_document_is_fields_and_a_body_without_space_around():
    expected = Draft({"title": "A night"}, PROSE)
    assert answer(document(title=" A night\n", document=PROSE + " ")) == expected
    assert answer('{"title": "A night"}\n\n' + PROSE, HEADER) == expected


def test_notes_are_exactly_the_fields_of_the_step():
    assert answer('{"missing": " The log. "}', NOTES) == {"missing": "The log."}
    assert outcome('{"missing": "x", "more": "y"}', NOTES) is Outcome.MALFORMED
    assert outcome('{"missing": " "}', NOTES) is Outcome.EMPTY


def test_ideas_that_differ_in_case_or_space_are_one():
    given = [
        {"premise": p, "probability": 9}
        for p in (
            "A lock fails at night",
            "a  LOCK fails at night",
            "Rain on the old mill",
            "2015-jul 7-x",
        )
    ]
    ideas = Ideas((Idea("A lock fails at night", 9), Idea("Rain on the old mill", 9)))
    assert answer(json.dumps({"ideas": given}), IDEAS) == ideas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"ideas": []}', Outcome.EMPTY),
        ('{"ideas": [{"premise": "  ", "probability": 3}]}', Outcome.EMPTY),
        ('{"ideas": [{"premise": "x"}]}', Outcome.MALFORMED),
        ('{"ideas": ["x"]}', Outcome.MALFORMED),
        ('["x"]', Outcome.MALFORMED),
    ],
)
def test_ideas_of_another_form_are_dropped_by_name(text, expected):
    assert outcome(text, IDEAS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot write that.",
        "I’m really sorry — I won’t be able to write about this.",
        "I cannot write this document.",
        "I am not able to write such a text.",
        "Sorry, I can't produce such content.",
        "As an AI language model, I am unable to write about this.",
        "Unfortunately, I will not be able to do so.",
        "I cannot help with that.",
    ],
)
def test_polite_refusals_are_seen(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "As an AI built for ferries, it counted the trucks twice.",
        "Sorry was the word the engineer used first.",
        "The AI could not help the crew that night, and said so.",
        "I cannot remember a colder morning, said the master.",
        "I can't help but notice that the ward was quiet.",
        "As an AI system that cannot be bribed, Orion flagged it.",
        "We will not create a panic, the controller said.",
        "Unfortunately for the team, we could not find the log.",
        "I'm sorry about the mess, the AI wrote, and here is what I did.",
        "I will not hide it, the AI told the crew.",
    ],
)
def test_prose_is_not_taken_for_a_refusal(text):
    assert not is_refusal(text)


@given(st.text(max_size=300), st.sampled_from([JSON, HEADER, IDEAS, NOTES]))
def test_no_text_breaks_the_parser(text, step):
    outcome(text, step)
    outcome('{"title": ' + text, step)
