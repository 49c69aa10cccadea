"""The endpoint engine against a real HTTP server that fails in scripted ways."""

import time

import pytest
from conftest import SCHEMA, drain, request
from endpoint_server import completion

from aligngen.core.config import EngineConfig
from aligngen.core.errors import EngineDied, UserError
from aligngen.core.schema import Constraint, FinishReason
from aligngen.generator.engines.openai import OpenAIEngine


@pytest.fixture
def open_engine():
    engines = []

    def make(config, **settings):
        engines.append(OpenAIEngine(config, backoff_seconds=0.01, **settings))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_a_passing_failure_is_tried_again(endpoint, open_engine):
    endpoint.say(500)
    endpoint.say(429)
    (done,) = drain(open_engine(endpoint.config()), [request(1)])
    assert (done.text, done.finish_reason) == ("blue", FinishReason.STOP)
    assert len(endpoint.seen) == 3


def test_retry_after_is_honoured(endpoint, open_engine):
    endpoint.say(429, headers={"retry-after": "0.4"})
    started = time.monotonic()
    drain(open_engine(endpoint.config()), [request(1)])
    assert time.monotonic() - started >= 0.4


def test_refusals_narrow_the_gate_and_answers_widen_it(endpoint, open_engine):
    engine = open_engine(endpoint.config(max_num_seqs=8))
    drain(engine, [request(n) for n in range(40)])
    assert engine.concurrency == 8
    endpoint.say(429, times=3)
    drain(engine, [request(n) for n in range(3)])
    assert engine.concurrency <= 5


def test_never_more_at_once_than_asked_for(endpoint, open_engine):
    drain(open_engine(endpoint.config(max_num_seqs=3)), [request(n) for n in range(30)])
    assert endpoint.most_active <= 3


def test_a_request_that_is_refused_is_an_outcome(endpoint, open_engine):
    endpoint.say(400, {"error": {"message": "prompt too long"}})
    (done,) = drain(open_engine(endpoint.config()), [request(1)])
    assert done.finish_reason is FinishReason.ERROR
    assert "400" in done.detail and "prompt too long" in done.detail


def test_an_overload_that_lasts_is_an_outcome(endpoint, open_engine):
    endpoint.say(503, times=3)
    (done,) = drain(open_engine(endpoint.config(), tries=3), [request(1)])
    assert done.finish_reason is FinishReason.ERROR and "3 tries" in done.detail


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (completion("", "content_filter"), FinishReason.CONTENT_FILTER),
        (completion(None, refusal="I can't."), FinishReason.CONTENT_FILTER),
        (completion("a", "length"), FinishReason.LENGTH),
        (completion("a", "repetition"), FinishReason.LOOP),
        (completion("a", "no such reason"), FinishReason.ERROR),
        (completion("a") | {"choices": []}, FinishReason.ERROR),
    ],
)
def test_every_ending_has_a_name(endpoint, open_engine, answer, reason):
    endpoint.say(200, answer)
    (done,) = drain(open_engine(endpoint.config()), [request(1)])
    assert done.finish_reason is reason


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_stops_the_run(endpoint, open_engine, status):
    endpoint.say(status)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        drain(open_engine(endpoint.config()), [request(1)])


def test_no_credit_stops_the_run(endpoint, open_engine):
    endpoint.say(429, {"error": {"message": "quota", "code": "insufficient_quota"}})
    with pytest.raises(UserError, match="credit"):
        drain(open_engine(endpoint.config()), [request(1)])


def test_an_endpoint_that_is_gone_is_a_dead_engine(open_engine):
    config = EngineConfig(kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    engine = open_engine(config, tries=2)
    with pytest.raises(EngineDied, match=r"127\.0\.0\.1:9"):
        drain(engine, [request(1)])
    with pytest.raises(EngineDied):
        engine.submit(request(2))


def test_it_can_be_restarted(endpoint, open_engine):
    endpoint.gate.clear()
    engine = open_engine(endpoint.config())
    engine.submit(request(1))
    engine.restart()
    endpoint.gate.set()
    assert len(drain(engine, [request(1)])) == 1


def test_an_answer_that_does_not_come_is_an_outcome(endpoint, open_engine):
    endpoint.gate.clear()
    engine = open_engine(endpoint.config(), tries=2, timeout_seconds=0.2)
    (done,) = drain(engine, [request(1)])
    assert done.finish_reason is FinishReason.ERROR and "timed out" in done.detail


def test_closing_drops_what_hangs(endpoint, open_engine):
    endpoint.gate.clear()
    engine = OpenAIEngine(endpoint.config())
    engine.submit(request(1))
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < 5


def test_the_openai_dialect_sends_only_what_it_knows(endpoint, open_engine):
    engine = open_engine(endpoint.config())
    drain(engine, [request(1, constraint=SCHEMA, top_p=0.9)])
    body = endpoint.seen[0]
    assert engine.info.not_sent == ("min_p", "repetition_penalty", "loop_pattern")
    assert not {"min_p", "repetition_penalty", "repetition_detection"} & body.keys()
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["seed"], body["top_p"], body["max_tokens"]) == (1, 0.9, 16)


def test_the_vllm_dialect_sends_everything(endpoint, open_engine):
    engine = open_engine(endpoint.config(dialect="vllm"))
    constraint = Constraint("regex", "[a-z]+")
    drain(engine, [request(1, constraint=constraint, loop_pattern=24)])
    body = endpoint.seen[0]
    assert engine.info.not_sent == ()
    assert body["structured_outputs"] == {"regex": "[a-z]+"}
    assert body["repetition_detection"]["max_pattern_size"] == 24
    assert {"min_p", "repetition_penalty"} <= body.keys()


def test_a_regex_is_refused_before_anything_is_sent(endpoint, open_engine):
    with pytest.raises(UserError, match="regular expression"):
        open_engine(endpoint.config()).preflight([Constraint("regex", "a+")])
    assert endpoint.seen == []


def test_preflight_tries_each_distinct_schema_once(endpoint, open_engine):
    open_engine(endpoint.config()).preflight([SCHEMA, SCHEMA])
    assert len(endpoint.seen) == 1


def test_preflight_names_a_schema_that_the_endpoint_refuses(endpoint, open_engine):
    endpoint.say(400, {"error": {"message": "invalid schema"}})
    with pytest.raises(UserError, match="invalid schema"):
        open_engine(endpoint.config()).preflight([SCHEMA])


def test_the_key_comes_from_the_environment_and_is_never_told(endpoint, open_engine, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1")
    endpoint.say(401)
    engine = open_engine(endpoint.config())
    with pytest.raises(UserError) as caught:
        drain(engine, [request(1)])
    assert endpoint.headers[0]["authorization"] == "Bearer sk-secret-1"
    assert "sk-secret-1" not in str(caught.value) + repr(engine.info)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "m"}, "OPENAI_API_KEY"),
        ({"model": "m", "base_url": "localhost:80"}, "localhost:80"),
        ({"base_url": "http://127.0.0.1/v1"}, "model"),
    ],
)
def test_bad_settings_are_named(monkeypatch, fields, words):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=words):
        OpenAIEngine(EngineConfig(kind="openai", **fields))
