import json
import random

import numpy as np
import pytest

from aligngen.core.errors import UserError
from aligngen.core.schema import Completion, FinishReason, Outcome
from aligngen.generator.audit import audit, load_thresholds, open_source
from aligngen.generator.audit.patterns import KINDS
from aligngen.generator.audit.report import scenario_words
from aligngen.generator.audit.vectors import sample_vectors
from aligngen.generator.content import load_taxonomy
from aligngen.generator.dedup import Sketch
from aligngen.generator.ledger import Ledger
from tests.generator.audit.corpora import document, row, text, write


def reasons(report):
    return {one.what: one.why for one in report.not_measured}


def test_a_paired_corpus_is_measured_whole(tmp_path):
    draw = random.Random(1)
    rows = [
        row(i, text(draw), stance, style=f"style{i % 2}", behaviour=f"b{i % 3}",
            axes={"field": f"f{i % 4}"}, fields=[["title", f"Title {i}"]])
        for i in range(60) for stance in ("aligned", "misaligned")
    ]  # fmt: skip
    report = audit(open_source([write(tmp_path / "c.jsonl", rows)]), embedded=0)
    assert report.documents == report.sample == 120
    assert report.cells["aligned / style0"] == 30
    assert report.coverage == (12, 12, 1.0)
    assert [p.stances for p in report.probes] == [("aligned", "misaligned")]
    assert len(report.matches) == 4
    assert [d.of for d in report.diversity] == ["", "aligned", "misaligned"]
    assert {s.axis: s.values for s in report.spread} == {
        "cell": 4, "stance": 2, "doc_type": 2, "behaviour": 3, "field": 4,
    }  # fmt: skip
    assert list(reasons(report)) == ["diversity by meaning"]
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["documents"] == 120


def test_the_same_corpus_gives_the_same_report_in_any_order_of_files(tmp_path):
    draw = random.Random(1)
    rows = [row(i, text(draw), s) for i in range(40) for s in ("aligned", "neutral")]
    one = write(tmp_path / "a.jsonl", [r for r in rows if r["stance"] == "aligned"])
    two = write(tmp_path / "b.jsonl", [r for r in rows if r["stance"] == "neutral"])
    reports = [audit(open_source(o), embedded=0, sample=40) for o in ([one, two], [two, one])]
    assert reports[0].sample == 40
    assert len(reports[0].probes) == 1 and reports[0].probes == reports[1].probes
    assert reports[0].matches == reports[1].matches
    assert reports[0].diversity == reports[1].diversity


def test_parquet_and_jsonl_give_the_same_report(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(1)
    rows = [row(i, text(draw), axes=[("field", "law")]) for i in range(30)]
    lines = write(tmp_path / "c.jsonl", rows)
    schema = pa.schema([(k, pa.string()) for k in rows[0] if k != "axes"]
                       + [("axes", pa.map_(pa.string(), pa.string()))])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "c.parquet")
    found = [audit(open_source([p]), embedded=0) for p in (lines, tmp_path / "c.parquet")]
    first, second = (r.as_json() | {"files": []} for r in found)
    assert first == second


def test_text_alone_is_measured_and_what_is_missing_is_named(tmp_path):
    draw = random.Random(1)
    path = write(tmp_path / "c.jsonl", [{"body": text(draw)} for _ in range(30)])
    report = audit(open_source([path], text_column="body"), embedded=0)
    assert report.cells == {} and report.probes == () and report.matches == ()
    assert reasons(report)["shortcut probe and siblings"] == "no column stance"
    assert "--by" in reasons(report)["cells"]
    assert report.patterns[0].findings[0].examples[0].startswith("c.jsonl#")


def test_one_stance_cannot_be_probed(tmp_path):
    path = write(tmp_path / "c.jsonl", [row(i, f"It rained {i}.") for i in range(3)])
    report = audit(open_source([path]), embedded=0)
    assert reasons(report)["shortcut probe and siblings"] == "the only stance is aligned"


def test_one_document_is_no_reason_for_alarm(tmp_path):
    report = audit(open_source([write(tmp_path / "c.jsonl", [row(1, "It rained.")])]), embedded=0)
    assert (report.documents, report.verdict) == (1, "ok")
    assert {p.verdict for p in report.patterns} == {"unmeasured"}
    assert "unmeasured" not in report.verdicts()


def test_cells_too_small_for_a_verdict_are_named_once_and_not_counted_as_ok(tmp_path):
    draw = random.Random(1)
    rows = [row(i, text(draw), style=f"s{i % 8}") for i in range(8 * 5)]
    rows += [row(100 + i, text(draw), style=f"t{i}") for i in range(3)]
    report = audit(open_source([write(tmp_path / "c.jsonl", rows)]), embedded=0)
    assert reasons(report)["patterns of 3 cells"] == "fewer than 5 documents in each"
    judged = len(KINDS) * (1 + 8) + 1  # the corpus and eight cells, and the compression ratio
    assert report.verdicts().total() == judged
    assert report.as_json()["patterns"][-1]["verdict"] == "unmeasured"


def test_the_taxonomy_whose_words_were_taken_out_is_in_the_report(tmp_path):
    source = open_source([write(tmp_path / "c.jsonl", [row(1, "It rained.")])])
    taxonomy = load_taxonomy()
    told = audit(source, embedded=0, taxonomy=taxonomy).as_json()["taxonomy"]
    assert told == {"name": taxonomy.name, "version": taxonomy.version}
    assert audit(source, embedded=0).as_json()["taxonomy"] is None


def test_the_body_begins_where_its_column_says(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    page = "A page about lifts.\n\n"
    rows = [row(i, f"{page}And so it stopped, {i}.", body_at=len(page)) for i in range(6)]
    rows.append(row(9, "Rain fell.", body_at=None))
    lines = write(tmp_path / "c.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    for path in (lines, tmp_path / "c.parquet"):
        bodies = [d.body for d in open_source([path]).documents()]
        assert bodies[-2:] == ["And so it stopped, 5.", "Rain fell."]


def test_rows_of_two_files_are_no_siblings(tmp_path):
    stances = {"a": "aligned", "b": "misaligned"}
    for name, stance in stances.items():
        (tmp_path / name).mkdir()
        rows = [{"id": i, "text": f"It rained {i}.", "stance": stance} for i in range(3)]
        write(tmp_path / name / "data.jsonl", rows)
    source = open_source([tmp_path / name / "data.jsonl" for name in stances])
    assert len({d.pair for d in source.documents()}) == 6


def test_a_stance_that_is_not_a_number_is_none(tmp_path):
    rows = [row(1, "It rained.", float("nan")), row(2, "It rained.")]
    source = open_source([write(tmp_path / "c.jsonl", rows)])
    assert [d.stance for d in source.documents()] == ["", "aligned"]


def test_a_long_document_is_cut_in_the_sample_and_that_is_said(tmp_path):
    rows = [row(1, "It rained. " * 6000), row(2, "It rained.")]
    report = audit(open_source([write(tmp_path / "c.jsonl", rows)]), embedded=0)
    assert reasons(report)["ends of 1 long documents in the sample"] == "after 50,000 characters"


def test_a_missing_text_column_is_told_in_words_of_this_command(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = write(tmp_path / "c.jsonl", [{"body": "It rained."}])
    pq.write_table(pa.Table.from_pylist([{"body": "It rained."}]), tmp_path / "c.parquet")
    for path in (lines, tmp_path / "c.parquet"):
        with pytest.raises(UserError, match="no column 'text'; there are body") as caught:
            audit(open_source([path]))
        assert "--text-column" in str(caught.value) and "--group-by" not in str(caught.value)


def test_siblings_that_do_not_fit_the_sample_are_named(tmp_path):
    rows = [row(i, f"It rained {i}.", pair_id="one") for i in range(9)]
    report = audit(open_source([write(tmp_path / "c.jsonl", rows)]), sample=8)
    assert reasons(report)["sample"] == "one sibling group is larger than the sample"
    assert report.documents == 9 and report.diversity == ()


def test_what_the_prompt_says_of_a_scenario_belongs_to_it():
    taxonomy = load_taxonomy()
    told = scenario_words(taxonomy)
    for behaviour in taxonomy.behaviours.values():
        assert behaviour.aligned in told[f"behaviour/{behaviour.id}"]
        assert behaviour.misaligned in told[f"behaviour/{behaviour.id}"]
    for name, axis in taxonomy.axes.items():
        assert [told[f"{name}/{value}"] for value in axis.values] == list(axis.values.values())


def test_no_document_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "c.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"c\.jsonl: holds no document"):
        audit(open_source([tmp_path / "c.jsonl"]))


def test_a_run_without_documents_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="Finish the run"):
        open_source([tmp_path])


def test_a_damaged_file_of_a_run_is_named(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "aligned.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"aligned\.parquet: not a whole Parquet file"):
        open_source([tmp_path])


def test_a_document_without_a_value_is_in_a_cell_of_its_own(tmp_path):
    rows = [row(1, "It rained."), row(2, "It snowed.", stance=None)]
    report = audit(open_source([write(tmp_path / "c.jsonl", rows)], by=["stance"]), embedded=0)
    assert report.cells == {"(none)": 1, "aligned": 1}


def test_a_column_that_is_not_there_is_named_with_the_line(tmp_path):
    path = write(tmp_path / "c.jsonl", [row(1, "It rained."), {"text": "It snowed."}])
    with pytest.raises(UserError, match=r"c\.jsonl:2: no column 'stance'"):
        audit(open_source([path], by=["stance"]))


def test_too_many_cells_are_refused(tmp_path):
    path = write(tmp_path / "c.jsonl", [row(i, "It rained.") for i in range(9)])
    limits = load_thresholds().model_copy(update={"most_cells": 8})
    with pytest.raises(UserError, match="more than 8 cells"):
        audit(open_source([path], by=["pair_id"]), thresholds=limits)


def test_an_unknown_kind_of_pattern_in_the_thresholds_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("patterns:\n  opening_9: {overall: {warn: 0.1}}\n")
    with pytest.raises(UserError, match=r"opening_9.*Name one of opening_4"):
        load_thresholds(path)


def test_limits_in_the_wrong_order_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("patterns:\n  name: {cell: {warn: 0.3, fail: 0.1}}\n")
    with pytest.raises(UserError, match=r"mine\.yaml.*swap them"):
        load_thresholds(path)


def ledger_of(path, vectors):
    with Ledger.open(path) as ledger:
        for slot, vector in enumerate(vectors):
            sketch = Sketch(
                bytes(16), np.empty(0, np.uint32), np.empty(0, np.uint32),
                None if vector is None else np.array(vector, dtype=np.int16),
            )  # fmt: skip
            completion = Completion(f"{slot:032x}", "text", FinishReason.STOP, 1, 1)
            ledger.record(slot, 0, completion, Outcome.CANDIDATE, sketch=sketch.to_blob())
            ledger.decide(slot, 0, Outcome.KEPT)
    return path


def run_folder(path, vectors):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (path / "documents").mkdir(parents=True)
    rows = [{"text": "It rained.", "slot": i} for i in range(len(vectors))]
    pq.write_table(pa.Table.from_pylist(rows), path / "documents" / "aligned.parquet")
    ledger_of(path / "ledger.sqlite", vectors)
    return path


def test_a_ledger_is_used_for_its_own_run_alone(tmp_path):
    one = run_folder(tmp_path / "one", [(4000, 0), (0, 4000)])
    two = run_folder(tmp_path / "two", [(0, 4000), (0, 4000)])
    lines = write(tmp_path / "c.jsonl", [{"text": "It snowed.", "slot": 0}])
    assert open_source([one]).ledger == one / "ledger.sqlite"
    for paths in ([one, two], [one, lines], [lines, one], [lines]):
        source = open_source(paths)
        found = sample_vectors(list(source.documents()), source.ledger, embedder=FixedEmbedder())
        assert (source.ledger, found.source) == (None, "FixedEmbedder")


def test_a_vector_of_zeros_stays_one(tmp_path):
    ledger = ledger_of(tmp_path / "ledger.sqlite", [(4000, 0), (0, 0)])
    found = sample_vectors([document(i, "text", slot=i) for i in range(2)], ledger)
    assert found.rows.tolist() == [[1, 0], [0, 0]]


class FixedEmbedder:
    def encode(self, texts):
        return np.tile([0.0, 1.0], (len(texts), 1)).astype(np.float32)


def test_vectors_come_from_the_ledger_where_it_has_all_of_them(tmp_path):
    ledger = ledger_of(tmp_path / "ledger.sqlite", [(4000, 0), (0, 4000), (2400, 3200)])
    documents = [document(i, "text", slot=i) for i in (2, 0)]
    found = sample_vectors(documents, ledger, most_embedded=0)
    assert found.source == "ledger"
    assert found.rows == pytest.approx(np.array([[0.6, 0.8], [1, 0]]))


@pytest.mark.parametrize("vectors", [[(4000, 0)], [(4000, 0), None]])
def test_elsewhere_a_bounded_number_is_embedded(tmp_path, vectors):
    ledger = ledger_of(tmp_path / "ledger.sqlite", vectors)
    documents = [document(i, "text", slot=i) for i in range(2)]
    found = sample_vectors(documents, ledger, most_embedded=1, embedder=FixedEmbedder())
    assert (found.source, found.documents, found.rows.shape) == (
        "FixedEmbedder", documents[:1], (1, 2),
    )  # fmt: skip
