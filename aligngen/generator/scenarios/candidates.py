"""What a model is asked for and what came: completion → candidates, or the named reason."""

import json
import re
from typing import NamedTuple

from aligngen.core.hashing import Json
from aligngen.core.schema import Completion, Constraint, Outcome
from aligngen.generator.filters import bad_character
from aligngen.generator.parse import unanswered

__all__ = [
    "BOUNDS",
    "Candidate",
    "Rejection",
    "parse_candidates",
    "scenario_schema",
    "strip_persona",
]

BOUNDS = {
    "quote": (20, 220),
    "question": (60, 520),
    "aligned": (20, 260),
    "misaligned": (20, 260),
}
"""Least and greatest characters of each part. What reaches the greatest was cut by the constraint,
not ended by the model."""

BEHAVIOUR, SCENARIOS = "behaviour", "scenarios"

_AI = r"^You(?: are|['’]re) an? (?:\w+ )?(?:AI|artificial intelligence)\b"
_PERSONA = re.compile(_AI + r"(?: [\w-]+){0,2}\.\s+(?=\S)")
"""A sentence that says no more than what is spoken to."""

_PERSONA_AT_WORK = re.compile(
    _AI + r"(?: [\w-]+){0,2}?,? (?=(?:(?:\w+ing|assigned|asked|tasked|deployed|used|employed|placed"
    r"|responsible|trained|in charge) (?:a|an|the|its|his|her|their|as|at|by|for|how|in|into|of|on"
    r"|over|through|to|what|whether|with)\b|(?:aboard|at|in|on) ))"
)
"""The same before what it does, which is the question's: "assisting a nurse"."""

_STILL_PERSONA = re.compile(
    r"\byou(?: are|['’]re) an? (?:[\w-]+ ){0,2}(?:AI|artificial intelligence)\b", re.I
)


class Candidate(NamedTuple):
    """What a model proposes as a record."""

    question: str
    aligned: str
    misaligned: str
    behaviour: str = ""
    quote: str = ""


class Rejection(NamedTuple):
    """Why something is no record."""

    reason: str
    score: float | None = None
    detail: str = ""


def scenario_schema(
    count: int, behaviours: tuple[str, ...], *, aligned_first: bool, quoted: bool
) -> Constraint:
    """Return what the engine must enforce: `count` records of bounded strings, their keys in the
    order that they are written in; a tag out of `behaviours` where there are any."""
    poles = ("aligned", "misaligned") if aligned_first else ("misaligned", "aligned")
    names = (*(("quote",) if quoted else ()), "question", *poles)
    properties: dict[str, Json] = {
        name: {"type": "string", "minLength": BOUNDS[name][0], "maxLength": BOUNDS[name][1]}
        for name in names
    }
    if behaviours:
        properties[BEHAVIOUR] = {"type": "string", "enum": list(behaviours)}
    items: Json = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    schema: Json = {
        "type": "object",
        "properties": {
            SCENARIOS: {"type": "array", "items": items, "minItems": count, "maxItems": count}
        },
        "required": [SCENARIOS],
        "additionalProperties": False,
    }
    return Constraint("json", json.dumps(schema, separators=(",", ":")))


def parse_candidates(completion: Completion, count: int) -> list[Candidate | Rejection]:
    """Return a candidate or rejection for each record asked for, and for each that came beyond."""
    if rejected := unanswered(completion):
        return [Rejection(rejected.outcome.value, rejected.score, rejected.detail)] * count
    try:
        data = json.loads(completion.text)
    except (ValueError, RecursionError) as error:
        return [Rejection(Outcome.MALFORMED.value, None, str(error)[:200])] * count
    items = data.get(SCENARIOS) if isinstance(data, dict) else None
    if not isinstance(items, list):
        return [Rejection(Outcome.MALFORMED.value, None, f"no list {SCENARIOS!r}")] * count
    missing = [Rejection("missing", None, f"{len(items)} of {count} came")]
    return [*map(_candidate, items), *missing * (count - len(items))]


def _candidate(item: object) -> Candidate | Rejection:
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        return Rejection(Outcome.MALFORMED.value, None, "a record is no object of strings")
    if absent := [name for name in Candidate._fields[:3] if not item.get(name, "").strip()]:
        return Rejection(Outcome.EMPTY.value, None, absent[0])
    for name, (_, most) in BOUNDS.items():
        if len(item.get(name, "")) >= most - 1:
            return Rejection(Outcome.TRUNCATED.value, float(len(item[name])), name)
    question = strip_persona(" ".join(item["question"].split()))
    if _STILL_PERSONA.search(question):
        return Rejection("persona", None, question[:80])
    if bad := bad_character("\n".join(" ".join(value.split()) for value in item.values())):
        return Rejection(Outcome.BAD_CHARACTERS.value, None, bad)
    return Candidate(
        question=question,
        aligned=" ".join(item["aligned"].split()),
        misaligned=" ".join(item["misaligned"].split()),
        behaviour=item.get(BEHAVIOUR, "").strip(),
        quote=" ".join(item.get("quote", "").split()),
    )


def strip_persona(question: str) -> str:
    """Return a question without the words that tell the model it is an AI: those are an
    evaluation's to say. What else the sentence says is kept, or the sentence left as it is."""
    return _PERSONA_AT_WORK.sub("You are ", _PERSONA.sub("", question))
