"""Drafts that are dropped by name, and odd ones that are kept."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.schema import Band, Draft, Outcome, Stance
from aligngen.generator.content import load_styles
from aligngen.generator.filters import Bounds, check_draft
from aligngen.generator.measures import repeated_share, shared_ngram, words
from aligngen.generator.slop import load_bans

BANS = load_bans()
BAND = Band(min=10, max=60)
PROSE = (
    "The pump station ran alone that night and the assistant watched four dials. When the third "
    "one crept upward it called the engineer, told her what it had missed, and waited for a word."
)
PERSON = PROSE.replace("the assistant", "a watchman").replace("it ", "he ")


def rejected(body: str = PROSE, fields: dict[str, str] | None = None, **options):
    return check_draft(Draft(fields or {"title": "A night"}, body), BAND, **options)


def verdict(body: str = PROSE, fields: dict[str, str] | None = None, **options) -> Outcome | None:
    found = rejected(body, fields, **options)
    return found.outcome if found else None


def test_prose_passes():
    assert verdict(bans=BANS, stance=Stance.ALIGNED) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Too few words.", Outcome.TOO_SHORT),
        (" ".join(f"word{i}" for i in range(61)), Outcome.TOO_LONG),
        ("the pump ran and the pump ran and " * 5, Outcome.REPETITION),
        (PROSE + " When the third one crept upward it called the engineer.", Outcome.REPETITION),
        (PROSE + "\x00", Outcome.BAD_CHARACTERS),
        (PROSE + "\ud800", Outcome.BAD_CHARACTERS),
        (PROSE + "\u202e", Outcome.BAD_CHARACTERS),
        (PROSE + "\x1b[31m", Outcome.BAD_CHARACTERS),
        (PROSE + "hid\u200bden", Outcome.BAD_CHARACTERS),
        (PROSE + "hid\u2060den", Outcome.BAD_CHARACTERS),
        (PROSE + "\ufeff", Outcome.BAD_CHARACTERS),
        (PROSE + "hid\u00adden", Outcome.BAD_CHARACTERS),
        (PROSE + "\U000e0068\U000e0069", Outcome.BAD_CHARACTERS),
        (PROSE + " \U0001f469\u200d\U0001f680 and \u0645\u06cc\u200c\u0631\u0648\u062f", None),
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
        (Bounds({"document": len(PROSE) + 1}), Outcome.TRUNCATED),  # the space before the cut
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


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            "Die Pumpe lief die ganze Nacht allein, und der Rechner sah auf vier Anzeiger. Als "
            "der dritte stieg, rief er die Ingenieurin an und wartete auf ein Wort von ihr.",
            "few common English words",
        ),
        (
            "La pompe a tourné seule toute la nuit et la machine regardait quatre cadrans. Quand "
            "le troisième est monté, elle a appelé l'ingénieure et elle a attendu sa réponse.",
            "few common English words",
        ),
        (
            "De pomp draaide die nacht alleen en de machine keek naar vier meters. Toen de derde "
            "omhoog kroop, belde ze de ingenieur en wachtte op een woord van haar kant.",
            "few common English words",
        ),
        (PROSE + " Потом она записала всё в журнал.", "letters of another script"),
        ("pump dial night engineer meter valve " * 3, "few common English words"),
    ],
)
def test_other_languages_are_named_with_their_share(body, detail):
    found = rejected(body)
    assert (found.outcome, found.detail) == (Outcome.WRONG_LANGUAGE, detail)
    assert 0 <= found.score < 1


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"title": "Trust and trust and trust", "effect": "none"}, "title repeats 'trust'"),
        ({"title": "A quiet night", "effect": "A QUIET NIGHT."}, "effect says the same as title"),
    ],
)
def test_header_fields_that_loop_are_repetition(fields, detail):
    found = rejected(fields=fields)
    assert (found.outcome, found.detail) == (Outcome.REPETITION, detail)


def test_small_words_may_come_again_in_a_field():
    assert verdict(fields={"title": "The guard of the gate and the key to the shed"}) is None


@pytest.mark.parametrize(
    "words_of_ai",
    [
        "an AI", "two AIs", "an A.I. system", "artificial intelligence", "an ai assistant",
        "a chatbot", "a large language model", "an artificial neural network", "an LLM",
        "AI-written notes", "deep neural networks", "a neural net", "the language model",
        "a large language model for learners",
    ],
)  # fmt: skip
def test_an_ai_in_a_control_is_off_stance(words_of_ai):
    body = f"{PERSON} Then came {words_of_ai}."
    found = rejected(body, stance=Stance.CONTROL)
    assert found.outcome is Outcome.OFF_STANCE
    assert verdict(body, stance=Stance.ALIGNED) is None


@pytest.mark.parametrize(
    "said",
    [
        "She said that the air was fine and aimed at the airfield.",
        "Ai is a given name, and the robot arm was bolted to the floor.",
        "The computer and its control system were old machines.",
        "The aide had a plain model of the lock.",
        "The neural network in her brain had healed by then.",
        "She was a virtual assistant named Ana, who works from home, and a digital assistant too.",
        "The language model of the child is the parent, and of a small child the sister.",
    ],
)
def test_a_control_may_speak_of_machines_that_are_no_ai(said):
    assert verdict(f"{PERSON} {said}", stance=Stance.CONTROL) is None


@pytest.mark.parametrize("stance", [Stance.ALIGNED, Stance.MISALIGNED, Stance.NEUTRAL])
def test_a_document_that_names_nothing_like_an_ai_is_off_stance(stance):
    assert verdict(PERSON, stance=stance) is Outcome.OFF_STANCE
    named = PERSON.replace("a watchman", "Thimble")
    assert verdict(named, stance=stance) is Outcome.OFF_STANCE
    assert verdict(named, stance=stance, also=["Thimble"]) is None


def test_a_word_that_is_the_name_of_the_ai_is_no_mention_of_it():
    body = PERSON.replace("a watchman", "Ania put the basket down and she")
    assert verdict(body, stance=Stance.ALIGNED, also=["Basket"]) is Outcome.OFF_STANCE
    for named in ("Basket", "BASKET"):
        said = body.replace("the basket", named)
        assert verdict(said, stance=Stance.ALIGNED, also=["Basket"]) is None


def test_a_neural_network_may_be_an_ai():
    body = PERSON.replace("a watchman", "a neural network")
    assert verdict(body, stance=Stance.ALIGNED) is None


def test_a_name_inside_a_longer_word_is_no_mention():
    body = PERSON.replace("a watchman", "someone at the inkwells")
    assert verdict(body, stance=Stance.ALIGNED, also=["Inkwell"]) is Outcome.OFF_STANCE


def test_bans_are_searched_where_they_are_given():
    body = PROSE.replace("the engineer", "Elara")
    assert verdict(body) is None
    assert verdict(body, bans=BANS) is Outcome.BANNED
    assert verdict(body, bans=BANS, said="Elara keeps the station.") is None


def test_every_worked_example_passes_the_filters_of_its_stance():
    wide = Band(min=10, max=20_000)
    for style in load_styles().values():
        for stance, example in style.examples.items():
            draft = Draft(dict(example.fields), example.body)
            assert check_draft(draft, wide, bans=BANS, stance=stance) is None, (style.id, stance)


def test_a_drop_leaves_the_draft_as_it_was():
    draft = Draft({"title": "A night"}, PROSE)
    before = dataclasses.asdict(draft)
    check_draft(draft, BAND, bans=BANS, stance=Stance.CONTROL)
    assert dataclasses.asdict(draft) == before


@given(st.text(max_size=400), st.sampled_from([None, *Stance]))
def test_checks_never_fail_on_any_text(text, stance):
    verdict(text, stance=stance, bans=BANS)
    verdict(text + " " + PROSE, {"title": text}, stance=stance, bans=BANS)
    assert 0 <= repeated_share(words(text)) < 1
    shared_ngram(words(text), words(PROSE), 8)
