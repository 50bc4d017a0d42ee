"""Whether a conditional generator has collapsed: it makes nearly the same whatever the noise, or the condition.

noise      distance between the vectors of one condition and several noises, on average; beside it that between the real
           vectors of nearest conditions
condition  between the vectors of several conditions at one noise; beside it that between real vectors
Each is measured on the conditions of the training, and on those that samples are wanted for.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from llm_aug import seeds
from llm_aug.classics.log import Floats
from llm_aug.progress import say

# Of the real distance. A generator that is trained on the distance to the real vector, too, has a right to stay near
# the mean of its condition (in Isola et al. 2017 noise was ignored): the defaults come to 0.14 to 0.3 for noise (films,
# planted data), and what is named is noise that has hardly any say.
LEAST = {"noise": 0.05, "condition": 0.25}
COMPARED = 512  # vectors at most, for distances of all with all
DRAWS = 4

Make = Callable[[Floats, int, int], Floats]


def spread(make: Make, real: Floats, conditions: Floats, wanted: Floats, seed: int) -> dict[str, Any]:
    """Distances, those between generated and real neighbours, and `collapsed`: names of LEAST, which are also said.

    make: vectors [draws, subjects, components] of (conditions, draws, seed). real: [subjects, components], of the
    conditions. Of many, some are drawn; what has nothing to be compared with is None.
    """
    random = seeds.generator(seed, "collapse")
    some = random.permutation(len(real))[:COMPARED]
    real, conditions = real[some], conditions[some]
    wanted = wanted[random.permutation(len(wanted))[:COMPARED]]
    made, cold = make(conditions, DRAWS, seed), make(wanted, DRAWS, seed)
    among, apart = distances(real, real), distances(conditions, conditions)
    np.fill_diagonal(apart, np.inf)
    alone = len(real) < 2
    truth = {
        "noise": None if alone else float(among[np.arange(len(real)), apart.argmin(axis=1)].mean()),
        "condition": _between(real),
    }
    parts = {"generated": made, "wanted": cold}
    found = {
        "noise": {name: _over_noise(part) for name, part in parts.items()},
        "condition": {name: _between(part[0]) for name, part in parts.items()},
    }
    collapsed = []
    for name, values in found.items():
        floor = LEAST[name] * (truth[name] or 0.0)
        low = [value for value in values.values() if value is not None and value < floor]
        if low:
            collapsed.append(name)
            say(f"gan: collapsed: whatever the {name}, vectors lie {min(low):.2g} apart, real ones {truth[name]:.2g}")
    np.fill_diagonal(among, np.inf)
    return {
        **{name: {**values, "real": truth[name]} for name, values in found.items()},
        "nearest_real_of_generated": float(distances(made[0], real).min(axis=1).mean()),
        "nearest_other_of_real": None if alone else float(among.min(axis=1).mean()),
        "collapsed": collapsed,
        "compared": len(real),
    }


def _over_noise(made: Floats) -> float | None:
    """Mean distance between two draws of a subject."""
    pairs = combinations(made, 2)
    return float(np.mean([np.linalg.norm(one - other, axis=1).mean() for one, other in pairs])) if made.size else None


def _between(rows: Floats) -> float | None:
    """Mean distance of two of the rows."""
    return float(distances(rows, rows)[np.triu_indices(len(rows), 1)].mean()) if len(rows) > 1 else None


def distances(one: Floats, other: Floats) -> Floats:
    """[len(one), len(other)]"""
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)), dtype=np.float32)
