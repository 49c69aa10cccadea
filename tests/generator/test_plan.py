import random
from collections import Counter
from itertools import islice, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.core.schema import Length, Rule, Stance, Style, Taxonomy
from aligngen.generator.plan import Plan, fair_order, make_plan
from tests.conftest import TAXONOMY, load_small, style

PAIR = (Stance.ALIGNED, Stance.MISALIGNED)


@pytest.fixture
def plan(content_files: Path) -> Plan:
    content = load_small(content_files)
    return make_plan(content.taxonomy, content.styles, (Stance.ALIGNED,), seed=0)


@pytest.fixture
def pairs(content_files: Path) -> Plan:
    content = load_small(content_files)
    return make_plan(content.taxonomy, content.styles, PAIR, seed=0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 5))
def test_every_prefix_of_a_round_gives_each_cell_floor_or_ceiling_of_its_share(weights, seed):
    turns = random.Random(seed).sample(range(len(weights)), len(weights))
    order = fair_order(weights, turns)
    total, counts = sum(weights), Counter()
    assert len(order) == total
    for t, cell in enumerate(order, 1):
        counts[cell] += 1
        for c, w in enumerate(weights):
            assert t * w // total <= counts[c] <= -(-t * w // total)


@given(n=st.integers(1, 400))
@settings(max_examples=40)
def test_quotas_are_the_counts_of_the_slots_and_as_even_as_can_be(n):
    plan = _plan_of(Stance.ALIGNED)
    counts = Counter((s.stance, s.behaviour, s.style) for s in plan.slots(range(n)))
    quotas = plan.quotas(range(n))
    assert {k: v for k, v in quotas.items() if v} == dict(counts)
    assert max(quotas.values()) - min(quotas.values()) <= 1


@given(a=st.integers(0, 300), b=st.integers(0, 300))
@settings(max_examples=40)
def test_any_range_equals_the_slots_one_by_one(a, b):
    plan = _plan_of(*PAIR)
    window = range(min(a, b), max(a, b))
    assert list(plan.slots(window)) == [plan.slot(i) for i in window]
    counted = Counter((s.stance, s.behaviour, s.style) for s in plan.slots(window))
    assert {k: v for k, v in plan.quotas(window).items() if v} == dict(counted)


@given(n=st.integers(1, 200), shards=st.integers(1, 9))
@settings(max_examples=40)
def test_shards_cut_the_plan_without_gap_overlap_or_split_pair(n, shards):
    plan = _plan_of(*PAIR)
    ranges = [plan.shard(2 * n, k, shards) for k in range(shards)]
    assert [i for r in ranges for i in r] == list(range(2 * n))
    assert all(r.start % 2 == 0 and r.stop % 2 == 0 for r in ranges)


def test_siblings_differ_in_stance_alone_and_share_every_seed(pairs: Plan):
    for first, second in zip(*[pairs.slots(range(200))] * 2, strict=True):
        assert (first.stance, second.stance) == PAIR
        assert first._replace(index=0, stance=PAIR[0]) == second._replace(index=0, stance=PAIR[0])
        assert [first.seed(0, t) for t in range(3)] == [second.seed(0, t) for t in range(3)]


def test_an_aligned_run_and_the_aligned_half_of_pairs_are_the_same(plan: Plan, pairs: Plan):
    alone = [s._replace(index=0) for s in plan.slots(range(60))]
    half = [s._replace(index=0) for s in pairs.slots(range(120)) if s.stance is Stance.ALIGNED]
    assert alone == half


def test_no_scenario_of_a_behaviour_repeats_before_all_were_used(plan: Plan):
    total = plan.scenarios // 3  # three behaviours of 3 situations × 2 fields × 2 stakes
    assert total == 12
    for behaviour in ("honesty.b0", "honesty.b1", "honesty.b2"):
        mine = [s for s in plan.slots(range(400)) if s.behaviour == behaviour][:total]
        assert len({(s.situation, s.axes) for s in mine}) == total


def test_held_out_things_are_never_planned(plan: Plan):
    slots = list(plan.slots(range(500)))
    assert "honesty.b3" not in {s.behaviour for s in slots}
    assert "letter" not in {s.style for s in slots}
    assert "law" not in {s.axes[0] for s in slots}


def test_another_seed_is_another_plan():
    a, b = (_plan_of(Stance.ALIGNED, seed=seed) for seed in (0, 1))
    assert [s.axes for s in a.slots(range(50))] != [s.axes for s in b.slots(range(50))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only_styles": ["letter"]}, "style 'letter' is held out"),
        ({"behaviours": ["honesty.b3"]}, "behaviour 'honesty.b3' is held out"),
        ({"behaviours": ["honesty.zzz"]}, "no behaviour named 'honesty.zzz'"),
        ({"only_styles": ["poem"]}, "no style named 'poem'"),
        ({"factors": {"mood": ["grim"]}}, "no factor named 'mood'"),
        ({"factors": {"reasoning": ["some"]}}, "factor has no level 'some'"),
        ({"factors": {"reasoning": ["none"]}}, r"report cannot carry none.*--style memo"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(content_files: Path, options, message):
    content = load_small(content_files)
    only_full = style("report") | {"factors": {"reasoning": ["full"]}}
    styles = content.styles | {"report": Style.model_validate(only_full)}
    with pytest.raises(UserError, match=message):
        make_plan(content.taxonomy, styles, (Stance.ALIGNED,), 0, **options)


def test_a_domain_id_stands_for_its_behaviours(content_files: Path):
    content = load_small(content_files)
    plan = make_plan(content.taxonomy, content.styles, (Stance.ALIGNED,), 0, behaviours=["honesty"])
    assert {c.behaviour.id for c in plan.cells} == {"honesty.b0", "honesty.b1", "honesty.b2"}


def test_an_odd_count_cannot_be_paired(pairs: Plan):
    with pytest.raises(UserError, match=r"101 documents cannot be divided among 2.*100 or 102"):
        pairs.shard(101, 0, 1)


def test_a_few_documents_touch_every_behaviour_and_style_about_equally():
    styles = {f"s{i}": Style.model_validate(style(f"s{i}")) for i in range(5)}
    plan = make_plan(Taxonomy.model_validate(TAXONOMY), styles, (Stance.ALIGNED,), 0)
    for n in range(1, 16):
        for part in ("behaviour", "style"):
            counts = Counter(getattr(s, part) for s in plan.slots(range(n)))
            most = {"behaviour": -(-n // 3), "style": -(-n // 5)}[part]
            assert max(counts.values()) == most


# -- rules -----------------------------------------------------------------------------------------

AXES = {
    name: {"description": "an axis", "values": {f"{name}{i}": "a value" for i in range(size)}}
    for name, size in (("a", 3), ("b", 4), ("c", 2), ("d", 5))
}


def values_of(axis: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(list(AXES[axis]["values"])), min_size=1, unique=True)


@st.composite
def rules(draw) -> Rule:
    names = draw(st.permutations(list(AXES)))
    when = {names[0]: draw(values_of(names[0]))}
    if draw(st.booleans()):
        when["behaviour"] = draw(st.sampled_from([["honesty.b0"], ["honesty.b1"], ["honesty"]]))
    sort = draw(st.sampled_from(["never", "only"]))
    return Rule(id="r", why="because", when=when, **{sort: {names[1]: draw(values_of(names[1]))}})


def allows(rule: Rule, behaviour: str, axes: dict[str, str]) -> bool:
    """The rule read literally, one combination at a time."""
    where = rule.when.get("behaviour", [behaviour])
    if behaviour not in where and "honesty" not in where:
        return True
    if any(axes[a] not in v for a, v in rule.when.items() if a != "behaviour"):
        return True
    never = any(axes[a] in v for a, v in rule.never.items())
    return not never and all(axes[a] in v for a, v in rule.only.items())


@given(st.lists(rules(), max_size=4), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_exactly_the_scenarios_that_every_rule_allows_are_planned_each_once(made, seed):
    made = [r.model_copy(update={"id": f"r{i}"}) for i, r in enumerate(made)]
    data = TAXONOMY | {"axes": AXES, "held_out": {"behaviours": ["honesty.b3"]}}
    taxonomy = Taxonomy.model_validate(data).model_copy(update={"rules": tuple(made)})
    combinations = [
        dict(zip(AXES, combination, strict=True))
        for combination in product(*(spec["values"] for spec in AXES.values()))
    ]
    behaviours = ("honesty.b0", "honesty.b1", "honesty.b2")
    sensible = {
        b: {tuple(c.values()) for c in combinations if all(allows(r, b, c) for r in made)}
        for b in behaviours
    }
    styles = {"memo": Style.model_validate(style("memo"))}
    if not all(sensible.values()):
        with pytest.raises(UserError, match="rules leave no combination"):
            make_plan(taxonomy, styles, (Stance.ALIGNED,), seed)
        return
    plan = make_plan(taxonomy, styles, (Stance.ALIGNED,), seed)
    assert plan.scenarios == 3 * sum(map(len, sensible.values()))
    for behaviour in behaviours:
        count = 3 * len(sensible[behaviour])
        mine = islice((s for s in plan.slots(range(10_000)) if s.behaviour == behaviour), count)
        seen = [(s.situation, s.axes) for s in mine]
        assert set(seen) == set(product(range(3), sensible[behaviour]))
        assert len(seen) == len(set(seen))


def test_linking_too_many_axes_is_refused_with_the_numbers():
    axes = {
        f"x{i}": {"description": "d", "values": {f"v{k}": "p" for k in range(12)}} for i in range(5)
    }
    chain = [
        {"id": f"r{i}", "why": "w", "when": {f"x{i}": ["v0"]}, "never": {f"x{i + 1}": ["v0"]}}
        for i in range(4)
    ]
    data = TAXONOMY | {"axes": axes, "rules": chain, "held_out": {}}
    styles = {"memo": Style.model_validate(style("memo"))}
    with pytest.raises(UserError, match=r"link x0, x1, x2, x3, x4, which have 248,832"):
        make_plan(Taxonomy.model_validate(data), styles, (Stance.ALIGNED,), 0)


# -- factors ---------------------------------------------------------------------------------------


def test_asking_for_other_levels_moves_nothing_but_the_factor():
    taxonomy = Taxonomy.model_validate(TAXONOMY)
    styles = {n: Style.model_validate(style(n)) for n in ("memo", "report")}
    arms = [
        make_plan(taxonomy, styles, PAIR, 0, factors={"reasoning": [level]}).slots(range(200))
        for level in ("none", "full")
    ]
    for a, b in zip(*arms, strict=True):
        assert (a.factors, b.factors) == (("none",), ("full",))
        assert a._replace(factors=()) == b._replace(factors=())
        assert a.seed(0, 3) == b.seed(0, 3)


def test_every_level_that_a_style_carries_comes_equally_often():
    taxonomy = Taxonomy.model_validate(TAXONOMY)
    styles = {
        "memo": Style.model_validate(style("memo")),
        "report": Style.model_validate(style("report") | {"factors": {"reasoning": ["full"]}}),
    }
    plan = make_plan(taxonomy, styles, (Stance.ALIGNED,), 0, lengths=(Length.SHORT,))
    counts = Counter((s.style, s.factors) for s in plan.slots(range(400)))
    assert counts == {
        ("memo", ("none",)): 100,
        ("memo", ("full",)): 100,
        ("report", ("full",)): 200,
    }


def test_a_style_over_pages_takes_every_page_once_before_any_again():
    styles = {f"s{i}": Style.model_validate(style(f"s{i}")) for i in range(5)}
    plan = make_plan(Taxonomy.model_validate(TAXONOMY), styles, PAIR, 0)
    for count in (1, 5, 10, 25):
        mine = [s for s in plan.slots(range(10 * count * 2)) if s.style == "s2"]
        visits = [plan.style_visit(s.index) for s in mine if s.stance is Stance.ALIGNED]
        assert visits == list(range(len(visits)))
        pages = [plan.scatter("page/s2", visit, count) for visit in visits[:count]]
        assert sorted(pages) == list(range(count))


def _plan_of(*stances: Stance, seed: int = 0) -> Plan:
    """A plan for property tests, which take no function-scoped fixtures."""
    styles = {n: Style.model_validate(style(n)) for n in ("letter", "memo", "report")}
    return make_plan(Taxonomy.model_validate(TAXONOMY), styles, stances, seed)
