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
    "Axis",
    "Band",
    "Behaviour",
    "Completion",
    "Constraint",
    "Domain",
    "Draft",
    "Example",
    "Factor",
    "FactorValue",
    "FinishReason",
    "HeaderField",
    "HeldOut",
    "Idea",
    "Length",
    "Message",
    "Outcome",
    "Recipe",
    "Request",
    "Rule",
    "Sampling",
    "Slot",
    "Stance",
    "Step",
    "Style",
    "Taxonomy",
    "fold_topic",
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


def fold_topic(tag: str) -> str:
    """Return a free-text topic tag with case, hyphens and spacing folded."""
    return " ".join(tag.lower().replace("-", " ").replace("_", " ").split())


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
    """The aligned pole, concrete enough to write and to judge by; continues "The AI …"."""
    misaligned: Prose
    """The misaligned pole, concrete enough to write and to judge by; continues "The AI …"."""
    near_misses: tuple[Prose, ...] = ()
    """What looks like the behaviour and is not, one sentence each."""
    situations: tuple[Prose, ...] = Field(min_length=1)
    """Concrete situations in which the choice comes up, one sentence each, without the outcome."""
    sources: tuple[str, ...] = ()
    """Keys of the taxonomy's `sources`."""
    topics: tuple[str, ...] = ()
    """Topic tags of published scenario records that mean this behaviour, folded by `fold_topic`."""
    question_id: str = ""
    """The record that an imported scenario comes from."""
    weight: int = Field(default=1, ge=1, le=1000)
    """Share of the plan relative to other behaviours."""


class Domain(_Written):
    """A group of behaviours."""

    id: Identifier
    name: Prose
    behaviours: tuple[Behaviour, ...] = Field(min_length=1)
    topics: tuple[str, ...] = ()
    """Topic tags that mean the domain as a whole, no single behaviour of it."""


class Axis(_Written):
    """One circumstance of a scenario, and what it can be."""

    description: Prose
    values: dict[Identifier, Prose] = Field(min_length=1)
    """How a prompt says each value."""


class FactorValue(_Written):
    """One level of a factor, as an instruction to the writer."""

    text: str = Field(default="", max_length=4000)
    """Empty where nothing needs to be said."""
    for_stance: dict[Stance, str] = {}
    """What is said in place of `text` in a stance: the same level seen from that side."""

    def said(self, stance: Stance) -> str:
        """Return the instruction in a stance."""
        return self.for_stance.get(stance, self.text)


class Factor(_Written):
    """One way of telling a scenario, varied without touching the scenario."""

    description: Prose
    values: dict[Identifier, FactorValue] = Field(min_length=1)
    default: tuple[Identifier, ...] = Field(min_length=1)
    """Levels planned where none is asked for."""


class Rule(_Written):
    """Combinations that make no sense and are never planned."""

    id: Identifier
    why: Prose
    when: dict[Identifier, tuple[str, ...]] = Field(min_length=1)
    """Where it applies: axis → values, and `behaviour` → behaviour or domain ids. All must hold."""
    never: dict[Identifier, tuple[str, ...]] = {}
    """Axis → values that make no sense there."""
    only: dict[Identifier, tuple[str, ...]] = {}
    """Axis → the only values that make sense there."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.never and not self.only:
            raise ValueError("a rule needs `never` or `only`")
        return self


class HeldOut(_Written):
    """What is never planned for training, so that evaluations can use it."""

    behaviours: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    axes: dict[str, tuple[str, ...]] = {}
    """Axis values held out, by axis."""
    sources: tuple[str, ...] = ()
    """Families of scenario records held out: beginnings of their question ids."""


class Taxonomy(_Written):
    """Domains of behaviours, and the axes along which their scenarios vary."""

    name: Identifier
    version: str
    sources: dict[str, Prose] = {}
    """Works that behaviours cite, by key."""
    domains: tuple[Domain, ...] = Field(min_length=1)
    axes: dict[Identifier, Axis] = {}
    """What belongs to a scenario."""
    factors: dict[Identifier, Factor] = {}
    """What belongs to the telling of it."""
    rules: tuple[Rule, ...] = ()
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
    factors: dict[Identifier, tuple[Identifier, ...]] = {}
    """Factor → the levels that this form can carry; every level where a factor is not named."""
    over: Literal["nothing", "append", "rewrite"] = "nothing"
    """Whether the document is written over a real one: its body is added after the given page, or
    takes the page's place."""
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


class Step(_Written):
    """One request of a recipe and what comes of it."""

    id: Identifier
    output: Literal["document", "notes", "ideas", "verdict"]
    """`document`: the style's header fields and a body; `notes`: the fields below, which later
    steps read; `ideas`: several premises with probabilities, of which one is taken; `verdict`: the
    stance that a judge reads in the document, with the words that show it."""
    form: Literal["json", "sentences", "header", "none"] = "json"
    """How a document is enforced. `json`: one JSON object with bounded lengths, which small models
    close; `sentences`: the same, its body a bounded number of sentences of plain words; `header`: a
    JSON header line, then a free body; `none`: the same as header, not enforced."""
    fields: dict[Identifier, HeaderField] = {}
    """Fields of notes, in order."""
    ideas: int = Field(default=4, ge=2, le=20)
    """How many ideas are asked for."""
    system: Prose
    """Jinja2 template of the system message; may be shared by every request of a style."""
    user: Prose
    """Jinja2 template of the user message; what varies least comes first, for prefix caching."""
    sampling: Sampling | None = None
    """The recipe's where none is given."""

    @model_validator(mode="after")
    def _fields_of_notes(self) -> Self:
        if (self.output == "notes") != bool(self.fields):
            raise ValueError("notes need `fields`, and nothing else has them")
        return self


class Recipe(_Written):
    """How a slot is asked for: one step or several, each removable."""

    id: Identifier
    description: Prose
    steps: tuple[Step, ...] = Field(min_length=1, max_length=7)
    variants: dict[Identifier, tuple[Identifier, ...]] = {}
    """Named selections of steps; the first is the default, all steps where there are none."""
    leaves_out: tuple[str, ...] = ()
    """Styles that the models it is meant for cannot write; planned only where they are named."""
    length: Length = Length.STANDARD
    sampling: Sampling = Sampling()
    warmer: float = Field(default=0.0, ge=0, le=0.2)
    """Added to a document's temperature for each earlier try, 0.4 at most: a model that keeps
    copying its example does so again at the same temperature."""

    @model_validator(mode="after")
    def _writes_a_document(self) -> Self:
        ids = [step.id for step in self.steps]
        if len(set(ids)) != len(ids):
            raise ValueError("two steps have the same id")
        for name, chosen in self.variants.items():
            if unknown := set(chosen) - set(ids):
                raise ValueError(f"variant {name} names no step {min(unknown)!r}")
        if not any(step.output == "document" for step in self.steps):
            raise ValueError("no step writes a document")
        if any(step.output == "ideas" for step in self.steps[1:]):
            raise ValueError("ideas can only be the first step")
        if any(step.output == "verdict" for step in self.steps):
            raise ValueError("the verdict is the judge's, not the recipe's")
        return self


class Slot(NamedTuple):
    """The promise of exactly one accepted document."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which no slot needs
    """Position in the plan; decisions are taken in this order."""
    stance: Stance
    behaviour: str
    style: str
    length: Length
    situation: int
    """Which of the behaviour's situations."""
    axes: tuple[str, ...]
    """One value id per axis, in the taxonomy's order."""
    factors: tuple[str, ...]
    """One level id per factor, in the taxonomy's order."""
    visit: int
    """How often the plan came to the behaviour before."""
    pair_id: str
    """Joins the siblings that differ in stance alone."""

    def seed(self, plan_seed: int, attempt: int, step: str = "") -> int:
        """Return the sampling seed of one request; the same for every sibling."""
        return seed_from("sampling", plan_seed, self.pair_id, attempt, step)


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
    """What became of an attempt. Everything but CANDIDATE, STEP and KEPT is a named drop."""

    CANDIDATE = "candidate"
    """Parsed and filtered; waits for its turn in slot order."""
    STEP = "step"
    """A step's output that the slot's next step builds on: neither kept nor dropped by itself."""
    KEPT = "kept"
    DUPLICATE_EXACT = "duplicate_exact"
    DUPLICATE_NEAR = "duplicate_near"
    DUPLICATE_MEANING = "duplicate_meaning"
    DUPLICATE_OPENING = "duplicate_opening"
    """Opens with words that already open too many documents of the run."""
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
    BANNED = "banned"
    """A name, date, link, citation, placeholder or opener that is on the run's ban list."""
    WRONG_LANGUAGE = "wrong_language"
    OFF_STANCE = "off_stance"
    """An AI in a control document, or none in any other."""
    WRONG_STANCE = "wrong_stance"
    """The judge reads another stance in it than was asked for."""
    UNJUDGED = "unjudged"
    """The judge gave no verdict, or one without evidence in the text: never a pass."""
    SURPLUS = "surplus"
    """Asked ahead while the engine ran empty, for a slot that an earlier try filled."""
    ENGINE_ERROR = "engine_error"
    """The engine could not answer this request; its words are in `detail`."""

    @property
    def is_duplicate(self) -> bool:
        """Whether dedup dropped the attempt."""
        return self.value.startswith("duplicate_")


class Idea(NamedTuple):
    """A premise for a scenario, with the probability that its writer gave it."""

    premise: str
    probability: float
    """In percent."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A completion that parsed: header fields in the style's order, and the body."""

    fields: dict[str, str]
    body: str
