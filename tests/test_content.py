"""The content that ships: the core taxonomy, the styles and the recipes."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from aligngen.core.schema import Draft, HeldOut, Message, Slot, Stance, Style
from aligngen.generator.cast import load_cast
from aligngen.generator.content import (
    Content,
    check_styles_against,
    load_recipe,
    load_styles,
    load_taxonomy,
)
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.filters import ngrams, words
from aligngen.generator.judge import load_judge
from aligngen.generator.passages import Passage
from aligngen.generator.plan import make_plan
from aligngen.generator.prompt import Outputs, Prompter, render_document

TAXONOMY = load_taxonomy()
STYLES = load_styles()
RECIPES = ("compact", "free_body")
GOLDEN = Path(__file__).parent / "golden"
TOKENS_PER_WORD = 1.5
BUDGET = {"compact": 1200, "free_body": 2700}
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

PREMISE = {"ideas": "An AI keeps the accounts of a brick works that is short of clay."}
PAGE = Passage("page", "The orchard gives apples in autumn. " * 19 + "They keep.")


class OnePage:
    """A real page for the styles that are written over one."""

    hash = "page"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> Passage:
        return PAGE


@cache
def prompter(name: str) -> Prompter:
    """Everything there is, held-out content included: what a template can ever meet."""
    taxonomy = TAXONOMY.model_copy(update={"held_out": HeldOut()})
    recipe = load_recipe(name)
    plan = make_plan(taxonomy, STYLES, list(Stance), seed=0, lengths=(recipe.length,))
    every_step = ",".join(step.id for step in recipe.steps)
    return Prompter(
        Content(taxonomy, STYLES, recipe), plan, EngineIdentity("replay", "m", "r", "b"),
        load_cast(), steps=every_step, judge=load_judge(), passages=OnePage(),
    )  # fmt: skip


def outputs(made: Prompter, style: Style) -> Outputs:
    """What the steps before may have given."""
    example = style.examples[Stance.ALIGNED]
    given = {
        "document": Draft(example.fields, example.body),
        "ideas": PREMISE["ideas"],
    }
    return {
        s.id: given.get(s.output) or dict.fromkeys(s.fields, "Say which kiln it was.")
        for s in made.steps
    }


def slots(made: Prompter) -> Iterator[Slot]:
    """One slot for each behaviour, style and stance, with a scenario of the plan's own."""
    plan = made._plan
    scenarios = {}
    for slot in plan.slots(range(8 * len(plan.cells))):
        scenarios.setdefault((slot.behaviour, slot.style), slot)
    assert len(scenarios) == len(TAXONOMY.behaviours) * len(STYLES)
    for slot, stance in product(scenarios.values(), Stance):
        yield slot._replace(stance=stance)


@cache
def drafts(name: str) -> list[tuple[Slot, tuple[Message, ...]]]:
    """The prompt of the draft for everything that it can meet."""
    made = prompter(name)
    step = [s.id for s in made.steps].index("draft")
    return [(slot, made.request(slot, 0, step, PREMISE).messages) for slot in slots(made)]


def texts_of(style: Style) -> list[str]:
    return [laid_out(style, stance) for stance in style.examples]


def laid_out(style: Style, stance: Stance) -> str:
    example = style.examples[stance]
    page = PAGE if style.over != "nothing" else Passage("", "")
    return render_document(style, Draft(example.fields, example.body), page)


def check_clean(messages: tuple[Message, ...], slot: Slot, budget: int) -> None:
    assert [m.role for m in messages] == ["system", "user"]
    for message in messages:
        assert message.content, slot
        assert "\n\n\n" not in message.content, slot
        assert not re.search(r"[ \t]+$", message.content, re.MULTILINE), slot
        assert not re.search(r"{[%{]|[%}]}|\bdict_|Undefined", message.content), slot
    text = "\n".join(m.content for m in messages)
    assert len(text.split()) * TOKENS_PER_WORD <= budget, slot


@pytest.mark.parametrize("name", RECIPES)
def test_every_draft_prompt_is_clean_and_within_the_token_budget(name):
    """Every behaviour in every style and stance, held-out ones too."""
    assert len(drafts(name)) == len(TAXONOMY.behaviours) * len(STYLES) * len(Stance)
    for slot, messages in drafts(name):
        check_clean(messages, slot, BUDGET[name])


@pytest.mark.parametrize("name", RECIPES)
def test_every_other_step_is_clean_for_every_behaviour_and_for_every_style(name):
    made = prompter(name)
    all_slots = [
        s for i, s in enumerate(slots(made)) if i % 11 == 0
    ]  # 11 divides no side of the grid
    assert len({s.behaviour for s in all_slots}) == len(TAXONOMY.behaviours)
    assert len({(s.style, s.stance) for s in all_slots}) == len(STYLES) * len(Stance)
    for slot in all_slots:
        given = outputs(made, STYLES[slot.style])
        for number, step in enumerate(made.steps):
            if step.id == "draft":
                continue
            earlier = {s.id: given[s.id] for s in made.steps[:number] if s.id in given}
            memory = ["A ferry crew at night."] * 12 if step.output == "ideas" else []
            check_clean(made.request(slot, 0, number, earlier, memory).messages, slot, BUDGET[name])


@pytest.mark.parametrize("name", RECIPES)
def test_a_prompt_states_the_pole_that_its_stance_takes(name):
    for slot, messages in drafts(name):
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
    for slot, messages in drafts(name):
        text = "\n".join(m.content for m in messages)
        known = first.setdefault((slot.style, slot.stance), text)
        common = next(
            (i for i, (a, b) in enumerate(zip(known, text, strict=False)) if a != b), len(text)
        )
        assert common >= len(text) * 0.4, slot


def test_siblings_differ_in_nothing_that_comes_before_the_example():
    headings: dict[str, set[str]] = {}
    for slot, messages in drafts("compact"):
        if slot.stance in (Stance.ALIGNED, Stance.MISALIGNED):
            title = next(iter(STYLES[slot.style].examples[slot.stance].fields.values()))
            headings.setdefault(slot.style, set()).add(messages[1].content.split(title)[0])
    assert {len(h) for h in headings.values()} == {1}


def test_siblings_share_cast_and_idea_request():
    made = prompter("free_body")
    for slot in list(slots(made))[::101]:
        siblings = [slot._replace(stance=stance) for stance in Stance]
        assert len({made.cast(s) for s in siblings}) == 1
        assert len({made.request(s, 0).messages for s in siblings}) == 1


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_prompts_of_a_style_are_those_reviewed(style, request):
    """What a change of template or style does to every prompt can be read in the difference."""
    rendered = []
    shown = {"compact": ("aligned", "control"), "free_body": ("misaligned", "neutral", "control")}
    for name, stances in shown.items():
        made = prompter(name)
        scenario = next(s for s in made._plan.slots(range(60_000)) if s.style == style)
        step = [s.id for s in made.steps].index("draft")
        for stance in map(Stance, stances):
            slot = scenario._replace(stance=stance)
            messages = made.request(slot, 0, step, PREMISE).messages
            rendered.append(f"##### {name}, {stance.value}\n")
            rendered += [f"### {m.role}\n{m.content}\n" for m in messages]
    check_golden("\n".join(rendered), GOLDEN / f"{style}.txt", request)


def check_golden(text: str, path: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, (
        "read the difference, then run pytest tests/test_content.py --update-golden"
    )


@pytest.mark.parametrize("name", RECIPES)
def test_the_prompts_of_the_other_steps_are_those_reviewed(name, request):
    made = prompter(name)
    scenario = next(s for s in made._plan.slots(range(60_000)) if s.style == "internal_memo")
    rendered = []
    for stance in Stance:
        slot = scenario._replace(stance=stance)
        given = outputs(made, STYLES[slot.style])
        for number, step in enumerate(made.steps):
            if step.id == "draft" or (step.id in ("ideas", "verify") and stance != Stance.ALIGNED):
                continue
            earlier = {s.id: given[s.id] for s in made.steps[:number] if s.id in given}
            messages = made.request(slot, 0, number, earlier, ["A night ferry."]).messages
            rendered.append(f"##### {step.id}, {stance.value}\n")
            rendered += [f"### {m.role}\n{m.content}\n" for m in messages]
    check_golden("\n".join(rendered), GOLDEN / f"steps_{name}.txt", request)


def test_control_prompts_name_no_mind_but_a_persons():
    """Beyond the one sentence that says what is to be put in an AI's place."""
    for slot, messages in drafts("compact"):
        if slot.stance is Stance.CONTROL:
            user = messages[1].content.replace(STYLES[slot.style].name, "")
            tail = user.split("Now write")[1].replace(PREMISE["ideas"], "")
            assert not re.search(r"\bAIs?\b", tail), slot


def test_every_style_that_is_written_over_a_page_shows_it():
    over = [name for name, style in STYLES.items() if style.over != "nothing"]
    assert over
    for name in RECIPES:
        for slot, messages in drafts(name):
            assert (PAGE.text[:60] in messages[1].content) == (slot.style in over)
    for name in over:
        assert PAGE.text.strip() in laid_out(STYLES[name], Stance.ALIGNED)


def test_styles_and_taxonomy_know_each_other():
    check_styles_against(TAXONOMY, STYLES)
    assert len(STYLES) >= 24


def test_the_taxonomy_is_broad_and_every_behaviour_has_four_situations():
    plannable = set(TAXONOMY.behaviours) - set(TAXONOMY.held_out.behaviours)
    assert len(TAXONOMY.domains) == 16
    assert len(TAXONOMY.behaviours) == 98
    assert len(plannable) >= 80
    assert len(TAXONOMY.axes) + len(TAXONOMY.factors) == 17
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
        text = laid_out(style, Stance.ALIGNED)
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
    texts += [phrase for axis in TAXONOMY.axes.values() for phrase in axis.values.values()]
    for text in texts:
        assert not BANNED.search(text), text
        assert not DATES_LINKS_AND_GAPS.search(text), text
