"""The errors a user can meet, and the exit code of each.

AligngenError            2  ours: a bug, please report it
├── UserError            1  something the user gave is wrong; the message names it and the remedy
├── EngineDied           2  the engine process is gone and could not be brought back
├── QuotaNotMet          3  finished, but fewer documents than asked for
├── GuardTripped         3  a guard stopped the run (duplicate rate)
└── Interrupted        130  SIGINT or SIGTERM; the same command resumes
"""

from pathlib import Path

__all__ = [
    "AligngenError",
    "EngineDied",
    "GuardTripped",
    "Interrupted",
    "QuotaNotMet",
    "UserError",
]


class AligngenError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 2


class UserError(AligngenError):
    """Something the user gave is wrong; nothing was started.

    The message has one shape, `FILE:LINE: FIELD: what is wrong, the value. Remedy.`, of which the
    parts that are known are printed.
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        remedy: str = "",
        file: str | Path | None = None,
        line: int | None = None,
        field: str = "",
    ) -> None:
        place = "" if file is None else f"{file}:{line}: " if line else f"{file}: "
        text = place + (f"{field}: " if field else "") + problem
        super().__init__(f"{text.rstrip('.')}. {remedy}".strip() if remedy else text)
        self.file, self.line, self.field, self.remedy = file, line, field, remedy


class EngineDied(AligngenError):
    """The engine process ended; its unfinished requests go back into the queue."""


class QuotaNotMet(AligngenError):
    """The run finished with fewer documents than asked for; the shortfall is reported by reason."""

    exit_code = 3


class GuardTripped(AligngenError):
    """A guard stopped the run before it wasted more work, or a gate asked for was not passed."""

    exit_code = 3


class Interrupted(AligngenError):
    """SIGINT or SIGTERM arrived; everything finished is on disk."""

    exit_code = 130
