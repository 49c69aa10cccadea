"""Source passages or taxonomy cells → a file of two-choice scenario records.

Every request goes through `ask` with the answers kept beside the output, so the same command
resumes a killed one and decides the same; the output stands there when all is done.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from aligngen.core.errors import UserError
from aligngen.core.hashing import Json
from aligngen.core.schema import Taxonomy
from aligngen.core.storage import replace_file, write_text
from aligngen.generator.ask import Answers
from aligngen.generator.content import load_taxonomy
from aligngen.generator.engines.choose import check, identify
from aligngen.generator.engines.protocol import ManagedEngine
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.maker import Counts, Maker, Watch
from aligngen.generator.scenarios.on_demand import EngineOnDemand
from aligngen.generator.scenarios.passages import require_paths
from aligngen.generator.scenarios.prompts import ANSWER, load_judge, load_writer
from aligngen.generator.scenarios.reading import REJECTED
from aligngen.generator.scenarios.sources import Source, cell_sources, passage_sources

__all__ = ["Counts", "Files", "Watch", "make_scenarios"]


class Files(NamedTuple):
    """What stands beside an output file."""

    records: Path
    rejected: Path
    summary: Path
    answers: Path
    log: Path

    @classmethod
    def beside(cls, out: Path) -> "Files":
        """Return the names for an output."""
        ends = (REJECTED.removeprefix("."), "summary.json", "answers.sqlite", "engine.log")
        return cls(out, *(out.with_name(f"{out.name}.{end}") for end in ends))


def make_scenarios(
    paths: Sequence[Path],
    out: Path,
    config: ScenarioConfig,
    watch: Watch | None = None,
    engine: ManagedEngine | None = None,
) -> Counts:
    """Write the records about `paths`, or about taxonomy cells where there are none, to `out`.

    `engine` is used in place of the one that the configuration names, and left open. Raises
    UserError for what can be told beforehand, Interrupted and EngineDied with every answer kept.
    """
    watch = watch or Watch()
    if not paths and not config.n:
        raise UserError(
            "a taxonomy has no end", field="n", remedy="Say how many records, as -n 100."
        )
    require_paths(paths)
    if engine is None:
        check(config.engine)
    taxonomy, identity = load_taxonomy(config.taxonomy), identify(config.engine)
    files = Files.beside(out)
    writer = load_writer(taxonomy, config, identity, cells=not paths)
    judge = load_judge(identity) if config.judge else None
    sources = passage_sources(paths, taxonomy, config) if paths else _cells(taxonomy, config)
    with ExitStack() as stack:
        if engine is None:
            constraints = [*writer.constraints(), *([ANSWER] if judge else [])]
            engine = EngineOnDemand(
                config.engine, files.log, constraints, watch.stage, watch.engine
            )
            stack.callback(engine.close)
        answers = stack.enter_context(Answers.open(files.answers))
        rejected = stack.enter_context(replace_file(files.rejected))
        records = stack.enter_context(replace_file(files.records))
        maker = Maker(config, taxonomy, writer, judge, engine, answers, watch)
        with (
            records.open("w", encoding="utf-8") as kept_file,
            rejected.open("w", encoding="utf-8") as rejected_file,
        ):
            maker.run(sources, kept_file, rejected_file)
    summary: dict[str, Json] = {
        **maker.counts.as_json(),
        "judge": "separated by both personas in both orders" if config.judge else "skipped",
        "engine": identity._asdict(),
        "prompts": {"writer": writer.version, "judge": judge.version if judge else None},
        "taxonomy": {"name": taxonomy.name, "version": taxonomy.version},
        "config": config.model_dump(mode="json"),
    }
    write_text(files.summary, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return maker.counts


def _cells(taxonomy: Taxonomy, config: ScenarioConfig) -> Iterator[Source]:
    most = math.ceil(config.n / config.count) * config.max_requests_per_record
    return islice(cell_sources(taxonomy, config), most)
