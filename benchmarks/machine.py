"""What a result was measured on, and where results go."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, object]:
    """Describe this machine."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((x.split(":")[1].strip() for x in info.split("\n") if "model name" in x), "?")
    flags = next((x.split(":")[1].split() for x in info.split("\n") if x.startswith("flags")), [])
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "features": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def save(name: str, result: dict[str, object]) -> None:
    """Write a result with the command and machine beside it."""
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(
        json.dumps({"command": command, "machine": machine(), **result}, indent=2) + "\n"
    )
    sys.stdout.write(json.dumps(result, indent=2) + f"\n{path}\n")


def child(*arguments: str) -> dict[str, object]:
    """Run this benchmark again in a fresh process and return the JSON of its last line."""
    module = f"benchmarks.{Path(sys.argv[0]).stem}"
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.strip().split("\n")[-1])
