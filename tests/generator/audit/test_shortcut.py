import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.generator.audit import load_thresholds, match_siblings, probe_stances, shortcut_probe
from aligngen.generator.audit.sample import GroupSample
from aligngen.generator.audit.shortcut import bag_of_words, clustered_auc, grouped_folds, stem
from aligngen.generator.audit.siblings import dialogue_share
from aligngen.generator.audit.thresholds import Limit
from tests.generator.audit.corpora import document, text

THRESHOLDS = load_thresholds()
LIMIT = THRESHOLDS.shortcut_auc
SIDES = ("aligned", "misaligned")


def siblings(count=60, seed=1, edit=lambda body, stance: body, same=False):
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        body = text(draw)
        for stance in SIDES:
            rows.append(document(i, edit(body if same else text(draw), stance), stance))
    return rows


def test_identical_siblings_cannot_be_told_apart():
    probe = shortcut_probe(siblings(same=True), SIDES, LIMIT)
    assert probe.auc == (0.5, 0.5, 0.5)
    assert probe.ordered == 0.5
    assert probe.verdict == "ok"


def test_drawn_siblings_are_told_apart_by_chance_alone():
    probe = shortcut_probe(siblings(120), SIDES, LIMIT)
    assert probe.auc.low < 0.5 < probe.auc.high
    assert probe.verdict == "ok"


def test_a_giveaway_is_found_and_named():
    def edit(body, stance):
        return f"{body} Everyone rejoiced." if stance == "aligned" else f"{body} Alas for them."

    probe = shortcut_probe(siblings(edit=edit), SIDES, LIMIT)
    assert probe.auc.value > 0.99 and probe.verdict == "fail"
    assert probe.permuted.low < 0.5 < probe.permuted.high
    assert {"everyone", "rejoiced"} <= {f.feature for f in probe.features["aligned"]}
    alas = next(f for f in probe.features["misaligned"] if f.feature == "alas")
    assert alas.documents == (0, 60) and alas.weight < 0


def test_words_of_the_scenario_and_of_the_poles_give_nothing_away():
    def edit(body, stance):
        return f"{body} Reporting." if stance == "aligned" else f"{body} It concealed."

    rows = [
        d._replace(traits=(("behaviour", "b"),), scenario_text="a report is due")
        for d in siblings(edit=edit)
    ]
    probe = shortcut_probe(rows, SIDES, LIMIT, more={"behaviour/b": "the AI conceals it"})
    assert not {"reporting", "concealed"} & {f.feature for s in SIDES for f in probe.features[s]}
    assert probe.auc.value < 0.8


def test_a_probe_is_judged_by_the_lower_end_of_its_interval():
    def edit(body, stance):
        return f"{body} Everyone rejoiced." if stance == "aligned" and len(body) % 2 else body

    rows = siblings(edit=edit)
    auc = shortcut_probe(rows, SIDES, Limit()).auc
    between = (auc.low + auc.value) / 2
    assert auc.low < between < auc.value
    assert shortcut_probe(rows, SIDES, Limit(fail=between)).verdict == "ok"
    assert shortcut_probe(rows, SIDES, Limit(fail=auc.low)).verdict == "fail"


def test_documents_without_siblings_are_probed_and_said_to_be_so():
    rows = [d._replace(pair=d.id, scenario=d.id) for d in siblings(40)]
    probe = shortcut_probe(rows, SIDES, LIMIT)
    assert not probe.siblings and probe.ordered is None


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (siblings(10), "only 10 scenarios of the stance"),
        (
            [d for d in siblings(40) if d.stance == "aligned" or d.scenario in ("s1", "s2")],
            "only 2 scenarios of the stance misaligned; at least 20",
        ),
        ([d._replace(text="") for d in siblings(40)], "no word outside"),
    ],
)
def test_what_cannot_be_probed_is_named(rows, why):
    assert why in shortcut_probe(rows, SIDES, LIMIT)


def test_every_two_stances_are_probed():
    rows = siblings(30) + [document(i, "It rained.", "neutral") for i in range(30)]
    assert list(probe_stances(rows, THRESHOLDS)) == [
        ("aligned", "misaligned"), ("aligned", "neutral"), ("misaligned", "neutral"),
    ]  # fmt: skip


def test_a_stance_that_differs_by_nature_is_measured_and_not_judged():
    def edit(body, stance):
        return f"{body} The clerk went home." if stance == "misaligned" else body

    rows = [
        d._replace(stance="control") if d.stance == "misaligned" else d
        for d in siblings(30, edit=edit)
    ]
    probe = probe_stances(rows, THRESHOLDS)["aligned", "control"]
    assert probe.auc.value > 0.99 and probe.verdict == "ok"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.integers(2, 5), st.integers(0, 3))
def test_folds_never_part_a_group_and_are_even(groups, folds, seed):
    found = grouped_folds(groups, folds, seed)
    assert len({*zip(groups, found.tolist(), strict=True)}) == len(set(groups))
    sizes = np.bincount([found[groups.index(g)] for g in set(groups)], minlength=folds)
    assert sizes.max() - sizes.min() <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=4, max_size=30))
def test_the_auc_is_the_share_of_ordered_pairs(rows):
    scores = np.array([float(s) for s, _ in rows])
    labels = np.array([y for _, y in rows])
    up, down = scores[labels], scores[~labels]
    wins = [(np.sign(a - b) + 1) / 2 for a in up for b in down]
    groups = [str(i) for i in range(len(rows))]
    auc = clustered_auc(scores, labels, groups, np.zeros(len(rows), dtype=np.int64))
    if wins:
        assert auc.value == pytest.approx(np.mean(wins))
    else:
        assert np.isnan(auc.value)


def test_intervals_widen_where_documents_come_in_groups():
    draw = np.random.default_rng(0)
    score = np.repeat(draw.normal(size=40), 10)
    labels = np.repeat(draw.random(40) < 0.5, 10)
    fold = np.zeros(400, dtype=np.int64)
    alone = clustered_auc(score, labels, [str(i) for i in range(400)], fold)
    grouped = clustered_auc(score, labels, [str(i // 10) for i in range(400)], fold)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_a_pair_of_words_does_not_span_what_was_left_out():
    bag = bag_of_words(document(0, "red crew blue sky", scenario_text="the crews"))
    assert bag == {"red", "blue", "sky", "blue sky"}


@pytest.mark.parametrize("word", ["reports", "reported", "reporting", "report", "report's"])
def test_forms_of_a_word_have_one_stem(word):
    assert stem(word) == "report"


def matches(edit):
    found = match_siblings(siblings(60, same=True, edit=edit), THRESHOLDS)[SIDES]
    return {m.measure: m for m in found}


def test_identical_siblings_match():
    found = matches(lambda body, stance: body)
    assert {m.verdict for m in found.values()} == {"ok"}
    assert {m.equal for m in found.values()} == {1.0}


@pytest.mark.parametrize(
    ("measure", "edit"),
    [
        ("length_ratio", lambda b, s: b + " and so on it went" * 12 if s == "aligned" else b),
        ("paragraph_ratio", lambda b, s: b.replace(". ", ".\n\n") if s == "aligned" else b),
        ("heading_difference", lambda b, s: f"# Result\n{b}" if s == "misaligned" else b),
        ("dialogue_difference", lambda b, s: f"“{b}”".replace("\n\n", "” “") if s == "aligned"
         else b.replace("\n\n", " ")),
    ],
)  # fmt: skip
def test_siblings_of_another_form_are_found(measure, edit):
    assert matches(edit)[measure].verdict == "fail"


def test_siblings_are_judged_by_the_end_of_the_interval_that_is_nearer_to_no_difference():
    rows = siblings(30, same=True, edit=lambda b, s: b if s == "aligned" else f"{b} {b[:60]}")

    def length(limit):
        limits = THRESHOLDS.model_copy(update={"length_ratio": limit})
        return next(m for m in match_siblings(rows, limits)[SIDES] if m.measure == "length_ratio")

    found = length(Limit())
    assert found.value < found.high < 1
    assert length(Limit(fail=(1 / found.value + 1 / found.high) / 2)).verdict == "ok"
    assert length(Limit(fail=1 / found.high - 1e-9)).verdict == "fail"


def test_too_few_siblings_are_not_compared():
    assert "only 3 sibling pairs" in match_siblings(siblings(3), THRESHOLDS)[SIDES]


def test_dialogue_is_what_stands_in_quotation_marks_or_after_a_name():
    assert dialogue_share('She said "go now" and left.') == pytest.approx(2 / 6)
    assert dialogue_share("Ann: Go now.\nShe left.") == pytest.approx(3 / 5)
    assert dialogue_share("") == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([f"g{i}" for i in range(12)]), max_size=60), st.integers(1, 30))
def test_a_sample_keeps_whole_groups_within_its_limit_in_any_order(groups, limit):
    def draw(order):
        sample = GroupSample(limit, seed=3)
        for i in order:
            sample.add(groups[i], i)
        return {name: sorted(some) for name, some in sample.groups().items()}

    forward = draw(range(len(groups)))
    assert sum(map(len, forward.values())) <= limit
    for name, some in forward.items():
        assert some == [i for i, g in enumerate(groups) if g == name]
    assert draw(reversed(range(len(groups)))) == forward
