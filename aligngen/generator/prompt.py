"""Slot → Request: sandboxed, strict templates over the content of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aligngen.core.errors import UserError
from aligngen.core.hashing import content_hash
from aligngen.core.schema import (
    Band,
    Constraint,
    Length,
    Message,
    Recipe,
    Request,
    Sampling,
    Slot,
    Stance,
    Style,
)
from aligngen.generator.constraint import (
    BODY,
    HEADER_END,
    SENTENCE_WORDS,
    body_bounds,
    build_constraint,
    field_words,
)
from aligngen.generator.content import Content
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.filters import Bounds
from aligngen.generator.plan import Plan

__all__ = ["Prompter", "render_document"]

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)


@dataclass(frozen=True, slots=True)
class _Form:
    """What is the same for every slot of one style."""

    style: Style
    band: Band
    constraint: Constraint | None
    version: str
    as_data: Mapping[str, object]


class Prompter:
    """Builds requests for the slots of one run."""

    def __init__(
        self,
        content: Content,
        plan: Plan,
        identity: EngineIdentity,
        *,
        length: Length | None = None,
        temperature: float | None = None,
    ) -> None:
        self._taxonomy, self._recipe, self._plan = content.taxonomy, content.recipe, plan
        self._identity = identity
        self._axis_names = tuple(plan.axes)
        self._sampling = content.recipe.sampling
        if temperature is not None:
            self._sampling = self._sampling.model_copy(update={"temperature": temperature})
        self._domains = {d.id: d.name for d in content.taxonomy.domains}
        length = length or content.recipe.length
        planned = {cell.style for cell in plan.cells}
        self._forms = {
            name: _form(style, content.recipe, length)
            for name, style in content.styles.items()
            if name in planned
        }
        self._instructions: dict[tuple[str, Stance], str] = {}
        self._check_templates()

    def _check_templates(self) -> None:
        """Render every template once per style and stance, so that a broken one starts nothing."""
        for style, form in self._forms.items():
            fields = dict.fromkeys(form.style.fields, "")
            render_document(form.style, fields, "")
            for stance in self._plan.stances:
                slot = self._plan.slot(0)._replace(style=style, stance=stance)
                self.request(slot, 0)
                self.instructions(slot)

    @property
    def constraints(self) -> list[Constraint]:
        """The distinct constraints of the run, to be checked before it starts."""
        return list(dict.fromkeys(f.constraint for f in self._forms.values() if f.constraint))

    @property
    def sampling(self) -> Sampling:
        """The sampling of the run, before seeds."""
        return self._sampling

    def band(self, style: str) -> Band:
        """Return the length band in force for a style."""
        return self._forms[style].band

    def bounds(self, style: str) -> Bounds:
        """Return the greatest lengths that the constraint lets the parts of a document have."""
        form = self._forms[style]
        fields = form.style.fields
        chars = {name: spec.max_chars for name, spec in fields.items()}
        match self._recipe.constraint:
            case "json":
                return Bounds(chars | {BODY: body_bounds(form.band)[1]})
            case "sentences":
                words = {name: field_words(spec)[1] for name, spec in fields.items()}
                return Bounds(words=words | {BODY: SENTENCE_WORDS[1]})
            case "header":
                return Bounds(chars)
            case "none":
                return Bounds()

    def request(self, slot: Slot, attempt: int) -> Request:
        """Return the request of one try of `slot`."""
        form = self._forms[slot.style]
        context = self._context(slot, form)
        sampling = self._sampling.model_copy(update={"seed": slot.seed(self._plan.seed, attempt)})
        return Request(
            messages=(
                Message("system", render(self._recipe.system, context, "system")),
                Message("user", render(self._recipe.user, context, "user")),
            ),
            sampling=sampling,
            constraint=form.constraint,
            model=self._identity.model,
            revision=self._identity.revision,
            template_version=form.version,
            backend=self._identity.backend,
        )

    def dictated(self, slot: Slot) -> str:
        """Return the text that a document must not repeat: the worked example of its prompt."""
        example = self._forms[slot.style].style.examples[slot.stance]
        return "\n".join([*example.fields.values(), example.body])

    def instructions(self, slot: Slot) -> str:
        """Return what a slot's prompt says apart from its scenario and example; a document may
        repeat the scenario, never this."""
        key = (slot.style, slot.stance)
        if key not in self._instructions:
            context = _without_scenario(self._context(slot, self._forms[slot.style]))
            templates = (self._recipe.system, self._recipe.user)
            self._instructions[key] = "\n".join(render(t, context, "recipe") for t in templates)
        return self._instructions[key]

    def _context(self, slot: Slot, form: _Form) -> dict[str, object]:
        behaviour = self._taxonomy.behaviours[slot.behaviour]
        example = form.style.examples[slot.stance]
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
            },
            "domain": self._domains[self._taxonomy.domain_of[slot.behaviour]],
            "taken": taken,
            "not_taken": not_taken,
            "situation": behaviour.situations[slot.situation],
            "axes": dict(zip(self._axis_names, slot.axes, strict=True)),
        }


def _without_scenario(context: Mapping[str, object]) -> dict[str, object]:
    """Return a template context in which everything that a scenario brings is blank."""
    blanks = ("domain", "taken", "not_taken", "situation", "example_json", "example_text")
    behaviour, axes, example = context["behaviour"], context["axes"], context["example"]
    assert isinstance(behaviour, dict)
    assert isinstance(axes, dict)
    assert isinstance(example, dict)
    return {
        **context,
        **dict.fromkeys(blanks, ""),
        "example": {"fields": dict.fromkeys(example["fields"], ""), "body": ""},
        "behaviour": dict.fromkeys(behaviour, ""),
        "axes": dict.fromkeys(axes, ""),
    }


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
        "fields": {name: {"description": f.description} for name, f in style.fields.items()},
    }
    return _Form(style, band, build_constraint(recipe, style, band), version, as_data)


def render(source: str, context: Mapping[str, object], where: str) -> str:
    """Render a template, strictly; a fault names the template."""
    try:
        return _compiled(source).render(context).strip()
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"the template fails: {error}", field=where, remedy="Mend the template."
        ) from None


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    return _ENVIRONMENT.from_string(source)


def render_document(style: Style, fields: Mapping[str, str], body: str) -> str:
    """Return the finished document of a draft, by the style's layout."""
    return render(style.layout, {"fields": dict(fields), "body": body}, f"{style.id}.layout")
