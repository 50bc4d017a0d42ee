"""What a model remembers of a batch of prompts: read once, then extended, thinned out, joined or branched.

Both kinds answer the same calls, so that decoding and scoring know neither causal nor encoder-decoder models:
`extend(tokens [rows, n]) -> float32 logits [rows, n, vocabulary]`, `keep(places)`, `branch(rows)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import EncoderDecoderCache
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput

from llm_aug.backends.cache import RoomyLayer, branched, roomy, thin


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
        return cls(model, roomy(model.config), mask)

    @property
    def joins(self) -> bool:
        """Whether rows may join: sliding windows count the columns before a row in, linear attention has none."""
        return all(type(layer) is RoomyLayer for layer in self.cache.layers)

    def read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Reads prompts, or the rest of prompts whose beginning is read, padded left. Returns the last logits."""
        return self._forward(tokens, mask, last=True)[:, -1]

    def extend(self, tokens: Tensor) -> Tensor:
        return self._forward(tokens, torch.ones_like(tokens), last=False)

    def keep(self, places: Sequence[int]) -> list[int]:
        """Thins the rows out to these; returns them in their new order."""
        order = thin(self.cache, places)
        self.mask = self.mask[order]
        return order

    def branch(self, rows: Sequence[int]) -> CausalState:
        """A state of these rows, of which one may be named often; this one stays as it is."""
        return CausalState(self.model, branched(self.cache, rows), self.mask[rows])

    @property
    def fans(self) -> bool:
        """Whether `fan` may be called: columns are no positions here, so positions must be told apart."""
        return self.joins and "position_ids" in forward_parameters(self.model.__class__)

    def fan(self, continuations: Sequence[Sequence[int]]) -> Tensor:
        """float32 logits [all their tokens, vocabulary] after each token of several continuations of the one row.

        They are read as one sequence in which each sees the row and itself alone, so that the row's keys and values are
        not copied for each; afterwards the state is as it was.
        """
        columns, device = self.mask.shape[1], self.mask.device
        owners = [owner for owner, tokens in enumerate(continuations) for _ in tokens]
        places = torch.tensor([place for tokens in continuations for place in range(len(tokens))], device=device)
        owner = torch.tensor(owners, device=device)
        inside = (owner[:, None] == owner) & (places[:, None] >= places)
        seen = torch.cat([self.mask.bool().expand(len(owner), -1), inside], 1)
        output = self.model(
            input_ids=torch.tensor([[token for tokens in continuations for token in tokens]], device=device),
            attention_mask=torch.zeros(seen.shape, device=device)
            .masked_fill(~seen, -torch.inf)[None, None]
            .to(self.model.dtype),
            position_ids=(self.mask.sum() + places)[None],
            past_key_values=self.cache,
            use_cache=True,
        )
        for layer in self.cache.layers:
            layer.cut(columns)
        return output.logits[0].float()

    def join(self, other: CausalState, room: tuple[int, int] = (0, 0)) -> None:
        """Puts another state's rows below these. room: (rows, columns) that will be needed, where that is known."""
        self._drop_unused()
        (rows, columns), (more, theirs) = self.mask.shape, other.mask.shape
        if theirs > columns or not self.cache.layers[0].fits(rows + more, columns):
            width = max(columns, theirs)
            self._reserve(max(rows + more, room[0]), max(width, room[1]), width - columns)
        for layer, new in zip(self.cache.layers, other.cache.layers, strict=True):
            layer.join(new)
        padded = torch.nn.functional.pad(other.mask, (self.mask.shape[1] - theirs, 0))
        self.mask = torch.cat([self.mask, padded])

    def _drop_unused(self) -> None:
        """Columns on the left in which no row has a token any more."""
        unused = int(self.mask.any(0).int().argmax()) if len(self.mask) else 0
        if unused:
            self.mask = self.mask[:, unused:]
            for layer in self.cache.layers:
                layer.drop(unused)

    def _reserve(self, rows: int, columns: int, shift: int) -> None:
        for layer in self.cache.layers:
            layer.reserve(rows, columns, shift)
        self.mask = torch.nn.functional.pad(self.mask, (shift, 0))

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
    """encoded: [rows, prompt tokens, hidden]. cache: of the decoder, whose rows all are at the same position."""

    model: Any
    encoded: Tensor
    mask: Tensor
    cache: Any

    joins = False

    @classmethod
    def read(cls, model: Any, tokens: Tensor, mask: Tensor, start: Sequence[int]) -> tuple[Seq2SeqState, Tensor]:
        """Encodes the prompts and gives the decoder its start tokens. Returns the state and the last logits."""
        encoded = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        cache = EncoderDecoderCache(*(Cache(layer_class_to_replicate=RoomyLayer) for _ in range(2)))
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

    def keep(self, places: Sequence[int]) -> list[int]:
        order = thin(self.cache.cross_attention_cache, places)
        thin(self.cache.self_attention_cache, places)
        self.encoded, self.mask = self.encoded[order], self.mask[order]
        return order

    def branch(self, rows: Sequence[int]) -> Seq2SeqState:
        both = (self.cache.self_attention_cache, self.cache.cross_attention_cache)
        cache = EncoderDecoderCache(*(branched(one, rows) for one in both))
        return Seq2SeqState(self.model, self.encoded[rows], self.mask[rows], cache)


def prefixes_can_be_shared(model: Any) -> bool:
    """Whether padding may lie between a shared prefix and the rest of a prompt.

    Sliding windows count the padding in, and linear attention keeps no mask of what it has read.
    """
    if model.config.is_encoder_decoder:
        return False
    return all(type(layer) is RoomyLayer for layer in roomy(model.config).layers)
