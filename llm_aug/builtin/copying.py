"""Starts a small Llama with heads that can copy: a previous-token head and, above it, two induction heads.

A description repeats the names in its facts, and a judge compares words, so our tasks need attention that, at 'A',
finds an earlier 'A B' and proposes 'B' (Olsson et al. 2022, In-context Learning and Induction Heads). Left to chance
such heads take many millions of tokens, more than an hour on one thread has: after 2.7 million there was none.
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

from llm_aug.errors import InputError

SHARPNESS = 5.5  # amplitude of the position biases: at 5.5 the token before gets 0.96 of the attention
EMBEDDING = 0.05  # standard deviation
MATCH = 2.5  # gain of queries and keys
BEFORE, COPY = 2.0, 2.0  # what the heads write, relative to a token's own embedding

Parts = dict[str, torch.Tensor]


def start_copying(model: LlamaForCausalLM) -> None:
    """Overwrites head 0 of the first layer and heads 0 and 1 of the second.

    With biases alone as query and key, a rotary head's score depends on the distance d only: the sum over frequencies f
    of a^2 cos(f (d - 1)), highest at d = 1. That head writes each token's predecessor into a subspace of its own, where
    the second layer's keys read it; the queries there are the token itself. Only slow frequencies compare content, so
    that distance matters little. Raises InputError where the model has too few layers or heads, or no attention biases.
    """
    config = model.config
    if min(config.num_hidden_layers, config.num_attention_heads) < 2 or not config.attention_bias:
        raise InputError("copying heads need two layers, two heads and attention biases; change the recipe")
    size = config.hidden_size // config.num_attention_heads
    half = size // 2
    read, written, *values = (_directions(config.hidden_size, size) for _ in range(4))
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(EMBEDDING / config.initializer_range)
        frequencies = model.model.rotary_emb.inv_freq[: half // 3]
        fast = torch.arange(len(frequencies))
        first.q_proj.weight[:size] = 0
        first.k_proj.weight[:size] = 0
        first.k_proj.bias[fast] = SHARPNESS
        first.q_proj.bias[fast] = SHARPNESS * torch.cos(frequencies)
        first.q_proj.bias[fast + half] = -SHARPNESS * torch.sin(frequencies)
        first.v_proj.weight[:size] = read
        first.o_proj.weight[:, :size] = BEFORE * EMBEDDING * written.T
        slow = torch.cat([torch.arange(half - half // 2, half), torch.arange(size - half // 2, size)])
        for head, value in enumerate(values):
            rows, parts = slice(head * size, (head + 1) * size), head * len(slow) + torch.arange(len(slow))
            second.q_proj.weight[rows] = 0
            second.k_proj.weight[rows] = 0
            second.q_proj.weight[head * size + slow] = MATCH * read[parts]
            second.k_proj.weight[head * size + slow] = MATCH * written[parts]
            second.v_proj.weight[rows] = value
            second.o_proj.weight[:, rows] = COPY * EMBEDDING * value.T


def fixed_parts(model: LlamaForCausalLM) -> Parts:
    """Parameter name -> bool mask of what finds the place to copy from; training leaves it alone.

    Its numbers are small beside AdamW's first steps: left free, it was gone after 200 steps. What is done with the
    place found (values and outputs of the second layer) is learnt.
    """
    size = model.config.hidden_size // model.config.num_attention_heads
    parts: Parts = {}
    parameters = dict(model.named_parameters())

    def fix(layer: int, name: str, rows: slice, columns: slice | None = None) -> None:
        full = f"model.layers.{layer}.self_attn.{name}"
        mask = torch.zeros_like(parameters[full], dtype=torch.bool)
        mask[rows if columns is None else (rows, columns)] = True
        parts[full] = mask

    for projection in ("q_proj", "k_proj", "v_proj"):
        fix(0, f"{projection}.weight", slice(size))
        fix(0, f"{projection}.bias", slice(size))
    fix(0, "o_proj.weight", slice(None), slice(size))
    for projection in ("q_proj", "k_proj"):
        fix(1, f"{projection}.weight", slice(2 * size))
    return parts


def _directions(hidden: int, size: int) -> torch.Tensor:
    """[size, hidden] orthonormal rows, random."""
    return torch.linalg.qr(torch.randn(hidden, size))[0].T
