"""Words of a text: which of them carry content, and whether they are English."""

import re

__all__ = ["content_words", "english_share", "tokens"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_FUNCTION_WORDS = """
a about above after again against all also although always am among an and another any are
around as at away back be because been before being below between both but by can cannot could
did do does doing done down during each either else enough even ever every few first for from
further get gets give given go goes going had has have having he her here hers herself him
himself his how however i if in instead into is it its itself just keep last less let like made
make makes making many may me might mine more most much must my myself near need needs neither
never next no nor not nothing now of off often on once one only onto or other others our ours
out over own per perhaps put rather same say says see seem seems several shall she should since
so some something soon still such take takes than that the their theirs them themselves then
there these they thing things this those though through thus to together too toward towards
under until up upon us use used uses using very was way we well were what whatever when where
whether which while who whole whom whose why will with within without would yes yet you your
yours yourself aren't can't couldn't didn't doesn't don't hadn't hasn't haven't i'd i'll i'm
i've isn't it's let's shouldn't that's there's they'd they'll they're they've wasn't we'd we'll
we're we've weren't what's won't wouldn't you'd you'll you're you've
"""
_FUNCTION = frozenset(_FUNCTION_WORDS.split())
# Those that other languages share in number, or that are rare in English.
_ENGLISH = _FUNCTION - {"a", "i", "me", "no", "in", "on", "so", "am", "an", "as", "he", "her", "us"}


def tokens(text: str) -> list[str]:
    """Return the lower-cased words of a text, with one kind of apostrophe."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def content_words(text: str) -> set[str]:
    """Return the words that carry content, without endings of number and tense.

    Endings are cut crudely: two texts are compared, nothing is read.
    """
    return {_stem(word) for word in tokens(text) if word not in _FUNCTION and len(word) > 2}


def english_share(text: str) -> float:
    """Return the share of words that are common English function words; 0 for no words."""
    words = tokens(text)
    return sum(word in _ENGLISH for word in words) / len(words) if words else 0.0


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word
