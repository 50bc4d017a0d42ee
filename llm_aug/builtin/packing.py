"""Documents -> rows of token ids and loss weights, no padding: examples stay whole, prose fills what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from llm_aug.builtin.examples import Document
from llm_aug.builtin.tokenizer import END
from llm_aug.data import Prompt

PROMPT_WEIGHT, TEXT_WEIGHT, VERDICT_WEIGHT = 0, 1, 30  # a judge's question is 200 tokens, its verdict one
VERDICTS = frozenset({"judge", "preference", "both_orders"})  # tasks whose answer is one token
BATCH = 2000


@dataclass(frozen=True)
class Encoded:
    """ids: uint16 [n]. answer_start: index of the first token of the answer; 0 for prose."""

    document: Document
    ids: NDArray[np.uint16]
    answer_start: int

    @property
    def weights(self) -> NDArray[np.uint8]:
        weights = np.full(len(self.ids), TEXT_WEIGHT, np.uint8)
        weights[: self.answer_start] = PROMPT_WEIGHT
        if self.document.task in VERDICTS:
            weights[self.answer_start] = VERDICT_WEIGHT
        return weights


@dataclass(frozen=True)
class Rows:
    """ids: uint16 [rows, length]; weights: uint8 [rows, length], of the token itself as a target."""

    ids: NDArray[np.uint16]
    weights: NDArray[np.uint8]


def chat(tokenizer: PreTrainedTokenizerFast, prompt: Prompt) -> str:
    messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode(documents: Sequence[Document], tokenizer: PreTrainedTokenizerFast) -> Iterator[Encoded]:
    backend = tokenizer.backend_tokenizer
    for start in range(0, len(documents), BATCH):
        batch = documents[start : start + BATCH]
        prompts = backend.encode_batch([chat(tokenizer, d.prompt) if d.prompt else "" for d in batch])
        answers = backend.encode_batch([d.answer.replace("<|", "< |") + END for d in batch])
        for document, prompt, answer in zip(batch, prompts, answers, strict=True):
            yield Encoded(document, np.array(prompt.ids + answer.ids, np.uint16), len(prompt.ids))


def pack(encoded: Sequence[Encoded], length: int) -> Rows:
    """Rows of `length` tokens. An example longer than a row is left out; where prose runs out, weight 0 fills up."""
    prose = [e for e in encoded if e.document.prompt is None]
    examples = [e for e in encoded if e.document.prompt is not None and len(e.ids) <= length]
    filler = np.concatenate([np.zeros(0, np.uint16), *(e.ids for e in prose)])
    rows: list[list[Encoded]] = []
    room = 0
    for example in examples:
        if len(example.ids) > room:
            rows.append([])
            room = length
        rows[-1].append(example)
        room -= len(example.ids)
    used = sum(length - sum(len(e.ids) for e in row) for row in rows)
    only_prose = max(0, len(filler) - used) // length
    ids = np.zeros((len(rows) + only_prose, length), np.uint16)
    weights = np.zeros(ids.shape, np.uint8)
    start = 0
    for i in range(len(ids)):
        row = rows[i] if i < len(rows) else []
        end = sum(len(e.ids) for e in row)
        rest = filler[start : start + length - end]
        start += len(rest)
        for target, parts, tail in (
            (ids, [e.ids for e in row], rest),
            (weights, [e.weights for e in row], np.full(len(rest), TEXT_WEIGHT)),
        ):
            target[i, : end + len(rest)] = np.concatenate([*parts, tail])
    return Rows(ids, weights)
