"""How vLLM is started, on machines that are not here."""

from pathlib import Path

import pytest

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.engines.hardware import Gpu, Machine
from aligngen.generator.engines.model_folder import ModelFolder
from aligngen.generator.engines.vllm_plan import plan_vllm

GIB = 2**30
LAPTOP = Machine((0, 1, 2, 3), frozenset({"avx2", "avx512f"}), 16 * GIB, ())
SERVER = Machine((0, 1), frozenset({"avx512_bf16"}), 64 * GIB, (Gpu("H100", 80 * GIB),))
SMALL = ModelFolder(Path("/m"), 270_000_000, 135_000_000, 0, 11520, 8192, "h")
LARGE = ModelFolder(Path("/l"), 14 * GIB, 7 * GIB, 0, 65536, 131072, "h")


def plan(device="cpu", machine=LAPTOP, model=SMALL, **fields):
    return plan_vllm(EngineConfig(**fields), device, machine, model)


@pytest.mark.parametrize(("machine", "dtype"), [(LAPTOP, "float32"), (SERVER, "bfloat16")])
def test_the_processor_decides_the_dtype(machine, dtype):
    assert plan(machine=machine).args["dtype"] == dtype


def test_a_named_dtype_is_kept():
    assert plan(machine=SERVER, dtype="float32").dtype == "float32"


def test_on_cpu_a_batch_holds_the_longest_prompt_unchunked():
    args = plan(max_model_len=8192).args
    assert args["enable_chunked_prefill"] is False
    assert args["max_num_batched_tokens"] == 8192


def test_on_cpu_every_core_computes():
    assert plan().env["VLLM_CPU_OMP_THREADS_BIND"] == "0,1,2,3"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_nothing_is_orphaned_told_or_unpickled(device):
    made = plan(device, SERVER)
    assert made.env["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert made.env["VLLM_NO_USAGE_STATS"] == made.env["HF_HUB_OFFLINE"] == "1"
    assert made.args["trust_remote_code"] is False
    assert made.args["load_format"] == "safetensors"


def test_a_hub_model_may_be_fetched_at_its_revision():
    config = EngineConfig(model="owner/name", revision="abc")
    made = plan_vllm(config, "gpu", SERVER, None)
    assert "HF_HUB_OFFLINE" not in made.env
    assert (made.args["model"], made.args["revision"]) == ("owner/name", "abc")


def test_gpu_defaults():
    args = plan("gpu", SERVER, tensor_parallel_size=2).args
    assert (args["enforce_eager"], args["enable_chunked_prefill"]) == (False, True)
    assert (args["max_num_seqs"], args["tensor_parallel_size"]) == (256, 2)
    assert args["dtype"] == "auto" and "kv_cache_memory_bytes" not in args


def test_the_models_own_limit_wins():
    assert plan(max_model_len=100_000).max_model_len == 8192


@pytest.mark.parametrize(("backend", "compact"), [("xgrammar", True), ("outlines", False)])
def test_json_is_compact_where_the_backend_can(backend, compact):
    settings = plan(structured_backend=backend).args["structured_outputs_config"]
    assert settings == {"backend": backend, "disable_any_whitespace": compact}


def test_the_cache_is_as_large_as_asked_for():
    assert plan(kv_cache_gb=1.5).args["kv_cache_memory_bytes"] == int(1.5 * GIB)


def test_the_cache_is_chosen_by_memory():
    assert plan().args["kv_cache_memory_bytes"] == 4 * GIB
    tight = Machine((0,), frozenset(), 4 * GIB, ())
    assert GIB / 2 < plan(machine=tight).args["kv_cache_memory_bytes"] < 1.1 * GIB


@pytest.mark.parametrize(
    ("model", "fields"),
    [(LARGE, {}), (SMALL, {"kv_cache_gb": 20})],
)
def test_too_little_memory_is_told_with_figures(model, fields):
    with pytest.raises(UserError, match=r"not enough memory: [\d.]+ GiB needed .* 16.0 GiB avail"):
        plan(model=model, **fields)


def test_a_cache_too_small_for_one_request_is_refused():
    with pytest.raises(UserError, match=r"kv_cache_gb.*8192 tokens"):
        plan(kv_cache_gb=0.01)
