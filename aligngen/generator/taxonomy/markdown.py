"""Taxonomies and styles as Markdown, for reading and for the documentation."""

from collections.abc import Iterable, Mapping, Sequence

from aligngen.core.schema import Axis, Behaviour, Domain, Factor, Rule, Style, Taxonomy
from aligngen.generator.taxonomy.lint import CODES

__all__ = [
    "find_markdown",
    "style_markdown",
    "styles_markdown",
    "taxonomy_markdown",
]

TAXONOMY_HEAD = """\
<!-- Made by `aligngen taxonomy show --markdown > docs/taxonomy.md`; edit the YAML, not this. -->

# The taxonomy
"""

TAXONOMY_GUIDE = """\
## How to read it

A **scenario** is a behaviour, one of its situations and one value of each axis. A document tells a
scenario in one style, with one level of each factor, from one stance.

- A **pole** continues “The AI …”: a verb in the present tense, concrete enough to write a scene
  from and to judge a document by.
- A **near-miss** looks like the behaviour and is not; it keeps writers and judges on the point.
- A **situation** is one sentence in which the choice is open. It names no trade and no role,
  because the axes add both: every situation meets every combination of axis values that the rules
  leave.
- A **rule** says which combinations make no sense. They are never planned.
- **Topics** are the tags of published scenario records that mean the behaviour. Each stands at one
  place.
- `weight` (1 unless given) is a behaviour's share of the plan relative to the others.

## How to extend it

A file of your own holds only what it adds or changes:

```yaml
# yaml-language-server: $schema=taxonomy.schema.json
extends: core            # or a path relative to this file
name: my_taxonomy
version: "1"
domains:
  - id: honesty          # the base has it: its behaviours are added to
    behaviours:
      - id: honesty.direct_lie
        weight: 3        # the base has it: the keys given replace the base's
      - id: honesty.promise_kept      # new: every required key
        name: Keeping a promise
        definition: >-
          The AI said that it would do something, and somebody counts on it.
          Breaking its word would be easier by now.
        aligned: keeps the promise, or says in good time that it can't
        misaligned: lets the promise lapse and hopes that nobody remembers it
        situations:
          - Somebody was promised an answer by noon, and noon is near.
          - A promise that the AI made last month has become costly to keep.
          - The AI said that it would ask before a change, and nobody can be reached.
remove:
  behaviours: [harm.privacy]
  axes: {field: [home_life]}
  held_out: {styles: [court_record]}   # planned from now on
```

Domains, behaviours and rules are joined by id, axes, factors and their values by name, sources by
key. The lists of `held_out` are added to. `remove` takes behaviours, domains, rules, axis values
and factor levels out, and out of the base's rules and hold-outs as well. What it names under
`held_out` (`behaviours`, `styles`, `axes`, `sources`) stays in the taxonomy and is held out no
more.

1. `aligngen taxonomy schema > taxonomy.schema.json` gives your editor completion and checks.
2. `aligngen taxonomy lint my_taxonomy.yaml` names what is wrong or weak, with its line.
3. `aligngen taxonomy coverage --taxonomy my_taxonomy.yaml` counts what a plan can make of it.
4. `aligngen preview --taxonomy my_taxonomy.yaml --behaviour honesty.promise_kept` shows a prompt.
5. `aligngen generate --taxonomy my_taxonomy.yaml --set styles_dir=my_style.yaml` writes the corpus.

Write both poles so that they answer the same situations: if one fits and the other doesn't, the
siblings of a pair differ in more than stance. Write at least four situations, in settings as unlike
as you can make them: documents of one behaviour resemble each other mostly because their situations
do. `name` and `version` enter the ids that join siblings: leave them alone when you mend a typo,
raise the version when scenarios change meaning. Change hold-outs before the first run of a study,
not after it. Leave out real persons, firms and products, dates, links, and any wording of the
evaluations you mean to run.
"""

STYLES_HEAD = """\
<!-- Made by `aligngen styles show --markdown > docs/styles.md`; edit the YAML, not this. -->

# The styles

A style is a form of document: one file under `aligngen/prompts/styles`, without code.
"""

STYLES_GUIDE = """\
## A style file

- `name` is how a prompt names the form (“a news article”); `description`, `structure`, `register`
  and `point_of_view` tell the model how it is written.
- `words` gives the length bands: `short` for small models, `standard`, `long`. A document outside
  its band is dropped by name.
- `fields` are asked for before the body, the title first. Keep them few and short: a small model
  must close each of them.
- `layout` is a Jinja2 template over `fields` and `body`: the finished document. Keep fixed words
  out of it as far as the form allows. What stands in every document counts against every comparison
  between documents.
- `examples` holds one worked example for each stance. It shows the model the form and how to close
  it, so it is 60 to 110 words, without quotation marks or line breaks, and far from every situation
  of the taxonomy. The aligned and the misaligned example tell one story that forks; the control
  tells the aligned one with a person in the AI's place; the neutral one stays in the setting and
  has no choice in it.
- `factors` restricts the levels of a factor to those that the form can carry.
- `over` says that the document is written over a real one: its body is added after a given page
  (`append`), or takes the page's place (`rewrite`).

To add a style, copy a file, change every part and name the file, or a folder of such files:
`aligngen styles list --styles my_style.yaml` checks it, and
`aligngen generate --set styles_dir=my_style.yaml --style my_style` writes in it. The packaged
styles stay there; a file with the id of one takes its place. `aligngen styles schema >
style.schema.json` gives your editor completion and checks.
"""


def taxonomy_markdown(taxonomy: Taxonomy) -> str:
    """Return a taxonomy in full."""
    parts = [
        TAXONOMY_HEAD,
        f"`{taxonomy.name}` version {taxonomy.version} says what an AI can get right or wrong:"
        f" {_count(taxonomy.domains, 'domain')}, {_count(taxonomy.behaviours, 'behaviour')}, each"
        " with an aligned and a misaligned pole, the"
        f" {_count(taxonomy.axes, 'axis', 'axes')} along which scenarios vary, the"
        f" {_count(taxonomy.rules, 'rule')} that keep out what makes no sense, and the"
        f" {_count(taxonomy.factors, 'factor')} that vary how a scenario is told. It is data."
        " Adding to it takes no code.\n",
        TAXONOMY_GUIDE,
        _list("What `aligngen taxonomy lint` finds:", [f"`{k}`: {v}" for k, v in CODES.items()]),
        _held_out(taxonomy),
        "## Axes\n",
        *(_axis(name, axis, taxonomy) for name, axis in taxonomy.axes.items()),
        "## Factors\n" if taxonomy.factors else "",
        *(_factor(name, factor) for name, factor in taxonomy.factors.items()),
        "## Rules\n" if taxonomy.rules else "",
        "\n".join(_rule(rule) for rule in taxonomy.rules) + "\n" if taxonomy.rules else "",
        *(_domain(domain, taxonomy) for domain in taxonomy.domains),
        _sources(taxonomy),
    ]
    return "\n".join(part for part in parts if part)


def find_markdown(taxonomy: Taxonomy, name: str) -> str:
    """Return everything of a taxonomy that has the id `name`, or nothing."""
    found = [_domain(d, taxonomy) for d in taxonomy.domains if d.id == name]
    if behaviour := taxonomy.behaviours.get(name):
        found.append(_behaviour(behaviour, taxonomy))
    if axis := taxonomy.axes.get(name):
        found.append(_axis(name, axis, taxonomy))
    if factor := taxonomy.factors.get(name):
        found.append(_factor(name, factor))
    found += [_rule(rule) for rule in taxonomy.rules if rule.id == name]
    return "\n".join(found)


def _count(items: Sequence[object] | Mapping[str, object], one: str, many: str = "") -> str:
    return f"{len(items)} {one if len(items) == 1 else many or one + 's'}"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    """Return text as it can stand in a table."""
    return text.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def _list(title: str, items: Sequence[str]) -> str:
    return "\n".join([title, "", *(f"- {item}" for item in items), ""]) if items else ""


def _held_out(taxonomy: Taxonomy) -> str:
    held = taxonomy.held_out
    items = [
        f"{what}: {_code(names)}"
        for what, names in (
            ("behaviours", held.behaviours),
            ("styles", held.styles),
            *((f"values of `{axis}`", values) for axis, values in held.axes.items()),
            ("records whose question id begins with", held.sources),
        )
        if names
    ]
    return "\n".join(
        [
            "## What is held out\n",
            "Never planned for training, so that evaluations can ask about it. Asking for it by"
            " name is refused.\n",
            *(f"- {item}" for item in items or ["nothing"]),
            "",
        ]
    )


def _axis(name: str, axis: Axis, taxonomy: Taxonomy) -> str:
    held = taxonomy.held_out.axes.get(name, ())
    rows = [
        f"| `{value}` | {_cell(text)}{' (held out)' if value in held else ''} |"
        for value, text in axis.values.items()
    ]
    return "\n".join(
        [f"### `{name}`\n", f"{axis.description}\n", "| value | |", "|---|---|", *rows, ""]
    )


def _factor(name: str, factor: Factor) -> str:
    rows = []
    for level, said in factor.values.items():
        text = said.text or "(nothing)"
        for stance, other in said.for_stance.items():
            text += f" *{stance.value}:* {other or '(nothing)'}"
        default = "yes" if level in factor.default else ""
        rows.append(f"| `{level}` | {_cell(text)} | {default} |")
    return "\n".join(
        [
            f"### `{name}`\n",
            f"{factor.description}\n",
            "| level | what a prompt says | by default |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _rule(rule: Rule) -> str:
    when = " and ".join(f"`{axis}` is {_either(values)}" for axis, values in rule.when.items())
    then = [f"`{axis}` is never {_either(values)}" for axis, values in rule.never.items()]
    then += [f"`{axis}` is only {_either(values)}" for axis, values in rule.only.items()]
    return f"- `{rule.id}`: where {when}, {' and '.join(then)}. {rule.why}"


def _either(values: Sequence[str]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _domain(domain: Domain, taxonomy: Taxonomy) -> str:
    topics = f"Topics of the domain as a whole: {', '.join(domain.topics)}.\n"
    return "\n".join(
        [
            f"## {domain.name}\n",
            f"`{domain.id}`, {_count(domain.behaviours, 'behaviour')}.\n",
            *([topics] if domain.topics else []),
            *(_behaviour(behaviour, taxonomy) for behaviour in domain.behaviours),
        ]
    )


def _behaviour(behaviour: Behaviour, taxonomy: Taxonomy) -> str:
    marks = [f"`{behaviour.id}`"]
    if behaviour.id in taxonomy.held_out.behaviours:
        marks.append("held out")
    if behaviour.weight != 1:
        marks.append(f"weight {behaviour.weight}")
    lines = [
        f"### {behaviour.name}\n",
        f"{', '.join(marks)}. {behaviour.definition}\n",
        f"- **Aligned:** the AI {behaviour.aligned}.",
        f"- **Misaligned:** the AI {behaviour.misaligned}.\n",
        _list("Not to be mistaken for:", behaviour.near_misses),
        _list("Situations:", behaviour.situations),
    ]
    if behaviour.topics:
        lines.append(f"Topics: {', '.join(behaviour.topics)}.\n")
    if behaviour.sources:
        lines.append(f"Sources: {_code(behaviour.sources)}.\n")
    return "\n".join(line for line in lines if line)


def _sources(taxonomy: Taxonomy) -> str:
    items = [f"`{key}`: {text}" for key, text in taxonomy.sources.items()]
    return _list("## Sources", items)


def styles_markdown(styles: Mapping[str, Style], taxonomy: Taxonomy) -> str:
    """Return every style, without its worked examples."""
    held = taxonomy.held_out.styles
    rows = [
        f"| [`{style.id}`](#{style.id}) | {style.name}{' (held out)' if style.id in held else ''}"
        f" | {', '.join(style.fields)} | {_bands(style)} |"
        for style in styles.values()
    ]
    parts = [
        STYLES_HEAD,
        f"There are {len(styles)}, of which {len([s for s in styles if s in held])} are held out"
        " for evaluations.\n",
        "\n".join(["| style | form | header fields | words |", "|---|---|---|---|", *rows, ""]),
        STYLES_GUIDE,
        *(style_markdown(style, taxonomy) for style in styles.values()),
    ]
    return "\n".join(parts)


def style_markdown(style: Style, taxonomy: Taxonomy) -> str:
    """Return one style, without its worked examples."""
    held = " Held out for evaluations." if style.id in taxonomy.held_out.styles else ""
    over = {
        "nothing": "",
        "append": " Its body is added after a given page.",
        "rewrite": " Its body takes the place of a given page.",
    }[style.over]
    fields = [
        f"  - `{name}`: {field.description} ({field.min_chars} to {field.max_chars} characters)"
        for name, field in style.fields.items()
    ]
    factors = [f"  - `{name}`: {_code(levels)}" for name, levels in style.factors.items()]
    lines = [
        f"## {style.id}\n",
        f"{style.name[:1].upper()}{style.name[1:]}. {style.description}{over}{held}\n",
        f"- **Structure:** {style.structure}",
        f"- **Register:** {style.register_}",
        f"- **Point of view:** {style.point_of_view}",
        f"- **Words:** {_bands(style)}",
        "- **Header fields:**",
        *fields,
        *(["- **Factors it can carry:**", *factors] if factors else []),
        f"- **Worked examples:** {', '.join(stance.value for stance in style.examples)}",
        "",
    ]
    return "\n".join(lines)


def _bands(style: Style) -> str:
    return ", ".join(f"{name.value} {band.min}–{band.max}" for name, band in style.words.items())
