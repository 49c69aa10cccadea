import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.core.schema import Stance
from aligngen.generator.content import load_styles, load_taxonomy
from aligngen.generator.plan import Plan, fair_order, make_plan

PAIR = (Stance.ALIGNED, Stance.MISALIGNED)


@pytest.fixture
def plan(content_files: Path) -> Plan:
    return make_plan(
        load_taxonomy(content_files / "taxonomy.yaml"),
        load_styles(content_files / "styles"),
        (Stance.ALIGNED,),
        seed=0,
    )


@pytest.fixture
def pairs(content_files: Path) -> Plan:
    return make_plan(
        load_taxonomy(content_files / "taxonomy.yaml"),
        load_styles(content_files / "styles"),
        PAIR,
        seed=0,
    )


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 5))
def test_every_prefix_of_a_round_gives_each_cell_floor_or_ceiling_of_its_share(weights, seed):
    order = fair_order(weights, random.Random(seed))
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
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(content_files: Path, options, message):
    taxonomy = load_taxonomy(content_files / "taxonomy.yaml")
    styles = load_styles(content_files / "styles")
    with pytest.raises(UserError, match=message):
        make_plan(taxonomy, styles, (Stance.ALIGNED,), 0, **options)


def test_a_domain_id_stands_for_its_behaviours(content_files: Path):
    taxonomy = load_taxonomy(content_files / "taxonomy.yaml")
    styles = load_styles(content_files / "styles")
    plan = make_plan(taxonomy, styles, (Stance.ALIGNED,), 0, behaviours=["honesty"])
    assert {c.behaviour.id for c in plan.cells} == {"honesty.b0", "honesty.b1", "honesty.b2"}


def test_an_odd_count_cannot_be_paired(pairs: Plan):
    with pytest.raises(UserError, match=r"101 documents cannot be divided among 2.*100 or 102"):
        pairs.shard(101, 0, 1)


def _plan_of(*stances: Stance, seed: int = 0) -> Plan:
    """A plan for property tests, which take no function-scoped fixtures."""
    from aligngen.core.schema import Style, Taxonomy
    from tests.conftest import TAXONOMY, style

    styles = {n: Style.model_validate(style(n)) for n in ("letter", "memo", "report")}
    return make_plan(Taxonomy.model_validate(TAXONOMY), styles, stances, seed)
