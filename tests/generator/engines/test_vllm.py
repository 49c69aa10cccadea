"""The real embedded model in vLLM, in its child process: a few tokens each."""

import json
import os
import signal

import pytest
from conftest import SCHEMA, drain, poll_until_death, request

from aligngen.core.errors import UserError
from aligngen.core.schema import Constraint, FinishReason
from aligngen.generator.embedded import EMBEDDED_REVISION


def test_it_says_what_it_runs_and_what_it_did(embedded):
    info = embedded.info
    assert info.identity.revision == EMBEDDED_REVISION
    assert info.device.startswith("cpu") and info.max_model_len == 512
    assert embedded.events[-2:] == ["loading vLLM", "starting the engine"]


def test_a_schema_is_obeyed_without_whitespace(embedded):
    done = drain(embedded, [request(n, constraint=SCHEMA, max_tokens=64) for n in range(8)])
    closed = [c for c in done if c.finish_reason is FinishReason.STOP]
    assert len(closed) >= 4
    assert all(4 <= len(json.loads(c.text)["title"]) <= 24 for c in closed)
    assert all(c.text.startswith('{"title":"') for c in closed)


def test_a_regex_is_obeyed(embedded):
    constraint = Constraint("regex", "(red|green|blue)")
    (done,) = drain(embedded, [request(1, constraint=constraint)])
    assert done.text in ("red", "green", "blue") and done.finish_reason is FinishReason.STOP


def test_the_seed_decides_the_text(embedded):
    texts = [drain(embedded, [request(5, "Tell a story.", seed=s)])[0].text for s in (1, 2)]
    again = drain(embedded, [request(5, "Tell a story.", seed=1)])[0].text
    assert texts[0] == again != texts[1]


def test_the_token_limit_is_an_ending(embedded):
    (done,) = drain(embedded, [request(1, "Tell a long story.", max_tokens=4)])
    assert (done.finish_reason, done.completion_tokens) == (FinishReason.LENGTH, 4)


def test_a_loop_is_stopped_early(embedded):
    constraint = Constraint("regex", "(ab ){100}")
    (done,) = drain(
        embedded, [request(1, constraint=constraint, max_tokens=300, loop_pattern=24, loop_count=4)]
    )
    assert done.finish_reason is FinishReason.LOOP and done.completion_tokens < 60


def test_a_prompt_that_does_not_fit_is_an_error_with_its_size(embedded):
    (done,) = drain(embedded, [request(1, "word " * 600)])
    assert done.finish_reason is FinishReason.ERROR
    assert done.prompt_tokens > 600 and "max_model_len 512" in done.detail


def test_shared_prefixes_come_from_the_cache(embedded):
    text = "Consider this sentence. " * 40
    drain(embedded, [request(1, text)])
    (done,) = drain(embedded, [request(2, text)])
    assert done.cached_tokens >= 128


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Constraint("json", '{"type": "object", "properties": 3}'), "json"),
        (Constraint("regex", "(unclosed"), "unclosed"),
        (Constraint("json", "{nope"), "nope"),
    ],
)
def test_a_constraint_that_can_not_be_enforced_is_refused_by_name(embedded, bad, words):
    with pytest.raises(UserError, match=words):
        embedded.preflight([SCHEMA, bad])


def test_good_constraints_pass(embedded):
    embedded.preflight([SCHEMA, Constraint("regex", "[a-z]+")])


def test_killed_in_the_middle_it_comes_back(embedded):
    requests = [request(n, "Tell a long story.", max_tokens=200) for n in range(4)]
    for one in requests:
        embedded.submit(one)
    os.kill(embedded.pid, signal.SIGKILL)
    assert "SIGKILL" in poll_until_death(embedded)
    embedded.restart()
    assert len(drain(embedded, [request(n) for n in range(4)])) == 4
