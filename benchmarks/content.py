"""What the plan, styles, factors and steps give against one prompt asked again and again.

    python -m benchmarks.content -n 96

Makes matched siblings with the embedded model in this machine's engine, then as many documents from
the single prompt of their first news article, filtered alike, and compares both at equal count.
Embedded documents prove the machinery and say nothing of a research corpus.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aligngen.core.config import DedupConfig, GenerateConfig
from aligngen.core.schema import Draft, Outcome, Slot, Stance
from aligngen.generator.audit import DocumentSource, audit, compare, open_source
from aligngen.generator.epoch import Epoch, build_epoch, read_epochs
from aligngen.generator.ledger import Ledger
from aligngen.generator.parse import Rejected
from aligngen.generator.prompt import NO_PAGE, render_document
from aligngen.generator.run import generate
from benchmarks.machine import save

STANCES = (Stance.ALIGNED, Stance.MISALIGNED)


def configuration(n: int) -> GenerateConfig:
    return GenerateConfig(stance=STANCES, n=n, dedup=DedupConfig(max_duplicate_rate=1.0))


def counts(folder: Path) -> dict[str, object]:
    """Return acceptance by style and stance, and attempts per document."""
    with Ledger.read(folder / "ledger.sqlite") as ledger:
        epoch = next(iter(read_epochs(ledger).values()))
        slots = {s.index: s for s in epoch.plan.slots(epoch.slots)}
        tries: Counter[str] = Counter()
        kept: Counter[str] = Counter()
        outcomes: Counter[str] = Counter()
        for attempt in ledger.attempts():
            slot = slots[attempt.slot]
            outcomes[attempt.outcome.value] += 1
            if attempt.outcome is Outcome.SURPLUS:
                continue
            for name in (slot.style, slot.stance.value):
                tries[name] += 1
                kept[name] += attempt.outcome is Outcome.KEPT
        seconds = sum((end or start) - start for start, end, _ in ledger.sessions())
    total = sum(outcomes.values()) - outcomes["surplus"]
    return {
        "seconds": round(seconds, 1),
        "outcomes": dict(outcomes),
        "attempts_per_document": round(total / max(outcomes["kept"], 1), 2),
        "acceptance": {name: round(kept[name] / tries[name], 3) for name in sorted(tries)},
    }


def single_slot(epoch: Epoch) -> Slot:
    """Return the slot whose prompt is asked again and again: the first news article."""
    return next(s for s in epoch.plan.slots(epoch.slots) if s.style == "news_article")


def one_prompt(epoch: Epoch, n: int) -> Iterator[Draft]:
    """Yield `n` documents of one prompt, with another seed each time."""
    from aligngen.generator.engines.vllm import VllmEngine

    engine = VllmEngine(epoch.config.engine, lambda _: None)
    engine.preflight(epoch.prompter.constraints)
    slot, made, asked, waiting = single_slot(epoch), 0, 0, 0
    while made < n:
        while engine.room and waiting < 64:
            engine.submit(epoch.prompter.request(slot, asked))
            asked, waiting = asked + 1, waiting + 1
        for completion in engine.poll(1.0):
            waiting -= 1
            result = epoch.steps.read(slot, 0, completion, {})
            if not isinstance(result, Rejected) and isinstance(result.output, Draft) and made < n:
                made += 1
                yield result.output
    engine.close()


def write_texts(path: Path, texts: Iterable[str]) -> DocumentSource:
    pq.write_table(pa.table({"text": list(texts)}), path)
    return open_source([path])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=96)
    parser.add_argument("--run", type=Path, help="Where the run is kept, or stands already.")
    args = parser.parse_args()
    config = configuration(args.n)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = args.run or scratch / "run"
        generate(config, folder)
        files = sorted(folder.glob("documents/*.parquet"))
        texts = [row["text"] for f in files for row in pq.read_table(f).to_pylist()]
        epoch = build_epoch(config, scratch)
        style = epoch.content.styles[single_slot(epoch).style]
        drafts = one_prompt(epoch, len(texts))
        single = write_texts(
            scratch / "single.parquet", (render_document(style, d, NO_PAGE) for d in drafts)
        )
        planned = write_texts(scratch / "planned.parquet", texts)
        result = {
            "documents": len(texts),
            **counts(folder),
            "planned_over_one_prompt": compare(planned, single, len(texts)).as_json(),
            "audit": audit(open_source([folder])).as_json(),
        }
        save("content", result)


if __name__ == "__main__":
    main()
