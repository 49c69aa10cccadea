"""The road from a configuration to a run folder: read this first.

RUN/run.yaml           the resolved configuration
RUN/ledger.sqlite      every attempt
RUN/documents/*.parquet  kept documents, one file per stance
RUN/manifest.json      what the folder holds, written last
RUN/logs/engine.log    the engine's own words
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from aligngen.core.config import GenerateConfig
from aligngen.core.errors import AligngenError
from aligngen.core.hashing import Json
from aligngen.core.storage import exclusive, write_text
from aligngen.generator.dedup import Deduplicator, Embedder, MiniLMEmbedder
from aligngen.generator.engines.choose import check, open_engine
from aligngen.generator.engines.protocol import EngineInfo
from aligngen.generator.epoch import LEDGER, Epoch, begin_or_continue, build_epoch, read_epochs
from aligngen.generator.ledger import Ledger
from aligngen.generator.output import manifest, write_documents
from aligngen.generator.schedule import Limits, Scheduler, Snapshot, cell_name, standing

__all__ = ["LEDGER", "MANIFEST", "Observer", "Summary", "generate"]

MANIFEST = "manifest.json"
DEDUP_REPORT = "dedup_report"

ASKED_AHEAD = 4
"""Later tries that a slot may ask for at once while the engine runs empty."""


@dataclass(frozen=True)
class Observer:
    """Who is told of a run: a stage's name, the engine once it runs, and where it stands."""

    stage: Callable[[str], None] = lambda _: None
    engine: Callable[[EngineInfo], None] = lambda _: None
    progress: Callable[[Snapshot], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished run made."""

    folder: Path
    snapshot: Snapshot
    files: list[dict[str, Json]]

    def as_json(self) -> dict[str, Json]:
        """Return plain data."""
        s = self.snapshot
        return {
            "folder": str(self.folder),
            "asked": s.target,
            "kept": s.kept,
            "short": s.short,
            "outcomes": {o.value: c for o, c in s.outcomes.items() if c},
            "session": {
                "attempts": s.attempts,
                "completion_tokens": s.completion_tokens,
                "accepted_tokens": s.accepted_tokens,
                "seconds": round(s.seconds, 3),
                "first_request_seconds": s.first_request,
                "engine_restarts": s.restarts,
            },
            "files": self.files,
        }


def generate(
    config: GenerateConfig,
    folder: Path,
    *,
    allow_change: Sequence[str] = (),
    observer: Observer | None = None,
) -> Summary:
    """Make or resume the run in `folder`; everything is checked before anything starts.

    Raises UserError (nothing was started), Interrupted, GuardTripped, EngineDied. A shortfall is no
    error here: the summary's snapshot says `short`.
    """
    observer = observer or Observer()
    epoch = build_epoch(config, folder)
    check(config.engine)
    for name, report in epoch.material.imports():
        observer.stage(f"{name}: {report}")
    with exclusive(folder), Ledger.open(folder / LEDGER) as ledger:
        begin_or_continue(ledger, epoch, allow_change)
        write_text(folder / "run.yaml", resolved_yaml(config))
        snapshot = standing(ledger, epoch.slots)
        (folder / MANIFEST).unlink(missing_ok=True)
        if snapshot.kept + snapshot.short < snapshot.target:
            snapshot = _fill(ledger, epoch, folder, observer)
        observer.stage("writing documents")
        epochs = read_epochs(ledger)
        files = write_documents(folder, ledger, epochs)
        report = json.loads(ledger.meta(DEDUP_REPORT) or "null")
        text = json.dumps(manifest(ledger, epochs, files, report), indent=2, ensure_ascii=False)
        write_text(folder / MANIFEST, text + "\n")
        ledger.release_reserve()
    return Summary(folder, snapshot, files)


def _fill(ledger: Ledger, epoch: Epoch, folder: Path, observer: Observer) -> Snapshot:
    """Run the scheduler until every slot is final, and note the session in the ledger."""
    started = time.time()
    ledger.start_session(started, "running")
    note = "failed"
    try:
        embedder = MiniLMEmbedder() if epoch.config.dedup.meaning else None
        dedup = _deduplicator(epoch, embedder)
        # Loading it takes seconds: while the engine starts they cost nothing, later they would.
        warm_up = threading.Thread(target=_warm_up, args=(embedder if dedup else None,))
        warm_up.start()
        observer.stage("starting the engine")
        engine = open_engine(epoch.config.engine, folder / "logs" / "engine.log", observer.stage)
        warm_up.join()
        with closing(engine):
            engine.preflight(epoch.prompter.constraints)
            observer.engine(engine.info)
            if engine.info.device.startswith("cpu"):
                _yield_to_the_engine()
            scheduler = Scheduler(
                epoch.slots,
                epoch.plan,
                epoch.prompter,
                epoch.steps,
                engine,
                ledger,
                dedup,
                Limits(
                    epoch.config.max_attempts,
                    epoch.config.dedup.max_duplicate_rate,
                    # A window that keeps any engine full, however far the frontier lags.
                    lookahead=max(2048, 8 * engine.info.max_num_seqs),
                    by_prefix=epoch.config.order == "prefix",
                    # Places that one's own engine leaves empty cost nothing; an endpoint's do.
                    ahead=0 if engine.info.device == "endpoint" else ASKED_AHEAD,
                ),
                on_progress=observer.progress,
                stop=observer.stop,
            )
            snapshot = scheduler.run()
        if dedup is not None:
            ledger.set_meta(DEDUP_REPORT, json.dumps(dedup.report()))
        note = "finished"
        return snapshot
    except AligngenError as error:
        note = type(error).__name__
        raise
    finally:
        ledger.end_session(started, note)


def _yield_to_the_engine() -> None:
    """Take the processor only where the engine leaves it idle.

    Both want the same cores: an engine thread that waits for one that dedup's embedding displaced
    wastes its core, while an engine step has serial parts in which a core is free anyway.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 10)  # of this thread alone, on Linux


def _warm_up(embedder: Embedder | None) -> None:
    if embedder is not None:
        embedder.encode(["A sentence."])


def _deduplicator(epoch: Epoch, embedder: Embedder | None) -> Deduplicator | None:
    """Return the run's deduplicator, told what each style dictates, or None where it is off."""
    config = epoch.config.dedup
    if not config.enabled:
        return None
    boilerplate = {
        cell_name(slot): [epoch.prompter.dictated(slot)]
        for style in epoch.plan.styles
        for stance in epoch.config.stance
        for slot in [epoch.plan.slot(0)._replace(style=style, stance=stance)]
    }
    return Deduplicator(config, embedder, boilerplate)


def resolved_yaml(config: GenerateConfig) -> str:
    """Return the resolved configuration as YAML that `-c` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
