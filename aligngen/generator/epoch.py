"""An epoch: everything a run means at one time, in one record of its ledger.

A run that is resumed under another meaning would mix corpora, so a difference is refused unless the
part is allowed by name; then a new epoch begins, and every attempt says which epoch it belongs to.
The epoch holds taxonomy, styles and recipe whole: a ledger explains itself without the files it was
made from.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

from aligngen.core.config import GenerateConfig
from aligngen.core.errors import UserError
from aligngen.core.hashing import Json, canonical_json
from aligngen.core.schema import Recipe, Step, Style, Taxonomy
from aligngen.generator.cast import CastLists, load_cast
from aligngen.generator.content import (
    Content,
    check_styles_against,
    load_recipe,
    load_styles,
    load_taxonomy,
)
from aligngen.generator.embedded import EMBEDDED_NAME
from aligngen.generator.engines.identity import identify
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.engines.recording import IDENTITY_KEY
from aligngen.generator.judge import Judge, load_judge
from aligngen.generator.ledger import Ledger
from aligngen.generator.passages import Passages, import_passages
from aligngen.generator.plan import Plan, make_plan
from aligngen.generator.prompt import Prompter
from aligngen.generator.scenarios.records import ImportReport, load_record_taxonomy
from aligngen.generator.slop import Bans, load_bans
from aligngen.generator.steps import Steps

__all__ = ["LEDGER", "Epoch", "begin_or_continue", "build_epoch", "read_epochs"]

SHOWN_DIFFERENCES = 12
ALLOWABLE = ("engine", "bans", "recipe", "sampling", "steps", "judge")
"""Parts of the fingerprint that --allow-change may name: what is written may change within a run.
The plan (stance, seed, taxonomy, styles, behaviours, lengths, factors, shard) and what decides
(dedup, max_attempts) may not: the decisions taken before would be those of no run."""

LEDGER, PASSAGES = "ledger.sqlite", "passages.sqlite"
"""Names in a run's folder."""


@dataclass(frozen=True)
class Material:
    """What a run writes with, besides taxonomy, styles and recipe."""

    cast: CastLists
    bans: Bans
    judge: Judge | None
    passages: Passages | None
    records: Json = None
    """What became of each scenario record, where they stand in the taxonomy's place."""

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield what was brought in, and what became of each row of it, in words."""
        pages = self.passages.report if self.passages else None
        for name, report in (("scenario records", self.records), ("pages", pages)):
            if isinstance(report, Mapping):
                yield name, ", ".join(f"{key} {value}" for key, value in report.items() if value)


@dataclass(frozen=True)
class Epoch:
    """A configuration with its content, ready to plan and to render."""

    config: GenerateConfig
    content: Content
    material: Material
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
            "steps": [step.id for step in self.prompter.steps],
            "sampling": self.prompter.sampling.model_dump(),
            "lengths": self.prompter.bands(),
            "factors": {
                style: {name: list(levels) for name, levels in of.items()}
                for style, of in self.plan.levels.items()
            },
            "cast": self.material.cast.content_hash,
            "bans": self.material.bans.content_hash,
            "judge": self.material.judge.content_hash if self.material.judge else None,
            "passages": self.material.passages.hash if self.material.passages else None,
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
        judge = self.material.judge
        return {
            "config": self.config.model_dump(mode="json"),
            "identity": list(self.identity),
            "taxonomy": self.content.taxonomy.model_dump(mode="json"),
            "styles": {
                name: style.model_dump(mode="json", by_alias=True)
                for name, style in self.content.styles.items()
            },
            "recipe": self.content.recipe.model_dump(mode="json"),
            "cast": asdict(self.material.cast),
            "bans": self.material.bans.model_dump(mode="json"),
            "judge": judge.step.model_dump(mode="json") if judge else None,
            "records": self.material.records,
        }

    @classmethod
    def from_json(cls, text: str, folder: Path) -> Self:
        """Build an epoch from its record and the pages in the run's folder."""
        data = json.loads(text)
        content = Content(
            Taxonomy.model_validate(data["taxonomy"]),
            {name: Style.model_validate(style) for name, style in data["styles"].items()},
            Recipe.model_validate(data["recipe"]),
        )
        config = GenerateConfig.model_validate(data["config"])
        material = Material(
            CastLists(**{name: tuple(names) for name, names in data["cast"].items()}),
            Bans.model_validate(data["bans"]),
            Judge.of(Step.model_validate(data["judge"])) if data["judge"] else None,
            Passages.open(folder / PASSAGES) if config.passages else None,
            data["records"],
        )
        return cls.assemble(config, content, material, EngineIdentity(*data["identity"]))

    @classmethod
    def assemble(
        cls, config: GenerateConfig, content: Content, material: Material, identity: EngineIdentity
    ) -> Self:
        """Plan and prepare the prompts of a configuration."""
        plan = plan_of(config, content)
        content.check_stances(plan.styles, config.stance)
        prompter = Prompter(
            content,
            plan,
            identity,
            material.cast,
            steps=config.steps,
            judge=material.judge,
            passages=material.passages,
            temperature=config.temperature,
        )
        return cls(config, content, material, identity, plan, prompter)

    @property
    def steps(self) -> Steps:
        """What reads the completions of this epoch."""
        return Steps(self.prompter, self.content.styles, self.material.bans)


def plan_of(config: GenerateConfig, content: Content) -> Plan:
    """Return the plan of a configuration.

    Left out unless named are the styles that the recipe leaves out; styles over a page are planned
    only where pages are given.
    """
    styles, left_out = content.styles, content.recipe.leaves_out
    pageless = [n for n, s in styles.items() if s.over != "nothing" and config.passages is None]
    if asked := [name for name in config.styles if name in pageless]:
        raise UserError(
            f"style {asked[0]!r} is written over real documents, and none are given",
            field="passages",
            remedy="Name a file of them with --passages.",
        )
    without = {*pageless, *(name for name in left_out if name not in config.styles)}
    return make_plan(
        content.taxonomy,
        {name: style for name, style in styles.items() if name not in without},
        config.stance,
        config.seed,
        behaviours=config.behaviours,
        only_styles=config.styles,
        lengths=config.lengths or (content.recipe.length,),
        factors=config.factors,
    )


class Loaded(NamedTuple):
    """The content that a configuration names."""

    content: Content
    records: ImportReport | None
    """What became of each scenario record, where there are any."""


def load_content(config: GenerateConfig, recipe: Recipe) -> Loaded:
    """Read the taxonomy, or the records in its place, and the styles of a configuration."""
    taxonomy, report = load_taxonomy(config.taxonomy), None
    if config.records:
        taxonomy, report = load_record_taxonomy(config.records, taxonomy)
    content = Content(taxonomy, load_styles(config.styles_dir), recipe)
    check_styles_against(
        taxonomy,
        content.styles,
        taxonomy_path=config.taxonomy,
        styles_path=config.styles_dir,
    )
    if unknown := set(recipe.leaves_out) - set(content.styles):
        raise UserError(
            f"leaves out a style {min(unknown)!r} that does not exist",
            field=f"recipe.{recipe.id}.leaves_out",
            remedy="Correct the name.",
        )
    return Loaded(content, report)


def build_epoch(config: GenerateConfig, folder: Path) -> Epoch:
    """Read the content a configuration names and check all of it; start nothing.

    Real pages are copied into the run's `folder` the first time.
    """
    identity = identify(config.engine)
    content, report = load_content(config, choose_recipe(config, identity))
    plan_of(config, content).check_count(config.n)
    material = Material(
        load_cast(config.cast),
        load_bans(config.bans),
        load_judge() if _verifies(config, identity) else None,
        _open_passages(config, folder),
        report.as_json() if report else None,
    )
    epoch = Epoch.assemble(config, content, material, identity)
    if not epoch.slots:
        k, of = config.shard
        raise UserError(
            f"shard {k}/{of} of {config.n} documents is empty",
            field="shard",
            remedy="Ask for more documents or fewer shards.",
        )
    return epoch


def _verifies(config: GenerateConfig, identity: EngineIdentity) -> bool:
    return config.verify == "on" or (config.verify == "auto" and identity.model != EMBEDDED_NAME)


def _open_passages(config: GenerateConfig, folder: Path) -> Passages | None:
    """Return the run's pages; a run in which nothing was asked yet takes them anew."""
    if config.passages is None:
        return None
    if not _was_asked(folder):
        import_passages(config.passages, folder / PASSAGES)
    passages = Passages.open(folder / PASSAGES)
    passages.refuse_change(config.passages)
    return passages


def _was_asked(folder: Path) -> bool:
    if not (folder / LEDGER).is_file():
        return False
    with Ledger.read(folder / LEDGER) as ledger:
        return next(ledger.attempts(), None) is not None


def choose_recipe(config: GenerateConfig, identity: EngineIdentity) -> Recipe:
    """Return the recipe named, or the one that suits the model."""
    if config.recipe != "auto":
        return load_recipe(config.recipe)
    if identity.model == EMBEDDED_NAME:
        return load_recipe("compact")
    recipe = load_recipe("free_body")
    if identity.backend == "openai/openai":
        # No word for a regular expression there: ask for the same form, and check it on arrival.
        free = [s.model_copy(update={"form": "none"}) for s in recipe.steps]
        recipe = recipe.model_copy(update={"id": "free_body_unenforced", "steps": tuple(free)})
    return recipe


def read_epochs(ledger: Ledger) -> dict[int, Epoch]:
    """Return every epoch of a ledger by its number."""
    folder = ledger.path.parent
    return {number: Epoch.from_json(content, folder) for number, _, content in ledger.epochs()}


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
        if not differences:
            # The same corpus by other means, or more of it: nothing that was written means less.
            ledger.renew_epoch(record)
            ledger.commit()
            return
        _refuse_other_premises(epoch, Epoch.from_json(content, ledger.path.parent), ledger)
    ledger.add_epoch(canonical_json(fingerprint), record)
    ledger.set_meta(IDENTITY_KEY, canonical_json(epoch.identity._asdict()))
    ledger.commit()


def _refuse_other_premises(epoch: Epoch, old: Epoch, ledger: Ledger) -> None:
    """Siblings share a premise, and premises follow from each other: none of it can be torn."""
    if epoch.prompter.rewind or old.prompter.rewind:
        raise UserError(
            "a run with an ideas step cannot change on the way: its siblings share premises",
            file=ledger.path.parent,
            field="allow-change",
            remedy="Name another folder with -o.",
        )


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
