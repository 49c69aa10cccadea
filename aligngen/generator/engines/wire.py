"""What the engine's child process and its parent say to each other.

Both ends are this program and the pipe has no name, so messages are plain pickles.
"""

from dataclasses import dataclass

from aligngen.core.config import EngineConfig
from aligngen.core.schema import Completion, Constraint, Request
from aligngen.generator.engines.protocol import EngineInfo

__all__ = [
    "BEAT_SECONDS",
    "Beat",
    "Checked",
    "Close",
    "Done",
    "FromChild",
    "FromParent",
    "Gone",
    "Preflight",
    "Progress",
    "Ready",
    "Refused",
    "Start",
    "Submit",
]

BEAT_SECONDS = 5.0
"""How often a child that has nothing else to say shows that it still moves."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start this engine; always the first message."""

    config: EngineConfig


@dataclass(frozen=True, slots=True)
class Submit:
    """Queue this request."""

    request: Request


@dataclass(frozen=True, slots=True)
class Preflight:
    """Check these constraints."""

    constraints: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class Close:
    """Stop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the engine is doing while it starts."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine takes requests."""

    info: EngineInfo
    room: int
    """How many requests it takes at once, waiting ones included."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The user's error, in the words of the UserError that the child raised."""

    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The preflight is through; `problem` is empty where all constraints can be enforced."""

    problem: str


@dataclass(frozen=True, slots=True)
class Done:
    """Finished requests."""

    completions: list[Completion]


@dataclass(frozen=True, slots=True)
class Beat:
    """The main loop turns."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The pipe closed: the child ended. Made by the parent's reader, never sent."""


FromParent = Start | Submit | Preflight | Close
FromChild = Progress | Ready | Refused | Checked | Done | Beat | Gone
