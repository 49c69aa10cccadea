"""The sketch of a document: everything dedup needs of it, as numbers and as a compact blob."""

import struct
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from aligngen.core.errors import UserError

__all__ = ["SCALE", "UNIT", "Sketch", "quantise"]

SCALE = 4000
"""Vectors are stored as rint(SCALE·x). A dot product is then a sum of integers below 2²⁴, which
float32 holds exactly, so no kernel, batch size or order of summation can change a decision."""
UNIT = SCALE * SCALE
"""The integer dot product that stands for cosine 1."""
_LIMIT = 2047
"""Integers up to 2¹¹ are exact in float16, which FAISS stores; no component of a 384-d unit vector
of natural text comes near 2047/4000."""

_HEADER = struct.Struct("<BHHI16sQ")
_OPENING = struct.Struct("<Q")
_VERSION = 2
_EXACT = slice(_HEADER.size - 24, _HEADER.size - 8)


def quantise(vector: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return a unit vector as integers."""
    return np.clip(np.rint(vector * SCALE), -_LIMIT, _LIMIT).astype(np.int16)


class Sketch(NamedTuple):
    """What dedup compares of one document; a pure function of its text and cell."""

    exact: bytes
    """16-byte hash of the normalised text."""
    minhash: NDArray[np.uint32]
    """MinHash signature over the shingles, one key per LSH band."""
    shingles: NDArray[np.uint32]
    """Sorted unique hashes of the word 2-grams that the style does not dictate."""
    vector: NDArray[np.int16] | None
    """The embedding as integers, where documents are compared by meaning."""
    opening: int = 0
    """64-bit hash of the first words of the body; 0 where openings are not compared."""

    def to_blob(self) -> bytes:
        """Return the sketch as bytes: header, bands, vector, shingles."""
        vector = np.empty(0, dtype=np.int16) if self.vector is None else self.vector
        sizes = (len(self.minhash), len(vector), len(self.shingles))
        return b"".join(
            (
                _HEADER.pack(_VERSION, *sizes, self.exact, self.opening),
                self.minhash.astype("<u4", copy=False).tobytes(),
                vector.astype("<i2", copy=False).tobytes(),
                self.shingles.astype("<u4", copy=False).tobytes(),
            )
        )

    @classmethod
    def from_blob(cls, blob: bytes) -> Self:
        """Read a sketch back; refuse bytes that no sketch has."""
        bands, dim, shingles, exact, opening = _read_header(blob)
        at_vector = _HEADER.size + 4 * bands
        at_shingles = at_vector + 2 * dim
        vector = np.frombuffer(blob, "<i2", dim, at_vector) if dim else None
        return cls(
            exact,
            np.frombuffer(blob, "<u4", bands, _HEADER.size),
            np.frombuffer(blob, "<u4", shingles, at_shingles),
            vector,
            opening,
        )


def _read_header(blob: bytes) -> tuple[int, int, int, bytes, int]:
    remedy = "The ledger was written by another version or is damaged; start a new run folder."
    if len(blob) < _HEADER.size:
        raise UserError(f"dedup sketch has {len(blob)} bytes, too few for a header", remedy=remedy)
    version, bands, dim, shingles, exact, opening = _HEADER.unpack_from(blob)
    if version != _VERSION:  # What the other fields mean is unknown.
        problem = f"dedup sketch of version {version}, this program reads version {_VERSION}"
        raise UserError(problem, remedy=remedy)
    expected = _HEADER.size + 4 * bands + 2 * dim + 4 * shingles
    if len(blob) != expected:
        raise UserError(f"dedup sketch has {len(blob)} bytes, expected {expected}", remedy=remedy)
    return bands, dim, shingles, exact, opening


class Columns(NamedTuple):
    """Many sketches of one layout, as columns (used when an index is reloaded)."""

    exact: list[bytes]
    minhash: NDArray[np.uint32]
    vector: NDArray[np.int16]
    shingles: list[bytes]
    opening: list[int]


def read_columns(blobs: list[bytes]) -> Columns:
    """Read blobs that share numbers of bands and dimensions without a Python step per number."""
    bands, dim, *_ = _read_header(blobs[0])
    end = _HEADER.size + 4 * bands + 2 * dim
    fixed = np.frombuffer(b"".join([blob[:end] for blob in blobs]), np.uint8)
    table = fixed.reshape(len(blobs), end)
    at_vector = _HEADER.size + 4 * bands
    minhash = np.ascontiguousarray(table[:, _HEADER.size : at_vector]).view("<u4")
    vector = np.ascontiguousarray(table[:, at_vector:]).view("<i2")
    exact = [blob[_EXACT] for blob in blobs]
    opening = [_OPENING.unpack_from(blob, _EXACT.stop)[0] for blob in blobs]
    return Columns(exact, minhash, vector, [blob[end:] for blob in blobs], opening)


def layout(blob: bytes) -> tuple[int, int]:
    """Return the numbers of bands and of dimensions, by which blobs are read together."""
    bands, dim, *_ = _read_header(blob)
    return bands, dim
