"""What every engine promises, asked of each of them."""

import pytest
from conftest import drain, request

from aligngen.core.config import EngineConfig
from aligngen.core.schema import FinishReason
from aligngen.generator.engines.openai import OpenAIEngine
from aligngen.generator.engines.process import ProcessEngine
from aligngen.generator.engines.replay import ReplayEngine


@pytest.fixture(params=["replay", "process", "openai", "vllm"])
def engine(request, tmp_path, recording, endpoint):
    config = EngineConfig(kind="replay", model=str(recording), max_num_seqs=4)
    match request.param:
        case "replay":
            made = ReplayEngine(config)
        case "process":
            made = ProcessEngine(config, tmp_path / "logs" / "engine.log", lambda text: None)
            made.wait_ready()
        case "openai":
            made = OpenAIEngine(endpoint.config(max_num_seqs=4))
        case "vllm":
            yield request.getfixturevalue("embedded")
            return
    yield made
    made.close()


def test_every_request_is_answered_once(engine):
    requests = [request(n, max_tokens=4) for n in range(24)]
    done = drain(engine, requests)
    assert sorted(c.request_id for c in done) == sorted(r.request_id for r in requests)


def test_answers_carry_text_and_usage(engine):
    (done,) = drain(engine, [request(3)])
    assert done.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert done.text and done.prompt_tokens > 0 and done.completion_tokens > 0
    assert done.seconds >= 0 and done.detail == ""


def test_a_full_engine_has_no_room(engine):
    sent = 0
    while engine.room:
        engine.submit(request(sent, max_tokens=2))
        sent += 1
        assert sent < 100
    done = 0
    while done < sent:
        done += len(engine.poll(5))
    assert engine.room == sent


def test_an_idle_engine_answers_at_once_with_nothing(engine):
    assert engine.poll(60) == []


def test_it_says_what_it_is(engine):
    info = engine.info
    assert info.max_num_seqs > 0 and info.identity.model and info.identity.backend
