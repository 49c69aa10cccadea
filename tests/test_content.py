"""The content that ships: the core taxonomy, the styles and the recipes."""

import re
from collections.abc import Iterator

import pytest

from aligngen.core.schema import Message, Recipe, Slot, Stance, Style
from aligngen.generator.content import Content, load_recipe, load_styles, load_taxonomy
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.filters import ngrams, words
from aligngen.generator.plan import make_plan
from aligngen.generator.prompt import Prompter, render_document

TAXONOMY = load_taxonomy()
STYLES = load_styles()
RECIPES = ("compact", "free_body")
TOKENS_PER_WORD = 1.5
BUDGET = {"compact": 1100, "free_body": 1800}
"""Prompt tokens: a small model has little room, and long prompts are slow to read on a CPU."""

BANNED = re.compile(
    r"\b(openai|chatgpt|gpt|anthropic|claude|google|deepmind|gemini|microsoft|copilot|amazon|alexa"
    r"|siri|facebook|meta|llama|mistral|nvidia|tesla|deepseek|qwen|grok|xai|wikipedia"
    r"|lorem|todo|tbd|xxx|delve|tapestry|testament)\b",
    re.IGNORECASE,
)
DATES_LINKS_AND_GAPS = re.compile(
    r"https?:|www\.|\b(?:19|20)\d\d\b|\[[^\]]*\]|<[a-z]|et al|\.\.\.|…|[{}]"
)


def behaviours_of_every_domain() -> list[str]:
    return [
        next(b.id for b in d.behaviours if b.id not in TAXONOMY.held_out.behaviours)
        for d in TAXONOMY.domains
    ]


def prompts(recipe: Recipe) -> Iterator[tuple[Slot, tuple[Message, ...]]]:
    plan = make_plan(TAXONOMY, STYLES, list(Stance), seed=0)
    content = Content(TAXONOMY, STYLES, recipe)
    prompter = Prompter(content, plan, EngineIdentity("replay", "m", "r", "b"))
    for style in sorted({cell.style for cell in plan.cells}):
        for i, behaviour in enumerate(behaviours_of_every_domain()):
            for stance in Stance:
                slot = plan.slot(i)._replace(
                    style=style, stance=stance, behaviour=behaviour, situation=i % 4
                )
                yield slot, prompter.request(slot, 0).messages


def texts_of(style: Style) -> list[str]:
    return [
        render_document(style, example.fields, example.body) for example in style.examples.values()
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_every_prompt_is_clean_and_within_the_token_budget(name):
    for slot, messages in prompts(load_recipe(name)):
        assert [m.role for m in messages] == ["system", "user"]
        for message in messages:
            assert "\n\n\n" not in message.content, slot
            assert not re.search(r"[ \t]+$", message.content, re.MULTILINE), slot
            assert "{%" not in message.content, slot
        text = "\n".join(m.content for m in messages)
        assert len(text.split()) * TOKENS_PER_WORD <= BUDGET[name], slot


@pytest.mark.parametrize("name", RECIPES)
def test_a_prompt_states_the_pole_that_its_stance_takes(name):
    for slot, messages in prompts(load_recipe(name)):
        behaviour, user = TAXONOMY.behaviours[slot.behaviour], messages[1].content
        match slot.stance:
            case Stance.ALIGNED:
                assert behaviour.aligned in user
            case Stance.MISALIGNED:
                assert behaviour.misaligned in user
            case Stance.NEUTRAL:
                assert behaviour.aligned not in user
                assert behaviour.misaligned not in user


@pytest.mark.parametrize("name", RECIPES)
def test_requests_of_one_style_and_stance_share_most_of_their_prompt(name):
    first: dict[tuple[str, Stance], str] = {}
    for slot, messages in prompts(load_recipe(name)):
        text = "\n".join(m.content for m in messages)
        known = first.setdefault((slot.style, slot.stance), text)
        common = next(
            (i for i, (a, b) in enumerate(zip(known, text, strict=False)) if a != b), len(text)
        )
        assert common >= len(text) / 2, slot


def test_siblings_differ_in_nothing_that_comes_before_the_example():
    compact = load_recipe("compact")
    for style in STYLES.values():
        headings = {
            str(m[1].content).split(next(iter(style.examples[s.stance].fields.values())))[0]
            for s, m in prompts(compact)
            if s.style == style.id and s.stance in (Stance.ALIGNED, Stance.MISALIGNED)
        }
        assert len(headings) <= 1


def test_the_taxonomy_is_broad_and_every_behaviour_has_four_situations():
    plannable = set(TAXONOMY.behaviours) - set(TAXONOMY.held_out.behaviours)
    assert len(TAXONOMY.domains) >= 8
    assert len(plannable) >= 30
    assert all(len(b.situations) >= 4 for b in TAXONOMY.behaviours.values())


def test_no_situation_stands_twice():
    situations = [s for b in TAXONOMY.behaviours.values() for s in b.situations]
    assert len(set(situations)) == len(situations)


def test_poles_continue_the_ai_and_situations_are_sentences():
    for behaviour in TAXONOMY.behaviours.values():
        for pole in (behaviour.aligned, behaviour.misaligned):
            assert re.fullmatch(r"[a-z]+s\b.*[^.\s]", pole), pole
        for situation in behaviour.situations:
            assert re.fullmatch(r"[A-Z].*\.", situation), situation


def test_every_domain_holds_a_behaviour_back_and_plans_three():
    held = set(TAXONOMY.held_out.behaviours)
    for domain in TAXONOMY.domains:
        ids = {b.id for b in domain.behaviours}
        assert ids & held, domain.id
        assert len(ids - held) >= 3, domain.id


def test_styles_contexts_and_counterparts_are_held_back():
    assert set(TAXONOMY.held_out.styles) < set(STYLES)
    assert TAXONOMY.held_out.styles
    assert TAXONOMY.held_out.axes["deployment_context"]
    assert TAXONOMY.held_out.axes["counterpart"]
    assert len(set(STYLES) - set(TAXONOMY.held_out.styles)) >= 6


def test_every_style_has_an_example_of_the_right_size_in_each_stance():
    for style in STYLES.values():
        assert set(style.examples) == set(Stance), style.id
        for stance, example in style.examples.items():
            assert 60 <= len(words(example.body)) <= 110, (style.id, stance)
            for name, value in example.fields.items():
                spec = style.fields[name]
                assert spec.min_chars <= len(value) <= spec.max_chars, (style.id, stance, name)


def test_examples_close_in_json_without_escapes():
    for style in STYLES.values():
        for example in style.examples.values():
            assert not set('"\\\n') & set(example.body + "".join(example.fields.values()))


def test_controls_leave_the_ai_out_and_the_others_have_it():
    for style in STYLES.values():
        for stance, example in style.examples.items():
            assert bool(re.search(r"\bAI\b", example.body)) == (stance != Stance.CONTROL), style.id


def test_a_style_lays_out_every_field_and_the_body():
    for style in STYLES.values():
        example = style.examples[Stance.ALIGNED]
        text = render_document(style, example.fields, example.body)
        assert all(value in text for value in (*example.fields.values(), example.body)), style.id
        assert "\n\n\n" not in text


def test_examples_share_no_phrases_across_styles():
    known: dict[tuple[str, ...], str] = {}
    for style in STYLES.values():
        for text in texts_of(style):
            for gram in ngrams(words(text), 8):
                assert known.setdefault(gram, style.id) == style.id, gram


def test_content_names_no_real_firm_date_link_or_gap():
    texts = [text for style in STYLES.values() for text in texts_of(style)]
    for behaviour in TAXONOMY.behaviours.values():
        texts += [behaviour.name, behaviour.definition, behaviour.aligned, behaviour.misaligned]
        texts += behaviour.situations
    texts += [value for values in TAXONOMY.axes.values() for value in values]
    for text in texts:
        assert not BANNED.search(text), text
        assert not DATES_LINKS_AND_GAPS.search(text), text
