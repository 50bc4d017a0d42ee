"""LoRA on the last layers of a sentence encoder, so that a user's mean item lies near the items that he likes.

-log softmax of <unit(mean_j v_j), v_i> / temperature over the items of a batch, v the unit vectors of the encoder
itself, j over the other items of user u. Layers below the tuned ones run once over the catalogue; the means are of
vectors that were computed when their item was last in a batch, at most one epoch ago.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from scipy.sparse import csr_matrix
from torch.nn.functional import cross_entropy, normalize

from llm_aug import seeds
from llm_aug.data import Dataset, item_texts
from llm_aug.errors import InputError
from llm_aug.vectors import SentenceEncoder, load_encoder, load_sentence_model
from recommender.encoder_options import EncoderTuning
from recommender.matrix import pairs_matrix
from recommender.training import minimise

TEXTS_AT_ONCE = 32


@dataclass(frozen=True)
class Tuned:
    """model: a sentence-transformers model, adapters merged in.

    loss_before, loss_after: of the pairs of the held-out items, each among these alone; None where there are none.
    """

    model: Any
    items: int
    pairs: int
    steps: int
    held_out_items: int
    loss_before: float | None
    loss_after: float | None

    @property
    def counts(self) -> dict[str, float | None]:
        """All but the model."""
        return {name: value for name, value in vars(self).items() if name != "model"}

    def write(self, folder: Path) -> None:
        """As a folder that `load_encoder` takes."""
        self.model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)


def tune_encoder(dataset: Dataset, known: Dataset, encoder: str, options: EncoderTuning) -> Tuned:
    """Learns from the pairs of `known`; the other pairs of `dataset` tell the loss on items that it never saw.

    Raises InputError for an encoder without layers to tune, and where fewer than two items have users in common.
    """
    users = sorted(known.interactions["user_id"].unique())
    log = _matrix(known, users)
    warm = np.flatnonzero(np.diff(log.tocsc().indptr))
    learnt = csr_matrix(log[:, warm])
    if len(warm) < 2 or learnt.nnz == len(users):
        raise InputError("no two items have a user in common: there is nothing for an encoder to learn from")
    unseen = _without(_matrix(dataset, users), log)
    held = np.flatnonzero(np.diff(unseen.tocsc().indptr))
    texts = item_texts(dataset)
    tower = _Tower(encoder, [texts[place] for place in [*warm, *held]], options)
    vectors = tower.all_vectors()
    before = _held_out_loss(vectors, learnt, unseen[:, held], options.temperature)
    _learn(tower, learnt, vectors[: len(warm)].clone(), options)
    after = (
        None if before is None else _held_out_loss(tower.all_vectors(), learnt, unseen[:, held], options.temperature)
    )
    steps = options.epochs * math.ceil(len(warm) / options.batch_size)
    return Tuned(tower.merged(), len(warm), learnt.nnz, steps, len(held), before, after)


def _matrix(dataset: Dataset, users: Sequence[str]) -> csr_matrix:
    return pairs_matrix(dataset.interactions, pd.Index(users), pd.Index(dataset.items["item_id"]))


def _without(matrix: csr_matrix, other: csr_matrix) -> csr_matrix:
    """The entries of matrix where other has none."""
    return csr_matrix(matrix - matrix.multiply(other != 0))


class _Tower:
    """The encoder's tuned layers over the cached output of the layers below them."""

    def __init__(self, encoder: str, texts: Sequence[str], options: EncoderTuning) -> None:
        found = load_encoder(encoder)
        if not isinstance(found, SentenceEncoder):
            raise InputError(f"encoder {encoder!r} has no layers to tune; choose minilm, a hub id or a folder")
        self.model = load_sentence_model(found.source, "float32").eval()
        self.layers = getattr(getattr(self.model[0].model, "encoder", None), "layer", None)
        if self.layers is None:
            raise InputError(f"encoder {encoder!r} is not built as BERT is; tune minilm or another BERT")
        count = min(options.layers, len(self.layers))
        self.hidden, self.starts = _lower(self.model, texts, len(self.layers) - count, options.max_length)
        torch.manual_seed(seeds.derive(options.seed, "encoder", "lora") % 2**32)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # peft 0.21 on transformers 5
            self.adapted = get_peft_model(self.model[0].model, _lora(self.model[0].model, count, options.lora_r))
        self.upper = list(self.layers[-count:])

    def vectors(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Unit rows of texts, with their gradient: [len(rows), d]."""
        parts = [self.hidden[self.starts[row] : self.starts[row + 1]].float() for row in rows]
        hidden = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
        mask = torch.arange(hidden.shape[1]) < torch.tensor([len(part) for part in parts])[:, None]
        unseen = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)[:, None, None, :]
        for layer in self.upper:
            found = layer(hidden, unseen)
            hidden = found[0] if isinstance(found, tuple) else found
        features = {"token_embeddings": hidden, "attention_mask": mask.long()}
        for module in list(self.model)[1:]:
            features = module(features)
        return normalize(features["sentence_embedding"], dim=1)

    @torch.no_grad()
    def all_vectors(self) -> torch.Tensor:
        """[texts, d]."""
        lengths = np.diff(self.starts)
        order = np.argsort(lengths, kind="stable")
        found = [self.vectors(order[at : at + TEXTS_AT_ONCE]) for at in range(0, len(order), TEXTS_AT_ONCE)]
        return torch.cat(found)[torch.from_numpy(np.argsort(order, kind="stable"))]

    def parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.adapted.parameters() if parameter.requires_grad]

    def merged(self) -> Any:
        self.model[0].model = self.adapted.merge_and_unload()
        return self.model


@torch.no_grad()
def _lower(model: Any, texts: Sequence[str], depth: int, max_length: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Output of the first `depth` layers as half floats, texts end to end [tokens, d], and where each text starts."""
    model.max_seq_length = min(max_length, model.max_seq_length or max_length)
    stack = model[0].model.encoder
    whole, stack.layer = stack.layer, stack.layer[:depth]
    order = np.argsort([len(text) for text in texts], kind="stable")
    rows: list[torch.Tensor] = [torch.empty(0)] * len(texts)
    for at in range(0, len(order), TEXTS_AT_ONCE):
        batch = order[at : at + TEXTS_AT_ONCE]
        tokens = model.preprocess([texts[row] for row in batch])
        inputs = {name: value for name, value in tokens.items() if isinstance(value, torch.Tensor)}
        hidden = model[0].model(**inputs).last_hidden_state.half()
        for row, states, mask in zip(batch, hidden, inputs["attention_mask"], strict=True):
            rows[row] = states[mask.bool()]
    stack.layer = whole
    return torch.cat(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)


def _lora(model: Any, count: int, rank: int) -> LoraConfig:
    depth = len(model.encoder.layer)
    tuned = [f"encoder.layer.{number}." for number in range(depth - count, depth)]
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and any(part in name for part in tuned)
    ]
    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names)


def _learn(tower: _Tower, learnt: csr_matrix, table: torch.Tensor, options: EncoderTuning) -> None:
    """learnt: [users, items], of which the tower's first texts are, in this order, and the table's vectors."""
    columns = learnt.tocsc()
    generator = seeds.torch_generator(options.seed, "encoder")

    def loss(batch: torch.Tensor) -> torch.Tensor:
        items = batch.numpy()
        fresh = tower.vectors(items)
        users, own = _drawn(columns, items, options.pairs_per_item, generator)
        value = batch_loss(learnt, table, items, fresh, users, own, options.temperature)
        table[batch] = fresh.detach()
        return value

    minimise(loss, tower.parameters(), learnt.shape[1], options, generator)


def _drawn(
    columns: Any, items: NDArray[np.int64], most: int, generator: torch.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of the batch: users, and which of the batch's items each has; at most `most` of an item, at random."""
    chosen = []
    for item in items:
        users = columns.indices[columns.indptr[item] : columns.indptr[item + 1]]
        chosen.append(users[torch.randperm(len(users), generator=generator).numpy()[:most]])
    return np.concatenate(chosen).astype(np.int64), np.repeat(np.arange(len(items)), [len(users) for users in chosen])


def batch_loss(
    learnt: csr_matrix,
    table: torch.Tensor,
    items: NDArray[np.int64],
    fresh: torch.Tensor,
    users: NDArray[np.int64],
    own: NDArray[np.int64],
    temperature: float,
) -> torch.Tensor:
    """Weighted mean over pairs of -log softmax of the user's item among the batch, his other items left out.

    The batch is drawn uniformly: the other items' logits plus log((items - 1) / (batch - 1)) stand for all of them
    (logQ: Bengio and Senecal 2008). The target is taken out of the profile; a user of one item does not count.
    """
    rows = csr_matrix(learnt[users])
    has = torch.from_numpy(rows[:, items].toarray())
    weight = has[torch.arange(len(users)), torch.from_numpy(own)]
    rest = torch.from_numpy(np.asarray(rows.sum(axis=1), dtype=np.float32).ravel()) - weight
    totals = torch.from_numpy(np.asarray(rows @ table.numpy(), dtype=np.float32))
    profiles = normalize(totals - weight[:, None] * table[torch.from_numpy(items[own])], dim=1)
    target = torch.from_numpy(own)
    others = torch.ones(has.shape, dtype=torch.bool)
    others[torch.arange(len(users)), target] = False
    logits = profiles @ fresh.T / temperature
    logits = logits + others * math.log(max(len(table) - 1, 1) / max(len(items) - 1, 1))
    losses = cross_entropy(logits.masked_fill(others & (has > 0), -torch.inf), target, reduction="none")
    counted = weight * (rest > 1e-6)
    return (losses * counted).sum() / counted.sum().clamp(min=1e-6)


def _held_out_loss(vectors: torch.Tensor, learnt: csr_matrix, unseen: csr_matrix, temperature: float) -> float | None:
    """Mean over the unseen pairs of -log softmax among the held-out items, whose vectors come last."""
    pairs = unseen.tocoo()
    if not pairs.nnz:
        return None
    warm = learnt.shape[1]
    profiles = normalize(torch.from_numpy(np.asarray(learnt @ vectors[:warm].numpy(), dtype=np.float32)), dim=1)
    losses = -torch.log_softmax(profiles @ vectors[warm:].T / temperature, dim=1)
    return float(losses[torch.from_numpy(pairs.row).long(), torch.from_numpy(pairs.col).long()].mean())
