"""Requests, recordings and engines to try the contract on."""

import json
import time
from pathlib import Path

import pytest

from aligngen.core.config import EngineConfig
from aligngen.core.errors import EngineDied
from aligngen.core.schema import Completion, Constraint, Message, Request, Sampling
from aligngen.generator.engines.process import ProcessEngine

SCHEMA = Constraint(
    "json",
    json.dumps(
        {
            "type": "object",
            "properties": {"title": {"type": "string", "minLength": 4, "maxLength": 24}},
            "required": ["title"],
            "additionalProperties": False,
        }
    ),
)


def request(number, text="Name a colour.", constraint=None, **sampling):
    settings = {"max_tokens": 16, "seed": number, "loop_pattern": 0} | sampling
    return Request(
        messages=(Message("user", f"{text} {number}"),),
        sampling=Sampling(**settings),
        constraint=constraint,
        model="m",
        revision="r",
        template_version="t",
        backend="b",
    )


def drain(engine, requests, seconds=60.0) -> list[Completion]:
    """Push every request through the engine, as the scheduler would."""
    waiting, done, deadline = list(requests), [], time.monotonic() + seconds
    total = len(waiting)
    while len(done) < total:
        while waiting and engine.room:
            engine.submit(waiting.pop(0))
        done += engine.poll(0.5)
        assert time.monotonic() < deadline, f"{len(done)} of {total} after {seconds} s"
    return done


def poll_until_death(engine):
    try:
        for _ in range(50):
            engine.poll(1)
    except EngineDied as death:
        return str(death)
    pytest.fail("the engine lives")


def write_recording(path: Path, requests, identity=None) -> Path:
    rows = [{"identity": identity}] if identity else []
    rows += [
        {
            "request_id": r.request_id,
            "text": f"text {number} \u2028 \U0001f308",
            "finish_reason": "stop",
            "prompt_tokens": 7,
            "completion_tokens": number,
        }
        for number, r in enumerate(requests)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def recording(tmp_path):
    return write_recording(tmp_path / "recording.jsonl", [request(n) for n in range(40)])


@pytest.fixture
def embedded(embedded_engine):
    """The shared engine, with nothing in flight before and after."""
    yield embedded_engine
    while embedded_engine._in_flight:
        embedded_engine.poll(5)


@pytest.fixture(scope="session")
def embedded_engine(tmp_path_factory):
    """The real embedded model in vLLM, in its own process; one for the session."""
    config = EngineConfig(kind="vllm", max_num_seqs=8, max_model_len=512, kv_cache_gb=0.5)
    events: list[str] = []
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    engine = ProcessEngine(config, log, events.append)
    engine.wait_ready()
    engine.events = events
    yield engine
    engine.close()


@pytest.fixture
def endpoint():
    from endpoint_server import serve

    with serve() as endpoint:
        yield endpoint
