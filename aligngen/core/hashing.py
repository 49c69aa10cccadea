"""Canonical JSON and the hashes made of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence

__all__ = ["Json", "canonical_json", "content_hash", "seed_from"]

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]


def canonical_json(value: Json) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, non-ASCII kept, no NaN."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )


def content_hash(value: Json, length: int = 32) -> str:
    """Return the first `length` hex digits of the SHA-256 of `value`'s canonical JSON."""
    data = canonical_json(value).encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:length]


def seed_from(*parts: str | int) -> int:
    """Return a 31-bit seed that depends on every part and on their order."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1
