"""A variational autoencoder of item attributes that fills what the catalogue left blank: 'genres: Comedy|Drama'.

A row is the values of an item's columns, of which some are hidden in training; the condition, on both sides, is the
text of title and description alone: text with the attributes in it would give the answer away. Each column is a
multinomial of its own, from which a blank cell draws as many values as the column's cells have on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.budgets import shortfall
from llm_aug.classics.log import Floats
from llm_aug.classics.networks import Plan, content_of, linear, pick_device, recipe_hash, train
from llm_aug.classics.vae_options import VAEOptions
from llm_aug.data import Dataset, Sample, item_texts
from llm_aug.errors import InputError
from llm_aug.tasks.closed_sets import ClosedSet, closed_sets
from llm_aug.text import is_blank
from llm_aug.vectors import load_encoder

LEAST_WEIGHT = 1e-3  # of 0 a sample would be none
TEXT = "hash:512"  # of title and description: what the stage's encoder read holds the attributes


@dataclass(frozen=True)
class Table:
    """values: 0 or 1 [items, values of all columns]. spans: each column's part of them."""

    items: Sequence[str]
    sets: Mapping[str, ClosedSet]
    spans: Mapping[str, slice]
    values: Floats
    blank: Mapping[str, NDArray[np.bool_]]

    @cached_property
    def usual(self) -> dict[str, int]:
        """Values in a cell of each column, on average over those that have any."""
        counts = {name: self.values[:, span].sum(axis=1) for name, span in self.spans.items()}
        return {name: max(1, round(float(found[found > 0].mean()))) for name, found in counts.items()}


def fill(dataset: Dataset, options: VAEOptions, context: Context) -> Made:
    """A value for at most context.volume blank cells, drawn by seed; a reject where there are fewer."""
    bare = Dataset(dataset.items[["item_id", "title", "description"]], dataset.interactions)
    names = dataset.attributes if options.attributes is None else list(options.attributes)
    unknown = sorted(set(names) - set(dataset.attributes))
    if unknown:
        raise InputError(f"items have no attribute {unknown[0]!r}; known: {', '.join(dataset.attributes)}")
    table = read_table(dataset, names, options.attributes is not None)
    cells = [(name, int(row)) for name, blank in table.blank.items() for row in np.flatnonzero(blank)]
    if not cells:
        raise InputError(f"no cell of {', '.join(table.sets)} is blank, so there is nothing to fill")
    order = seeds.generator(context.seed, "vae", "cells").permutation(len(cells))[: context.volume]
    condition = content_of(load_encoder(TEXT).encode(item_texts(bare)))
    network, curve = _fit(table, condition, options, context)
    chosen = [cells[place] for place in sorted(order)]
    probabilities = network.probabilities(table.values, condition, context.seed)
    samples = list(_written(table, chosen, probabilities, context.seed))
    rejects = shortfall("vae/attributes", context.volume, len(samples), "no_blank_cell", "texts")
    return Made(samples, rejects, {"loss": [[epoch, round(loss, 6)] for epoch, loss in curve]})


def read_table(dataset: Dataset, names: Sequence[str], named: bool) -> Table:
    """Raises InputError where no column has values that items share."""
    rows = {name: [str(cell) for cell in dataset.items[name]] for name in names}
    sets = closed_sets(dataset, names, named)
    spans, start = {}, 0
    values = np.zeros((len(dataset.items), sum(len(one.counts) for one in sets.values())), dtype=np.float32)
    for name, one in sets.items():
        spans[name] = slice(start, start + len(one.counts))
        place = {value: start + at for at, value in enumerate(one.counts)}
        for row, cell in enumerate(rows[name]):
            values[row, [place[value] for value in one.values(cell)]] = 1
        start += len(one.counts)
    blank = {name: np.array([is_blank(cell) for cell in rows[name]], dtype=bool) for name in sets}
    return Table(list(dataset.items["item_id"]), sets, spans, values, blank)


def _fit(
    table: Table, condition: Floats, options: VAEOptions, context: Context
) -> tuple[AttributeVAE, list[list[float]]]:
    device = pick_device(options.device)
    start = seeds.torch_generator(context.seed, "vae", "attributes")
    network = AttributeVAE(list(table.spans.values()), condition.shape[1], options, start).to(device)
    decay = options.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=decay)
    known = np.flatnonzero(table.values.any(axis=1))
    values, shown = torch.from_numpy(table.values[known]).to(device), torch.from_numpy(condition[known]).to(device)

    def gradients(batch: torch.Tensor, generator: torch.Generator, share: float) -> Sequence[float]:
        batch = batch.to(device)
        loss = network.loss(values[batch], shown[batch], options.beta * min(1.0, 2 * share), generator)
        loss.backward()  # type: ignore[no-untyped-call]
        return (loss.item(),)

    recipe = recipe_hash(options, context.seed, table.values, condition)
    plan = Plan("vae", len(known), options.epochs, options.batch_size, context, recipe)
    return network, train(network, optimizer, gradients, plan)


class AttributeVAE(torch.nn.Module):
    def __init__(self, spans: Sequence[slice], width: int, options: VAEOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.spans, self.options = spans, options
        values = spans[-1].stop
        self.encode = linear(values + width, options.hidden, generator)
        self.spread = linear(options.hidden, 2 * options.latent, generator)
        self.gather = linear(options.latent + width, options.hidden, generator)
        self.decode = linear(options.hidden, values, generator)

    def posterior(self, values: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance: [rows, latent] each."""
        given = torch.cat([normalize(values, dim=1), condition], dim=1)
        mean, log_variance = self.spread(torch.tanh(self.encode(given))).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def logits(self, latent: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """[rows, values]"""
        found: torch.Tensor = self.decode(torch.tanh(self.gather(torch.cat([latent, condition], dim=1))))
        return found

    def loss(
        self, values: torch.Tensor, condition: torch.Tensor, beta: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Negative evidence lower bound, the divergence times beta; a column is seen or hidden as a whole."""
        hidden = torch.rand(len(values), len(self.spans), generator=generator).to(values.device)
        seen = values.clone()
        for column, span in enumerate(self.spans):
            seen[:, span] *= hidden[:, column : column + 1] >= self.options.input_dropout
        mean, log_variance = self.posterior(seen, condition)
        noise = torch.randn(mean.shape, generator=generator).to(values.device)
        logits = self.logits(mean + noise * (log_variance / 2).exp(), condition)
        parts = [(values[:, span] * logits[:, span].log_softmax(dim=1)).sum(dim=1) for span in self.spans]
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
        return (beta * divergence - torch.stack(parts).sum(dim=0)).mean()

    @torch.no_grad()
    def probabilities(self, values: Floats, condition: Floats, seed: int) -> Floats:
        """Of each value within its column, the mean over draws: [rows, values]."""
        device, options = self.decode.weight.device, self.options
        given, shown = torch.from_numpy(values).to(device), torch.from_numpy(condition).to(device)
        mean, log_variance = self.posterior(given, shown)
        noise = torch.randn(options.draws, options.latent, generator=seeds.torch_generator(seed, "vae", "draws")).to(
            device
        )
        total = torch.zeros_like(given)
        for one in noise:
            logits = self.logits(mean + one * (log_variance / 2).exp(), shown)
            total += torch.cat([logits[:, span].softmax(dim=1) for span in self.spans], dim=1)
        return np.asarray((total / len(noise)).cpu().numpy())


def _written(table: Table, cells: Sequence[tuple[str, int]], probabilities: Floats, seed: int) -> Iterator[Sample]:
    """The weight is the mean probability of the values drawn."""
    for name, row in cells:
        one, span, item = table.sets[name], table.spans[name], table.items[row]
        chances = probabilities[row, span].astype(float)
        count = min(table.usual[name], int((chances > 0).sum()))
        random = seeds.generator(seed, "vae", name, item)
        drawn = random.choice(len(chances), count, replace=False, p=chances / chances.sum())
        values = [value for place, value in enumerate(one.counts) if place in drawn]
        weight = float(np.clip(chances[drawn].mean(), LEAST_WEIGHT, 1.0))
        key = f"vae/attributes/{quote(name, safe='')}/{quote(item, safe='')}"
        yield Sample(key, "attributes", item, one.written(values), None, weight)
