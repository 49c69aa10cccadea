"""Recorded completions, found by request without holding their texts in memory.

In: a JSONL file, one completion a line, or a run folder with its ledger. A JSONL file may start
with a line `{"identity": {"kind", "model", "revision", "backend"}}`: then a replay makes the same
requests, hash for hash, as the engine that was recorded.
"""

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from aligngen.core.errors import UserError
from aligngen.core.schema import Completion, FinishReason
from aligngen.generator.engines.protocol import EngineIdentity

__all__ = ["IDENTITY_KEY", "Recording", "identify_recording"]

IDENTITY_KEY = "engine_identity"
"""The ledger's meta key under which a run keeps its engine's identity, as JSON."""
_LEDGER = "ledger.sqlite"
_REMEDY = "Give a JSONL file of completions, or a run folder."


class Recording:
    """Completions by request id; only the offsets of their lines are in memory."""

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        self._offset_of: dict[bytes, int] = {}
        self._offsets = array("Q")
        for number, offset, line in _lines(self._file):
            self._index(path, number, offset, line)
        if not self._offsets:
            raise UserError(
                "a recording without completions", remedy=_REMEDY, file=path, field="engine.model"
            )

    def __len__(self) -> int:
        return len(self._offsets)

    def find(self, request_id: str) -> Completion | None:
        """Return the completion recorded for a request, or None."""
        offset = self._offset_of.get(_key(request_id))
        return None if offset is None else self._read(offset)

    def draw(self, number: int) -> Completion:
        """Return one of the completions, chosen by a number."""
        return self._read(self._offsets[number % len(self._offsets)])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _index(self, path: Path, number: int, offset: int, line: bytes) -> None:
        try:
            row = json.loads(line)
            if "identity" in row:
                return
            key = _key(_completion(row).request_id)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"not a recorded completion ({type(error).__name__}: {error})",
                remedy="Each line needs request_id, text and finish_reason.",
                file=path,
                line=number,
            ) from error
        self._offset_of.setdefault(key, offset)
        self._offsets.append(offset)

    def _read(self, offset: int) -> Completion:
        self._file.seek(offset)
        return _completion(json.loads(self._file.readline()))


def identify_recording(path: Path) -> EngineIdentity:
    """Return the identity a recording was made under, or one that names the recording itself."""
    if path.is_dir() or path.suffix == ".sqlite":
        return _identify_ledger(path)
    if not path.is_file():
        raise _missing(path)
    with path.open("rb") as file:
        first = file.readline()
        try:
            header = json.loads(first).get("identity")
            if header:
                return EngineIdentity(**header)
        except (ValueError, AttributeError, TypeError):
            pass  # The line is judged, with its number, when the recording is opened.
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EngineIdentity("replay", path.name, f"recording-{digest[:16]}", "replay")


def _identify_ledger(path: Path) -> EngineIdentity:
    from aligngen.generator.ledger import Ledger

    with Ledger.read(_ledger(path)) as ledger:
        recorded = ledger.meta(IDENTITY_KEY)
    if recorded:
        return EngineIdentity(**json.loads(recorded))
    return EngineIdentity("replay", path.resolve().name, "recording", "replay")


def _ledger(path: Path) -> Path:
    ledger = path / _LEDGER if path.is_dir() else path
    if not ledger.is_file():
        raise _missing(path)
    return ledger


def _missing(path: Path) -> UserError:
    return UserError("no such recording", remedy=_REMEDY, file=path, field="engine.model")


def _open(path: Path) -> BinaryIO:
    if path.is_file() and path.suffix != ".sqlite":
        return path.open("rb")
    ledger = _ledger(path)
    from aligngen.generator.ledger import iter_completions

    return _spool(iter_completions(ledger))


def _spool(completions: Iterable[Completion]) -> BinaryIO:
    """Copy completions into an unnamed file, for a ledger may be written while it is replayed."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the recording
    for one in completions:
        row = {
            "request_id": one.request_id,
            "text": one.text,
            "finish_reason": one.finish_reason.value,
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.completion_tokens,
            "detail": one.detail,
        }
        file.write(json.dumps(row).encode() + b"\n")
    file.flush()
    return file


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    file.seek(0)
    offset = 0
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, offset, line
        offset += len(line)


def _key(request_id: str) -> bytes:
    return hashlib.blake2b(request_id.encode(), digest_size=16).digest()


def _completion(row: dict[str, str | int]) -> Completion:
    return Completion(
        request_id=str(row["request_id"]),
        text=str(row["text"]),
        finish_reason=FinishReason(str(row["finish_reason"])),
        prompt_tokens=int(row.get("prompt_tokens", 0)),
        completion_tokens=int(row.get("completion_tokens", 0)),
        detail=str(row.get("detail", "")),
    )
