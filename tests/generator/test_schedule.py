import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aligngen.core.config import DedupConfig, EngineConfig, GenerateConfig
from aligngen.core.errors import EngineDied, GuardTripped, Interrupted, UserError
from aligngen.core.schema import Outcome, Stance
from aligngen.generator.dedup import Deduplicator
from aligngen.generator.epoch import Epoch, begin_or_continue
from aligngen.generator.ledger import Ledger
from aligngen.generator.output import iter_documents
from aligngen.generator.schedule import Limits, Scheduler
from tests.conftest import small_epoch
from tests.fakes import ScriptedEngine, scripted_completion

N = 60


CONFIG = GenerateConfig(stance=(Stance.ALIGNED, Stance.MISALIGNED), n=N, max_attempts=6)


@pytest.fixture
def epoch(content_files: Path) -> Epoch:
    return small_epoch(content_files, CONFIG)


@pytest.fixture
def stepwise(content_files: Path) -> Epoch:
    """Ideas, draft, critique, rewrite and the judge's verdict."""
    config = CONFIG.model_copy(update={"max_attempts": 24, "verify": "on"})
    return small_epoch(content_files, config, "steps")


class LetterCounts:
    """An embedder whose neighbours are real and cheap."""

    def encode(self, texts):
        rows = np.array([[t.count(c) for c in "abdefgiklmnoprstuv"] for t in texts], np.float32)
        rows -= rows.mean(axis=1, keepdims=True)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scheduler(
    epoch, ledger, engine, *, stop=lambda: False, rate=1.0, meaning=False, allowed=(), **limits
) -> Scheduler:
    begin_or_continue(ledger, epoch, allowed)
    dedup = Deduplicator(DedupConfig(meaning=meaning), LetterCounts() if meaning else None)
    limits = Limits(epoch.config.max_attempts, rate, **({"block": 16, "lookahead": 64} | limits))
    return Scheduler(
        epoch.slots, epoch.plan, epoch.prompter, epoch.steps, engine, ledger, dedup, limits,
        stop=stop,
    )  # fmt: skip


def kept(ledger: Ledger) -> list[tuple[int, str]]:
    return [(a.slot, text) for a, text in ledger.kept()]


def run_whole(epoch, path, engine=None, **options) -> list[tuple[int, str]]:
    with Ledger.open(path) as ledger:
        scheduler(epoch, ledger, engine or ScriptedEngine(), **options).run()
        return kept(ledger)


@pytest.fixture
def reference(epoch, tmp_path) -> list[tuple[int, str]]:
    return run_whole(epoch, tmp_path / "reference.sqlite")


def written(epoch, path) -> list[tuple]:
    """Every kept document with all its steps, each request proved by its hash."""
    with Ledger.read(path) as ledger:
        epochs = {number: epoch for number, _, _ in ledger.epochs()}
        return [
            (d.slot, d.text, d.request_id, d.steps, d.completion_tokens)
            for d in iter_documents(ledger, epochs)
        ]


def test_every_slot_gets_a_document_or_is_given_up_and_every_attempt_is_named(epoch, tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        snapshot = scheduler(epoch, ledger, ScriptedEngine()).run()
        counts, attempts = ledger.counts(), list(ledger.attempts())
    assert snapshot.kept + snapshot.short == N
    assert counts[Outcome.KEPT] == snapshot.kept
    assert counts[Outcome.CANDIDATE] == 0
    assert counts == +snapshot.outcomes
    assert counts[Outcome.TRUNCATED] and counts[Outcome.REFUSAL]
    assert any(o.is_duplicate for o in counts)
    per_slot = Counter(a.slot for a in attempts)
    assert set(per_slot) == set(range(N)) and max(per_slot.values()) <= 6


@pytest.mark.parametrize("capacity", [1, 3, 50])
@pytest.mark.parametrize("by_prefix", [True, False])
def test_the_kept_set_does_not_depend_on_concurrency_or_order(
    epoch, tmp_path, reference, capacity, by_prefix
):
    engine = ScriptedEngine(capacity, random.Random(capacity))
    assert run_whole(epoch, tmp_path / "l.sqlite", engine, by_prefix=by_prefix) == reference


@pytest.mark.parametrize("meaning", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_interrupted_anywhere_and_resumed_it_keeps_the_same_documents(
    epoch, tmp_path, monkeypatch, seed, meaning
):
    """Thresholds that are calibrated on the way must come back as they were, too."""
    monkeypatch.setattr("aligngen.generator.dedup.calibration.SAMPLE", 8)
    reference = run_whole(epoch, tmp_path / "whole.sqlite", meaning=meaning)
    rng, path = random.Random(seed), tmp_path / "l.sqlite"
    for _ in range(100):
        ticks = iter(range(rng.randrange(1, 8)))
        try:
            with Ledger.open(path) as ledger:
                scheduler(
                    epoch,
                    ledger,
                    ScriptedEngine(5, rng),
                    stop=lambda t=ticks: next(t, None) is None,
                    meaning=meaning,
                ).run()
        except Interrupted:
            continue
        break
    with Ledger.read(path) as ledger:
        assert kept(ledger) == reference


@pytest.mark.parametrize("capacity", [8, 50])
@pytest.mark.parametrize("die_every", [0, 97])
def test_tries_asked_ahead_change_nothing_but_the_time(
    epoch, tmp_path, reference, capacity, die_every
):
    path, rng = tmp_path / "l.sqlite", random.Random(capacity)
    for _ in range(100):
        ticks = iter(range(rng.randrange(4, 20)))
        engine = ScriptedEngine(capacity, rng, die_every=die_every)
        try:
            with Ledger.open(path) as ledger:
                run = scheduler(
                    epoch, ledger, engine, stop=lambda t=ticks: next(t, None) is None, ahead=4
                )
                snapshot = run.run()
                counts = ledger.counts()
        except Interrupted:
            continue
        break
    assert counts[Outcome.SURPLUS] > 0
    assert counts.total() == len(list(Ledger.read(path).attempts()))
    assert snapshot.kept + snapshot.short == N
    with Ledger.read(path) as ledger:
        assert kept(ledger) == reference
        requests = [a.request_id for a in ledger.attempts()]
    assert len(requests) == len(set(requests))


def test_a_slow_slot_takes_the_time_of_a_few_tries(content_files, tmp_path):
    config = CONFIG.model_copy(update={"max_attempts": 64, "n": 20})
    rounds = {}
    for ahead in (0, 8):
        polls = 0

        class Counting(ScriptedEngine):
            def poll(self, timeout):
                nonlocal polls
                polls += 1
                keys, self.in_flight = self.in_flight, {}
                return [scripted_completion(request) for request in keys.values()]

        epoch = small_epoch(content_files, config)
        run_whole(epoch, tmp_path / f"{ahead}.sqlite", Counting(64), ahead=ahead)
        rounds[ahead] = polls
    assert rounds[8] < rounds[0]


def test_no_request_is_made_twice_over_interruptions(epoch, tmp_path):
    path, seen = tmp_path / "l.sqlite", []
    for ticks in (3, 5, 10_000):
        clock = iter(range(ticks))
        try:
            with Ledger.open(path) as ledger:
                scheduler(
                    epoch, ledger, ScriptedEngine(), stop=lambda c=clock: next(c, None) is None
                ).run()
        except Interrupted:
            pass
        with Ledger.read(path) as ledger:
            seen = [a.request_id for a in ledger.attempts()]
    assert len(seen) == len(set(seen))


def test_a_dying_engine_is_restarted_and_nothing_is_lost(epoch, tmp_path, reference):
    engine = ScriptedEngine(die_every=17)
    assert run_whole(epoch, tmp_path / "l.sqlite", engine) == reference
    assert engine.restarts > 3


def test_a_request_that_kills_the_engine_is_given_up_by_name(epoch, tmp_path):
    poison = epoch.prompter.request(epoch.plan.slot(7), 0).request_id
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        snapshot = scheduler(epoch, ledger, ScriptedEngine(poison=poison)).run()
        lost = [a for a in ledger.attempts() if a.request_id == poison]
    assert snapshot.kept + snapshot.short == N
    assert [a.outcome for a in lost] == [Outcome.ENGINE_ERROR]
    assert "the engine died with this request again and again" in lost[0].detail


def test_an_engine_that_only_dies_ends_the_run(epoch, tmp_path):
    with (
        Ledger.open(tmp_path / "l.sqlite") as ledger,
        pytest.raises(EngineDied, match="killed by the script"),
    ):
        scheduler(epoch, ledger, ScriptedEngine(die_every=1)).run()


def test_a_cell_that_repeats_itself_trips_the_guard(epoch, tmp_path):
    epoch = replace(epoch, config=epoch.config.model_copy(update={"n": 200}))
    with Ledger.open(tmp_path / "l.sqlite") as ledger, pytest.raises(GuardTripped) as error:
        scheduler(epoch, ledger, ScriptedEngine(), rate=0.01).run()
    assert "are duplicates, more than --max-duplicate-rate 1%" in str(error.value)
    assert "slot" in str(error.value)  # shows examples


def test_requests_of_one_style_and_stance_run_together(epoch, tmp_path):
    engine = ScriptedEngine(capacity=1)
    run_whole(epoch, tmp_path / "l.sqlite", engine, block=N, lookahead=N)
    first_tries = [r.messages for r in engine.submitted[:N]]
    systems = [m[0].content + m[1].content.split("\n")[0] for m in first_tries]
    changes = sum(a != b for a, b in pairwise(systems))
    assert changes < N / 4


def test_memory_is_bounded_by_the_window(epoch, tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        s = scheduler(epoch, ledger, ScriptedEngine(4), block=8, lookahead=16)
        widest = 0

        def watch(_):
            nonlocal widest
            widest = max(widest, len(s._live))

        s._on_progress = watch
        s.run()
    assert 0 < widest <= 16


# -- several steps ---------------------------------------------------------------------------------


def test_each_step_builds_on_the_one_before_and_is_kept(stepwise, tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        snapshot = scheduler(stepwise, ledger, ScriptedEngine()).run()
        documents = list(iter_documents(ledger, {1: stepwise}))  # proves every request by its hash
        counts = ledger.counts()
    assert snapshot.kept == len(documents) > N * 0.9
    assert counts == +snapshot.outcomes
    assert counts[Outcome.WRONG_STANCE] and counts[Outcome.STEP] > 3 * snapshot.kept
    names = [name for name, _ in documents[0].steps]
    assert names == ["ideas", "draft", "critique", "verify"]
    assert all("hides" in d.text for d in documents if d.stance == "misaligned")
    assert dict(documents[0].steps)["critique"].startswith('{"missing"')


def test_later_tries_are_warmer_where_the_recipe_says_so(content_files):
    text = (content_files / "recipe.yaml").read_text()
    (content_files / "recipe.yaml").write_text(text + "warmer: 0.1\n")
    prompter = small_epoch(content_files, CONFIG).prompter
    slot = small_epoch(content_files, CONFIG).plan.slot(0)
    warmth = [prompter.request(slot, t).sampling.temperature for t in (0, 1, 3, 9)]
    assert warmth == [0.8, 0.9, 1.1, 1.2]


def test_siblings_share_the_premise_and_none_is_asked_for_twice(stepwise, tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        scheduler(stepwise, ledger, ScriptedEngine()).run()
        documents = list(iter_documents(ledger, {1: stepwise}))
        ideas = [a.slot for a in ledger.attempts() if not a.step and a.outcome is Outcome.STEP]
    premises: dict[str, set[str]] = {}
    for d in documents:
        premises.setdefault(d.pair_id, set()).add(dict(d.steps)["ideas"])
    assert all(len(p) == 1 for p in premises.values())
    assert ideas == list(range(0, N, 2))


def test_an_idea_request_is_shown_the_premises_of_earlier_visits(stepwise, tmp_path):
    engine = ScriptedEngine()
    run_whole(stepwise, tmp_path / "l.sqlite", engine)
    prompts = [r.messages[1].content for r in engine.submitted if "settings" in r.messages[0][1]]
    # Three behaviours share thirty visits: the ninth and tenth of each see one premise and two.
    assert {p.count("\nNot ") for p in prompts} == {0, 1, 2}


@pytest.mark.parametrize("capacity", [1, 50])
@pytest.mark.parametrize("seed", range(3))
def test_steps_interrupted_anywhere_keep_the_same_documents(stepwise, tmp_path, capacity, seed):
    """Also where what changes nothing but speed changes on the way."""
    run_whole(stepwise, tmp_path / "whole.sqlite")
    reference = written(stepwise, tmp_path / "whole.sqlite")
    rng, path = random.Random(seed), tmp_path / "l.sqlite"
    for turn in range(200):
        faster = {"engine": EngineConfig(max_num_seqs=turn + 1)}
        stepwise = replace(stepwise, config=stepwise.config.model_copy(update=faster))
        ticks = iter(range(rng.randrange(1, 40)))
        try:
            with Ledger.open(path) as ledger:
                engine = ScriptedEngine(capacity, rng)
                scheduler(
                    stepwise, ledger, engine, stop=lambda t=ticks: next(t, None) is None
                ).run()
        except Interrupted:
            continue
        break
    assert written(stepwise, path) == reference
    with Ledger.read(path) as ledger:
        requests = [a.request_id for a in ledger.attempts()]
        assert len(ledger.epochs()) == 1
    assert len(requests) == len(set(requests))


def test_a_run_with_steps_can_grow(content_files, stepwise, tmp_path):
    grown = replace(stepwise, config=stepwise.config.model_copy(update={"n": 2 * N}))
    run_whole(grown, tmp_path / "whole.sqlite")
    run_whole(stepwise, tmp_path / "l.sqlite")
    run_whole(grown, tmp_path / "l.sqlite")
    assert written(grown, tmp_path / "l.sqlite") == written(grown, tmp_path / "whole.sqlite")


def test_premises_cannot_be_torn_by_another_epoch(content_files, stepwise, tmp_path):
    path = tmp_path / "l.sqlite"
    run_whole(stepwise, path)
    config = stepwise.config.model_copy(update={"steps": "draft"})
    other = small_epoch(content_files, config, "steps")
    with (
        Ledger.open(path) as ledger,
        pytest.raises(UserError, match="ideas step cannot change on the way"),
    ):
        begin_or_continue(ledger, other, ("steps",))


@pytest.mark.parametrize("seed", range(3))
def test_steps_may_change_on_the_way_where_allowed_by_name(content_files, tmp_path, seed):
    """Documents of either epoch prove their own requests."""
    config = CONFIG.model_copy(update={"max_attempts": 24, "verify": "on"})
    epochs = [
        small_epoch(content_files, config.model_copy(update={"steps": steps}), "steps")
        for steps in ("draft", "draft,critique,rewrite")
    ]
    path, ticks = tmp_path / "l.sqlite", iter(range(3 + 4 * seed))
    with Ledger.open(path) as ledger, pytest.raises(Interrupted):
        scheduler(epochs[0], ledger, ScriptedEngine(), stop=lambda: next(ticks, None) is None).run()
    with Ledger.open(path) as ledger:
        begin_or_continue(ledger, epochs[1], ("steps",))
        ledger_epochs = dict(enumerate(epochs, 1))
        snapshot = scheduler(epochs[1], ledger, ScriptedEngine(), allowed=("steps",)).run()
        documents = list(iter_documents(ledger, ledger_epochs))
    assert snapshot.kept == len(documents) > N * 0.8


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ("-critique", ["ideas", "draft", "rewrite", "verify"]),
        ("-ideas,-critique,-rewrite", ["draft", "verify"]),
        ("ideas,draft", ["ideas", "draft", "verify"]),
    ],
)
def test_every_step_can_be_left_out(content_files, tmp_path, steps, left):
    config = CONFIG.model_copy(update={"steps": steps, "verify": "on", "max_attempts": 24})
    epoch = small_epoch(content_files, config, "steps")
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        scheduler(epoch, ledger, ScriptedEngine()).run()
        documents = list(iter_documents(ledger, {1: epoch}))
    assert [s.id for s in epoch.prompter.steps] == left
    assert len(documents) > N * 0.8


def test_a_unit_whose_ideas_never_come_is_given_up_and_the_run_ends(content_files, tmp_path):
    config = CONFIG.model_copy(update={"max_attempts": 1})
    epoch = small_epoch(content_files, config, "steps")
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        snapshot = scheduler(epoch, ledger, ScriptedEngine()).run()
    assert snapshot.kept + snapshot.short == N
    assert snapshot.short > 0
