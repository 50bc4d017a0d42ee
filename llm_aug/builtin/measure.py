"""What the built-in model is worth on rows it never saw: bits per byte by kind, and the judge's accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import log_softmax
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from llm_aug.builtin.examples import Document
from llm_aug.builtin.packing import Encoded, chat, encode
from llm_aug.seeds import derive

BATCH_TOKENS = 4096
NEW_TOKENS, TEMPERATURE = 160, 0.8


@dataclass(frozen=True)
class Verdicts:
    """accuracy: of 'is yes likelier than no'. yes_rate: how often it is. auc: of log-odds; 0.5 is a coin.

    yes_share: of the questions whose answer is yes.
    """

    questions: int
    yes_share: float
    accuracy: float
    yes_rate: float
    auc: float


def bits_per_byte(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]) -> float:
    """Bits that the answers cost given their prompts, per byte of the answers in UTF-8; end tokens are not counted."""
    nats = sum(
        float(losses[e.answer_start : len(e.ids) - 1].sum()) for e, losses in _losses(model, tokenizer, documents)
    )
    return nats / math.log(2) / sum(len(document.answer.encode()) for document in documents)


def judge(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]) -> Verdicts:
    """Log-odds of 'yes' over 'no' as the first token of the answer, for documents of the task 'judge'."""
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    odds = []
    for document in documents:
        assert document.prompt is not None
        ids = tokenizer(chat(tokenizer, document.prompt), return_tensors="pt").input_ids.to(model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, logits_to_keep=1).logits[0, -1].float()
        odds.append(float(logits[yes] - logits[no]))
    scores, truth = np.array(odds), np.array([document.answer == "yes" for document in documents])
    said = scores > 0
    return Verdicts(
        len(scores), float(truth.mean()), float((said == truth).mean()), float(said.mean()), auc(scores, truth)
    )


def auc(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Share of (true, false) pairs in which the true one scores higher; ties count half. 0.5 where a side is empty."""
    above = scores[truth][:, None] - scores[~truth][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean()) if above.size else 0.5


def answer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: str, seed: int, place: int) -> str:
    """One draw after `asked`, which holds its chat tokens; each place has a seed. Special tokens are left out."""
    encoded = tokenizer(asked, return_tensors="pt").to(model.device)
    torch.manual_seed(derive(seed, "builtin", "sample", place) % 2**32)
    with torch.inference_mode():
        made = model.generate(
            input_ids=encoded.input_ids,
            attention_mask=encoded.attention_mask,
            max_new_tokens=NEW_TOKENS,
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=1.0,
            top_k=0,
        )
    return str(tokenizer.decode(made[0, encoded.input_ids.shape[1] :], skip_special_tokens=True)).strip()


def _losses(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]
) -> Iterator[tuple[Encoded, torch.Tensor]]:
    """Nats of every token of each document, fp32 [tokens]; an end token before the document is its first context."""
    encoded = sorted(encode(documents, tokenizer), key=lambda e: len(e.ids))
    end = tokenizer.eos_token_id
    while encoded:
        count = max(1, BATCH_TOKENS // (len(encoded[-1].ids) + 1))
        batch, encoded = encoded[-count:], encoded[:-count]
        ids = torch.full((len(batch), len(batch[-1].ids) + 1), end, dtype=torch.long)
        for row, one in enumerate(batch):
            ids[row, 1 : len(one.ids) + 1] = torch.from_numpy(one.ids.astype(np.int64))
        ids = ids.to(model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[:, :-1].float()
            nats = -log_softmax(logits, -1).gather(2, ids[:, 1:, None])[..., 0]
        yield from zip(batch, nats.cpu(), strict=True)
