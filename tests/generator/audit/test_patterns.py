import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.generator.audit import count_patterns, load_thresholds
from aligngen.generator.audit.documents import body_of
from aligngen.generator.audit.patterns import KINDS, NGRAM, patterns_of, template, words
from aligngen.generator.audit.repetition import OVERALL, join_overlapping
from aligngen.generator.audit.thresholds import Limit, Scope, wilson_low
from tests.generator.audit.corpora import document, text

THRESHOLDS = load_thresholds()


def results(documents):
    return {(r.kind, r.cell): r for r in count_patterns(lambda: iter(documents), THRESHOLDS)}


def salad(count=200, seed=1):
    draw = random.Random(seed)
    return [document(i, text(draw)) for i in range(count)]


def with_body(documents, edit, every=4):
    return [
        d._replace(text=edit(d.body), body=edit(d.body)) if i % every == 0 else d
        for i, d in enumerate(documents)
    ]


def test_drawn_words_are_not_flagged():
    flagged = [(k, c, r.findings[0]) for (k, c), r in results(salad()).items() if r.verdict != "ok"]
    assert flagged == []


def test_a_planted_opening_fails_with_its_count_share_and_examples():
    found = results(with_body(salad(), lambda body: f"In the quiet hum of a room {body}"))
    top = found["opening_4", OVERALL].findings[0]
    assert (top.pattern, top.documents, top.share) == ("in the quiet hum", 50, 0.25)
    assert top.verdict == "fail"
    assert top.examples == ("aligned-0", "aligned-4", "aligned-8")
    assert found["opening_5", OVERALL].findings[0].pattern == "in the quiet hum of"


def test_a_planted_closing_fails():
    found = results(with_body(salad(), lambda body: f"{body} And that made all the difference."))
    assert found["closing_4", OVERALL].findings[0].pattern == "made all the difference"
    assert found["closing_4", OVERALL].verdict == "fail"


def test_a_copied_passage_is_one_finding():
    passage = "the record of the night stood open for all who came to read it"
    found = results(with_body(salad(), lambda body: f"{body} Thus {passage} there.", every=7))
    top = found["ngram_8", OVERALL].findings[0]
    assert passage in top.pattern
    assert (top.documents, top.verdict) == (29, "fail")
    assert all(f.verdict == "ok" for f in found["ngram_8", OVERALL].findings[1:])


def test_a_favourite_name_fails_and_a_weekday_does_not():
    body = "On Monday a note from Sarah Chen came."
    found = results(with_body(salad(), lambda text: f"{text} {body}"))
    names = {f.pattern: f.verdict for f in found["name", OVERALL].findings}
    assert names["Sarah"] == names["Chen"] == names["Sarah Chen"] == "fail"
    assert "Monday" not in names


def test_a_sentence_template_is_seen_through_its_words():
    draw = random.Random(3)

    def edit(body):
        a, b, c = (draw.choice(["crew", "doctor", "pilot", "editor", "nurse"]) for _ in range(3))
        return f"{body} It was not the {a} but the {b} that had {c}."

    found = results(with_body(salad(), edit))
    top = found["template", OVERALL].findings[0]
    assert (top.pattern, top.verdict) == ("it was not the _ but the _ that had _", "fail")


def test_one_structure_for_all_fails():
    draw = random.Random(5)
    documents = [document(i, text(draw, sentences=6)) for i in range(100)]
    top = results(documents)["structure", OVERALL].findings[0]
    assert (top.pattern, top.share, top.verdict) == ("1 paragraph: 6 sentences", 1.0, "fail")


def test_a_pattern_of_one_cell_is_flagged_there_and_not_overall():
    documents = salad(2000)
    cells = [d._replace(cell=f"c{i % 40}") for i, d in enumerate(documents)]
    planted = [
        d._replace(body=f"Once more then again {d.body}") if d.cell == "c7" and i % 80 == 7 else d
        for i, d in enumerate(cells)
    ]
    found = results(planted)
    assert found["opening_4", "c7"].findings[0].documents == 25
    assert found["opening_4", "c7"].verdict == "fail"
    assert found["opening_4", OVERALL].verdict == "ok"
    assert found["opening_4", "c8"].verdict == "ok"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="abc A.\n", max_size=120), min_size=1, max_size=12))
def test_counts_are_document_frequencies(bodies):
    documents = [document(i, body) for i, body in enumerate(bodies)]
    grams = [_grams(body) for body in bodies]
    for finding in results(documents)["opening_4", OVERALL].findings:
        holding = [b for b in bodies if " ".join(words(b)[:4]) == finding.pattern]
        assert finding.documents == len(holding)
    for finding in results(documents)["ngram_8", OVERALL].findings:
        first = " ".join(finding.pattern.split()[:NGRAM])
        assert finding.documents <= sum(first in some for some in grams)


def _grams(body):
    found = words(body)
    return {" ".join(found[i : i + NGRAM]) for i in range(len(found) - NGRAM + 1)}


def test_a_pattern_counts_once_in_a_document():
    body = "to be or not to be that is it. " * 3
    found = results([document(i, body) for i in range(6)])["ngram_8", OVERALL]
    assert found.findings[0].documents == 6


def test_a_corpus_that_changes_while_it_is_read_is_refused():
    readings = iter([salad(20), salad(21)])
    with pytest.raises(UserError, match="changed between the two readings"):
        count_patterns(lambda: iter(next(readings)), THRESHOLDS)


def test_headings_and_header_values_are_counted():
    draw = random.Random(2)
    documents = [
        document(i, f"# Findings\n{text(draw)}", fields=(("title", "The Same"),)) for i in range(40)
    ]
    found = results(documents)
    assert found["heading", OVERALL].findings[0].pattern == "findings"
    assert found["field", OVERALL].findings[0].pattern == "title: the same"
    assert found["field", OVERALL].verdict == "fail"


def test_a_cell_of_few_documents_is_not_judged():
    documents = [d._replace(cell=f"c{i // 5}") for i, d in enumerate(salad(24))]
    found = results(documents)
    assert found["opening_4", "c3"].verdict == "ok"
    assert found["opening_4", "c4"].documents == 4
    assert {r.verdict for (_, cell), r in found.items() if cell == "c4"} == {"unmeasured"}


def test_what_a_full_summary_counted_too_low_is_still_found(monkeypatch):
    few = KINDS["opening_4"]._replace(counters=70)
    monkeypatch.setitem(KINDS, "opening_4", few)
    often = [f"one two three w{i}" for i in range(60) for _ in range(25)]
    once = [f"one two three u{i}" for i in range(840)]
    bodies = [*often, *["the one that counts"] * 20, *once]
    # Kept with a count of some 8, while the limit lies at 11.8 documents.
    limits = THRESHOLDS.model_copy(
        update={"patterns": {"opening_4": Scope(overall=Limit(warn=0.005))}}
    )
    documents = [document(i, body, cell="") for i, body in enumerate(bodies)]
    results = count_patterns(lambda: iter(documents), limits)
    found = next(r for r in results if r.kind == "opening_4")
    counted = {f.pattern: f for f in found.findings}
    assert counted["the one that counts"].documents == 20
    assert counted["the one that counts"].verdict == "warn"
    # A pattern that was lost stood in no larger share; it is what was really taken.
    assert 1 / len(bodies) < found.complete_above <= 1 / 71


def test_a_document_without_words_has_no_pattern():
    assert set().union(*patterns_of(document(0, "")).by_kind.values()) == set()


def test_templates_need_enough_that_is_fixed():
    assert template(words("It was not the crew but the captain")) == "it was not the _ but the _"
    assert template(words("Crew captain doctor pilot editor nurse baker cook")) == ""


def test_the_body_begins_after_the_header():
    text = "# Report\nThe Lift Stopped\n\nEffect: two hours lost\n\nIt stopped at nine."
    assert body_of(text, ["The Lift Stopped", "two hours lost"]) == "It stopped at nine."
    assert body_of("The Lift Stopped", ["The Lift Stopped"]) == ""
    assert body_of("It stopped.", []) == "It stopped."


def test_a_body_that_names_a_header_value_is_kept():
    body = "Nobody had read The Lift Stopped, and nobody would read The Lift Stopped"
    assert body_of(f"The Lift Stopped\n\n{body}", ["The Lift Stopped"]) == body
    assert body_of(f"Title: The Lift Stopped\n\n{body}", ["The Lift Stopped", " "]) == body
    assert body_of("It stopped at Ely. All got out.", ["Ely"]) == "It stopped at Ely. All got out."


def test_a_header_value_that_ends_another_takes_its_own_line():
    assert body_of("The Lift\nLift\n\nIt stopped.", ["Lift", "The Lift"]) == "It stopped."


def test_overlapping_ngrams_join_where_their_counts_agree():
    grams = [("a b c", 9, ("x",)), ("b c d", 9, ("x",)), ("z a b", 9, ("x",)), ("c d e", 2, ("x",))]
    assert [one[:2] for one in join_overlapping(grams)] == [("z a b c d", 9), ("c d e", 2)]


def test_small_samples_are_not_sure():
    assert wilson_low(5, 20) < 0.12 < 0.22 < wilson_low(500, 2000)
    assert wilson_low(0, 0) == 0
