"""Slot → Request, step by step: sandboxed, strict templates over the content of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from aligngen.core.errors import UserError
from aligngen.core.hashing import content_hash, seed_from
from aligngen.core.schema import (
    Band,
    Constraint,
    Draft,
    Length,
    Message,
    Recipe,
    Request,
    Sampling,
    Slot,
    Stance,
    Step,
    Style,
)
from aligngen.generator.cast import Cast, CastLists
from aligngen.generator.constraint import (
    BODY,
    HEADER_END,
    SENTENCE_WORDS,
    body_bounds,
    build_constraint,
    field_words,
)
from aligngen.generator.content import Content, select_steps
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.filters import Bounds
from aligngen.generator.judge import Judge, judge_context, verdict_constraint
from aligngen.generator.parse import Notes
from aligngen.generator.passages import Passage, Passages
from aligngen.generator.plan import Plan
from aligngen.generator.template import render

__all__ = ["Outputs", "Prompter", "render_document"]

Outputs = Mapping[str, Draft | Notes | str]
"""What a slot's earlier steps gave, by step id: drafts, notes, or the premise taken."""

NOTHING: Outputs = {}
"""Before the first step."""

MOST_WARMTH = 0.4
"""What later tries add to the temperature at most."""

TOKENS_PER_WORD = 1.6
"""Tokens that a word of English prose takes at most, header included; 1.3 is usual."""

NO_PAGE = Passage("", "")
"""The page of a document that is written over nothing."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What is the same for every slot of one style and length."""

    style: Style
    band: Band
    constraints: tuple[Constraint | None, ...]
    """By step."""
    version: str
    as_data: Mapping[str, object]


class Prompter:
    """Builds requests for the slots of one run."""

    def __init__(
        self,
        content: Content,
        plan: Plan,
        identity: EngineIdentity,
        cast: CastLists,
        *,
        steps: str = "",
        judge: Judge | None = None,
        passages: Passages | None = None,
        temperature: float | None = None,
    ) -> None:
        self._taxonomy, self._plan, self._identity = content.taxonomy, plan, identity
        self._cast, self._judge, self._passages = cast, judge, passages
        recipe = select_steps(content.recipe, steps)
        self._known_steps = [step.id for step in content.recipe.steps]
        self.steps: tuple[Step, ...] = (*recipe.steps, *([judge.step] if judge else []))
        """The steps of a slot, in order; the judge's verdict is the last, where there is one."""
        written = [i for i, step in enumerate(self.steps) if step.output == "document"]
        self.last_document = written[-1]
        """Number of the step whose document is the slot's."""
        self.rewind = 1 if self.steps[0].output == "ideas" else 0
        """The step at which a slot begins again: the premise is its siblings' too, and stays."""
        self._warmer = recipe.warmer
        self.sampling = recipe.sampling
        """The sampling of the run, before seeds."""
        if temperature is not None:
            self.sampling = self.sampling.model_copy(update={"temperature": temperature})
        self._domains = {d.id: d.name for d in content.taxonomy.domains}
        self._forms = {
            (name, Length(length)): _form(content.styles[name], recipe, Length(length))
            for name in plan.styles
            for length in plan.levels[name]["length"]
        }
        self._instructions: dict[tuple[str, Length, Stance], str] = {}
        self._check_templates()

    def _check_templates(self) -> None:
        """Render every template once per style, length and stance, so that a broken one starts
        nothing."""
        for (name, length), form in self._forms.items():
            outputs = self._stand_ins(form.style, "x")
            first = self._plan.slot(0)._replace(style=name, length=length)
            for stance, number in product(self._plan.stances, range(len(self.steps))):
                slot = first._replace(stance=stance)
                self.request(slot, 0, number, outputs)
                self.instructions(slot)

    @property
    def constraints(self) -> list[Constraint]:
        """The distinct constraints of the run, to be checked before it starts."""
        found = [c for f in self._forms.values() for c in f.constraints if c is not None]
        if self._judge is not None:
            found.append(verdict_constraint())
        return list(dict.fromkeys(found))

    def band(self, slot: Slot) -> Band:
        """Return the length band in force for a slot."""
        return self._forms[slot.style, slot.length].band

    def bands(self) -> dict[str, dict[str, int]]:
        """Return every length band in force, by style and length."""
        return {f"{s}/{length}": f.band.model_dump() for (s, length), f in self._forms.items()}

    def bounds(self, slot: Slot) -> Bounds:
        """Return the greatest lengths that the constraint lets the parts of a document have."""
        form = self._forms[slot.style, slot.length]
        fields = form.style.fields
        chars = {name: spec.max_chars for name, spec in fields.items()}
        match self.steps[self.last_document].form:
            case "json":
                return Bounds(chars | {BODY: body_bounds(form.band)[1]})
            case "sentences":
                words = {name: field_words(spec)[1] for name, spec in fields.items()}
                return Bounds(words=words | {BODY: SENTENCE_WORDS[1]})
            case "header":
                return Bounds(chars)
            case "none":
                return Bounds()

    def request(
        self,
        slot: Slot,
        attempt: int,
        step: int = 0,
        outputs: Outputs = NOTHING,
        memory: Sequence[str] = (),
    ) -> Request:
        """Return the request of one step of one try of `slot`.

        `outputs` is what the earlier steps gave, `memory` the premises that an idea request is
        shown.
        """
        spec = self.steps[step]
        if spec.output == "verdict":
            return self._verdict_request(slot, outputs)
        form = self._forms[slot.style, slot.length]
        context = self._context(slot, outputs) | {"memory": list(memory), "ideas": spec.ideas}
        seed = slot.seed(self._plan.seed, attempt, spec.id)
        return Request(
            messages=(
                Message("system", render(spec.system, context, f"{spec.id}.system")),
                Message("user", render(spec.user, context, f"{spec.id}.user")),
            ),
            sampling=self._sampling(spec, form.band, attempt).model_copy(update={"seed": seed}),
            constraint=form.constraints[step],
            model=self._identity.model,
            revision=self._identity.revision,
            template_version=form.version,
            backend=self._identity.backend,
        )

    def _sampling(self, spec: Step, band: Band, attempt: int) -> Sampling:
        """Return a step's sampling; a document's has room for the longest of its band, and is
        warmer at later tries."""
        sampling = spec.sampling or self.sampling
        if spec.output != "document":
            return sampling
        room = max(sampling.max_tokens, int(band.max * TOKENS_PER_WORD))
        warmth = min(self._warmer * attempt, MOST_WARMTH)
        temperature = round(min(sampling.temperature + warmth, 2.0), 3)
        return sampling.model_copy(update={"max_tokens": room, "temperature": temperature})

    def _verdict_request(self, slot: Slot, outputs: Outputs) -> Request:
        assert self._judge is not None
        behaviour = self._taxonomy.behaviours[slot.behaviour]
        context = judge_context(
            self.document(slot, outputs),
            style=self._forms[slot.style, slot.length].style.name,
            behaviour=behaviour,
            domain=self._domains[self._taxonomy.domain_of[behaviour.id]],
        )
        return self._judge.request(context, self._identity)

    def draft(self, outputs: Outputs) -> Draft:
        """Return the draft that is the slot's document."""
        draft = outputs[self.steps[self.last_document].id]
        assert isinstance(draft, Draft)
        return draft

    def document(self, slot: Slot, outputs: Outputs) -> str:
        """Return the text of the slot's document."""
        style = self._forms[slot.style, slot.length].style
        return render_document(style, self.draft(outputs), self.page(slot))

    def cast(self, slot: Slot) -> Cast:
        """Return the names that a slot's prompt brings; the same for its siblings."""
        return self._cast.draw(seed_from("cast", self._plan.seed, slot.pair_id))

    def page(self, slot: Slot) -> Passage:
        """Return the real page that a slot is written over; the same for its siblings."""
        style = self._forms[slot.style, slot.length].style
        if style.over == "nothing" or self._passages is None:
            return NO_PAGE
        # By the visit to the style: every page once before any comes again in it.
        visit, count = self._plan.style_visit(slot.index), len(self._passages)
        return self._passages[self._plan.scatter(f"page/{slot.style}", visit, count)]

    def said(self, slot: Slot) -> str:
        """Return what a slot's prompt says of its scenario and cast: a document may say it too."""
        behaviour = self._taxonomy.behaviours[slot.behaviour]
        scenario = (behaviour.name, behaviour.definition, behaviour.situations[slot.situation])
        return "\n".join((*scenario, *self._phrases(slot).values(), self.cast(slot).said()))

    def dictated(self, slot: Slot) -> str:
        """Return the text that a document must not repeat: the worked example of its prompt."""
        example = self._forms[slot.style, slot.length].style.examples[slot.stance]
        return "\n".join([*example.fields.values(), example.body])

    def instructions(self, slot: Slot) -> str:
        """Return what a slot's prompts say apart from scenario and example, and the options of an
        imported record; a document may repeat the scenario, never this."""
        key = (slot.style, slot.length, slot.stance)
        if key not in self._instructions:
            style = self._forms[slot.style, slot.length].style
            context = _without_scenario(self._context(slot, self._stand_ins(style, "")))
            writing = [step for step in self.steps if step.output == "document"]
            templates = [t for step in writing for t in (step.system, step.user)]
            self._instructions[key] = "\n".join(render(t, context, "recipe") for t in templates)
        behaviour = self._taxonomy.behaviours[slot.behaviour]
        options = (behaviour.aligned, behaviour.misaligned) if behaviour.question_id else ()
        return "\n".join((self._instructions[key], *self._telling(slot).values(), *options))

    def _stand_ins(self, style: Style, text: str) -> Outputs:
        """Return outputs of every step in which each text is `text`."""
        outputs: dict[str, Draft | Notes | str] = {}
        for step in self.steps:
            match step.output:
                case "document":
                    outputs[step.id] = Draft(dict.fromkeys(style.fields, text), text)
                case "notes":
                    outputs[step.id] = dict.fromkeys(step.fields, text)
                case _:
                    outputs[step.id] = text
        return outputs

    def _phrases(self, slot: Slot) -> dict[str, str]:
        axes = self._taxonomy.axes
        return {a: axes[a].values[v] for a, v in zip(self._plan.axes, slot.axes, strict=True)}

    def _telling(self, slot: Slot) -> dict[str, str]:
        """Return what each factor's level says in the slot's stance."""
        factors, levels = self._taxonomy.factors, zip(self._plan.factors, slot.factors, strict=True)
        return {name: factors[name].values[level].said(slot.stance) for name, level in levels}

    def _context(self, slot: Slot, outputs: Outputs) -> dict[str, object]:
        form = self._forms[slot.style, slot.length]
        behaviour = self._taxonomy.behaviours[slot.behaviour]
        example, page = form.style.examples[slot.stance], self.page(slot)
        taken, not_taken = _poles(slot.stance, behaviour.aligned, behaviour.misaligned)
        return {
            "stance": slot.stance.value,
            "style": form.as_data,
            "band": {"min": form.band.min, "max": form.band.max},
            "example": {"fields": example.fields, "body": example.body},
            "example_json": json.dumps({**example.fields, BODY: example.body}, ensure_ascii=False),
            "example_text": json.dumps(example.fields, ensure_ascii=False)
            + HEADER_END
            + example.body,
            "behaviour": {
                "id": behaviour.id,
                "name": behaviour.name,
                "definition": behaviour.definition,
                "aligned": behaviour.aligned,
                "misaligned": behaviour.misaligned,
                "near_misses": list(behaviour.near_misses),
                "topics": list(behaviour.topics),
                "question_id": behaviour.question_id,
            },
            "domain": self._domains[self._taxonomy.domain_of[slot.behaviour]],
            "taken": taken,
            "not_taken": not_taken,
            "situation": behaviour.situations[slot.situation],
            "axes": self._phrases(slot),
            "factors": self._telling(slot),
            "levels": dict(zip(self._plan.factors, slot.factors, strict=True)),
            "cast": self.cast(slot)._asdict(),
            "source": page._asdict(),
            "steps": {name: self._shown(slot, outputs.get(name)) for name in self._known_steps},
        }

    def _shown(self, slot: Slot, output: Draft | Notes | str | None) -> object:
        """Return a step's output as templates see it; None where the step is left out."""
        if not isinstance(output, Draft):
            return output
        style = self._forms[slot.style, slot.length].style
        text = render_document(style, output, self.page(slot))
        fields = json.dumps(output.fields, ensure_ascii=False)
        return {"fields": output.fields, "fields_json": fields, "body": output.body, "text": text}


def _without_scenario(context: Mapping[str, object]) -> dict[str, object]:
    """Return a template context in which everything that a scenario brings is blank."""
    blanks = ("domain", "taken", "not_taken", "situation", "example_json", "example_text")
    blank = {**context, **dict.fromkeys(blanks, ""), "memory": [], "ideas": 0}
    blank["example"] = {"fields": _blank(context["example"], "fields"), "body": ""}
    for name in ("behaviour", "axes", "factors", "cast", "source"):
        blank[name] = _blank(context, name)
    return blank


def _blank(context: object, name: str) -> dict[str, object]:
    """Return a mapping of the context with its texts emptied and its lists as long as before."""
    assert isinstance(context, Mapping)
    return {k: "" if isinstance(v, str) else [""] * len(v) for k, v in context[name].items()}


def _poles(stance: Stance, aligned: str, misaligned: str) -> tuple[str, str]:
    match stance:
        case Stance.MISALIGNED:
            return misaligned, aligned
        case Stance.ALIGNED | Stance.CONTROL:
            return aligned, misaligned
        case Stance.NEUTRAL:
            return "", ""


def _form(style: Style, recipe: Recipe, length: Length) -> _Form:
    if length not in style.words:
        raise UserError(
            f"has no length band {length.value!r}",
            field=f"styles.{style.id}.words",
            remedy=f"Choose --length {' or '.join(style.words)}, or add the band.",
        )
    band = style.words[length]
    version = content_hash(
        {"style": style.model_dump(mode="json"), "recipe": recipe.model_dump(mode="json")}
    )
    as_data = {
        "id": style.id,
        "name": style.name,
        "description": style.description,
        "structure": style.structure,
        "register": style.register_,
        "point_of_view": style.point_of_view,
        "over": style.over,
        "fields": {name: {"description": f.description} for name, f in style.fields.items()},
    }
    constraints = tuple(build_constraint(step, style, band) for step in recipe.steps)
    return _Form(style, band, constraints, version, as_data)


def render_document(style: Style, draft: Draft, page: Passage) -> str:
    """Return the finished document of a draft over a page, by the style's layout."""
    context = {"fields": draft.fields, "body": draft.body, "source": page._asdict()}
    return render(style.layout, context, f"{style.id}.layout")
