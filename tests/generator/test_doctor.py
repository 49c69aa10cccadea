"""What the doctor says."""

import os
import subprocess
import sys
import time

from aligngen.core.config import EngineConfig
from aligngen.generator.doctor import Verdict, diagnose


def test_every_complaint_has_a_remedy():
    assert all(c.remedy for c in diagnose() if c.verdict is not Verdict.OK)


def test_the_chosen_engine_is_explained():
    (engine,) = [c for c in diagnose() if c.name == "engine"]
    assert "vLLM" in engine.detail and "no other engine is named" in engine.detail


def test_a_missing_model_fails_the_engine(tmp_path):
    config = EngineConfig(kind="vllm", model=str(tmp_path / "none"))
    (engine,) = [c for c in diagnose(config) if c.name == "engine"]
    assert engine.verdict is Verdict.FAIL and "no such model folder" in engine.remedy


def test_a_cache_that_can_not_be_written_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNGEN_CACHE", "/proc/nowhere")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # Root may write everywhere.
    (cache,) = [c for c in diagnose() if c.name == "cache"]
    assert cache.verdict is Verdict.FAIL and "ALIGNGEN_CACHE" in cache.remedy


def test_nothing_heavy_is_imported():
    script = (
        "import sys; from aligngen.generator.doctor import diagnose; diagnose();"
        "print([m for m in ('torch', 'vllm', 'openai', 'transformers') if m in sys.modules])"
    )
    started = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr
    assert time.monotonic() - started < 20  # Idle: half a second.
