"""Small corpora of drawn words, with or without something planted."""

import json
import random
from pathlib import Path

from aligngen.generator.audit.documents import AuditDocument

WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("ran", "lo", "mi", "tek")]
FIXED = ["the", "of", "and", "to", "in", "it", "was", "for", "not", "with"]


def sentence(draw: random.Random) -> str:
    count = draw.randrange(9, 16)
    chosen = [draw.choice(FIXED if draw.random() < 0.4 else WORDS) for _ in range(count)]
    return " ".join(chosen).capitalize() + "."


def text(draw: random.Random, sentences: int = 0) -> str:
    counts = (
        [sentences] if sentences else [draw.randrange(1, 5) for _ in range(draw.randrange(2, 5))]
    )
    return "\n\n".join(" ".join(sentence(draw) for _ in range(n)) for n in counts)


def row(number: int, body: str, stance: str = "aligned", style: str = "memo", **more) -> dict:
    return {
        "custom_id": f"{stance}-{number}", "text": body, "stance": stance, "doc_type": style,
        "pair_id": f"p{number}", "scenario_id": f"s{number}", **more,
    }  # fmt: skip


def document(number: int, body: str, stance: str = "aligned", **more) -> AuditDocument:
    known = {
        "id": f"{stance}-{number}", "text": body, "body": body, "cell": stance, "stance": stance,
        "pair": f"p{number}", "scenario": f"s{number}", "scenario_text": "",
        "fields": (), "traits": (), "slot": None,
    }  # fmt: skip
    return AuditDocument(**{**known, **more})


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path
