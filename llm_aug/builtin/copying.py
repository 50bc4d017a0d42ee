"""Starts a small Llama with heads that can copy: a previous-token head and, above it, two induction heads.

A description repeats its facts' names, and a judge compares words, so all of our tasks need attention that finds an
earlier 'A B' at 'A' and proposes 'B' (Olsson et al. 2022, In-context Learning and Induction Heads). Left to chance, such
heads form only after many millions of tokens, more than a run of an hour on one thread has.
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

from llm_aug.errors import InputError

SHARPNESS = 5.5  # amplitude of the position biases; the token before gets most of the attention at 5 and more
EMBEDDING = 0.05  # standard deviation
MATCH = 2.5  # gain of queries and keys
BEFORE, COPY = 2.0, 2.0  # what the heads write, relative to a token's own embedding


Frozen = dict[str, torch.Tensor]


def start_copying(model: LlamaForCausalLM) -> Frozen:
    """Overwrites head 0 of the first layer and heads 0 and 1 of the second. Needs attention biases and two layers.

    With biases alone as query and key, a rotary head's score depends on the distance d only: the sum over frequencies f
    of a^2 cos(f (d - 1)), highest at d = 1. It writes each token's predecessor into a subspace of its own, where the
    second layer's keys read it; queries are the token itself. Only slow frequencies compare content, so that
    distance does not matter.
    """
    config = model.config
    if min(config.num_hidden_layers, config.num_attention_heads) < 2 or not config.attention_bias:
        raise InputError("copying heads need two layers, two heads and attention biases; change the recipe")
    hidden, size = config.hidden_size, config.hidden_size // config.num_attention_heads
    read, written, *values = (_directions(hidden, size) for _ in range(4))
    scale = EMBEDDING
    frozen: Frozen = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    half = size // 2
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
        first.o_proj.weight[:, :size] = BEFORE * scale * written.T
        slow = torch.cat([torch.arange(half - half // 2, half), torch.arange(size - half // 2, size)])
        for head, value in enumerate(values):
            rows, parts = head * size + slow, head * len(slow) + torch.arange(len(slow))
            second.q_proj.weight[head * size : (head + 1) * size] = 0
            second.k_proj.weight[head * size : (head + 1) * size] = 0
            second.q_proj.weight[rows] = MATCH * read[parts]
            second.k_proj.weight[rows] = MATCH * written[parts]
            second.v_proj.weight[head * size : (head + 1) * size] = value
            second.o_proj.weight[:, head * size : (head + 1) * size] = COPY * scale * value.T

    for name in ("q_proj", "k_proj", "v_proj"):
        frozen[f"model.layers.0.self_attn.{name}.weight"][:size] = True
        frozen[f"model.layers.0.self_attn.{name}.bias"][:size] = True
    frozen["model.layers.0.self_attn.o_proj.weight"][:, :size] = True
    for name in ("q_proj", "k_proj"):
        frozen[f"model.layers.1.self_attn.{name}.weight"][: 2 * size] = True
    return {name: mask for name, mask in frozen.items() if mask.any()}


def _directions(hidden: int, size: int) -> torch.Tensor:
    """[size, hidden] orthonormal rows, random."""
    return torch.linalg.qr(torch.randn(hidden, size))[0].T
