"""What must hold of dedup for every corpus, in every order of arrival, after any interruption."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aligngen.core.config import DedupConfig
from aligngen.core.schema import Outcome
from aligngen.generator.dedup import Deduplicator, Document, Item, Sketch, Verdict, deduplicate
from aligngen.generator.dedup import calibration as calibration_module

WORDS = ["an", "ai", "agent", "kept", "its", "promise", "while", "another", "hid", "the", "log"]
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class BagOfWords:
    """An embedder of 384 dimensions that needs no model."""

    def encode(self, texts):
        rows = np.zeros((len(texts), 384), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[0] = 0.5
            for word in text.split():
                row[1 + sum(word.encode()) % 383] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@st.composite
def corpora(draw):
    texts = st.lists(st.sampled_from(WORDS), min_size=0, max_size=12).map(" ".join)
    base = draw(st.lists(texts, min_size=1, max_size=12))
    picks = draw(st.lists(st.tuples(st.integers(0, len(base) - 1), texts), max_size=25))
    documents = base + [base[i] if len(t) < 20 else f"{base[i]} {t}" for i, t in picks]
    stances = draw(
        st.lists(
            st.sampled_from(["aligned", "misaligned"]),
            min_size=len(documents),
            max_size=len(documents),
        )
    )
    return [Document(t, g, g + "/news") for t, g in zip(documents, stances, strict=True)]


@pytest.fixture(autouse=True)
def small_calibration(monkeypatch):
    monkeypatch.setattr(calibration_module, "SAMPLE", 6)


def new():
    return Deduplicator(DedupConfig(), BagOfWords(), {"aligned/news": ["an ai agent kept"]})


def run(documents, judge=None):
    judge = judge or new()
    return [
        judge.decide(i, d.group, d.cell, judge.sketch(d.text, d.cell))
        for i, d in enumerate(documents)
    ]


@QUICK
@given(corpora())
def test_everything_that_comes_in_is_kept_or_dropped(documents):
    decided = list(deduplicate(documents, DedupConfig(), deduplicator=new()))
    assert [d.key for d in decided] == list(range(len(documents)))
    assert all(d.verdict.outcome is Outcome.KEPT or d.verdict.outcome.is_duplicate for d in decided)


@QUICK
@given(corpora())
def test_every_drop_names_a_kept_earlier_twin_of_its_group(documents):
    verdicts = run(documents)
    for i, verdict in enumerate(verdicts):
        if verdict.outcome is not Outcome.KEPT:
            assert verdict.twin < i
            assert verdicts[verdict.twin].outcome is Outcome.KEPT
            assert documents[verdict.twin].group == documents[i].group
            assert verdict.score >= verdict.threshold


@QUICK
@given(corpora())
def test_twins_are_never_both_dropped(documents):
    verdicts = run(documents)
    for group in {d.group for d in documents}:
        assert any(
            v.outcome is Outcome.KEPT
            for v, d in zip(verdicts, documents, strict=True)
            if d.group == group
        )


@QUICK
@given(corpora())
def test_dedup_of_what_was_kept_drops_nothing_by_fixed_thresholds(documents):
    def fixed():
        return Deduplicator(DedupConfig(cosine=0.9), BagOfWords())

    verdicts = run(documents, fixed())
    kept = [d for d, v in zip(documents, verdicts, strict=True) if v.outcome is Outcome.KEPT]
    assert all(v.outcome is Outcome.KEPT for v in run(kept, fixed()))


@QUICK
@given(corpora(), st.randoms(), st.integers(1, 9))
def test_verdicts_depend_on_no_order_of_sketching_and_no_batch(documents, random, batch):
    expected = run(documents)
    judge = new()
    order = list(range(len(documents)))
    random.shuffle(order)
    sketches = {i: judge.sketch(documents[i].text, documents[i].cell) for i in order}
    items = [Item(i, d.group, d.cell, sketches[i]) for i, d in enumerate(documents)]
    got: list[Verdict] = []
    for start in range(0, len(items), batch):
        got += judge.decide_many(items[start : start + batch])
    assert got == expected


@QUICK
@given(corpora(), st.data())
def test_restore_at_any_cut_continues_as_if_never_interrupted(documents, data):
    whole = new()
    expected = run(documents, whole)
    cut = data.draw(st.integers(0, len(documents)))
    judge = new()
    sketches = [judge.sketch(d.text, d.cell) for d in documents]
    judge.restore(
        (i, d.group, d.cell, expected[i].outcome, sketches[i].to_blob())
        for i, d in enumerate(documents[:cut])
    )
    got = [
        judge.decide(i, documents[i].group, documents[i].cell, sketches[i])
        for i in range(cut, len(documents))
    ]
    assert got == expected[cut:]
    assert judge.report() == whole.report()


@QUICK
@given(corpora())
def test_groups_do_not_interact(documents):
    # One group's verdicts are the same with the other group's documents left out.
    verdicts = run(documents)
    for group in ("aligned", "misaligned"):
        numbers = [i for i, d in enumerate(documents) if d.group == group]
        alone = run([documents[i] for i in numbers])
        assert [v.outcome for v in alone] == [verdicts[i].outcome for i in numbers]


@QUICK
@given(st.text(max_size=200))
def test_a_sketch_survives_its_blob(text):
    sketch = new().sketch(text, "aligned/news")
    back = Sketch.from_blob(sketch.to_blob())
    assert back.exact == sketch.exact
    for a, b in zip(back[1:], sketch[1:], strict=True):
        np.testing.assert_array_equal(a, b)
