"""Planning speed on one core, and peak memory from 10⁴ to 10⁷ slots.

python -m benchmarks.plan
"""

import json
import resource
import sys
import time

from aligngen.core.schema import Stance
from aligngen.generator.content import load_styles, load_taxonomy
from aligngen.generator.plan import make_plan
from benchmarks.machine import child, save

COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)


def measure(n: int) -> dict[str, float]:
    plan = make_plan(load_taxonomy(), load_styles(), (Stance.ALIGNED, Stance.MISALIGNED), seed=0)
    started, count = time.perf_counter(), 0
    for _ in plan.slots(range(n)):
        count += 1
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"slots": count, "slots_per_second": round(n / seconds), "peak_mib": round(peak, 1)}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        save("plan", {"runs": [child(str(n)) for n in COUNTS]})
