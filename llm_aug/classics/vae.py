"""A variational autoencoder of user rows whose decoder reads item content, so that an item without history has logits.

Mult-VAE (Liang et al. 2018): multinomial likelihood, the divergence annealed. logit(u, i) = <tanh(z_u G), c_i W> +
<c_i, w>, c_i the item's text vector; the encoder reads the row through an embedding and the content of its items.
Style `attributes` is another one, over attribute values: see llm_aug.classics.attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch.nn.functional import log_softmax, normalize

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.attributes import fill
from llm_aug.classics.choice import cold_items, extended_users, more_of_users, pairs_of_items, told_of
from llm_aug.classics.log import Floats, Log
from llm_aug.classics.networks import Plan, content_of, linear, pick_device, recipe_hash, train
from llm_aug.classics.vae_options import VAEOptions
from llm_aug.data import Dataset, Reject
from llm_aug.vectors import finite

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class VAE(VAEOptions):
    STYLES: ClassVar[tuple[str, ...]] = ("interactions", "histories", "attributes")

    def make(self, dataset: Dataset, context: Context) -> Made:
        """Pairs of cold items (interactions), more items of users with few (histories), or attribute values.

        Of an item without text the decoder knows nothing: it is never chosen, and no_text where it is cold.
        """
        if self.style == "attributes":
            return fill(dataset, self, context)
        log = Log(dataset)
        raw, stage, silent = context.vectors(), f"vae/{self.style}", list[Reject]()
        if self.style == "interactions":
            wanted, silent = told_of(stage, log.items, cold_items(log), finite(raw))
        else:
            wanted = extended_users(log, self.users_with_at_most, context.users)
        network, curve = fit(log, content_of(raw), self, context)
        if self.style == "interactions":
            found = network.probabilities(log.had, context.seed)[:, wanted]
            # by the full number of events, a few active users take half of all pairs
            interest = np.asarray((found * np.sqrt(log.degrees)[:, None]).T, dtype=np.float32)
            made = pairs_of_items(stage, log, wanted, interest, context)
        else:
            found = network.probabilities(csr_matrix(log.had[wanted]), context.seed)
            made = more_of_users(stage, log, wanted, np.where(finite(raw), found, np.float32(np.nan)), context)
        record = {"loss": [[epoch, round(loss, 6)] for epoch, loss in curve]}
        return replace(made, rejects=[*silent, *made.rejects], record=record)


def fit(log: Log, vectors: Floats, options: VAEOptions, context: Context) -> tuple[RowVAE, list[list[float]]]:
    """vectors: [items, dimensions] in the order of the log. The curve: [epoch, negative lower bound per user]."""
    device = pick_device(options.device)
    network = RowVAE(
        torch.from_numpy(vectors), log.counts > 0, options, seeds.torch_generator(context.seed, "vae", "start")
    )
    network = network.to(device)
    decay = options.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=decay)

    def gradients(batch: torch.Tensor, generator: torch.Generator, share: float) -> Sequence[float]:
        rows = torch.from_numpy(log.had[batch.numpy()].toarray()).to(device)
        loss = network.loss(rows, options.beta * min(1.0, 2 * share), generator)
        loss.backward()  # type: ignore[no-untyped-call]
        return (loss.item(),)

    recipe = recipe_hash(options, context.seed, log.had.indices, log.had.indptr, vectors)
    plan = Plan("vae", len(log.users), options.epochs, options.batch_size, context, recipe)
    return network, train(network, optimizer, gradients, plan)


class RowVAE(torch.nn.Module):
    """items -> hidden -> latent -> hidden -> items, tanh between; likelihood over the items with history alone."""

    content: torch.Tensor
    warm: torch.Tensor

    def __init__(self, content: torch.Tensor, warm: object, options: VAEOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("content", content)
        self.register_buffer("warm", torch.as_tensor(warm))
        items, width = content.shape
        self.identity = torch.nn.Parameter(torch.randn(items, options.hidden, generator=generator) / items**0.5)
        self.read = linear(width, options.hidden, generator)
        self.spread = linear(options.hidden, 2 * options.latent, generator)
        self.gather = linear(options.latent, options.hidden, generator)
        self.write = torch.nn.Parameter(torch.randn(width, options.hidden, generator=generator) / width**0.5)
        self.liked = torch.nn.Parameter(torch.zeros(width))

    def posterior(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance: [rows, latent] each."""
        profile = rows @ self.content / rows.sum(dim=1, keepdim=True).clamp(min=1e-6)
        hidden = torch.tanh(normalize(rows, dim=1) @ self.identity + self.read(profile))
        mean, log_variance = self.spread(hidden).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def logits(self, latent: torch.Tensor) -> torch.Tensor:
        """[rows, items]"""
        hidden = torch.tanh(self.gather(latent))
        scale = self.options.hidden**-0.5
        found: torch.Tensor = (hidden @ (self.content @ self.write).T) * scale + self.content @ self.liked
        return found

    def loss(self, rows: torch.Tensor, beta: float, generator: torch.Generator) -> torch.Tensor:
        """Negative evidence lower bound, the divergence times beta: mean over the rows."""
        kept = torch.rand(rows.shape, generator=generator).to(rows.device) >= self.options.input_dropout
        mean, log_variance = self.posterior(rows * kept)
        noise = torch.randn(mean.shape, generator=generator).to(rows.device)
        logits = self.logits(mean + noise * (log_variance / 2).exp()).masked_fill(~self.warm, -torch.inf)
        likelihood = (rows * log_softmax(logits, dim=1).masked_fill(~self.warm, 0)).sum(dim=1)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
        return (beta * divergence - likelihood).mean()

    @torch.no_grad()
    def probabilities(self, rows: csr_matrix, seed: int) -> Floats:
        """Share of the user's next events that falls on each item, cold ones too: [rows, items]."""
        generator, device, found = seeds.torch_generator(seed, "vae", "draws"), self.content.device, []
        noise = torch.randn(self.options.draws, 1, self.options.latent, generator=generator).to(device)
        for at in range(0, rows.shape[0], ROWS_AT_ONCE):
            mean, log_variance = self.posterior(torch.from_numpy(rows[at : at + ROWS_AT_ONCE].toarray()).to(device))
            latent = mean + noise * (log_variance / 2).exp()
            found.append(self.logits(latent).softmax(dim=-1).mean(dim=0).cpu().numpy())
        return np.concatenate(found)
