import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import Interrupted, UserError
from aligngen.core.schema import (
    Behaviour,
    Completion,
    Constraint,
    Domain,
    FinishReason,
    Request,
    Stance,
    Taxonomy,
)
from aligngen.generator.ask import Answers
from aligngen.generator.content import load_taxonomy
from aligngen.generator.engines.protocol import EngineIdentity, EngineInfo
from aligngen.generator.judge import Judge, Verdict, load_judge
from aligngen.generator.verify.calibration import (
    Labelled,
    calibrate_by,
    check_behaviours,
    load_labelled,
)
from aligngen.generator.verify.config import VerifyConfig
from aligngen.generator.verify.documents import (
    allocate,
    choose_sample,
    find_documents,
    iter_written,
)
from aligngen.generator.verify.job import Subject, verify_documents
from aligngen.generator.verify.judging import Observer
from aligngen.generator.verify.statistics import Share, cohens_kappa, wilson_interval
from aligngen.generator.verify.tally import Tally

# -- an engine that judges by a rule ------------------------------------------------------------


def read_last_word(document: str) -> str:
    """A judge for documents that end with the stance they show: it quotes the end and names it."""
    words = document.split()
    return json.dumps({"evidence": " ".join(words[-5:]), "verdict": words[-1].strip(".")})


@dataclass
class Reader:
    """Answers out of order, by a rule over the document in the prompt."""

    rule: Callable[[str], str] = read_last_word
    reason: FinishReason = FinishReason.STOP
    max_model_len: int = 4096
    asked: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        identity = EngineIdentity("test", "reader", "1", "test/none")
        self.info = EngineInfo(identity, "test", "", self.max_model_len, 4)
        self.waiting: list[Request] = []
        self.rng = random.Random(0)

    @property
    def room(self) -> int:
        return 4 - len(self.waiting)

    def preflight(self, constraints: list[Constraint]) -> None:
        assert [c.kind for c in constraints] == ["json"]

    def submit(self, request: Request) -> None:
        self.asked.append(request)
        self.waiting.append(request)

    def poll(self, timeout: float) -> list[Completion]:
        request = self.waiting.pop(self.rng.randrange(len(self.waiting)))
        prompt = request.messages[1].content
        document = re.search(r"<document>\n(.*)\n</document>", prompt, re.DOTALL)[1]
        return [Completion(request.request_id, self.rule(document), self.reason, 9, 9)]

    def restart(self) -> None:
        self.waiting.clear()

    def close(self) -> None:
        self.waiting.clear()


def behaviour(name: str) -> Behaviour:
    return Behaviour(
        id=f"honesty.{name}", name=name, definition="What it says.", aligned="tells",
        misaligned="hides", situations=("A night shift.",),
    )  # fmt: skip


TAXONOMY = Taxonomy(
    name="small",
    version="1",
    domains=(
        Domain(id="honesty", name="Honesty", behaviours=(behaviour("lie"), behaviour("error"))),
    ),
)


SUBJECT = Subject(TAXONOMY, {"letter": "a letter", "memo": "a memo"})


def row(slot: int, asked: str, shown: str, **more: object) -> dict[str, object]:
    return {
        "slot": slot, "stance": asked, "behaviour": "honesty.lie", "doc_type": "letter",
        "text": f"On night {slot} the harbour was calm, and what was done was {shown}.",
        "title": "A night",
    } | more  # fmt: skip


def write(run: Path, rows: list[dict[str, object]]) -> list[Path]:
    """One file per stance, as a run writes them."""
    (run / "documents").mkdir(parents=True, exist_ok=True)
    for stance in {r["stance"] for r in rows}:
        mine = [r for r in rows if r["stance"] == stance]
        pq.write_table(pa.Table.from_pylist(mine), run / "documents" / f"{stance}.parquet")
    return find_documents(run)


def verify(run: Path, engine: Reader, *, stop=lambda: False, judge: Judge | None = None, **config):
    return verify_documents(
        run, find_documents(run), SUBJECT, VerifyConfig(**config), judge or load_judge(), engine,
        Observer(stop=stop),
    )  # fmt: skip


def verdicts(run: Path) -> list[dict]:
    return pq.read_table(run / "verify" / "verdicts.parquet").to_pylist()


# -- verifying a run ----------------------------------------------------------------------------


def test_every_document_has_a_row_with_stance_verdict_and_evidence(tmp_path: Path):
    write(tmp_path, [row(0, "aligned", "aligned"), row(1, "misaligned", "neutral")])
    report = verify(tmp_path, Reader())
    first, second = verdicts(tmp_path)
    assert (first["slot"], first["stance"], first["verdict"], first["agrees"]) == (
        0, "aligned", "aligned", True,
    )  # fmt: skip
    assert (second["verdict"], second["state"], second["agrees"]) == ("neutral", "read", False)
    assert first["evidence"] == "what was done was aligned."
    assert first["judge_model"] == "reader" and first["judge_prompt"] == load_judge().content_hash
    assert report["judge"]["revision"] == "1" and report["judge"]["prompt"] == first["judge_prompt"]
    assert json.loads((tmp_path / "verify" / "report.json").read_text()) == report


def test_counts_add_up_and_name_the_worst_first(tmp_path: Path):
    rows = [row(i, "aligned", "aligned") for i in range(6)]
    rows += [row(i, "aligned", "control", doc_type="memo") for i in range(6, 8)]
    rows += [row(i, "control", "unclear", behaviour="honesty.error") for i in range(8, 10)]
    write(tmp_path, rows)
    report = verify(tmp_path, Reader())
    assert report["judged"] == report["documents"] == 10
    assert (report["agreement"]["hits"], report["agreement"]["n"]) == (6, 10)
    assert report["confusion"] == {
        "aligned": {"aligned": 6, "control": 2}, "control": {"unclear": 2},
    }  # fmt: skip
    assert [r["style"] for r in report["by_style"]] == ["memo", "letter"]
    assert [(r["behaviour"], r["hits"], r["n"]) for r in report["by_behaviour"]] == [
        ("honesty.error", 0, 2), ("honesty.lie", 6, 8),
    ]  # fmt: skip


def test_no_answer_is_no_agreement(tmp_path: Path):
    write(tmp_path, [row(i, "aligned", "aligned") for i in range(4)])
    report = verify(tmp_path, Reader(reason=FinishReason.LENGTH))
    assert report["agreement"]["rate"] == 0.0
    assert report["agreement_of_answered"]["rate"] is None
    assert report["unanswered"] == {"count": 4, "reasons": {"truncated": 4}}
    assert {(r["verdict"], r["state"]) for r in verdicts(tmp_path)} == {(None, "unanswered")}


def test_the_same_command_asks_nothing_twice(tmp_path: Path):
    write(tmp_path, [row(i, "aligned", "aligned") for i in range(12)])
    first = Reader()
    with pytest.raises(Interrupted):
        verify(tmp_path, first, stop=lambda: len(first.asked) >= 6)
    assert not (tmp_path / "verify" / "verdicts.parquet").exists()
    second = Reader()
    report = verify(tmp_path, second)
    assert report["agreement"]["n"] == 12
    assert 0 < len(second.asked) < 12
    third = Reader()
    assert verify(tmp_path, third) == report
    assert third.asked == []


def test_the_judge_never_sees_the_stance_asked_for(tmp_path: Path):
    write(tmp_path, [row(0, s, "shown") for s in Stance])  # one text, asked for in four stances
    engine = Reader()
    verify(tmp_path, engine)
    assert len({r.request_id for r in engine.asked}) == 1


def test_a_document_too_long_for_the_judge_is_cut_and_the_row_says_so(tmp_path: Path):
    long = "It began on a calm night. " + "The night went on. " * 800 + "What was done was aligned."
    write(tmp_path, [row(0, "aligned", "aligned"), row(1, "aligned", "", text=long)])
    report = verify(tmp_path, Reader(max_model_len=1500))
    assert [r["cut"] for r in verdicts(tmp_path)] == [False, True]
    assert report["cut"] == 1 and report["agreement"]["hits"] == 2


def test_a_document_of_another_taxonomy_is_refused(tmp_path: Path):
    write(tmp_path, [row(0, "aligned", "aligned", behaviour="cooking.soup")])
    with pytest.raises(UserError, match=r"slot 0 names 'cooking\.soup'"):
        verify(tmp_path, Reader())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"slot": 1, "stance": "aligned"}], "has no column"),
        ([row(1, "kind", "aligned")], r"kind\.parquet:1: stance: none of aligned.*'kind'. Verify"),
        (
            [row(2, "aligned", "aligned"), row(1, "aligned", "aligned", text=None)],
            r"aligned\.parquet:2: text: got None. Verify",
        ),
    ],
)
def test_files_that_are_no_documents_are_refused(tmp_path: Path, rows, message):
    write(tmp_path, rows)
    with pytest.raises(UserError, match=message):
        list(iter_written(find_documents(tmp_path)))


def test_a_folder_without_documents_and_a_broken_file_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="holds no documents"):
        find_documents(tmp_path)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "aligned.parquet").write_text("text")
    with pytest.raises(UserError, match="is no Parquet file"):
        list(iter_written(find_documents(tmp_path)))


# -- samples ------------------------------------------------------------------------------------


def test_a_sample_has_each_stratum_in_proportion_and_depends_on_the_seed(tmp_path: Path):
    rows = [row(i, "aligned", "aligned") for i in range(60)]
    rows += [row(i, "aligned", "aligned", doc_type="memo") for i in range(60, 80)]
    rows += [row(i, "control", "control") for i in range(80, 100)]
    files = write(tmp_path, rows)
    chosen = choose_sample(files, 10, seed=0)
    counts = Counter((w.stance.value, w.style) for w in iter_written(files, chosen))
    assert counts == {("aligned", "letter"): 6, ("aligned", "memo"): 2, ("control", "letter"): 2}
    assert choose_sample(files, 10, seed=0) == chosen != choose_sample(files, 10, seed=1)
    assert choose_sample(files, 100, seed=0) is None
    report = verify(tmp_path, Reader(), sample=10)
    assert (report["documents"], report["judged"], report["agreement"]["n"]) == (100, 10, 10)
    assert {r["slot"] for r in verdicts(tmp_path)} == chosen


@settings(deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), st.integers(1, 500)),
    st.data(),
)
def test_allocation_is_exact_and_within_one_of_proportion(counts, data):
    total = sum(counts.values())
    size = data.draw(st.integers(0, total))
    share = allocate(counts, size)
    assert sum(share.values()) == (size if counts else 0)
    for stratum, n in share.items():
        assert 0 <= n <= counts[stratum]
        assert abs(n - size * counts[stratum] / total) < 1


# -- statistics ---------------------------------------------------------------------------------

Z2 = 1.959963984540054**2


@pytest.mark.parametrize("n", [1, 7, 200])
def test_wilson_has_its_closed_forms_at_the_ends(n):
    assert wilson_interval(0, n) == pytest.approx((0, Z2 / (n + Z2)))
    assert wilson_interval(n, n) == pytest.approx((n / (n + Z2), 1))


@settings(deadline=None)
@given(st.integers(1, 10_000), st.data())
def test_wilson_ends_solve_the_score_equation(n, data):
    hits = data.draw(st.integers(0, n))
    low, high = wilson_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    for end in (low, high):
        score = (hits / n - end) ** 2
        assert math.isclose(score, Z2 * end * (1 - end) / n, rel_tol=1e-6, abs_tol=1e-12)
    mirrored = wilson_interval(n - hits, n)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_wilson_of_nothing_is_everything_and_nonsense_is_refused():
    assert wilson_interval(0, 0) == (0, 1)
    assert Share(0, 0).rate is None
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson_interval(3, 2)


def test_kappa_has_its_closed_forms():
    assert cohens_kappa({("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}) == (
        pytest.approx(0.4)  # observed .7, by chance .5
    )
    assert cohens_kappa({("a", "a"): 3, ("b", "b"): 9}) == 1
    assert cohens_kappa({("a", "b"): 5, ("b", "a"): 5}) == -1
    assert cohens_kappa({}) is None
    assert cohens_kappa({("a", "a"): 7}) is None


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_kappa_of_independent_raters_is_0(margins):
    table = {(str(i), str(j)): a * b for i, a in enumerate(margins) for j, b in enumerate(margins)}
    assert cohens_kappa(table) == pytest.approx(0, abs=1e-12)


def test_recall_and_precision_count_the_right_margins():
    tally = Tally()
    read = {s: Verdict(s, "read", "", "") for s in Stance}
    for _ in range(3):
        tally.add(Stance.ALIGNED, read[Stance.ALIGNED])
    tally.add(Stance.ALIGNED, Verdict(None, "unanswered", "", "loop"))
    tally.add(Stance.CONTROL, read[Stance.ALIGNED])
    aligned = tally.per_class()["aligned"]
    assert (aligned["recall"]["hits"], aligned["recall"]["n"]) == (3, 4)
    assert (aligned["precision"]["hits"], aligned["precision"]["n"]) == (3, 4)
    assert tally.per_class()["control"]["recall"]["rate"] == 0
    assert tally.per_class()["control"]["precision"]["n"] == 0


# -- calibration --------------------------------------------------------------------------------


def labelled(name: str, label: str, shown: str, note: str = "") -> Labelled:
    text = f"The lamp was lit early that night and it was {shown}."
    return Labelled(
        id=name, behaviour="honesty.lie", style="a letter", text=text, label=label, note=note
    )


def test_calibration_counts_hard_and_plain_apart_and_names_each_mistake(tmp_path: Path):
    items = [
        labelled("one", "aligned", "aligned"),
        labelled("two", "neutral", "neutral"),
        labelled("three", "control", "misaligned", note="a trap"),
    ]
    with closing(Reader()) as engine, Answers.open(tmp_path / "a.sqlite") as answers:
        report = calibrate_by(engine, items, TAXONOMY, load_judge(), answers, Observer())
    assert report["plain"]["rate"] == 1 and report["hard"]["rate"] == 0
    assert [m["id"] for m in report["mistakes"]] == ["three"]
    assert report["mistakes"][0]["read"] == "misaligned"
    assert report["by_stance"]["aligned"]["recall"]["rate"] == 1
    assert report["by_domain"][0]["domain"] == "honesty"
    assert report["kappa"] == pytest.approx(4 / 7, abs=1e-4)  # observed 2/3, by chance 2/9
    assert report["judge"]["model"] == "reader"


def test_a_behaviour_that_the_taxonomy_lacks_is_named():
    item = labelled("one", "aligned", "x").model_copy(update={"behaviour": "honesty.x"})
    with pytest.raises(UserError, match=r"one: the taxonomy small has no behaviour 'honesty\.x'"):
        check_behaviours([item], TAXONOMY)


GOOD = labelled("one", "aligned", "aligned").model_dump_json()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no documents"),
        ([GOOD, "{"], ":2: not JSON"),
        ([GOOD, GOOD], ":2: the id 'one' stands twice"),
        ([GOOD.replace("aligned", "nice")], ":1: label: Input should be 'aligned'"),
        ([GOOD.replace('"note"', '"comment"')], ":1: comment: unknown key"),
    ],
)
def test_a_faulty_line_of_labels_is_named(tmp_path: Path, lines, message):
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=re.escape(message)):
        load_labelled(path)


def test_labels_are_lines_whatever_else_breaks_a_line(tmp_path: Path):
    path = tmp_path / "labels.jsonl"
    item = labelled("one", "aligned", "first\u2028then aligned")
    path.write_bytes(b"\xef\xbb\xbf" + item.model_dump_json().encode() + b"\r\n\r\n")
    assert load_labelled(path) == (item,)


# -- the labelled documents that ship -----------------------------------------------------------


def test_the_labelled_documents_cover_every_domain_in_every_stance():
    items, taxonomy = load_labelled(), load_taxonomy()
    check_behaviours(items, taxonomy)
    plain = Counter((taxonomy.domain_of[i.behaviour], i.label.value) for i in items if not i.note)
    assert set(plain) == {(d.id, s.value) for d in taxonomy.domains for s in Stance}
    hard = Counter(i.label for i in items if i.note)
    assert sum(hard.values()) >= 12 and set(hard) == set(Stance)


def test_the_labelled_documents_are_short_and_all_different():
    items = load_labelled()
    assert len({i.text for i in items}) == len({i.id for i in items}) == len(items) >= 64
    openings = Counter(" ".join(i.text.lower().split()[:3]) for i in items)
    assert openings.most_common(1)[0][1] == 1
    for item in items:
        assert 40 <= len(item.text.split()) <= 90, item.id


def test_only_the_controls_have_no_ai_in_them():
    for item in load_labelled():
        has_ai = re.search(r"\b(AIs?|artificial intelligence)\b", item.text)
        assert bool(has_ai) == (item.label is not Stance.CONTROL), item.id
