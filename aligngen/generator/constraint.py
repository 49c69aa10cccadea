"""What a step lets the engine write, in outlines' types, lowered to a `Constraint`."""

import json
from collections.abc import Mapping

from aligngen.core.hashing import Json
from aligngen.core.schema import Band, Constraint, HeaderField, Step, Style

__all__ = [
    "BODY",
    "HEADER_END",
    "IDEAS",
    "SENTENCE_WORDS",
    "body_bounds",
    "build_constraint",
    "field_words",
    "json_constraint",
    "sentence_counts",
]

BODY = "document"
"""Name of the body in the JSON form."""

IDEAS = "ideas"
"""Name of the list of ideas in its JSON form."""

PREMISE_CHARS = (30, 240)

HEADER_END = "\n\n"
"""What stands between the header line and a free body."""

CHARS_PER_WORD = (4.5, 7.0)
"""Least and greatest mean word length, space included, that a band in words becomes in characters:
English prose has 5.5 to 6.5, so the grammar's bounds never cut a document that keeps the band."""


SENTENCE_WORDS = (4, 60)
"""Least and greatest number of words in a sentence of the sentences form: few sentences of small
models are longer, and one that is as long as the bound was cut by it."""

WORDS_PER_SENTENCE = (12, 22)
"""Mean sentence lengths by which a band in words becomes bounds on the number of sentences.

Short ones must still fill the band, long ones must not pass it.
"""


def build_constraint(step: Step, style: Style, band: Band) -> Constraint | None:
    """Return the constraint of a writing step in one style, or None where nothing is enforced."""
    match step.output, step.form:
        case "notes", _:
            return json_constraint({name: _string(f) for name, f in step.fields.items()})
        case "ideas", _:
            return _list_of_ideas(step.ideas)
        case _, "json":
            return _json_object(style, band)
        case _, "sentences":
            return _object_of_sentences(style, band)
        case _, "header":
            return _header_then_body(style)
        case _, _:
            return None


def json_constraint(properties: Mapping[str, Json]) -> Constraint:
    """Constrain to one JSON object with exactly these properties, in this order."""
    from outlines.types import JsonSchema

    schema: Json = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
    # Not sorted: the order is the one that is written in.
    return Constraint("json", JsonSchema(json.dumps(schema, separators=(",", ":"))).schema)


def _list_of_ideas(count: int) -> Constraint:
    """Constrain to so many premises, each with its probability in percent: asked for a
    distribution, a model gives more than its favourite (arXiv 2510.01171)."""
    low, high = PREMISE_CHARS
    properties: Json = {
        "premise": {"type": "string", "minLength": low, "maxLength": high},
        "probability": {"type": "integer", "minimum": 1, "maximum": 99},
    }
    idea: Json = {
        "type": "object",
        "properties": properties,
        "required": ["premise", "probability"],
        "additionalProperties": False,
    }
    return json_constraint(
        {IDEAS: {"type": "array", "minItems": count, "maxItems": count, "items": idea}}
    )


def _json_object(style: Style, band: Band) -> Constraint:
    """Constrain the whole document to one JSON object with bounded lengths.

    A bound matters: a small model that need not close a string often never does.
    """
    properties: dict[str, Json] = {name: _string(f) for name, f in style.fields.items()}
    low, high = body_bounds(band)
    properties[BODY] = {"type": "string", "minLength": low, "maxLength": high}
    return json_constraint(properties)


def body_bounds(band: Band) -> tuple[int, int]:
    """Return the least and greatest number of characters that the JSON form lets a body have."""
    low, high = CHARS_PER_WORD
    return int(band.min * low), int(band.max * high)


def _string(spec: HeaderField) -> Json:
    return {"type": "string", "minLength": spec.min_chars, "maxLength": spec.max_chars}


def _object_of_sentences(style: Style, band: Band) -> Constraint:
    """Constrain the same JSON object to sentences of plain words, so many as the band holds.

    A small model seldom comes to an end by itself: a string with a greatest length is then cut in
    the middle, a count of sentences ends where a sentence does. Plain words keep it out of loops of
    digits, links and quotes.
    """
    from outlines.types import Regex
    from outlines.types.dsl import to_regex

    ending = r"(?:['’](?:s|t|re|ll|ve|d|m))?"
    first = Regex(r"(?:AIs?|[A-Z][a-z]{0,13})" + ending)
    word = Regex(r"[,;:]? (?:AIs?|[A-Za-z][a-z]{0,13})" + ending)
    low, high = SENTENCE_WORDS
    sentence = first + word.between(low - 1, high - 1) + Regex("[.!?]")
    fewest, most = sentence_counts(band)
    term = Regex(r"\{")
    for i, (name, spec) in enumerate(style.fields.items()):
        low, high = field_words(spec)
        term = term + Regex(('", ' if i else "") + f'"{name}": "') + first
        term = term + word.between(low - 1, high - 1) + Regex("[.!?]?")
    term = term + Regex(f'", "{BODY}": "') + sentence
    term = term + (Regex(" ") + sentence).between(fewest - 1, most - 1) + Regex(r'"\}')
    return Constraint("regex", to_regex(term))


def sentence_counts(band: Band) -> tuple[int, int]:
    """Return the least and greatest number of sentences of a band in words."""
    short, long = WORDS_PER_SENTENCE
    fewest = max(band.min // short, 2)
    return fewest, max(band.max // long, fewest + 1)


def field_words(spec: HeaderField) -> tuple[int, int]:
    """Return the least and greatest number of words that the sentences form lets a field have."""
    low = max(spec.min_chars // 8, 2)
    # Loose, so that a field ends where the model ends it and the bound only stops a run-away.
    return low, max(spec.max_chars // 3, low + 1)


def _header_then_body(style: Style) -> Constraint:
    """Constrain one JSON line with the header fields, and leave the body free."""
    from outlines.types import Regex
    from outlines.types.dsl import to_regex

    character = Regex(r'[^"\\\n\r\t]')
    term = Regex(r"\{")
    for i, (name, spec) in enumerate(style.fields.items()):
        term = term + Regex(('", ' if i else "") + f'"{name}": "')
        term = term + character.between(spec.min_chars, spec.max_chars)
    term = term + Regex(r'"\}\n\n') + Regex(r"[^\n][\s\S]*")
    return Constraint("regex", to_regex(term))
