"""How many documents of a group may open with the same words."""

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.config import DedupConfig
from aligngen.core.errors import UserError
from aligngen.core.schema import Outcome
from aligngen.generator.dedup import Deduplicator, Sketch
from aligngen.generator.dedup.deduplicator import OPENING_SHARE
from aligngen.generator.dedup.kept import Group, Opening

OPENINGS = ["The pump ran all night", "At noon the ferry left", "Nobody saw the lever move", ""]
KEPT, TWIN = Outcome.KEPT, Outcome.DUPLICATE_OPENING


def new():
    return Deduplicator(DedupConfig(meaning=False), None)


def body(number: int, opening: str = OPENINGS[0]) -> str:
    """A text that shares next to nothing with the others besides its opening."""
    return f"{opening} " + " ".join(f"w{number}x{i}" for i in range(30))


def decide(judge, number, text, group="aligned"):
    return judge.decide(number, group, "c", judge.sketch(text, "c", opening=text))


def test_the_third_document_with_an_opening_is_dropped_and_names_the_first():
    judge = new()
    verdicts = [decide(judge, n, body(n)) for n in (3, 5, 8, 9)]
    assert [v.outcome for v in verdicts] == [KEPT, KEPT, TWIN, TWIN]
    assert (verdicts[2].twin, verdicts[2].score, verdicts[2].threshold) == (3, 2, 2)
    assert verdicts[3].score == 2  # what was dropped opens nothing


@pytest.mark.parametrize(
    "opening",
    ["the PUMP ran all night", "“The pump ran, all night!”", "The\n pump ran — all night"],
)
def test_case_and_punctuation_do_not_make_another_opening(opening):
    judge = new()
    texts = [body(1), body(2), body(3, opening)]
    assert decide_all(judge, texts) == [KEPT, KEPT, TWIN]


def decide_all(judge, texts, group="aligned"):
    return [decide(judge, n, text, group).outcome for n, text in enumerate(texts)]


def test_four_words_in_common_are_another_opening():
    texts = [body(n, f"The pump ran all day{n}") for n in range(5)]
    assert decide_all(new(), texts) == [KEPT] * 5


def test_groups_count_their_openings_for_themselves():
    judge = new()
    for group in ("aligned", "misaligned"):
        assert decide_all(judge, [body(n) for n in range(3)], group) == [KEPT, KEPT, TWIN]


def test_a_sketch_without_an_opening_is_never_held_against_one():
    judge = new()
    sketches = [judge.sketch(body(n), "c") for n in range(6)]
    assert all(judge.decide(n, "g", "c", s).outcome is KEPT for n, s in enumerate(sketches))


def test_twins_by_their_words_are_named_as_such_first():
    judge = new()
    texts = [body(1), body(2), body(1), body(2) + " and more"]
    expected = [KEPT, KEPT, Outcome.DUPLICATE_EXACT, Outcome.DUPLICATE_NEAR]
    assert decide_all(judge, texts) == expected


def test_a_large_group_allows_a_share_of_its_documents():
    judge = new()
    enough = int(3 / OPENING_SHARE)
    for n in range(enough - 2):
        assert decide(judge, n, body(n, f"Opening {n} is of its own")).outcome is KEPT
    texts = [body(n) for n in range(enough, enough + 4)]
    outcomes = [decide(judge, enough + n, text) for n, text in enumerate(texts)]
    assert [v.outcome for v in outcomes] == [KEPT, KEPT, KEPT, TWIN]
    assert outcomes[3].threshold == 3


def test_openings_are_counted_from_the_sketches_of_what_was_kept():
    judge = new()
    sketches = [judge.sketch(body(n), "c", opening=body(n)) for n in range(4)]
    outcomes = [KEPT, Outcome.DUPLICATE_MEANING, KEPT]
    judge.restore((n, "g", "c", o, sketches[n].to_blob()) for n, o in enumerate(outcomes))
    verdict = judge.decide(3, "g", "c", sketches[3])
    assert (verdict.outcome, verdict.twin, verdict.score) == (TWIN, 0, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(OPENINGS[-2:]), st.integers(0, 30), st.sampled_from("aab")),
        min_size=4,
        max_size=30,
    ),
    st.data(),
)
def test_restored_from_what_was_kept_it_decides_as_if_never_interrupted(picks, data):
    judge = new()
    groups = [group for *_, group in picks]
    sketches = [
        judge.sketch(text := body(number, opening), "c", opening=text)
        for opening, number, _ in picks
    ]
    expected = [
        judge.decide(i, g, "c", s) for i, (g, s) in enumerate(zip(groups, sketches, strict=True))
    ]
    cut = data.draw(st.integers(0, len(picks)))
    other = new()
    other.restore(
        (i, groups[i], "c", expected[i].outcome, sketches[i].to_blob()) for i in range(cut)
    )
    got = [other.decide(i, groups[i], "c", sketches[i]) for i in range(cut, len(picks))]
    assert got == expected[cut:]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(OPENINGS[:3]), max_size=60))
def test_no_opening_is_kept_more_often_than_allowed(openings):
    outcomes = decide_all(new(), [body(n, opening) for n, opening in enumerate(openings)])
    for opening in OPENINGS[:3]:
        mine = [o for o, given in zip(outcomes, openings, strict=True) if given == opening]
        assert mine == [KEPT] * min(2, len(mine)) + [TWIN] * max(0, len(mine) - 2)


@given(st.text(max_size=80))
def test_an_opening_survives_the_blob(text):
    sketch = new().sketch("a body of some words", "c", opening=text)
    assert Sketch.from_blob(sketch.to_blob()).opening == sketch.opening
    assert 0 <= sketch.opening < 1 << 64


def test_a_hundred_thousand_openings_take_a_hundred_bytes_each_at_most():
    group, number = Group(), 100_000
    keys = list(range(number))
    hashes = [hash_ * 0x9E3779B97F4A7C15 % (1 << 64) for hash_ in range(1, number + 1)]
    tracemalloc.start()
    for key, opening in zip(keys, hashes, strict=True):
        group.open(key, opening)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    held += sum(map(sys.getsizeof, hashes))  # made before, and held from now on
    assert held <= 100 * number


def test_an_opening_is_counted_and_names_the_first_that_has_it():
    group = Group()
    for key, opening in enumerate((7, 8, 7, 7, 0, 0), 3):
        group.open(key, opening)
    assert group.opening(7) == Opening(first=3, times=3)
    assert group.opening(8) == Opening(first=4, times=1)
    assert group.opening(9) is None
    assert group.opening(0) is None


def test_what_follows_the_opening_and_a_megabyte_of_it_change_nothing():
    short, long = (new().sketch("x", "c", opening=body(1) + tail) for tail in ("", " y" * 500_000))
    assert short.opening == long.opening
    np.testing.assert_array_equal(short.shingles, long.shingles)


def test_a_blob_of_the_version_before_is_refused():
    blob = new().sketch("a body of some words", "c").to_blob()
    with pytest.raises(UserError, match=r"of version 1, this program reads version 2.*run"):
        Sketch.from_blob(b"\x01" + blob[1:])
    with pytest.raises(UserError, match="version 1"):
        new().restore([(0, "g", "c", KEPT, b"\x01" + blob[1:])])
