"""What a model remembers of a batch of prompts: read once, then extended, thinned out or copied.

Both kinds answer the same calls, so that decoding and scoring know neither causal nor encoder-decoder models:
`extend(tokens [rows, n]) -> float32 logits [rows, n, vocabulary]`, `select(rows)`, `fork()`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput


def pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens and mask (1 for a token, 0 for padding), both [rows, longest]; answers begin right at the last column."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return tokens, mask


@cache
def forward_parameters(model: Any) -> frozenset[str]:
    """Names of the arguments that a class of models takes: not all know of positions or of logits to keep."""
    return frozenset(signature(model.forward).parameters)


@dataclass
class CausalState:
    """cache: keys and values of all rows. mask: [rows, cached tokens], 0 where the cache holds padding."""

    model: Any
    cache: Any
    mask: Tensor

    @classmethod
    def empty(cls, model: Any, rows: int) -> CausalState:
        mask = torch.zeros((rows, 0), dtype=torch.long, device=model.device)
        return cls(model, DynamicCache(config=model.config), mask)

    def read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Reads prompts, or the rest of prompts whose beginning is read, padded left. Returns the last logits."""
        return self._forward(tokens, mask, last=True)[:, -1]

    def extend(self, tokens: Tensor) -> Tensor:
        return self._forward(tokens, torch.ones_like(tokens), last=False)

    def select(self, rows: Tensor) -> None:
        """Keeps these rows, in this order; a row named twice is there twice."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def fork(self) -> CausalState:
        return CausalState(self.model, copy.deepcopy(self.cache), self.mask)

    def _forward(self, tokens: Tensor, mask: Tensor, last: bool) -> Tensor:
        self.mask, seen = torch.cat([self.mask, mask], 1), self.mask.sum(1, keepdim=True)
        # Positions count real tokens only: a row gets the numbers it would get alone.
        inputs = {"position_ids": (seen + mask.cumsum(1) - 1).clamp(min=0), "logits_to_keep": int(last)}
        accepted = forward_parameters(self.model.__class__)
        output = self.model(
            input_ids=tokens,
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            **{name: value for name, value in inputs.items() if name in accepted},
        )
        self.cache = output.past_key_values
        return output.logits.float()


@dataclass
class Seq2SeqState:
    """encoded: [rows, prompt tokens, hidden]. cache: of the decoder."""

    model: Any
    encoded: Tensor
    mask: Tensor
    cache: Any

    @classmethod
    def read(cls, model: Any, tokens: Tensor, mask: Tensor, start: Sequence[int]) -> tuple[Seq2SeqState, Tensor]:
        """Encodes the prompts and gives the decoder its start tokens. Returns the state and the last logits."""
        encoded = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        state = cls(model, encoded, mask, cache)
        first = torch.tensor(start, device=tokens.device).expand(len(tokens), -1)
        return state, state.extend(first)[:, -1]

    def extend(self, tokens: Tensor) -> Tensor:
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.encoded),
            attention_mask=self.mask,
            decoder_input_ids=tokens,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = output.past_key_values
        return output.logits.float()

    def select(self, rows: Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.encoded, self.mask = self.encoded[rows], self.mask[rows]

    def fork(self) -> Seq2SeqState:
        return Seq2SeqState(self.model, self.encoded, self.mask, copy.deepcopy(self.cache))


def prefixes_can_be_shared(model: Any) -> bool:
    """Whether padding may lie between a shared prefix and the rest of a prompt.

    Sliding windows count the padding in, and linear attention keeps no mask of what it has read.
    """
    if model.config.is_encoder_decoder:
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
