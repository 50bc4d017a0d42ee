"""What small errors in the embeddings cost, with and without adversarial training: python -m eval.bench.robustness DATA

DATA: a prepared folder (`llm-aug prepare`). For each seed a split, on which each student is fitted with epsilon 0 and
with --epsilon, then NDCG@20 over the held-out pairs of warm items is measured with every user's and item's vector moved
by 0 and by each --radius times the root mean square length of its kind: against the model (fgsm: up the gradient, by
row, Goodfellow et al. 2015), or at random. Lengths are relative: of longer vectors the same step is no step. The
gradient is that of one loss for all students, a softmax over warm items at the training pairs, not of the loss that a
student was trained by, so that none is attacked on its own ground. Second table: what adversarial training changes, by
the same splits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch.nn.functional import normalize

from eval.bench.report import print_json, print_page, start
from eval.ranking import Held, held_out, per_user
from eval.split import SplitOptions, cut
from llm_aug.data import Split, read_dataset
from llm_aug.progress import say
from llm_aug.seeds import torch_generator
from recommender import make_student
from recommender.matrix import to_log

Floats = NDArray[np.float32]
GROUP, METRIC = "warm", "ndcg@20"


@dataclass(frozen=True)
class Factors:
    """What a fitted model ranks by: users @ items.T + biases; users in the order of the log."""

    users: Floats
    items: Floats
    biases: Floats


@dataclass(frozen=True)
class Ranker:
    """A model of given vectors, for `per_user`; a user without history has biases alone."""

    factors: Factors
    users: Any

    def scores(self, users: Sequence[str]) -> Floats:
        index = self.users.get_indexer(users)
        rows = np.where((index >= 0)[:, None], self.factors.users[index], 0)
        return np.asarray(rows @ self.factors.items.T + self.factors.biases, dtype=np.float32)


def _unbiased(users: Floats, items: Floats) -> Factors:
    return Factors(users, items, np.zeros(len(items), np.float32))


# Each student's epsilon by default suits the scale on which it is trained.
STUDENTS: Mapping[str, tuple[float, Callable[[Any, Sequence[str]], Factors]]] = {
    "bpr": (0.1, lambda model, users: Factors(model.user_factors, model.item_factors, model.item_biases)),
    "mf": (
        0.5,
        lambda model, users: Factors(model.user_factors[:, :-1], model.item_factors[:, :-1], model.item_factors[:, -1]),
    ),
    "two-tower": (0.1, lambda model, users: _unbiased(model.user_vectors(users), model.item_vectors)),
    "lightgcn": (0.1, lambda model, users: _unbiased(model.user_vectors, model.item_vectors)),
}


def moved(factors: Factors, split: Split, radius: float, how: str, seed: int) -> Factors:
    """how: 'fgsm' or 'random'. Biases stay."""
    if radius == 0:
        return factors
    users, items = (
        torch.from_numpy(side.astype(np.float32)).requires_grad_() for side in (factors.users, factors.items)
    )
    sides = users, items
    if how == "fgsm":
        steps = torch.autograd.grad(_loss(users, items, torch.from_numpy(factors.biases), split), sides)
    else:
        generator = torch_generator(seed, "robustness")
        steps = tuple(torch.randn(side.shape, generator=generator) for side in sides)
    found = [
        (side + radius * _length(side) * normalize(step, dim=1)).detach().numpy()
        for side, step in zip(sides, steps, strict=True)
    ]
    return replace(factors, users=found[0], items=found[1])


def _length(side: torch.Tensor) -> torch.Tensor:
    """Root mean square over the rows that are not zero."""
    norms = side.detach().norm(dim=1)
    return norms[norms > 0].square().mean().sqrt()


def _loss(users: torch.Tensor, items: torch.Tensor, biases: torch.Tensor, split: Split) -> torch.Tensor:
    """The same for every student: softmax of the training pairs among warm items, scores with deviation 1."""
    log = to_log(split.training)
    warm = torch.from_numpy(np.flatnonzero(log.warm))
    scores = users @ items[warm].T + biases[warm]
    logits = scores / scores.detach().std().clamp(min=1e-6)
    target = torch.from_numpy(log.matrix[:, warm.numpy()].toarray())
    return -(target * logits.log_softmax(dim=1)).sum() / target.sum()


def measured(
    split: Split, held: Held, student: str, epsilon: float, radii: Sequence[float], seed: int
) -> list[dict[str, Any]]:
    model = make_student(student, {"adversarial": epsilon}, seed).fit(split.training)
    log = to_log(split.training)
    factors = STUDENTS[student][1](model, list(log.users))
    rows = []
    for how in ("fgsm", "random"):
        for radius in sorted({0.0, *radii}):
            ranker = Ranker(moved(factors, split, radius, how, seed), log.users)
            value = float(per_user(ranker, held, [20], seed, [GROUP])[METRIC].mean())
            rows.append({"student": student, "epsilon": epsilon, "how": how, "radius": radius, "ndcg": value})
    return [{**row, "seed": seed} for row in rows]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over the seeds, their deviation, and what of the figure at radius 0 is left."""
    found = _by_seed(rows)
    lines = []
    for student, epsilon, how in dict.fromkeys(key[:3] for key in found):
        whole = fmean(found[student, epsilon, how, 0.0].values())
        cells = []
        for radius in _radii(rows):
            values = list(found[student, epsilon, how, radius].values())
            left = f" ({fmean(values) / whole:.0%})" if radius and whole else ""
            cells.append(f"{fmean(values):.4f}{_deviation(values)}{left}")
        lines.append(f"| {student} | {epsilon:g} | {how} | {' | '.join(cells)} |")
    return _headed(rows, lines)


def differences(rows: Sequence[Mapping[str, Any]]) -> str:
    """Figures with adversarial training less those without, of the same seed: means and their deviation."""
    found = _by_seed(rows)
    lines = []
    for student, epsilon, how in dict.fromkeys(key[:3] for key in found if key[1]):
        cells = []
        for radius in _radii(rows):
            plain = found[student, 0.0, how, radius]
            gains = [value - plain[seed] for seed, value in found[student, epsilon, how, radius].items()]
            cells.append(f"{fmean(gains):+.4f}{_deviation(gains)}")
        lines.append(f"| {student} | {epsilon:g} less 0 | {how} | {' | '.join(cells)} |")
    return _headed(rows, lines)


def _by_seed(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, float, str, float], dict[int, float]]:
    """Figures of each student, epsilon, way to move and radius, by seed."""
    found: dict[tuple[str, float, str, float], dict[int, float]] = {}
    for row in rows:
        key = row["student"], row["epsilon"], row["how"], row["radius"]
        found.setdefault(key, {})[row["seed"]] = row["ndcg"]
    return found


def _radii(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return sorted({row["radius"] for row in rows})


def _deviation(values: Sequence[float]) -> str:
    return f" ± {stdev(values):.4f}" if len(values) > 1 else ""


def _headed(rows: Sequence[Mapping[str, Any]], lines: Sequence[str]) -> str:
    radii = _radii(rows)
    head = f"| student | epsilon | moved | {' | '.join(f'radius {radius:g}' for radius in radii)} |"
    return "\n".join([head, "|---|---:|---|" + "---:|" * len(radii), *lines]) + "\n"


def main(
    data: Path = typer.Argument(..., help="A prepared folder."),  # noqa: B008
    students: str = typer.Option(",".join(STUDENTS), "--student"),
    epsilon: float | None = typer.Option(None, help="Of adversarial training; by default each student's own."),
    radii: str = typer.Option("0.1,0.2,0.5", "--radius"),
    seeds: int = typer.Option(3, help="Splits, each with a fit of its own."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    dataset = read_dataset(data)
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        split = cut(dataset, SplitOptions(seed=seed))
        held = held_out(split, "test")
        for student in students.split(","):
            for strength in dict.fromkeys((0.0, STUDENTS[student][0] if epsilon is None else epsilon)):
                rows += measured(split, held, student, strength, [float(part) for part in radii.split(",")], seed)
                say(f"seed {seed}: {student}, epsilon {strength:g}: {METRIC} {rows[-1]['ndcg']:.4f} at the last radius")
    if as_json:
        print_json(rows)
    else:
        print_page("NDCG@20 of warm items under moved embeddings", table(rows) + "\n" + differences(rows))


if __name__ == "__main__":
    start(main)
