"""A model of sentence-transformers that reads texts of as many tokens together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_aug.errors import Unavailable
from llm_aug.neighbours import Vectors, unit
from llm_aug.text import encodable

LONGEST = 32_768  # characters: no encoder here reads further, and tokenizing 10 MB to keep 256 tokens is a waste
BATCH = 32  # texts that a model reads at once: what sentence-transformers takes unasked


def readable(texts: Sequence[str]) -> list[str]:
    """Cut, stripped and without lone surrogates, which tokenizers refuse."""
    return [encodable(text[:LONGEST]).strip() for text in texts]


@dataclass
class SentenceEncoder:
    """A sentence-transformers model, loaded at the first text that has to be encoded."""

    name: str
    source: str
    dtype: str
    model: Any = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        if self.model is None:
            self.model = load_sentence_model(self.source, self.dtype)
        cleaned = readable(texts) or [""]
        order = np.argsort(_lengths(self.model, cleaned), kind="stable")[::-1]
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        found = [self.model.encode([cleaned[row] for row in rows], show_progress_bar=False) for rows in batches]
        vectors = np.concatenate(found)[np.argsort(order)]
        filled = np.array([bool(text) for text in cleaned], dtype=bool)
        return unit((vectors * filled[:, None])[: len(texts)])


def _lengths(model: Any, texts: Sequence[str]) -> list[int]:
    """In tokens, as far as the model reads, or in letters where its tokenizer is none of transformers'.

    The library sorts by letters, whose batches of product texts are a sixth padding.
    """
    from transformers import PreTrainedTokenizerBase

    tokenizer, limit = getattr(model, "tokenizer", None), model.max_seq_length
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return [len(text) for text in texts]
    read = tokenizer(list(texts), truncation=limit is not None, max_length=limit, verbose=False)
    return [len(ids) for ids in read["input_ids"]]


def load_sentence_model(source: str, dtype: str) -> Any:
    """Raises Unavailable."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # a bar belongs on a terminal only, and this one takes 0.1 s
    try:
        return SentenceTransformer(
            source,
            local_files_only=Path(source).is_dir(),
            model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise Unavailable(f"encoder {source!r} does not load ({reason}); check the name, or fetch it first") from error
