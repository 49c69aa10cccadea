"""Recorded completions as an engine."""

import json

import pytest
from conftest import drain, request, write_recording

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.core.schema import Completion, FinishReason, Outcome
from aligngen.generator.engines.identity import identify
from aligngen.generator.engines.recording import IDENTITY_KEY
from aligngen.generator.engines.replay import ReplayEngine
from aligngen.generator.ledger import Ledger


def replay(path, **fields):
    return ReplayEngine(EngineConfig(kind="replay", model=str(path), **fields))


def test_a_recorded_request_gets_its_own_completion(recording):
    (done,) = drain(replay(recording), [request(11)])
    assert done.text == "text 11 \u2028 \U0001f308" and done.completion_tokens == 11


def test_arrival_differs_from_submission(recording):
    requests = [request(n) for n in range(40)]
    done = drain(replay(recording, max_num_seqs=8), requests)
    assert [c.request_id for c in done] != [r.request_id for r in requests]


def test_a_missing_request_is_an_error_by_name(recording):
    (done,) = drain(replay(recording), [request(99)])
    assert (done.finish_reason, done.detail) == (FinishReason.ERROR, "not recorded")


def test_a_missing_request_can_draw_always_the_same(recording):
    texts = {
        drain(replay(recording, replay_missing="draw"), [request(99)])[0].text for _ in range(3)
    }
    assert len(texts) == 1


def test_draws_differ_between_requests(recording):
    engine = replay(recording, replay_missing="draw")
    done = drain(engine, [request(n) for n in range(100, 140)])
    assert len({c.text for c in done}) > 10


def test_delays_hold_completions_back(recording):
    engine = replay(recording, replay_delay_ms=60_000)
    engine.submit(request(1))
    assert engine.poll(0.01) == []


def test_delayed_completions_arrive(recording):
    engine = replay(recording, replay_delay_ms=5)
    assert len(drain(engine, [request(n) for n in range(40)])) == 40


def test_a_header_gives_the_recorded_identity(tmp_path):
    identity = {"kind": "vllm", "model": "a", "revision": "b", "backend": "vllm/xgrammar"}
    path = write_recording(tmp_path / "r.jsonl", [request(1)], identity)
    assert identify(EngineConfig(kind="replay", model=str(path)))._asdict() == identity
    assert len(drain(replay(path), [request(1)])) == 1


def test_without_a_header_the_content_is_the_identity(recording):
    config = EngineConfig(kind="replay", model=str(recording))
    before = identify(config)
    recording.write_text(recording.read_text()[:-2] + " }\n")
    assert identify(config).revision != before.revision


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "without completions"),
        ('{"request_id": "a"}\n', r"r\.jsonl:1: .*text"),
        ('{"request_id": "a", "text": "", "finish_reason": "stop"}\n{"requ', r"r\.jsonl:2"),
        ('{"request_id": "a", "text": "", "finish_reason": "bored"}\n', "bored"),
        ("[]\n", r"r\.jsonl:1"),
    ],
)
def test_a_bad_recording_names_file_and_line(tmp_path, text, words):
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        replay(path)


def test_a_missing_recording_is_named(tmp_path):
    with pytest.raises(UserError, match="no such recording"):
        replay(tmp_path / "none.jsonl")


def test_a_run_folder_is_a_recording(tmp_path):
    identity = {"kind": "vllm", "model": "a", "revision": "b", "backend": "vllm/xgrammar"}
    recorded = Completion(request(1).request_id, "from a ledger", FinishReason.STOP, 3, 4)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(0, 0, recorded, Outcome.CANDIDATE)
        ledger.set_meta(IDENTITY_KEY, json.dumps(identity))
    engine = replay(tmp_path)
    assert drain(engine, [request(1)])[0].text == "from a ledger"
    assert engine.info.identity._asdict() == identity
