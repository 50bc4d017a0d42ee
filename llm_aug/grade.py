"""From scores to graded pairs: a small calibrated model, a choice of pairs, a weight for each.

Fitted on pseudo-cold pairs, whose labels the log knows. A hard yes or no would throw most of the signal away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

Values = NDArray[np.float64]
FLOOR = 0.02
RIDGE = 0.1


def calibrate(pseudo: pd.DataFrame, cold: pd.DataFrame, features: Sequence[str]) -> Values:
    """Probability that a cold pair is a true one, by logistic regression on the features: [len(cold)].

    No weight is negative: a score that argues against what it is meant to find is noise, and gets no say.
    With labels of one kind only (a tiny catalogue) there is nothing to fit: the first feature, squashed, stands in.
    """
    slopes, intercept = _fitted(pseudo, features)
    return np.asarray(expit(_rows(cold, features) @ slopes + intercept))


def _fitted(pseudo: pd.DataFrame, features: Sequence[str]) -> tuple[Values, float]:
    """Slopes, one per unit of a feature, and the intercept; the first feature alone where nothing can be fitted."""
    if pseudo["label"].nunique() < 2:
        return np.eye(len(features))[0], 0.0
    known = _rows(pseudo, features)
    centre, spread = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-9)
    *fitted, intercept = _fit((known - centre) / spread, pseudo["label"].to_numpy(dtype=float))
    slopes = np.array(fitted) / spread
    return slopes, float(intercept - centre @ slopes)


def _rows(pairs: pd.DataFrame, features: Sequence[str]) -> Values:
    return np.asarray(pairs[list(features)], dtype=float)


def _fit(rows: Values, labels: Values) -> Values:
    """Slopes (none negative, ridge of RIDGE) and intercept that minimise the log loss: [features + 1]."""
    design = np.hstack([rows, np.ones((len(rows), 1))])

    def loss(parameters: Values) -> tuple[float, Values]:
        logits = design @ parameters
        penalty = RIDGE * np.append(parameters[:-1], 0.0)
        value = float((np.logaddexp(0, logits) - labels * logits).sum() + 0.5 * penalty @ parameters)
        return value, design.T @ (expit(logits) - labels) + penalty

    bounds = [(0.0, None)] * rows.shape[1] + [(None, None)]
    return np.asarray(minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x)


def held_out_odds(pseudo: pd.DataFrame, features: Sequence[str]) -> Values:
    """Log-odds as of `calibrate` but for the intercept, each pseudo-cold item's pairs by a fit on other items.

    [len(pseudo)]. Every fold has an intercept of its own, the lower the more true pairs its items have, since those are
    what the fit did not see: inside a user's list it would order items of several folds by that, and backwards.
    """
    folds = min(5, pseudo["item_id"].nunique())
    found = np.full(len(pseudo), np.nan)
    if folds < 2:
        return found
    for fit, rest in GroupKFold(folds).split(pseudo, groups=pseudo["item_id"]):
        found[rest] = _rows(pseudo.iloc[rest], features) @ _fitted(pseudo.iloc[fit], features)[0]
    return found


def auc_in_lists(pseudo: pd.DataFrame, score: str, by: str = "user_id") -> float:
    """Mean area under the ROC curve inside each user's list, over lists that hold both labels; NaN if none.

    Inside an item's list it would reward knowing which users are active, which does not say what to recommend to one.
    """
    areas = [
        roc_auc_score(rows["label"], rows[score])
        for _, rows in pseudo.groupby(by, sort=False)
        if rows["label"].nunique() == 2
    ]
    return float(np.mean(areas)) if areas else float("nan")


def choose(cold: pd.DataFrame, per_item: int, per_user: int) -> NDArray[np.bool_]:
    """Which candidates become pairs: each item's best `per_item`, then each user's best of the rest, rank by rank.

    cold: user_id, item_id, probability; one without a probability is never chosen. The volume is `per_item` for every
    item and `per_user` for every user, as far as the lists reach: it does not depend on the scores, so that arms that
    choose from the same candidates are equally large.
    """
    order = {"ascending": False, "method": "first"}
    caps = {"item_id": per_item, "user_id": per_user}
    volume = sum(int(np.minimum(cold[by].value_counts(), most).sum()) for by, most in caps.items())
    first = cold.groupby("item_id")["probability"].rank(**order) <= per_item
    chosen: NDArray[np.bool_] = first.to_numpy(copy=True)
    rest = np.flatnonzero(~chosen & cold["probability"].notna().to_numpy())
    left = cold.iloc[rest]
    turn = left.groupby("user_id")["probability"].rank(**order)
    by_turn = np.lexsort((-left["probability"].to_numpy(), turn.to_numpy()))
    chosen[rest[by_turn[: max(0, volume - chosen.sum())]]] = True
    return chosen


def weights(probability: Values) -> Values:
    """In [FLOOR, 1]: the root of the probability over its 95 % quantile.

    The root, because a student's confidence should grow more slowly than the odds; the quantile, because the base rate
    of a candidate list says nothing of how much a pair is worth beside a real one.
    """
    top = np.quantile(probability, 0.95) if len(probability) else 1.0
    return np.asarray(np.clip(np.sqrt(probability / max(top, 1e-12)), FLOOR, 1.0))
