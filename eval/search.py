"""The next options to try: the defaults, then points that fill the space evenly, then what Optuna makes of the results.

A proposal depends on the space, the seed and the trials so far alone, so that a search that was killed goes on as if
nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from llm_aug import seeds
from recommender.search_space import Range, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Options = Mapping[str, Any]
SPREAD = 10  # trials before the results have a say: on fewer, Optuna's estimator would draw at random as well
PATIENCE = 20  # proposals of Optuna's that were tried before, until an even point is taken


def propose(space: SearchSpace, default: Options, tried: Sequence[tuple[Options, float]], seed: int) -> Options | None:
    """Options that were not tried yet, a value for each name of space; None where all of a finite space were.

    The default (of the space's values or not) is first; then come points of a Halton sequence (1960) turned by a drawn
    offset (Cranley and Patterson 1976): of six points, one in about every sixth of each range, which six draws seldom
    do. From SPREAD on a tree-structured Parzen estimator (Bergstra et al. 2011) chooses.
    tried: options and score, higher is better, in the order of the trials.
    """
    if not tried:
        return default
    known = [dict(options) for options, _ in tried]
    if sum(_within(space, options) for options in known) >= size(space):
        return None
    if len(tried) >= SPREAD:
        inside = [(options, score) for options, score in tried if _within(space, options)]
        for attempt in range(PATIENCE):
            found = _by_results(space, inside, seeds.derive(seed, "results", len(tried), attempt) % 2**32)
            if found not in known:
                return found
    from scipy.stats.qmc import Halton

    offsets = seeds.generator(seed, "offsets").random(len(space))
    points = Halton(len(space), scramble=False).fast_forward(1)  # the first is zero everywhere
    while True:
        shares = (points.random()[0] + offsets) % 1
        found = {name: _at(values, share) for (name, values), share in zip(space.items(), shares, strict=True)}
        if found not in known:
            return found


def size(space: SearchSpace) -> float:
    """How many options there are to choose: one of an empty space, infinitely many of a range."""
    return prod(float("inf") if isinstance(values, Range) else len(values) for values in space.values())


def _within(space: SearchSpace, options: Options) -> bool:
    return all(
        values.low <= options[name] <= values.high if isinstance(values, Range) else options[name] in values
        for name, values in space.items()
    )


def _at(values: Range | Sequence[Any], share: float) -> Any:
    return values.at(share) if isinstance(values, Range) else values[int(share * len(values))]


def _by_results(space: SearchSpace, tried: Sequence[tuple[Options, float]], seed: int) -> dict[str, Any]:
    """Choices are told by their places, since a value may be anything."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds: dict[str, BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)
        if isinstance(values, Range)
        else optuna.distributions.CategoricalDistribution(range(len(values)))
        for name, values in space.items()
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=1))
    for options, score in tried:
        drawn = {
            name: options[name] if isinstance(values, Range) else list(values).index(options[name])
            for name, values in space.items()
        }
        study.add_trial(optuna.create_trial(params=drawn, distributions=kinds, value=score))
    drawn = study.ask(kinds).params
    return {
        name: values.rounded(drawn[name]) if isinstance(values, Range) else values[drawn[name]]
        for name, values in space.items()
    }
