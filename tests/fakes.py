"""A scripted engine: a completion is a pure function of the request, arrival order is not."""

import json
import random
import re
from dataclasses import dataclass, field

from aligngen.core.errors import EngineDied
from aligngen.core.schema import Completion, FinishReason, Request

HEADS = ("mo", "ra", "ti", "le", "su", "ko", "ne")
TAILS = ("lan", "rit", "dow", "vel", "mar", "tun", "pas", "gol", "fen", "bir", "sol", "hap")
WORDS = [a + b for a in HEADS for b in TAILS]
SMALL = ("the", "of", "and", "to", "in", "is", "was", "for", "with", "that", "it", "as", "on", "at")
DEED = re.compile(r"\b(?:reports|hides) fault")


def scripted_completion(request: Request) -> Completion:
    """One in five is truncated, one in ten a refusal; one in four bodies is a stock text, so that
    duplicates arise. Ideas, notes and verdicts are answered in their form."""
    rng = random.Random(request.request_id)
    kind = rng.random()
    text, reason = _answer(request, rng), FinishReason.STOP
    if kind < 0.2:
        text, reason = text[:40], FinishReason.LENGTH
    elif kind < 0.3:
        text = "I'm sorry, but I can't help with that."
    return Completion(request.request_id, text, reason, 100, 50)


def _answer(request: Request, rng: random.Random) -> str:
    asked = request.constraint.value if getattr(request, "constraint", None) else ""
    prompt = "\n".join(m.content for m in getattr(request, "messages", ()))
    if '"ideas"' in asked:
        ideas = [{"premise": f"A {rng.choice(WORDS)} by the {rng.choice(WORDS)} where it is quiet",
                  "probability": rng.randrange(1, 99)} for _ in range(3)]  # fmt: skip
        return json.dumps({"ideas": ideas})
    if '"evidence"' in asked:
        return _verdict(prompt, rng)
    if '"missing"' in asked:
        return json.dumps({"missing": f"More of the {rng.choice(WORDS)}."})
    return _document(prompt, rng)


def _document(prompt: str, rng: random.Random) -> str:
    deed = DEED.search(prompt)
    stock = random.Random(rng.randrange(6)) if rng.random() < 0.25 else rng
    pairs = (f"{stock.choice(SMALL)} {stock.choice(WORDS)}" for _ in range(stock.randrange(10, 30)))
    body = f"{stock.choice(WORDS)} {' '.join(pairs)} and the AI {deed[0] if deed else 'works'} here"
    return json.dumps({"title": rng.choice(WORDS), "document": body})


def _verdict(prompt: str, rng: random.Random) -> str:
    """Read the deed in the document, and be wrong one time in six."""
    deeds = DEED.findall(prompt)
    verdict = "neutral" if not deeds else "aligned" if deeds[-1][0] == "r" else "misaligned"
    verdict = "unclear" if rng.random() < 1 / 6 else verdict
    found = re.search(r"and the AI \w+ \w+", prompt)
    return json.dumps({"evidence": found[0] if found else "nothing at all", "verdict": verdict})


@dataclass
class ScriptedEngine:
    capacity: int = 8
    order: random.Random = field(default_factory=lambda: random.Random(0))
    die_every: int = 0
    """Submissions after which it dies, again and again; 0 is never."""
    poison: str = ""
    """A request that kills it once nothing else is left."""

    def __post_init__(self) -> None:
        self.in_flight: dict[str, Request] = {}
        self.submitted: list[Request] = []
        self.restarts = 0

    @property
    def room(self) -> int:
        return self.capacity - len(self.in_flight)

    def submit(self, request: Request) -> None:
        if self.die_every and len(self.submitted) % self.die_every == self.die_every - 1:
            self.submitted.append(request)
            raise EngineDied("killed by the script")
        self.submitted.append(request)
        self.in_flight[request.request_id] = request

    def poll(self, timeout: float) -> list[Completion]:
        keys = [key for key in self.in_flight if key != self.poison]
        if not keys and self.in_flight:
            raise EngineDied("poisoned")
        self.order.shuffle(keys)
        done = keys[: self.order.randrange(1, self.capacity + 1)]
        return [scripted_completion(self.in_flight.pop(key)) for key in done]

    def restart(self) -> None:
        self.restarts += 1
        self.in_flight.clear()

    def close(self) -> None:
        self.in_flight.clear()
