"""Questions and answers: order, once each, deaths, kills."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aligngen.core.config import EngineConfig
from aligngen.core.errors import EngineDied, Interrupted, UserError
from aligngen.core.schema import Completion, FinishReason, Message, Request, Sampling
from aligngen.generator.ask import Answers, ask
from aligngen.generator.engines.replay import ReplayEngine
from tests.fakes import ScriptedEngine, scripted_completion
from tests.processes import wait_for


def request(number: int) -> Request:
    return Request(
        messages=(Message("user", f"question {number}"),),
        sampling=Sampling(),
        constraint=None,
        model="m",
        revision="r",
        template_version="t",
        backend="b",
    )


REQUESTS = [request(n) for n in range(50)]


@pytest.fixture
def answers(tmp_path: Path):
    with Answers.open(tmp_path / "a.sqlite") as store:
        yield store


def keys_and_texts(pairs):
    return [(key, answer.text) for key, answer in pairs]


EXPECTED = [(n, scripted_completion(r).text) for n, r in enumerate(REQUESTS)]


def test_a_place_that_can_hold_no_answers_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "a.sqlite"):
        with pytest.raises(UserError, match="cannot be read as answers"), Answers.open(path):
            pass


@pytest.mark.parametrize("window", [1, 3, 2048])
def test_answers_come_in_the_order_of_the_questions_whatever_the_engine_does(answers, window):
    engine = ScriptedEngine(order=random.Random(7))
    got = keys_and_texts(ask(engine, enumerate(REQUESTS), answers, window=window))
    assert got == EXPECTED
    assert len(engine.submitted) == 50


def test_the_same_request_is_asked_once_for_all_who_need_it(answers):
    engine = ScriptedEngine()
    questions = [(n, REQUESTS[n % 3]) for n in range(30)]
    got = keys_and_texts(ask(engine, questions, answers, window=4))
    assert got == [(n, EXPECTED[n % 3][1]) for n in range(30)]
    assert len(engine.submitted) == 3


def test_questions_are_read_no_further_than_the_window(answers):
    read = []
    questions = ((n, read.append(n) or r) for n, r in enumerate(REQUESTS))
    stream = ask(ScriptedEngine(), questions, answers, window=5)
    next(stream)
    assert len(read) == 5


def test_what_was_answered_is_not_asked_again(tmp_path):
    path = tmp_path / "a.sqlite"
    with Answers.open(path) as store:
        first = keys_and_texts(ask(ScriptedEngine(), enumerate(REQUESTS[:20]), store))
    engine = ScriptedEngine()
    with Answers.open(path) as store:
        again = keys_and_texts(ask(engine, enumerate(REQUESTS), store))
    assert again[:20] == first
    assert {r.request_id for r in engine.submitted} == {r.request_id for r in REQUESTS[20:]}


def test_an_engine_that_dies_now_and_then_loses_nothing(answers):
    engine = ScriptedEngine(die_every=25)
    assert keys_and_texts(ask(engine, enumerate(REQUESTS), answers)) == EXPECTED
    assert engine.restarts


def test_a_request_that_kills_the_engine_is_answered_by_an_error_and_the_rest_goes_on(answers):
    poison = REQUESTS[20].request_id
    engine = ScriptedEngine(poison=poison)
    got = dict(ask(engine, enumerate(REQUESTS), answers))
    assert got[20].finish_reason is FinishReason.ERROR
    assert "again and again" in got[20].detail
    assert [got[n].text for n in range(50) if n != 20] == [t for n, t in EXPECTED if n != 20]
    assert answers.get(poison) is None, "an error is asked again by the next run"


class Dead(ScriptedEngine):
    def poll(self, timeout):
        raise EngineDied("gone for good")


def test_an_engine_that_never_answers_ends_the_asking(answers):
    engine = Dead()
    with pytest.raises(EngineDied, match="for good"):
        list(ask(engine, enumerate(REQUESTS), answers))
    assert engine.restarts == 3


def test_stopping_keeps_what_was_answered(tmp_path):
    path = tmp_path / "a.sqlite"
    taken = []
    with Answers.open(path) as store:
        questions = enumerate(REQUESTS)
        pairs = ask(ScriptedEngine(), questions, store, stop=lambda: len(taken) > 9)
        with pytest.raises(Interrupted):
            taken.extend(key for key, _ in pairs)
    assert taken == list(range(10))
    with Answers.open(path) as store:
        assert all(store.get(REQUESTS[n].request_id) for n in taken)


class Surrogate(ScriptedEngine):
    def poll(self, timeout):
        done = [
            Completion(key, "half \ud83d of it", FinishReason.STOP, 1, 1) for key in self.in_flight
        ]
        self.in_flight.clear()
        return done


def test_a_text_without_utf8_reads_the_same_in_this_run_and_in_the_next(answers):
    [(_, now)] = ask(Surrogate(), [(0, REQUESTS[0])], answers)
    [(_, later)] = ask(ScriptedEngine(), [(0, REQUESTS[0])], answers)
    assert now == later
    assert later.text == "half \\ud83d of it"


def test_a_replayed_recording_answers_the_same_questions(answers, tmp_path):
    rows = [
        {"request_id": r.request_id, "text": f"text {n}", "finish_reason": "stop"}
        for n, r in enumerate(REQUESTS[:-1])
    ]
    path = tmp_path / "recording.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = ReplayEngine(EngineConfig(kind="replay", model=str(path), max_num_seqs=4))
    got = [a for _, a in ask(engine, enumerate(REQUESTS), answers)]
    assert [a.text for a in got[:-1]] == [f"text {n}" for n in range(49)]
    assert got[-1].detail == "not recorded"


def test_one_process_at_a_time_works_with_a_file_of_answers(tmp_path):
    path = tmp_path / "a.sqlite"
    with (
        Answers.open(path),
        pytest.raises(UserError, match="another process works with these answers"),
        Answers.open(path),
    ):
        pass


def test_a_file_that_holds_no_answers_is_refused_by_name(tmp_path):
    path = tmp_path / "a.sqlite"
    path.write_text("no database at all, but a text that is long enough to be looked at " * 20)
    with pytest.raises(UserError, match=r"a\.sqlite: cannot be read as answers"):
        Answers.open(path)


ASKING = """
import sys
from pathlib import Path
from tests.fakes import ScriptedEngine
from tests.generator.test_ask import REQUESTS
from aligngen.generator.ask import Answers, ask

with Answers.open(Path(sys.argv[1])) as answers:
    for key, _ in ask(ScriptedEngine(), enumerate(REQUESTS), answers, window=8):
        print(key, flush=True)
        if key == 24:
            sys.stdin.readline()
"""


def test_a_killed_process_has_kept_every_answer_it_gave(tmp_path):
    path = tmp_path / "a.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    seen = [process.stdout.readline() for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: process.poll() is not None)
    assert seen == [f"{n}\n" for n in range(25)]
    engine = ScriptedEngine()
    with Answers.open(path) as store:
        assert keys_and_texts(ask(engine, enumerate(REQUESTS), store)) == EXPECTED
    asked = {r.request_id for r in engine.submitted}
    assert not asked & {r.request_id for r in REQUESTS[:25]}
