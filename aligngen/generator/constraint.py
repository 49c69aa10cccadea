"""What a style and recipe let the engine write, in outlines' types, lowered to a `Constraint`."""

import json

from aligngen.core.hashing import Json
from aligngen.core.schema import Band, Constraint, HeaderField, Recipe, Style

__all__ = ["BODY", "HEADER_END", "build_constraint"]

BODY = "document"
"""Name of the body in the JSON form."""

HEADER_END = "\n\n"
"""What stands between the header line and a free body."""

CHARS_PER_WORD = (4.5, 7.0)
"""Least and greatest mean word length, space included, that a band in words becomes in characters:
English prose has 5.5 to 6.5, so the grammar's bounds never cut a document that keeps the band."""


WORDS_PER_SENTENCE = (4, 30)
MEAN_SENTENCE = 20
"""Words in a sentence: bounds of the grammar, and the mean by which a band in words becomes a number
of sentences."""


def build_constraint(recipe: Recipe, style: Style, band: Band) -> Constraint | None:
    """Return the constraint of one style under one recipe, or None where nothing is enforced."""
    match recipe.constraint:
        case "json":
            return _json_object(style, band)
        case "sentences":
            return _object_of_sentences(style, band)
        case "header":
            return _header_then_body(style)
        case "none":
            return None


def _json_object(style: Style, band: Band) -> Constraint:
    """Constrain the whole document to one JSON object with bounded lengths.

    A bound matters: a small model that need not close a string often never does.
    """
    from outlines.types import JsonSchema

    low, high = CHARS_PER_WORD
    properties: dict[str, Json] = {name: _string(f) for name, f in style.fields.items()}
    properties[BODY] = {
        "type": "string",
        "minLength": int(band.min * low),
        "maxLength": int(band.max * high),
    }
    schema: Json = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    # Keys in the order of the style, not sorted: the order is the one that is written in.
    return Constraint("json", JsonSchema(json.dumps(schema, separators=(",", ":"))).schema)


def _string(spec: HeaderField) -> Json:
    return {"type": "string", "minLength": spec.min_chars, "maxLength": spec.max_chars}


def _object_of_sentences(style: Style, band: Band) -> Constraint:
    """Constrain the same JSON object to sentences of plain words, so many as the band holds.

    A string that only has a greatest length is cut in the middle of a sentence by a model that does
    not come to an end; a count of sentences lets it end where sentences end, and plain words keep
    small models out of loops of digits, links and quotes.
    """
    from outlines.types import Regex
    from outlines.types.dsl import Term, to_regex

    ending = r"(?:['’](?:s|t|re|ll|ve|d|m))?"
    word = Regex(r"[,;:]? (?:AIs?|[A-Za-z][a-z]{0,13})" + ending)
    first = Regex(r"(?:AIs?|[A-Z][a-z]{0,13})" + ending)

    def phrase(low: int, high: int) -> Term:
        return first + word.between(max(low - 1, 1), high - 1)

    sentence = phrase(*WORDS_PER_SENTENCE) + Regex("[.!?]")
    fewest = max(round(band.min / MEAN_SENTENCE), 2)
    most = max(round(band.max / MEAN_SENTENCE), fewest)
    term = Regex(r"\{")
    for i, (name, spec) in enumerate(style.fields.items()):
        term = term + Regex(('", ' if i else "") + f'"{name}": "')
        low, high = max(spec.min_chars // 8, 2), max(spec.max_chars // 6, 3)
        term = term + phrase(low, high) + Regex("[.!?]?")
    term = term + Regex(f'", "{BODY}": "') + sentence
    term = term + (Regex(" ") + sentence).between(fewest - 1, most - 1) + Regex(r'"\}')
    return Constraint("regex", to_regex(term))


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
