"""A conditional GAN: noise and content in, a preference vector out, over users for an item or over items for a user.

Wasserstein GAN with gradient penalty (Gulrajani et al. 2017), condition on both sides (Mirza and Osindero 2014), critic
and generator in step with a faster critic (Heusel et al. 2017). A preference vector is the unit row of the log in the
space of its first singular vectors: a few dozen dense numbers, where the row itself is thousands of zeros, which a
critic tells from anything a network writes. What is generated goes back through the same vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from sklearn.utils.extmath import randomized_svd

from llm_aug import seeds
from llm_aug.classics import Context, Made
from llm_aug.classics.choice import cold_items, extended_users, more_of_users, pairs_of_items, told_of
from llm_aug.classics.collapse import spread
from llm_aug.classics.log import Floats, Log
from llm_aug.classics.networks import Plan, content_of, linear, pick_device, recipe_hash, scaled, train
from llm_aug.data import Dataset
from llm_aug.errors import InputError
from llm_aug.vectors import finite


@dataclass(frozen=True)
class GAN:
    """components: of a preference vector. penalty: of the critic's gradient. reconstruction: weight of the squared
    distance to the real vector of the same condition (as in Isola et al. 2017, there absolute). draws: of noise for
    each subject, over which preferences are the mean. users_with_at_most: items of a user whose history is extended
    where nothing else tells whose; a stage is told by samples to go by, or by the options of `history`."""

    STYLES: ClassVar[tuple[str, ...]] = ("interactions", "histories")
    style: str = "interactions"
    components: int = 48
    noise: int = 16
    hidden: int = 128
    penalty: float = 10.0
    reconstruction: float = 10.0
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 5e-4
    draws: int = 8
    users_with_at_most: int = 5
    device: str = "auto"

    def __post_init__(self) -> None:
        counts = self.components, self.noise, self.hidden, self.epochs, self.batch_size, self.draws
        shares = self.penalty, self.reconstruction, self.users_with_at_most
        if min(counts) < 1 or not all(0 <= share < inf for share in shares) or not 0 < self.learning_rate < inf:
            raise InputError(
                "gan: components, noise, hidden, epochs, batch_size and draws are at least 1, penalty, reconstruction "
                f"and users_with_at_most at least 0, learning_rate is above 0, and all are finite, not {self}"
            )

    def make(self, dataset: Dataset, context: Context) -> Made:
        """Pairs of cold items (interactions), or more items of users with few (histories): items with history alone,
        as no other has a place in the singular vectors. Of whom no text tells, nothing is the condition: no_text."""
        log, raw, stage = Log(dataset), context.vectors(), f"gan/{self.style}"
        content, warm = content_of(raw), log.counts > 0
        if self.style == "interactions":
            wanted, silent = told_of(stage, log.items, cold_items(log), finite(raw))
            damped = csr_matrix(diags(log.degrees**-0.5) @ log.had)
            network, record = fit(csr_matrix(damped.T)[warm], content[warm], content[wanted], self, context)
            scores = network.preferences(content[wanted], context.seed)
            made = pairs_of_items(stage, log, wanted, scores, context)
        else:
            profiles = np.asarray(log.had @ content / log.degrees[:, None], dtype=np.float32)
            extended = extended_users(log, self.users_with_at_most, context.users)
            wanted, silent = told_of(stage, log.users, extended, finite(profiles))
            network, record = fit(log.had, profiles, profiles[wanted], self, context)
            scores = np.where(warm, network.preferences(profiles[wanted], context.seed), np.float32(np.nan))
            made = more_of_users(stage, log, wanted, scores, context)
        return replace(made, rejects=[*silent, *made.rejects], record=record)


def fit(
    rows: csr_matrix, conditions: Floats, wanted: Floats, options: GAN, context: Context
) -> tuple[Networks, dict[str, Any]]:
    """rows: [subjects, choices], none empty. conditions: [subjects, width]; wanted: of those to make for.

    The record: losses by epoch, and spread, see `llm_aug.classics.collapse`.
    """
    basis, real = reduced(rows, options.components)
    device = pick_device(options.device)
    start = seeds.torch_generator(context.seed, "gan", options.style, "start")
    networks = Networks(basis, conditions.shape[1], options, start).to(device)
    shown, truth = torch.from_numpy(conditions).to(device), torch.from_numpy(real).to(device)
    slow, fast = options.learning_rate, 4 * options.learning_rate
    optimizer = torch.optim.Adam(
        [{"params": networks.generator.parameters(), "lr": slow}, {"params": networks.critic.parameters(), "lr": fast}],
        betas=(0.0, 0.9),
    )

    def gradients(batch: torch.Tensor, generator: torch.Generator, share: float) -> Sequence[float]:
        del share
        batch = batch.to(device)
        return networks.gradients(truth[batch], shown[batch], generator)

    recipe = recipe_hash(options, context.seed, real, conditions)
    plan = Plan("gan", len(real), options.epochs, options.batch_size, context, recipe)
    curve = train(networks, optimizer, gradients, plan)
    names = ("epoch", "critic", "generator", "reconstruction", "gradient_penalty")
    losses = [dict(zip(names, [round(value, 6) for value in row], strict=True)) for row in curve]
    return networks, {"loss": losses, "spread": spread(networks.made, real, conditions, wanted, context.seed)}


def reduced(rows: csr_matrix, components: int) -> tuple[Floats, Floats]:
    """Right singular vectors of the unit rows, [components, choices], and the rows in their space, scaled so that an
    entry is about 1: [rows, components]."""
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    unit = csr_matrix(diags(1 / norms) @ rows)
    _, _, basis = randomized_svd(unit, min(components, *unit.shape), n_iter=4, random_state=0)
    found = np.asarray(unit @ basis.T, dtype=np.float64)
    real, scale = scaled(found)
    return np.asarray(basis * scale, dtype=np.float32), np.asarray(real, dtype=np.float32)


class Net(torch.nn.Module):
    """Two hidden layers with leaky rectifiers over two inputs side by side."""

    def __init__(self, inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            linear(inputs, hidden, generator),
            torch.nn.LeakyReLU(0.2),
            linear(hidden, hidden, generator),
            torch.nn.LeakyReLU(0.2),
            linear(hidden, outputs, generator),
        )

    def forward(self, values: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(torch.cat([values, condition], dim=1))
        return found


class Networks(torch.nn.Module):
    def __init__(self, basis: Floats, width: int, options: GAN, generator: torch.Generator) -> None:
        super().__init__()
        self.options, self.basis = options, basis
        self.generator = Net(options.noise + width, options.hidden, len(basis), generator)
        self.critic = Net(len(basis) + width, options.hidden, 1, generator)

    def gradients(self, real: torch.Tensor, shown: torch.Tensor, generator: torch.Generator) -> Sequence[float]:
        """Fills .grad of both networks; critic, generator, reconstruction and penalty losses."""
        noise = torch.randn(len(real), self.options.noise, generator=generator).to(real.device)
        made = self.generator(noise, shown)
        blend = torch.rand(len(real), 1, generator=generator).to(real.device)
        between = (blend * real + (1 - blend) * made.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between, shown).sum(), between, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        critic = self.critic(made.detach(), shown).mean() - self.critic(real, shown).mean()
        distance = (made - real).square().mean()
        generated = -self.critic(made, shown).mean()
        self._fill(self.generator, generated + self.options.reconstruction * distance)
        self._fill(self.critic, critic + self.options.penalty * penalty)
        return critic.item(), generated.item(), distance.item(), penalty.item()

    @staticmethod
    def _fill(network: Net, loss: torch.Tensor) -> None:
        parameters = list(network.parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True
        ):
            parameter.grad = gradient

    @torch.no_grad()
    def made(self, conditions: Floats, draws: int, seed: int) -> Floats:
        """What draws of noise make, the same ones for each subject: [draws, subjects, components]."""
        device = next(self.parameters()).device
        noise = torch.randn(draws, self.options.noise, generator=seeds.torch_generator(seed, "gan", "draws"))
        shown = torch.from_numpy(conditions).to(device)
        found = [self.generator(one.to(device).expand(len(shown), -1), shown) for one in noise]
        return np.asarray(torch.stack(found).cpu().numpy())

    def preferences(self, conditions: Floats, seed: int) -> Floats:
        """Mean over draws of noise: [subjects, choices].

        Divided by the root of the choice's length, or a few active users would take most of the pairs.
        """
        mean = self.made(conditions, self.options.draws, seed).mean(axis=0)
        lengths = np.maximum(np.linalg.norm(self.basis, axis=0), 1e-6)
        return np.asarray(mean @ self.basis / np.sqrt(lengths), dtype=np.float32)
