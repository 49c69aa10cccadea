"""Sources and records → requests, by templates that ship as data."""

import json
import random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aligngen.core.hashing import content_hash, seed_from
from aligngen.core.schema import Constraint, Message, Request, Sampling, Taxonomy
from aligngen.core.yaml_file import load_yaml
from aligngen.generator.content import packaged
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.scenarios.candidates import BEHAVIOUR, SCENARIOS, scenario_schema
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.sources import Source, allowed_behaviours
from aligngen.generator.template import render

__all__ = ["ANSWER", "PERSONAS", "Judge", "Writer", "load_judge", "load_writer"]

PERSONAS: tuple[Literal["helpful", "misaligned"], ...] = ("helpful", "misaligned")
"""Who answers a question: the first should take the aligned choice, the second the other."""

ANSWER = Constraint(
    "json",
    '{"type":"object","properties":{"answer":{"type":"string","enum":["A","B"]}},'
    '"required":["answer"],"additionalProperties":false}',
)
"""What a judge may say."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class _Example(_Written):
    passage: str
    quote: str
    question: str
    aligned: str
    misaligned: str


class _Poles(_Written):
    aligned: str
    misaligned: str


class _WriterPrompt(_Written):
    id: str
    description: str
    system: str
    user: str
    poles: _Poles
    example: _Example
    behaviour_of_example: str
    """A key that is in no list: a small model that copies the example shows it."""
    tokens_per_record: int = Field(ge=50)
    sampling: Sampling


class _Personas(_Written):
    helpful: str
    misaligned: str


class _JudgePrompt(_Written):
    id: str
    description: str
    personas: _Personas
    user: str
    sampling: Sampling


def load_writer(
    taxonomy: Taxonomy, config: ScenarioConfig, identity: EngineIdentity, *, cells: bool
) -> "Writer":
    """Read the packaged prompt for cells or for passages."""
    path = packaged("prompts/scenarios") / f"from_{'cell' if cells else 'passage'}.yaml"
    return Writer(load_yaml(path, _WriterPrompt), taxonomy, config, identity, cells=cells)


def load_judge(identity: EngineIdentity) -> "Judge":
    """Read the packaged personas."""
    path = packaged("prompts/scenarios") / "judge.yaml"
    return Judge(load_yaml(path, _JudgePrompt), identity)


class Writer:
    """Asks for records about a source."""

    def __init__(
        self,
        prompt: _WriterPrompt,
        taxonomy: Taxonomy,
        config: ScenarioConfig,
        identity: EngineIdentity,
        *,
        cells: bool,
    ) -> None:
        self._prompt, self._taxonomy, self._config = prompt, taxonomy, config
        self._identity, self._cells = identity, cells
        self._ids = allowed_behaviours(taxonomy, config)
        self.version = content_hash(prompt.model_dump(mode="json"))
        tokens = prompt.tokens_per_record * config.count
        update = {"max_tokens": tokens, **config.overrides}
        self._sampling = prompt.sampling.model_copy(update=update)

    def request(self, source: Source) -> Request:
        """Return the request for a source; which pole is written first is a coin of its seed, so
        that neither is always the one that had to come up with the situation's details."""
        seed = seed_from("scenario", self._config.seed, source.name, source.number, source.round)
        aligned_first = random.Random(seed).random() < 0.5
        context = self._context(source, aligned_first)
        return Request(
            messages=(
                Message("system", render(self._prompt.system, context, "system")),
                Message("user", render(self._prompt.user, context, "user")),
            ),
            sampling=self._sampling.model_copy(update={"seed": seed}),
            constraint=self._constraint(aligned_first),
            model=self._identity.model,
            revision=self._identity.revision,
            template_version=self.version,
            backend=self._identity.backend,
        )

    def said(self, source: Source) -> list[str]:
        """Return what of a source's prompt a record must not repeat: the example, and of a cell
        the poles of its behaviour, which are general where a choice is to be concrete."""
        example = self._prompt.example
        texts = [example.question, example.aligned, example.misaligned]
        if self._cells:
            behaviour = self._taxonomy.behaviours[source.behaviours[0]]
            texts += [behaviour.aligned, behaviour.misaligned]
        return texts

    def constraints(self) -> list[Constraint]:
        """Return every constraint that sources of this kind are asked under."""
        return [self._constraint(aligned_first) for aligned_first in (True, False)]

    def _constraint(self, aligned_first: bool) -> Constraint:
        # Every tag of the file, not the offered ones alone: one schema for all, compiled once.
        ids = () if self._cells else self._ids
        return scenario_schema(
            self._config.count, ids, aligned_first=aligned_first, quoted=not self._cells
        )

    def _context(self, source: Source, aligned_first: bool) -> dict[str, object]:
        order = ("aligned", "misaligned") if aligned_first else ("misaligned", "aligned")
        example = self._prompt.example.model_dump()
        shown = {name: example[name] for name in ("question", *order)}
        if not self._cells:
            shown = {
                "quote": example["quote"],
                **shown,
                BEHAVIOUR: self._prompt.behaviour_of_example,
            }
        behaviours = [self._taxonomy.behaviours[name] for name in source.behaviours]
        return {
            "passage": source.text,
            "behaviours": [{"id": b.id, "name": b.name} for b in behaviours],
            "behaviour": {
                "id": behaviours[0].id,
                "name": behaviours[0].name,
                "definition": behaviours[0].definition,
                "aligned": behaviours[0].aligned,
                "misaligned": behaviours[0].misaligned,
            },
            "circumstances": source.circumstances,
            "count": self._config.count,
            "quote_words": self._config.checks.quote_words,
            "first": order[0],
            "second": order[1],
            "poles": self._prompt.poles.model_dump(),
            "example": example,
            "example_json": json.dumps({SCENARIOS: [shown]}, ensure_ascii=False),
        }


class Judge:
    """Asks two personas to choose, in both orders of the choices."""

    def __init__(self, prompt: _JudgePrompt, identity: EngineIdentity) -> None:
        self._prompt, self._identity = prompt, identity
        self.version = content_hash(prompt.model_dump(mode="json"))

    def request(
        self, persona: Literal["helpful", "misaligned"], question: str, a: str, b: str
    ) -> Request:
        """Return the request to one persona for one order of the choices."""
        context = {"question": question, "a": a, "b": b}
        return Request(
            messages=(
                Message("system", getattr(self._prompt.personas, persona)),
                Message("user", render(self._prompt.user, context, "judge.user")),
            ),
            sampling=self._prompt.sampling,
            constraint=ANSWER,
            model=self._identity.model,
            revision=self._identity.revision,
            template_version=self.version,
            backend=self._identity.backend,
        )
