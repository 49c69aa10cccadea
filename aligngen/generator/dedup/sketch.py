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

_HEADER = struct.Struct("<BHHI16s")
_VERSION = 1


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

    def to_blob(self) -> bytes:
        """Return the sketch as bytes: header, bands, vector, shingles."""
        vector = np.empty(0, dtype=np.int16) if self.vector is None else self.vector
        sizes = (len(self.minhash), len(vector), len(self.shingles))
        return b"".join(
            (
                _HEADER.pack(_VERSION, *sizes, self.exact),
                self.minhash.astype("<u4", copy=False).tobytes(),
                vector.astype("<i2", copy=False).tobytes(),
                self.shingles.astype("<u4", copy=False).tobytes(),
            )
        )

    @classmethod
    def from_blob(cls, blob: bytes) -> Self:
        """Read a sketch back; refuse bytes that no sketch has."""
        bands, dim, shingles, exact = _read_header(blob)
        at_vector = _HEADER.size + 4 * bands
        at_shingles = at_vector + 2 * dim
        vector = np.frombuffer(blob, "<i2", dim, at_vector) if dim else None
        return cls(
            exact,
            np.frombuffer(blob, "<u4", bands, _HEADER.size),
            np.frombuffer(blob, "<u4", shingles, at_shingles),
            vector,
        )


def _read_header(blob: bytes) -> tuple[int, int, int, bytes]:
    remedy = "The ledger was written by another version or is damaged; start a new run folder."
    if len(blob) < _HEADER.size:
        raise UserError(f"dedup sketch has {len(blob)} bytes, too few for a header", remedy=remedy)
    version, bands, dim, shingles, exact = _HEADER.unpack_from(blob)
    expected = _HEADER.size + 4 * bands + 2 * dim + 4 * shingles
    if version != _VERSION or len(blob) != expected:
        problem = f"dedup sketch of version {version} has {len(blob)} bytes, expected {expected}"
        raise UserError(problem, remedy=remedy)
    return bands, dim, shingles, exact


class Columns(NamedTuple):
    """Many sketches of one layout, as columns (used when an index is reloaded)."""

    exact: list[bytes]
    minhash: NDArray[np.uint32]
    vector: NDArray[np.int16]
    shingles: list[bytes]


def read_columns(blobs: list[bytes]) -> Columns:
    """Read blobs that share numbers of bands and dimensions without a Python step per number."""
    bands, dim, _, _ = _read_header(blobs[0])
    end = _HEADER.size + 4 * bands + 2 * dim
    fixed = np.frombuffer(b"".join([blob[:end] for blob in blobs]), np.uint8)
    table = fixed.reshape(len(blobs), end)
    at_vector = _HEADER.size + 4 * bands
    minhash = np.ascontiguousarray(table[:, _HEADER.size : at_vector]).view("<u4")
    vector = np.ascontiguousarray(table[:, at_vector:]).view("<i2")
    exact = [blob[_HEADER.size - 16 : _HEADER.size] for blob in blobs]
    return Columns(exact, minhash, vector, [blob[end:] for blob in blobs])


def layout(blob: bytes) -> tuple[int, int]:
    """Return the numbers of bands and of dimensions, by which blobs are read together."""
    bands, dim, _, _ = _read_header(blob)
    return bands, dim
