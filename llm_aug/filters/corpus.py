"""What was kept, as a whole, against the real data: as varied, as long, about the same items, and told apart how well?

{"description": {"samples": 812, "compared": 812, "coverage": 0.41, "popularity_drift": 0.08, "length_drift": 0.21,
                 "auc": 0.87, "synthetic": {"length": 31.2, "distinct_1": 0.19, ...}, "real": {...}}, "history": {...}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.chosen import chosen
from llm_aug.data import Sample
from llm_aug.filters import tastes
from llm_aug.filters.reference import FEWEST, Reference
from llm_aug.filters.schema import PAIR_KINDS, TEXT_KINDS
from llm_aug.text import is_blank, normalised, words
from llm_aug.vectors import Vectors, finite, nearest

MOST = 5000  # texts of either side: nearest neighbours and a classifier of more would cost minutes and say the same
TASTES = 2000  # users or pairs of either side
FOLDS = 5
Report = dict[str, Any]


def corpus(samples: Sequence[Sample], reference: Reference) -> dict[str, Report]:
    """By kind, whatever the order of the samples. Texts and counts are compared with `_real` rows of the same kind.

    samples, compared: how many there are, and how many of either side were drawn (seeded) to be compared.
    coverage: share of the catalogue that the samples are about or name. *_drift: see `drift`. auc: see `tell_apart`; of
    the vectors of texts, and of what users take as `tastes` has it.
    """
    ids: dict[str, list[tuple[str, int]]] = {}
    for row, sample in enumerate(samples):
        ids.setdefault(sample.kind, []).append((sample.sample_id, row))
    reports = {}
    for kind in (*TEXT_KINDS, *PAIR_KINDS):
        own = chosen(samples, [row for _, row in sorted(ids.get(kind, ()))])
        if own:
            reports[kind] = (_texts if kind in TEXT_KINDS else _pairs)(kind, own, reference)
    return reports


def distinct(texts: Iterable[str], n: int) -> float:
    """Distinct n-grams of words / all of them, over the whole corpus (distinct-n: Li et al. 2016, arXiv:1510.03055).

    It falls with the size of a corpus, so only corpora of one size compare. 0 where no text has n words.
    """
    grams: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        said = normalised(text).split()
        grams.update(zip(*(said[start:] for start in range(n)), strict=False))
    return len(grams) / grams.total() if grams else 0.0


def self_similarity(vectors: Vectors) -> float:
    """Mean over rows [n, d] of the largest cosine to another row: 1 for a corpus that repeats itself; 0 for one row."""
    if len(vectors) < 2:
        return 0.0
    scores, rows = nearest(vectors, vectors, 2)
    itself = rows[:, 0] == np.arange(len(rows))
    return float(np.where(itself, scores[:, 1], scores[:, 0]).mean())


def drift(synthetic: Sequence[float], real: Sequence[float]) -> float | None:
    """Kolmogorov-Smirnov statistic sup |F(x) - G(x)| of two samples: 0 same distribution, 1 apart; None without one."""
    if not len(synthetic) or not len(real):
        return None
    at = np.unique(np.concatenate([np.asarray(synthetic, float), np.asarray(real, float)]))
    shares = [np.searchsorted(np.sort(side), at, side="right") / len(side) for side in (synthetic, real)]
    return float(np.abs(shares[0] - shares[1]).max())


def gini(counts: NDArray[Any]) -> float:
    """sum_i (2 i - n - 1) x_i / (n sum x), x ascending, i from 1: 0 all items equally often, near 1 one item only."""
    x = np.sort(np.asarray(counts, float))
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * x.sum())) if x.sum() else 0.0


def tell_apart(synthetic: Vectors, real: Vectors, subjects: Sequence[str]) -> float | None:
    """ROC AUC of a logistic regression that tells synthetic rows [n, d] from real ones [m, d], in FOLDS folds.

    0.5: indistinguishable (classifier two-sample test: Lopez-Paz and Oquab 2017, arXiv:1610.06545). subjects: of the
    n + m rows; those of one subject share a fold, or a text would be recognised by its item. None for few rows.
    """
    if min(len(synthetic), len(real)) < FEWEST or len(set(subjects)) < FOLDS:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    rows = np.concatenate([synthetic, real]).astype(np.float64)
    labels = np.repeat([1, 0], [len(synthetic), len(real)])
    folds = list(GroupKFold(FOLDS).split(rows, labels, subjects))
    if any(len(set(labels[train])) < 2 for train, _ in folds):
        return None
    model = LogisticRegression(C=10.0, max_iter=1000)
    return float(roc_auc_score(labels, cross_val_predict(model, rows, labels, cv=folds, method="decision_function")))


def _texts(kind: str, samples: Sequence[Sample], reference: Reference) -> Report:
    real_subjects, real_texts = _real(kind, reference)
    popular = _popularity(reference)
    subjects, lengths = [], []
    for sample in samples:
        subjects.append(sample.subject)
        lengths.append(len(words(sample.text or "")))
    told: Report = {"samples": len(samples), "length_drift": drift(lengths, _lengths(real_texts))}
    if kind == "description":
        told["coverage"] = len(set(subjects)) / len(reference.ids)
        told["popularity_drift"] = drift([popular[one] for one in subjects], [popular[i] for i in reference.ids])
    size = min(MOST, len(samples), len(real_texts) or MOST)
    some, others = (_drawn(size, of, kind, side) for side, of in (("new", len(samples)), ("real", len(real_texts))))
    sides = {
        "synthetic": ([subjects[row] for row in some], [samples[row].text or "" for row in some]),
        "real": ([real_subjects[row] for row in others], [real_texts[row] for row in others]),
    }
    vectors = {side: reference.encode(texts) for side, (_, texts) in sides.items() if texts}
    for side, rows in vectors.items():
        texts = sides[side][1]
        told[side] = {
            "length": float(np.mean(_lengths(texts))),
            **{f"distinct_{n}": distinct(texts, n) for n in (1, 2, 3)},
            "self_similarity": self_similarity(rows[finite(rows)]),
        }
    told["compared"] = size
    if "real" in vectors:
        usable = {side: finite(rows) for side, rows in vectors.items()}
        groups = [subject for side in usable for subject in compress(sides[side][0], usable[side])]
        synthetic, real = (vectors[side][usable[side]] for side in ("synthetic", "real"))
        told["auc"] = tell_apart(synthetic, real, groups)
    return _rounded(told)


def _pairs(kind: str, samples: Sequence[Sample], reference: Reference) -> Report:
    """length: interactions of one sample (of one user, in the real log)."""
    log, popular = reference.training.interactions, _popularity(reference)
    made = [[(pair.user_id, pair.item_id) for pair in sample.interactions or ()] for sample in samples]
    pairs = list(chain.from_iterable(made))
    sides = {"synthetic": [item for _, item in pairs], "real": list(log["item_id"])}
    lengths = {"synthetic": list(map(len, made)), "real": list(log.groupby("user_id").size())}
    told: Report = {"samples": len(samples), "coverage": len(set(sides["synthetic"])) / len(reference.ids)}
    told["popularity_drift"] = drift(*([popular[item] for item in items] for items in sides.values()))
    if kind == "history":
        told["length_drift"] = drift(lengths["synthetic"], lengths["real"])
    for side, items in sides.items():
        counts = pd.Series(items, dtype=object).value_counts().reindex(reference.ids, fill_value=0)
        told[side] = {"interactions": len(items), "gini": gini(counts.to_numpy())}
        if kind == "history" and lengths[side]:
            told[side]["length"] = float(np.mean(lengths[side]))
    compared = _histories(samples, reference) if kind == "history" else _suited(pairs, reference)
    return _rounded(told | compared)


def _histories(samples: Sequence[Sample], reference: Reference) -> Report:
    users = reference.training.interactions["user_id"].unique()
    some, others = _both(len(samples), len(users), "history")
    return _told_apart(*tastes.of_histories(chosen(samples, some), users[others].tolist(), reference), len(some))


def _suited(pairs: Sequence[tuple[str, str]], reference: Reference) -> Report:
    log = reference.training.interactions[["user_id", "item_id"]]
    some, others = _both(len(pairs), len(log), "interactions")
    known = list(log.iloc[others].itertuples(index=False, name=None))
    return _told_apart(*tastes.of_pairs([pairs[row] for row in some], known, reference), len(some))


def _both(made: int, real: int, kind: str) -> tuple[list[int], list[int]]:
    """As many rows of either, TASTES at most."""
    size = min(TASTES, made, real)
    return _drawn(size, made, kind, "new"), _drawn(size, real, kind, "real")


def _told_apart(synthetic: tastes.Side, real: tastes.Side, size: int) -> Report:
    return {"compared": size, "auc": tell_apart(synthetic.rows, real.rows, [*synthetic.subjects, *real.subjects])}


def _real(kind: str, reference: Reference) -> tuple[Sequence[str], Sequence[str]]:
    """Subjects and texts: descriptions (facts where a catalogue has none), reviews of the log; of profiles none."""
    log = reference.training.interactions
    subjects, texts = reference.ids, reference.descriptions
    if kind == "description":
        texts = texts if any(map(str.strip, texts)) else reference.facts
    elif kind == "review" and "review" in log:
        subjects, texts = log["item_id"].tolist(), log["review"].tolist()
    else:
        return [], []
    told = [row for row, text in enumerate(texts) if not is_blank(text)]
    return chosen(subjects, told), chosen(texts, told)


def _popularity(reference: Reference) -> Mapping[str, int]:
    return Counter(reference.training.interactions["item_id"])


def _lengths(texts: Iterable[str]) -> list[int]:
    return [len(words(text)) for text in texts]


def _drawn(size: int, of: int, *stage: str) -> list[int]:
    """Row numbers in order."""
    drawn: list[int] = sorted(seeds.generator(0, "corpus", *stage).permutation(of)[:size].tolist())
    return drawn


def _rounded(told: Report) -> Report:
    """To 4 digits, so that the order of a processor's sums does not show."""
    return {
        name: _rounded(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for name, value in told.items()
    }
