"""An epoch: everything a run means at one time, in one record of its ledger.

A run that is resumed under another meaning would mix corpora, so a difference is refused unless the
part is allowed by name; then a new epoch begins, and every attempt says which epoch it belongs to.
The epoch holds taxonomy, styles and recipe whole: a ledger explains itself without the files it was
made from.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from aligngen.core.config import GenerateConfig
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, canonical_json
from aligngen.core.schema import Recipe, Style, Taxonomy
from aligngen.generator.content import Content, load_recipe, load_styles, load_taxonomy
from aligngen.generator.embedded import EMBEDDED_NAME
from aligngen.generator.engines.identity import identify
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.engines.recording import IDENTITY_KEY
from aligngen.generator.ledger import Ledger
from aligngen.generator.plan import Plan, make_plan
from aligngen.generator.prompt import Prompter

__all__ = ["Epoch", "begin_or_continue", "build_epoch", "read_epochs"]

SHOWN_DIFFERENCES = 12
ALLOWABLE = ("engine", "length", "recipe", "sampling")
"""Parts of the fingerprint that --allow-change may name: what is written may change within a run.
The plan (stance, seed, taxonomy, styles, behaviours, shard) and what decides (dedup, max_attempts)
may not: the decisions taken before would be those of no run."""


@dataclass(frozen=True)
class Epoch:
    """A configuration with its content, ready to plan and to render."""

    config: GenerateConfig
    content: Content
    identity: EngineIdentity
    plan: Plan
    prompter: Prompter

    @property
    def slots(self) -> range:
        """The slots of this run's shard."""
        k, of = self.config.shard
        return self.plan.shard(self.config.n, k, of)

    def fingerprint(self) -> dict[str, Json]:
        """Return what the corpus means, part by part."""
        config, hashes = self.config, self.content.hashes()
        planned = {cell.style for cell in self.plan.cells}
        styles = hashes["styles"]
        assert isinstance(styles, Mapping)
        return {
            "stance": [s.value for s in config.stance],
            "behaviours": sorted({cell.behaviour.id for cell in self.plan.cells}),
            "seed": config.seed,
            "taxonomy": hashes["taxonomy"],
            "styles": {name: h for name, h in styles.items() if name in planned},
            "recipe": hashes["recipe"],
            "sampling": self.prompter.sampling.model_dump(),
            "length": {name: self.prompter.band(name).model_dump() for name in sorted(planned)},
            "engine": {
                "model": self.identity.model,
                "revision": self.identity.revision,
                "backend": self.identity.backend,
            },
            "dedup": config.dedup.model_dump(exclude={"max_duplicate_rate"}),
            "max_attempts": config.max_attempts,
            "shard": list(config.shard),
        }

    def as_json(self) -> Json:
        """Return everything needed to build the epoch again."""
        return {
            "config": self.config.model_dump(mode="json"),
            "identity": list(self.identity),
            "taxonomy": self.content.taxonomy.model_dump(mode="json"),
            "styles": {
                name: style.model_dump(mode="json", by_alias=True)
                for name, style in self.content.styles.items()
            },
            "recipe": self.content.recipe.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build an epoch from its record."""
        data = json.loads(text)
        content = Content(
            Taxonomy.model_validate(data["taxonomy"]),
            {name: Style.model_validate(style) for name, style in data["styles"].items()},
            Recipe.model_validate(data["recipe"]),
        )
        config = GenerateConfig.model_validate(data["config"])
        return cls.assemble(config, content, EngineIdentity(*data["identity"]))

    @classmethod
    def assemble(cls, config: GenerateConfig, content: Content, identity: EngineIdentity) -> Self:
        """Plan and prepare the prompts of a configuration."""
        plan = make_plan(
            content.taxonomy,
            content.styles,
            config.stance,
            config.seed,
            behaviours=config.behaviours,
            only_styles=config.styles,
        )
        planned = {cell.style for cell in plan.cells}
        content.check_stances(planned, config.stance)
        prompter = Prompter(
            content, plan, identity, length=config.length, temperature=config.temperature
        )
        return cls(config, content, identity, plan, prompter)


def build_epoch(config: GenerateConfig) -> Epoch:
    """Read the content a configuration names and check all of it; start nothing."""
    identity = identify(config.engine)
    content = Content(
        load_taxonomy(config.taxonomy),
        load_styles(config.styles_dir),
        _recipe(config, identity),
    )
    epoch = Epoch.assemble(config, content, identity)
    if not epoch.slots:
        k, of = config.shard
        raise UserError(
            f"shard {k}/{of} of {config.n} documents is empty",
            field="shard",
            remedy="Ask for more documents or fewer shards.",
        )
    return epoch


def _recipe(config: GenerateConfig, identity: EngineIdentity) -> Recipe:
    """Return the recipe named, or the one that suits the model."""
    if config.recipe != "auto":
        return load_recipe(config.recipe)
    if identity.model == EMBEDDED_NAME:
        return load_recipe("compact")
    recipe = load_recipe("free_body")
    if identity.backend == "openai/openai":
        # No word for a regular expression there: ask for the same form, and check it on arrival.
        recipe = recipe.model_copy(update={"id": "free_body_unenforced", "constraint": "none"})
    return recipe


def read_epochs(ledger: Ledger) -> dict[int, Epoch]:
    """Return every epoch of a ledger by its number."""
    return {number: Epoch.from_json(content) for number, _, content in ledger.epochs()}


def begin_or_continue(ledger: Ledger, epoch: Epoch, allowed: Sequence[str]) -> None:
    """Continue the run's last epoch, or begin one where it is new or a change is allowed."""
    for part in allowed:
        if part not in ALLOWABLE:
            raise UserError(
                f"cannot allow a change of {part!r}",
                field="allow-change",
                remedy=f"Name one of {', '.join(ALLOWABLE)}.",
            )
    fingerprint, epochs = epoch.fingerprint(), ledger.epochs()
    # In written order: the order of axes and header fields means something.
    record = json.dumps(epoch.as_json(), ensure_ascii=False)
    if epochs:
        # An epoch that no attempt was made in means nothing: a start that failed may be mended.
        ledger.epoch = epochs[-1][0]
        ledger.drop_unused_epoch()
        epochs = ledger.epochs()
    if epochs:
        number, old, content = epochs[-1]
        ledger.epoch = number
        _check_count(json.loads(content)["config"]["n"], epoch.config, ledger)
        differences = list(_differences(json.loads(old), fingerprint))
        refused = [d for d in differences if d.split(":")[0].split(".")[0] not in allowed]
        if refused:
            raise _refusal(refused, ledger)
        if not differences and content == record:
            return
    ledger.add_epoch(canonical_json(fingerprint), record)
    ledger.set_meta(IDENTITY_KEY, canonical_json(epoch.identity._asdict()))
    ledger.commit()


def _check_count(before: int, config: GenerateConfig, ledger: Ledger) -> None:
    """A run may grow: any prefix of the plan is a plan. It may not shrink, nor tear its shards."""
    if config.n < before:
        raise UserError(
            f"the run was asked for {before} documents, now for {config.n}",
            file=ledger.path.parent,
            field="n",
            remedy="A run can grow, not shrink: name another folder with -o.",
        )
    if config.n != before and config.shard != (0, 1):
        raise UserError(
            f"a shard of {before} documents cannot become one of {config.n}",
            file=ledger.path.parent,
            field="n",
            remedy="Name another folder with -o.",
        )


def _differences(old: Json, new: Json, where: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield f"{where}: {_shown(old)} → {_shown(new)}"


def _shown(value: Json) -> str:
    return "none" if value is None else canonical_json(value)[:80]


def _refusal(differences: Sequence[str], ledger: Ledger) -> UserError:
    parts = sorted({d.split(":")[0].split(".")[0] for d in differences})
    shown = "\n  ".join(differences[:SHOWN_DIFFERENCES])
    more = len(differences) - SHOWN_DIFFERENCES
    if more > 0:
        shown += f"\n  and {more} more"
    remedy = "Name another folder with -o"
    if set(parts) <= set(ALLOWABLE):
        allow = " ".join(f"--allow-change {part}" for part in parts)
        remedy += f", or go on and record it with {allow}"
    return UserError(
        f"this run meant something else when it began:\n  {shown}\n",
        file=ledger.path.parent,
        remedy=f"{remedy}.",
    )
