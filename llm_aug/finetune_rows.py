"""Fine-tuning pairs as token rows, and rows as batches whose loss is taken on the answers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import cross_entropy

from llm_aug import seeds
from llm_aug.backends.rendering import Rendering
from llm_aug.backends.states import pad_left
from llm_aug.data import Example

IGNORED = -100
_GROUP = 64  # batches sorted by length together: enough to save padding, few enough to keep the order random
_COARSE = 8  # tokens; a finer order would put all "yes" into one batch and all "no", a token shorter, into the next


def tokenise(examples: Sequence[Example], rendering: Rendering, max_length: int) -> tuple[Dataset, int]:
    """Rows {prompt, answer (with its end), weight} of at most max_length tokens, and how many examples were dropped.

    Dropped are the longer ones and those of weight 0.
    Nothing is cut: half a prompt teaches the wrong answer, half an answer teaches to stop in the middle.
    """
    prompts = rendering.prompt_ids([example.prompt for example in examples])
    answers = [rendering.answer_ids(example.answer) for example in examples]
    rows = [
        {"prompt": prompt, "answer": answer + rendering.end, "weight": example.weight}
        for prompt, answer, example in zip(prompts, answers, examples, strict=True)
        if prompt and answer and example.weight > 0 and len(prompt) + len(answer) + len(rendering.end) <= max_length
    ]
    columns = {name: [row[name] for row in rows] for name in ("prompt", "answer", "weight")}
    return Dataset.from_dict(columns), len(examples) - len(rows)


def batch_plan(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers in batches of similar length, in an order that depends on seed and epoch alone."""
    generator = seeds.generator(seed, "finetune", "epoch", epoch)
    order = generator.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), size * _GROUP):
        group = sorted(order[start : start + size * _GROUP].tolist(), key=lambda row: -(lengths[row] // _COARSE))
        batches += [group[first : first + size] for first in range(0, len(group), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


@dataclass(frozen=True)
class Batch:
    """inputs: of the model's forward. targets: [rows, n], IGNORED where there is none. weights: [rows]."""

    inputs: dict[str, Any]
    targets: Tensor
    weights: Tensor
    tokens: int


def collate(rows: Sequence[dict[str, Any]], rendering: Rendering, start: Sequence[int], device: torch.device) -> Batch:
    """start: the decoder's first tokens, for encoder-decoder models."""
    prompts, answers = [row["prompt"] for row in rows], [row["answer"] for row in rows]
    weights = torch.tensor([row["weight"] for row in rows], dtype=torch.float32, device=device)
    tokens = sum(map(len, prompts)) + sum(map(len, answers))
    if rendering.seq2seq:
        read, mask = pad_left(prompts, rendering.pad, device)
        longest = max(map(len, answers)) + len(start) - 1
        decoder = [([*start, *answer][:-1], [IGNORED] * (len(start) - 1) + answer) for answer in answers]
        written = [ids + [rendering.pad] * (longest - len(ids)) for ids, _ in decoder]
        wanted = [ids + [IGNORED] * (longest - len(ids)) for _, ids in decoder]
        decoded = torch.tensor(written, device=device)
        inputs: dict[str, Any] = {"input_ids": read, "attention_mask": mask, "decoder_input_ids": decoded}
        return Batch(inputs, torch.tensor(wanted, device=device), weights, tokens)
    read, mask = pad_left([[*p, *a] for p, a in zip(prompts, answers, strict=True)], rendering.pad, device)
    targets, _ = pad_left(answers, IGNORED, device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    # Answers end at the last column, so the logits that predict them are the last ones: no others are computed.
    kept = targets.shape[1] + 1
    inputs = {"input_ids": read, "attention_mask": mask, "position_ids": positions, "logits_to_keep": kept}
    return Batch(inputs, targets, weights, tokens)


def answer_loss(model: Any, batch: Batch, accepted: frozenset[str]) -> Tensor:
    """Sum over answer tokens of weight * -log p; a mean has the sum of `answer_weights` below it.

    accepted: the arguments that the model's forward takes.
    """
    inputs = {name: value for name, value in batch.inputs.items() if name in accepted}
    logits = model(**inputs, use_cache=False).logits
    if "decoder_input_ids" not in inputs:
        logits = logits[:, -batch.targets.shape[1] - 1 : -1]
    losses = cross_entropy(logits.float().transpose(1, 2), batch.targets, ignore_index=IGNORED, reduction="none")
    return (losses.sum(1) * batch.weights).sum()


def answer_weights(rows: Dataset) -> np.ndarray:
    """What each row counts in a mean over answer tokens: weight * tokens of the answer. [rows]"""
    return np.array([weight * len(answer) for weight, answer in zip(rows["weight"], rows["answer"], strict=True)])
