"""From scores to graded pairs: a small calibrated model, a choice of pairs, a weight for each.

Fitted on pseudo-cold pairs, whose labels the log knows. A hard yes or no would throw most of the signal away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Values = NDArray[np.float64]
FLOOR = 0.02


def calibrate(pseudo: pd.DataFrame, cold: pd.DataFrame, features: Sequence[str]) -> Values:
    """Probability that a cold pair is a true one, by logistic regression on the features: [len(cold)].

    With labels of one kind only (a tiny catalogue) there is nothing to fit: the first feature, squashed, stands in.
    """
    if pseudo["label"].nunique() < 2 or not len(cold):
        return np.asarray(expit(cold[features[0]].to_numpy(dtype=float)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10.0))
    model.fit(pseudo[list(features)].to_numpy(), pseudo["label"].to_numpy())
    return np.asarray(model.predict_proba(cold[list(features)].to_numpy())[:, 1])


def held_out_probability(pseudo: pd.DataFrame, features: Sequence[str]) -> Values:
    """As `calibrate`, each pseudo-cold item's pairs by a model that was fitted on other items: [len(pseudo)]."""
    folds = min(5, pseudo["item_id"].nunique())
    found = np.full(len(pseudo), np.nan)
    if folds < 2:
        return found
    for fit, rest in GroupKFold(folds).split(pseudo, groups=pseudo["item_id"]):
        found[rest] = calibrate(pseudo.iloc[fit], pseudo.iloc[rest], features)
    return found


def auc_in_lists(pseudo: pd.DataFrame, score: str, by: str = "item_id") -> float:
    """Mean area under the ROC curve inside each item's list, over lists that hold both labels; NaN if none."""
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
