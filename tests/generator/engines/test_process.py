"""The engine's child process: it dies alone, and never outlives its parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import poll_until_death, request

from aligngen.core.config import EngineConfig
from aligngen.core.errors import EngineDied, UserError
from aligngen.generator.engines.choose import open_engine
from aligngen.generator.engines.process import ProcessEngine


@pytest.fixture
def slow(recording):
    """An engine whose answers take their time, so that there is something in flight."""
    return EngineConfig(kind="replay", model=str(recording), max_num_seqs=8, replay_delay_ms=60_000)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def engine(slow, tmp_path):
    engine = open_engine(slow, tmp_path / "engine.log", lambda text: None)
    yield engine
    engine.close()


def test_a_killed_engine_is_reported_with_its_signal(engine):
    engine.submit(request(1))
    os.kill(engine.pid, signal.SIGKILL)
    assert "SIGKILL" in poll_until_death(engine)
    with pytest.raises(EngineDied):
        engine.submit(request(2))


def test_a_dead_engine_can_be_restarted(engine):
    engine.submit(request(1))
    dead = engine.pid
    os.kill(dead, signal.SIGKILL)
    poll_until_death(engine)
    engine.restart()
    assert engine.pid != dead and engine.room == 8 and engine.poll(0) == []


def test_what_was_finished_before_the_death_is_handed_over(tmp_path, recording):
    config = EngineConfig(kind="replay", model=str(recording), max_num_seqs=8)
    engine = open_engine(config, tmp_path / "engine.log", lambda text: None)
    for number in range(8):
        engine.submit(request(number))
    wait_until(lambda: engine._inbox.qsize() >= 4)  # Halves of 8, smaller ones on a busy machine:
    while (before := engine._inbox.qsize()) < 8:  # all have arrived once no more come.
        time.sleep(0.5)
        if engine._inbox.qsize() == before:
            break
    os.kill(engine.pid, signal.SIGKILL)
    engine.submit(request(20))
    done = engine.poll(1)
    poll_until_death(engine)
    assert {c.request_id for c in done} >= {request(n).request_id for n in range(8)}
    engine.close()


def test_an_engine_that_stands_still_is_stopped(slow, tmp_path):
    engine = ProcessEngine(slow, tmp_path / "engine.log", lambda text: None, stall_seconds=0.3)
    engine.wait_ready()
    engine.submit(request(1))
    os.kill(engine.pid, signal.SIGSTOP)
    assert "stood still" in poll_until_death(engine)
    assert not is_running(engine.pid)
    engine.close()


def test_ctrl_c_is_left_to_the_parent(engine):
    os.kill(engine.pid, signal.SIGINT)
    engine.preflight([])
    assert is_running(engine.pid)


def test_close_leaves_nothing_running(slow, tmp_path):
    engine = open_engine(slow, tmp_path / "engine.log", lambda text: None)
    engine.submit(request(1))
    engine.close()
    assert not is_running(engine.pid)
    engine.close()


@pytest.mark.parametrize("moment", ["starting", "ready"])
def test_a_killed_parent_leaves_nothing_running(slow, tmp_path, moment):
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from aligngen.core.config import EngineConfig
        from aligngen.generator.engines.process import ProcessEngine
        config = EngineConfig.model_validate_json({slow.model_dump_json()!r})
        engine = ProcessEngine(config, Path({str(tmp_path / "engine.log")!r}), lambda text: None)
        if {moment!r} == "ready":
            engine.wait_ready()
        print(engine.pid, flush=True)
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_running(child))


def test_a_users_error_in_the_child_arrives_as_one(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    config = EngineConfig(kind="replay", model=str(empty))
    engine = ProcessEngine(config, tmp_path / "engine.log", lambda text: None)
    with pytest.raises(UserError, match="without completions"):
        engine.wait_ready()
    assert not is_running(engine.pid)
    engine.close()


def test_a_crash_shows_the_end_of_the_log(tmp_path, recording):
    config = EngineConfig(kind="replay", model=str(recording), replay_delay_ms=1)
    engine = open_engine(config, tmp_path / "engine.log", lambda text: None)
    (tmp_path / "engine.log").write_text("line one\nTraceback: it broke\n")
    os.kill(engine.pid, signal.SIGKILL)
    engine.submit(request(2))
    assert "it broke" in poll_until_death(engine)
    engine.close()
