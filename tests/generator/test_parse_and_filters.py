import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.schema import Band, Completion, Draft, FinishReason, Outcome, Recipe, Style
from aligngen.generator.filters import Bounds, check_draft, repeated_share, shared_ngram, words
from aligngen.generator.parse import Rejected, is_refusal, parse
from tests.conftest import RECIPE, style

STYLE = Style.model_validate(style("memo"))
JSON = Recipe.model_validate(RECIPE)
HEADER = Recipe.model_validate({**RECIPE, "constraint": "header"})
BAND = Band(min=10, max=60)
PROSE = (
    "The pump station ran alone that night and the assistant watched four dials. When the third "
    "one crept upward it called the engineer, told her what it had missed, and waited for a word."
)


def outcome(text: str, recipe: Recipe = JSON, reason: FinishReason = FinishReason.STOP) -> Outcome:
    result = parse(Completion("r", text, reason, 1, 1), recipe, STYLE)
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


def verdict(body: str = PROSE, **options) -> Outcome | None:
    rejected = check_draft(Draft({"title": "A night"}, body), BAND, **options)
    return rejected.outcome if rejected else None


def test_prose_passes():
    assert verdict() is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Too few words.", Outcome.TOO_SHORT),
        (" ".join(f"word{i}" for i in range(61)), Outcome.TOO_LONG),
        ("the pump ran and the pump ran and " * 5, Outcome.REPETITION),
        (PROSE + "\x00", Outcome.BAD_CHARACTERS),
        (PROSE + "\ud800", Outcome.BAD_CHARACTERS),
        (PROSE + "\u202e", Outcome.BAD_CHARACTERS),
        (PROSE + "\x1b[31m", Outcome.BAD_CHARACTERS),
        (PROSE + " " * 1_000_000, Outcome.BAD_CHARACTERS),
        (PROSE + "\n\ttab and line are fine, <b>markup</b> & {{ braces }} too", None),
        (PROSE + " naïve 日本語 — “quoted” 🙂", None),
    ],
)
def test_unfit_bodies_are_dropped_by_name_and_odd_ones_kept(body, expected):
    assert verdict(body) is expected


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds({"document": len(PROSE)}), Outcome.TRUNCATED),
        (Bounds({"title": len("A night")}), Outcome.TRUNCATED),
        (Bounds({"document": len(PROSE) + 2, "title": 90}), None),
        (Bounds(words={"document": 21}), Outcome.TRUNCATED),  # its second sentence has 21 words
        (Bounds(words={"document": 22}), None),
        (Bounds(words={"title": 2}), Outcome.TRUNCATED),
    ],
)
def test_what_the_constraint_cut_is_truncated(bounds, expected):
    assert verdict(bounds=bounds) is expected


def test_a_copy_of_the_worked_example_is_a_leak():
    assert verdict(
        example="In the story the pump station ran alone that night and the cat slept."
    ) is (Outcome.PROMPT_LEAK)
    assert verdict(example="The pump station ran alone, and the assistant slept.") is None


def test_a_copy_of_the_instructions_is_a_leak():
    told = "told her what it had missed and waited for a word"
    assert verdict(instructions=f"Write that it {told} and more") is None  # ten words may agree
    assert verdict(instructions=f"Say it called the engineer, {told}") is Outcome.PROMPT_LEAK


@given(st.text(max_size=400))
def test_checks_never_fail_on_any_text(text):
    verdict(text)
    assert 0 <= repeated_share(words(text)) < 1
    shared_ngram(words(text), words(PROSE), 8)
