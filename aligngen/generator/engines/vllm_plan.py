"""How vLLM is started: a pure function of the machine, the model and the configuration.

In: `EngineConfig`, `Machine`, `ModelFolder`. Out: the environment, set before vLLM is imported, and
the keyword arguments of vLLM's `EngineArgs`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.engines.hardware import Machine
from aligngen.generator.engines.model_folder import ModelFolder

__all__ = ["QUIET", "VllmPlan", "default_max_num_seqs", "plan_vllm"]

QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Switches off the telemetry of everything an engine process imports."""

_GIB = 2**30
_BASE_BYTES = int(1.5 * _GIB)
"""What torch, vLLM and the activations of a small model take beside weights and KV cache."""
_KV_MAX = 4 * _GIB
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

ArgValue = str | int | float | bool | dict[str, str | bool]


@dataclass(frozen=True, slots=True)
class VllmPlan:
    """Everything that starts vLLM."""

    device: Literal["cpu", "gpu"]
    env: dict[str, str]
    args: dict[str, ArgValue]
    dtype: str
    max_model_len: int
    max_num_seqs: int


def default_max_num_seqs(config: EngineConfig, device: Literal["cpu", "gpu"]) -> int:
    """Return how many requests are decoded together."""
    return config.max_num_seqs or (64 if device == "cpu" else 256)


def plan_vllm(
    config: EngineConfig,
    device: Literal["cpu", "gpu"],
    machine: Machine,
    model: ModelFolder | None,
) -> VllmPlan:
    """Return how to start vLLM; `model` is None for a hub id, whose sizes are not known yet.

    Raises a UserError where the memory can't hold weights and KV cache.
    """
    seqs = default_max_num_seqs(config, device)
    length = min(config.max_model_len, model.max_len) if model and model.max_len else 0
    length = length or config.max_model_len
    env = {**QUIET, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "WARNING"}
    if model is not None:
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    args: dict[str, ArgValue] = {
        "model": str(model.path) if model else config.model,
        "max_model_len": length,
        "max_num_seqs": seqs,
        "enable_prefix_caching": config.prefix_caching,
        "load_format": "safetensors",  # Never pickles, from a hub either.
        "trust_remote_code": False,
        "disable_log_stats": True,
        "generation_config": "vllm",  # Else the model's file overrides our sampling silently.
        "structured_outputs_config": _structured(config.structured_backend),
    }
    if model is None and config.revision:
        args["revision"] = config.revision
    match device:
        case "cpu":
            dtype = _cpu_dtype(config, machine)
            args |= _cpu_args(config, machine, model, dtype, length, seqs)
            env |= _cpu_env(machine)
        case "gpu":
            dtype = config.dtype
            args |= _gpu_args(config)
            env |= {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    args["dtype"] = dtype
    return VllmPlan(device, env, args, dtype, length, seqs)


def _structured(backend: str) -> dict[str, str | bool]:
    # Compact JSON: small models otherwise loop on whitespace, which every grammar allows.
    compact = backend in ("xgrammar", "guidance")
    return {"backend": backend, "disable_any_whitespace": compact}


def _cpu_dtype(config: EngineConfig, machine: Machine) -> str:
    if config.dtype != "auto":
        return config.dtype
    return "bfloat16" if machine.has_bf16 else "float32"


def _cpu_env(machine: Machine) -> dict[str, str]:
    cores = ",".join(map(str, machine.cores))
    # "auto" leaves one thread of two on a small machine.
    return {"VLLM_CPU_OMP_THREADS_BIND": cores}


def _cpu_args(
    config: EngineConfig,
    machine: Machine,
    model: ModelFolder | None,
    dtype: str,
    length: int,
    seqs: int,
) -> dict[str, ArgValue]:
    return {
        "enforce_eager": True,  # A cold torch.compile takes minutes.
        "distributed_executor_backend": "uni",
        # A seeded request kills the engine under chunked prefill: "CPU Generator does not use
        # offset". Without it a batch must hold the longest prompt.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(4096, length),
        "kv_cache_memory_bytes": _kv_bytes(config, machine, model, dtype, length, seqs),
    }


def _gpu_args(config: EngineConfig) -> dict[str, ArgValue]:
    return {
        "enforce_eager": False,
        "enable_chunked_prefill": True,
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "tensor_parallel_size": config.tensor_parallel_size,
    }


def _kv_bytes(
    config: EngineConfig,
    machine: Machine,
    model: ModelFolder | None,
    dtype: str,
    length: int,
    seqs: int,
) -> int:
    """Return the size of the KV cache: as asked for, or what the requests can use and fits."""
    if model is None or not model.kv_items_per_token:
        return int(config.kv_cache_gb * _GIB) or 2 * _GIB
    one = model.kv_items_per_token * _BYTES[dtype] * (length + 256)  # And a partial block or two.
    weights = model.floats * _BYTES[dtype] + model.other_bytes
    spare = machine.memory - weights - _BASE_BYTES
    if config.kv_cache_gb:
        wanted = int(config.kv_cache_gb * _GIB)
        if wanted < one:
            raise UserError(
                f"{config.kv_cache_gb} GiB can't hold one request of {length} tokens, which takes "
                f"{_gib(one)}",
                remedy="Raise it, or lower engine.max_model_len.",
                field="engine.kv_cache_gb",
            )
    else:
        wanted = max(one, min(_KV_MAX, seqs * one, spare // 2))
    if wanted > spare:
        raise _too_small(machine, model.path, weights, wanted)
    return wanted


def _too_small(machine: Machine, model: Path, weights: int, kv_cache: int) -> UserError:
    need = weights + kv_cache + _BASE_BYTES
    return UserError(
        f"not enough memory: {_gib(need)} needed ({_gib(weights)} weights, {_gib(kv_cache)} KV "
        f"cache, {_gib(_BASE_BYTES)} for the rest), {_gib(machine.memory)} available",
        remedy="Take a smaller model, lower engine.max_model_len or engine.kv_cache_gb, "
        "or close other programs.",
        file=model,
        field="engine.model",
    )


def _gib(size: int) -> str:
    return f"{math.ceil(size / _GIB * 10) / 10:.1f} GiB"
