"""The endpoint engine against vLLM's own server. Half a minute to start: opt in by SLOW=1."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from conftest import SCHEMA, drain, request

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.core.schema import Constraint, FinishReason
from aligngen.generator.embedded import ensure_embedded_model
from aligngen.generator.engines.openai import OpenAIEngine
from aligngen.generator.engines.vllm_plan import QUIET

pytestmark = pytest.mark.skipif(not os.environ.get("SLOW"), reason="set SLOW=1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "server.log"
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(ensure_embedded_model(lambda text: None))),
        *("--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port)),
        *("--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "8"),
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"),
        *("--kv-cache-memory-bytes", str(2**29)),
    ]
    env = {**os.environ, **QUIET, "HF_HUB_OFFLINE": "1", "GOMP_SPINCOUNT": "1000"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)
    root = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 150
    while not answers(root + "/health"):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.5)
    yield root + "/v1"
    os.killpg(process.pid, 9)
    process.wait()


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def engine(server):
    config = EngineConfig(kind="openai", model="smol", base_url=server, dialect="vllm")
    engine = OpenAIEngine(config)
    yield engine
    engine.close()


def test_a_schema_is_obeyed(engine):
    done = drain(engine, [request(n, constraint=SCHEMA, max_tokens=64) for n in range(8)], 120)
    closed = [c for c in done if c.finish_reason is FinishReason.STOP]
    assert len(closed) >= 4
    assert all(4 <= len(json.loads(c.text)["title"]) <= 24 for c in closed)


def test_a_regex_is_obeyed_and_a_loop_stopped(engine):
    loop = request(1, constraint=Constraint("regex", "(ab ){100}"), max_tokens=300, loop_pattern=24)
    (done,) = drain(engine, [loop], 120)
    assert done.finish_reason is FinishReason.LOOP


def test_a_schema_that_does_not_compile_is_refused(engine):
    with pytest.raises(UserError, match="trial request"):
        engine.preflight([Constraint("json", '{"type": "object", "properties": 3}')])


def test_a_model_that_is_not_served_stops_the_run(server):
    engine = OpenAIEngine(EngineConfig(kind="openai", model="other", base_url=server))
    with pytest.raises(UserError, match="other"):
        drain(engine, [request(1)])
    engine.close()
