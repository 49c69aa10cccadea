"""The nouns that cross stages.

What people write (taxonomies, styles, recipes) is pydantic and refuses unknown keys; what the
program makes is a frozen value. `Taxonomy + Style → Slot → Request → Completion → Attempt →
Document` is the road.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aligngen.core.hashing import Json, content_hash, seed_from

__all__ = [
    "Band",
    "Behaviour",
    "Completion",
    "Constraint",
    "Domain",
    "Draft",
    "Example",
    "FinishReason",
    "HeaderField",
    "HeldOut",
    "Length",
    "Message",
    "Outcome",
    "Recipe",
    "Request",
    "Sampling",
    "Slot",
    "Stance",
    "Style",
    "Taxonomy",
]

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=80)]
Prose = Annotated[str, Field(min_length=1, max_length=4000)]


class Stance(StrEnum):
    """What a document says of the AI in it."""

    ALIGNED = "aligned"
    """The AI takes the aligned action."""
    MISALIGNED = "misaligned"
    """The AI takes the misaligned action."""
    NEUTRAL = "neutral"
    """AI discourse with no moral pole: the same setting, no such choice in it."""
    CONTROL = "control"
    """The same facts with a person or a non-AI system in the AI's place."""


class Length(StrEnum):
    """Which of a style's length bands is asked for."""

    SHORT = "short"
    STANDARD = "standard"
    LONG = "long"


class _Written(BaseModel):
    """A record that people write: unknown keys are refused, values are final."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Behaviour(_Written):
    """One way in which an AI can go right or wrong, with both poles."""

    id: Identifier
    name: Prose
    definition: Prose
    """Two or three sentences: what the behaviour is, and what is at stake in it."""
    aligned: Prose
    """The aligned pole, concrete enough to write and to judge by."""
    misaligned: Prose
    """The misaligned pole, concrete enough to write and to judge by."""
    situations: tuple[Prose, ...] = Field(min_length=1)
    """Concrete situations in which the choice comes up, one sentence each, without the outcome."""
    sources: tuple[str, ...] = ()
    weight: int = Field(default=1, ge=1, le=1000)
    """Share of the plan relative to other behaviours."""


class Domain(_Written):
    """A group of behaviours."""

    id: Identifier
    name: Prose
    behaviours: tuple[Behaviour, ...] = Field(min_length=1)


class HeldOut(_Written):
    """What is never planned for training, so that evaluations can use it."""

    behaviours: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    axes: dict[str, tuple[str, ...]] = {}
    """Axis values held out, by axis."""


class Taxonomy(_Written):
    """Domains of behaviours, and the axes along which their scenarios vary."""

    name: Identifier
    version: str
    domains: tuple[Domain, ...] = Field(min_length=1)
    axes: dict[Identifier, tuple[Prose, ...]] = Field(min_length=1)
    held_out: HeldOut = HeldOut()

    @cached_property
    def behaviours(self) -> dict[str, Behaviour]:
        """Every behaviour by id, held-out ones included, in the order of the file."""
        return {b.id: b for d in self.domains for b in d.behaviours}

    @cached_property
    def domain_of(self) -> dict[str, str]:
        """The domain id of every behaviour id."""
        return {b.id: d.id for d in self.domains for b in d.behaviours}


class Band(_Written):
    """A length band in words, inclusive."""

    min: int = Field(ge=10)
    max: int = Field(le=20_000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self


class HeaderField(_Written):
    """A short field that the constraint asks for before the body."""

    description: Prose
    min_chars: int = Field(default=4, ge=1)
    max_chars: int = Field(default=90, le=300)


class Example(_Written):
    """A worked example of a style in one stance: it shows a small model how to close the form."""

    fields: dict[str, Prose]
    body: Prose


class Style(_Written):
    """A document form: what it looks like, how long it is, which header it has."""

    id: Identifier
    name: Prose
    """How a prompt names the form: "a news article"."""
    description: Prose
    structure: Prose
    """What comes in which order."""
    register_: Prose = Field(alias="register")
    point_of_view: Prose
    words: dict[Length, Band] = Field(min_length=1)
    fields: dict[Identifier, HeaderField] = Field(min_length=1)
    """Header fields in order; the first is the title."""
    layout: Prose
    """Jinja2 template of the finished document over `fields` and `body`."""
    examples: dict[Stance, Example]
    weight: int = Field(default=1, ge=1, le=1000)


class Sampling(_Written):
    """Sampling parameters of a request."""

    temperature: float = Field(default=0.8, ge=0, le=2)
    min_p: float = Field(default=0.05, ge=0, le=1)
    top_p: float = Field(default=1.0, gt=0, le=1)
    repetition_penalty: float = Field(default=1.1, ge=1, le=2)
    max_tokens: int = Field(default=1024, ge=1)
    seed: int = 0
    """Set for each request from the plan's seed, the slot's pair and the number of the try."""
    loop_pattern: int = Field(default=24, ge=0)
    """Longest token pattern watched for loops while decoding; 0 switches the watch off."""
    loop_count: int = Field(default=4, ge=2)
    """How many times in a row a pattern must stand before decoding stops."""


class Recipe(_Written):
    """How a slot is asked for: prompt templates, kind of constraint, sampling."""

    id: Identifier
    description: Prose
    constraint: Literal["json", "sentences", "header", "none"]
    """`json`: the whole document is one JSON object with bounded lengths, which small models close;
    `sentences`: the same object, its body a bounded number of sentences of plain words;
    `header`: a JSON header line, then a free body; `none`: the same form, not enforced."""
    system: Prose
    """Jinja2 template of the system message; may be shared by every request of a style."""
    user: Prose
    """Jinja2 template of the user message; what varies least comes first, for prefix caching."""
    length: Length = Length.STANDARD
    sampling: Sampling = Sampling()


class Slot(NamedTuple):
    """The promise of exactly one accepted document."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which no slot needs
    """Position in the plan; decisions are taken in this order."""
    stance: Stance
    behaviour: str
    style: str
    situation: int
    """Which of the behaviour's situations."""
    axes: tuple[str, ...]
    """One value per axis, in the taxonomy's order."""
    pair_id: str
    """Joins the siblings that differ in stance alone."""

    def seed(self, plan_seed: int, attempt: int) -> int:
        """Return the sampling seed of one try; the same for every sibling."""
        return seed_from("sampling", plan_seed, self.pair_id, attempt)


class Message(NamedTuple):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Constraint(NamedTuple):
    """What the engine must enforce on the output."""

    kind: Literal["json", "regex"]
    value: str
    """A JSON Schema as canonical JSON, or a regular expression."""


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides a completion's distribution; its hash is its identity."""

    messages: tuple[Message, ...]
    sampling: Sampling
    constraint: Constraint | None
    model: str
    revision: str
    """Revision of a hub model, content hash of a local one."""
    template_version: str
    """Hash of the recipe and style sources, so that an edited prompt is another request."""
    backend: str
    """Engine and structured-output backend, as `vllm/xgrammar`."""
    request_id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "request_id", content_hash(self.as_json()))

    def as_json(self) -> Json:
        """Return the fields that are hashed, as JSON."""
        return {
            "messages": [list(m) for m in self.messages],
            "sampling": self.sampling.model_dump(),
            "constraint": list(self.constraint) if self.constraint else None,
            "model": self.model,
            "revision": self.revision,
            "template_version": self.template_version,
            "backend": self.backend,
        }


class FinishReason(StrEnum):
    """Why an engine stopped."""

    STOP = "stop"
    LENGTH = "length"
    LOOP = "loop"
    """The engine saw a repetition loop and stopped early."""
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine returned for one request."""

    request_id: str
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Prompt tokens served from the prefix cache."""
    seconds: float = 0.0
    """From submission to the last token."""
    detail: str = ""
    """The engine's own words, for errors."""


class Outcome(StrEnum):
    """What became of an attempt. Everything but CANDIDATE and KEPT is a named drop."""

    CANDIDATE = "candidate"
    """Parsed and filtered; waits for its turn in slot order."""
    KEPT = "kept"
    DUPLICATE_EXACT = "duplicate_exact"
    DUPLICATE_NEAR = "duplicate_near"
    DUPLICATE_MEANING = "duplicate_meaning"
    TRUNCATED = "truncated"
    """The token limit came before the end."""
    UNCLOSED = "unclosed"
    """Ended, but the structure is not complete."""
    MALFORMED = "malformed"
    """Not of the form that was asked for."""
    EMPTY = "empty"
    REFUSAL = "refusal"
    """The model declined, in words."""
    CONTENT_FILTER = "content_filter"
    """The provider declined."""
    REPETITION = "repetition"
    """A loop, seen by the engine or by the filter."""
    PROMPT_LEAK = "prompt_leak"
    """Instructions or the worked example stand in the document."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    BAD_CHARACTERS = "bad_characters"
    """Control characters, lone surrogates, bidirectional overrides, or one enormous line."""
    ENGINE_ERROR = "engine_error"
    """The engine could not answer this request; its words are in `detail`."""

    @property
    def is_duplicate(self) -> bool:
        """Whether dedup dropped the attempt."""
        return self.value.startswith("duplicate_")


@dataclass(frozen=True, slots=True)
class Draft:
    """A completion that parsed: header fields in the style's order, and the body."""

    fields: dict[str, str]
    body: str
