"""Starts a small Llama with heads that can copy: two position heads and, above them, three induction heads.

A description repeats the names in its facts, and a judge compares words, so our tasks need attention that, at 'A',
finds an earlier 'A B' and proposes 'B' (Olsson et al. 2022, In-context Learning and Induction Heads). One head goes by
the last token, which in a text of short pieces stands in many places; two go by the last two. Left to chance such heads
take many millions of tokens, more than an hour on one thread has: after 2.7 million there was none.
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

from llm_aug.errors import InputError

SHARPNESS = 5.5  # amplitude of the position biases: at 5.5 the token at the distance gets 0.91 of the attention
EMBEDDING = 0.05  # standard deviation
MATCH = 3.5  # gain of queries and keys
BEFORE, COPY = 2.5, 5.0  # what the heads write, relative to a token's own embedding
DISTANCES = (1, 2)  # of the tokens that the heads of the first layer tell
FINDERS = 3  # heads of the second layer
ROPE_THETA = 1e6  # so that over a prompt's length half of the frequencies are too slow to matter

Parts = dict[str, torch.Tensor]


def start_copying(model: LlamaForCausalLM) -> None:
    """Overwrites the first heads of the first two layers.

    With biases alone as query and key, a rotary head's score depends on the distance d only: the sum over frequencies f
    of a^2 cos(f (d - D)), highest at d = D. Such a head writes the token D before into a subspace of its own, where
    the second layer's keys read it; the queries there are the token itself and the one before. Only slow frequencies
    compare content, so that distance matters little. Raises InputError where the model has too few layers or heads, or
    no attention biases.
    """
    config = model.config
    enough = config.num_hidden_layers >= 2 and config.num_attention_heads >= FINDERS
    if not enough or not config.attention_bias:
        raise InputError(f"copying heads need two layers, {FINDERS} heads and attention biases; change the recipe")
    size = config.hidden_size // config.num_attention_heads
    half = size // 2
    token, *before = _directions(config.hidden_size, size, 1 + len(DISTANCES))
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(EMBEDDING / config.initializer_range)
        frequencies = model.model.rotary_emb.inv_freq[: half // 3]
        fast = torch.arange(len(frequencies))
        for head, (distance, written) in enumerate(zip(DISTANCES, before, strict=True)):
            rows, start = slice(head * size, (head + 1) * size), head * size
            first.q_proj.weight[rows] = 0
            first.k_proj.weight[rows] = 0
            first.k_proj.bias[start + fast] = SHARPNESS
            first.q_proj.bias[start + fast] = SHARPNESS * torch.cos(distance * frequencies)
            first.q_proj.bias[start + fast + half] = -SHARPNESS * torch.sin(distance * frequencies)
            first.v_proj.weight[rows] = token
            first.o_proj.weight[:, rows] = BEFORE * EMBEDDING * written.T
        slow = torch.cat([torch.arange(half - half // 2, half), torch.arange(size - half // 2, size)])
        last, two_back = slow[::2], slow[1::2]
        for head, value in enumerate(_directions(config.hidden_size, size, FINDERS)):
            rows, start = slice(head * size, (head + 1) * size), head * size
            second.q_proj.weight[rows] = 0
            second.k_proj.weight[rows] = 0
            compared = [(slow, token, before[0])] if head == 0 else [(last, token, before[0]), (two_back, *before)]
            for places, asked, held in compared:
                parts = (head * len(places) + torch.arange(len(places))) % size
                second.q_proj.weight[start + places] = MATCH * asked[parts]
                second.k_proj.weight[start + places] = MATCH * held[parts]
            second.v_proj.weight[rows] = value
            second.o_proj.weight[:, rows] = COPY * EMBEDDING * value.T


def fixed_parts(model: LlamaForCausalLM) -> Parts:
    """Parameter name -> bool mask of what finds the place to copy from; training leaves it alone.

    Its numbers are small beside AdamW's first steps: left free, it was gone after 200 steps. What is done with the
    place found (values and outputs of the second layer) is learnt.
    """
    size = model.config.hidden_size // model.config.num_attention_heads
    telling, finding = slice(len(DISTANCES) * size), slice(FINDERS * size)
    parts: Parts = {}
    parameters = dict(model.named_parameters())

    def fix(layer: int, name: str, rows: slice, columns: slice | None = None) -> None:
        full = f"model.layers.{layer}.self_attn.{name}"
        mask = torch.zeros_like(parameters[full], dtype=torch.bool)
        mask[rows if columns is None else (rows, columns)] = True
        parts[full] = mask

    for projection in ("q_proj", "k_proj", "v_proj"):
        fix(0, f"{projection}.weight", telling)
        fix(0, f"{projection}.bias", telling)
    fix(0, "o_proj.weight", slice(None), telling)
    for projection in ("q_proj", "k_proj"):
        fix(1, f"{projection}.weight", finding)
    return parts


def _directions(hidden: int, size: int, count: int) -> tuple[torch.Tensor, ...]:
    """count x [size, hidden], all rows orthonormal, random."""
    return torch.linalg.qr(torch.randn(hidden, count * size))[0].T.split(size)
