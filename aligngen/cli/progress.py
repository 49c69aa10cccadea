"""What a person sees of a run: a live display on a terminal, plain lines elsewhere, a summary."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from aligngen.core.config import GenerateConfig
from aligngen.core.schema import Outcome
from aligngen.generator.engines.protocol import EngineInfo
from aligngen.generator.run import Summary
from aligngen.generator.schedule import Snapshot

__all__ = ["EMBEDDED_NOTICE", "Display", "drops", "duration", "print_summary"]

EMBEDDED_NOTICE = (
    "The embedded model has 135 million parameters. It proves the machinery; its documents are no "
    "research data. Name a capable model with --model."
)
PLAIN_SECONDS = 10.0
FROM_EMBEDDED = "about seven minutes for the default 96 documents on two idle cores"


class Display:
    """Shows stages and progress on stderr."""

    def __init__(self, config: GenerateConfig, folder: Path | None, *, quiet: bool) -> None:
        self._config, self._folder, self._quiet = config, folder, quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("[bold]{task.completed}/{task.total}[/] documents"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=config.n)
        self._live: Live | None = None
        self._last_line = 0.0
        self._last_restarts = 0

    def __enter__(self) -> Self:
        """Say what is about to happen."""
        if not self._quiet:
            stances = " and ".join(self._config.stance)
            where = f" in [bold]{self._folder}[/]" if self._folder else ""
            self._say(f"{self._config.n} {stances} documents{where}")
            if self._config.engine.model == "embedded":
                self._say(f"[yellow]{EMBEDDED_NOTICE}[/]")
                if self._folder:
                    self._say(
                        f"[dim]expect {FROM_EMBEDDED}; Ctrl-C stops, the same command resumes[/]"
                    )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def stage(self, name: str) -> None:
        """Show that a stage begins."""
        if not self._quiet:
            self._say(f"[cyan]›[/] {name}")

    def engine(self, info: EngineInfo) -> None:
        """Show which engine runs."""
        if not self._quiet:
            self._say(
                f"[cyan]›[/] {info.identity.model} on {info.device}, {info.dtype}, "
                f"{info.identity.backend}, {info.max_num_seqs} at a time, "
                f"ready after {info.startup_seconds:.0f} s"
            )
            for name in info.not_sent:
                self._say(f"[yellow]the endpoint does not take {name}; it is not sent[/]")

    def progress(self, s: Snapshot) -> None:
        """Show where the run stands."""
        if self._quiet:
            return
        if s.restarts > self._last_restarts:
            self._last_restarts = s.restarts
            self._say(f"[yellow]{s.message}[/]")
        if self._console.is_terminal:
            self._bar.update(self._task, completed=s.kept, total=s.target)
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4)
                self._live.start()
            self._live.update(Group(self._bar, Text(rates(s)), Text(drops(s), style="dim")))
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self._say(f"{s.kept}/{s.target} documents · {rates(s)} · {drops(s)}")

    def _say(self, text: str) -> None:
        console = self._live.console if self._live else self._console
        console.print(text, soft_wrap=True)


def rates(s: Snapshot) -> str:
    """Return speed and expected end of a run in words."""
    if not s.seconds or not s.attempts:
        return f"{s.in_flight} in flight"
    text = (
        f"{s.completion_tokens / s.seconds:,.0f} tokens/s, "
        f"{s.accepted_tokens / s.seconds:,.0f} accepted/s, {s.in_flight} in flight, "
        f"{s.waiting} waiting for their turn"
    )
    left = s.target - s.kept - s.short - s.waiting
    taken = sum(s.outcomes[o] for o in (Outcome.KEPT, Outcome.CANDIDATE))
    if taken:
        per_document = sum(s.outcomes.values()) / taken * s.seconds / s.attempts
        text += f", about {duration(per_document * left)} left"
    return text


def drops(s: Snapshot) -> str:
    """Return every drop with its count."""
    named = [
        f"{o.value} {c}"
        for o, c in s.outcomes.most_common()
        if c and o not in (Outcome.KEPT, Outcome.CANDIDATE, Outcome.STEP)
    ]
    return "dropped: " + (", ".join(named) or "none")


def duration(seconds: float) -> str:
    """Return a time in words."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def print_summary(config: GenerateConfig, summary: Summary) -> None:
    """Print what was made, where it is, and what to run next."""
    console, s = Console(highlight=False), summary.snapshot
    table = Table(title=f"{s.kept} of {s.target} documents", title_justify="left")
    for column in ("file", "documents", "tokens"):
        table.add_column(column, justify="left" if column == "file" else "right")
    for file in summary.files:
        table.add_row(
            str(summary.folder / str(file["file"])),
            f"{file['documents']:,}",
            f"{file['completion_tokens']:,}",
        )
    console.print(table)
    console.print(f"{sum(s.outcomes.values())} attempts; {drops(s)}")
    if s.seconds:
        console.print(f"this session: {duration(s.seconds)} after the engine was ready, {rates(s)}")
    if config.engine.model == "embedded":
        console.print(f"[yellow]{EMBEDDED_NOTICE}[/]")
    console.print(
        f"Next: [bold]aligngen show {summary.folder}[/] to read them, "
        f"[bold]aligngen status {summary.folder}[/] for the counts by cell, "
        f"[bold]aligngen audit {summary.folder}[/] for what repeats itself."
    )
