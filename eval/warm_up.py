"""How long synthetic data helps: cold items (or users) get their first k real rows, for k = 0, 1, 2, ...

python -m eval.warm_up SPLIT --arm llm=KEPT --arm funnel=KEPT2 --student ease --ks 0,1,2,3,5,10 --output SCORES

SPLIT was cut with reserved rows (`llm-aug split DATA --reserved 10`), and the arms' samples were made from it, that is
at k = 0. Every k is tested on the same rows. A student is tuned on validation once per arm, at k = 0, as
`eval.cold_start` tunes it; at larger k it is fitted again with what was chosen there.

SCORES/warm_up.json   rows {student, arm, k, group, mean, low, high, users} of NDCG@20; and of each arm but real, by the
                      users' differences to real data at the same k: gain, gain_low, gain_high, p. Intervals of 95 %,
                      not corrected for the number of k
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from eval.arguments import evaluation_parser, parse_arms, read_arms
from eval.arms import REAL, Arm
from eval.cold_start import EvaluateOptions, options_of
from eval.compare import HEADLINE, K, compare, grid
from eval.ranking import GROUPS, held_out, per_user
from eval.stats import bootstrap
from eval.tuning import Choice, fitted, tune, with_encoder
from llm_aug import seeds
from llm_aug.data import Split
from llm_aug.errors import InputError, LlmAugError
from llm_aug.files import write_json
from llm_aug.splits import read_split

METRIC = f"{HEADLINE}@{K}"
KS = (0, 1, 2, 3, 5, 10)
Rows = list[dict[str, Any]]


def warmed(split: Split, k: int) -> Split:
    """The split with the first k withheld rows of each cold item (user) in its training; of more, the same and more.

    By time; rows without one before the others, in an order drawn by the split's seed. It keeps its hash and its cold
    items, which now have training rows. Raises InputError where some have fewer withheld rows.
    """
    subject = _subject(split)
    rows = split.withheld.sort_values(["user_id", "item_id"], ignore_index=True)
    cold = set(split.cold_users if split.by_users else split.cold_items).intersection(_held(split)[subject])
    least = int(rows[subject].value_counts().reindex(sorted(cold), fill_value=0).min()) if cold else 0
    if not 0 <= k <= least:
        raise InputError(
            f"k is {k}, and the split withholds {least} rows of some cold {subject.removesuffix('_id')}: cut it with "
            f"`llm-aug split DATA --reserved {max(k, 1)}`, and make the arms' samples from that split"
        )
    tie = seeds.generator(split.seed, "warm-up").permutation(len(rows))
    ordered = rows.assign(tie=tie).sort_values([subject, "timestamp", "tie"], na_position="first")
    early = ordered.groupby(subject).cumcount().reindex(rows.index) < k
    train = pd.concat([split.train, rows[early]], ignore_index=True)
    return replace(split, train=train, withheld=rows[~early].reset_index(drop=True))


def sweep(split: Split, arms: Sequence[Arm], options: EvaluateOptions, ks: Sequence[int]) -> pd.DataFrame:
    """A row per student, arm, k, seed, group and user: ndcg@20. The first arm is 'real'.

    The groups are those of k = 0: cold items stay the cold ones, however many rows they have by now.
    """
    if not len(split.test):
        raise InputError("the split has no test rows; nothing can be evaluated")
    splits = {k: warmed(split, k) for k in sorted(set(ks))}
    test = held_out(split, "test")
    frames = []
    for name, fixed in options.students.items():
        for choice, arm in _tuned(name, fixed, split, [Arm(REAL), *arms], options):
            for k, known in splits.items():
                for seed in options.seeds:
                    rows = per_user(fitted(choice, known, arm, seed), test, (K,), seed)[["group", "user_id", METRIC]]
                    frames.append(rows.assign(student=name, arm=arm.name, k=k, seed=split.seed * 1000 + seed))
            sys.stderr.write(f"warm-up: {name} on {arm.name}: {len(splits)} numbers of real rows\n")
    return pd.concat(frames, ignore_index=True)


def _tuned(
    name: str, fixed: Mapping[str, Any], split: Split, arms: Sequence[Arm], options: EvaluateOptions
) -> list[tuple[Choice, Arm]]:
    """Options by real data, which comes first; each arm chooses its weight and scoring."""
    validation, found = held_out(split, "validation"), list[tuple[Choice, Arm]]()
    known: Mapping[str, Any] = with_encoder(name, fixed, options.encoder)
    for arm in arms:
        choice = tune(name, known, options.trials, options.synthetic_weights, split, arm, validation).choice
        known = choice.options
        found.append((choice, arm))
    return found


def summarise(scores: pd.DataFrame) -> Rows:
    """The rows of warm_up.json; gain, gain_low, gain_high and p are null for real data."""
    rows: Rows = []
    for (student, arm, k, group), part in scores.groupby(["student", "arm", "k", "group"], sort=False):
        values = grid(part, METRIC).to_numpy(dtype=float)
        interval = bootstrap(values)
        row = {"student": student, "arm": arm, "k": int(k), "group": group, **vars(interval), "users": values.shape[1]}
        gain = dict.fromkeys(("gain", "gain_low", "gain_high", "p"))
        if arm != REAL:
            at_k = scores[scores["k"] == k]
            one = compare(at_k, (str(student), str(arm)), (str(student), REAL), str(group))
            gain = {"gain": one.gain, "gain_low": one.low, "gain_high": one.high, "p": one.p}
        rows.append({**row, **gain})
    return rows


def gone_from(rows: Rows, student: str, arm: str, group: str) -> int | None:
    """The k from which on no interval of the arm's gain lies above zero; None where the last one still does."""
    own = [row for row in rows if (row["student"], row["arm"], row["group"]) == (student, arm, group)]
    gains = sorted((row["k"], row["gain_low"] > 0) for row in own)
    last = max((place for place, (_, gained) in enumerate(gains) if gained), default=-1)
    return gains[last + 1][0] if last + 1 < len(gains) else None


def table(rows: Rows) -> str:
    """Markdown: NDCG@20 by k; * where the interval of the gain over real data lies above zero, - where below."""
    ks = sorted({row["k"] for row in rows})
    cells = {(row["student"], row["arm"], row["group"], row["k"]): row for row in rows}
    lines = [f"| student | arm | group | {' | '.join(f'k = {k}' for k in ks)} | gain gone from |"]
    lines.append("|" + "---|" * (len(ks) + 4))
    keys = dict.fromkeys((row["student"], row["arm"], row["group"]) for row in rows)
    for student, arm, group in sorted(keys, key=lambda key: GROUPS.index(key[2])):
        own = [cells[student, arm, group, k] for k in ks]
        marks = [f"{row['mean']:.4f}{_mark(row)}" for row in own]
        gone = "" if arm == REAL else gone_from(rows, student, arm, group)
        lines.append(f"| {student} | {arm} | {group} | {' | '.join(marks)} | {_words(gone, ks)} |")
    return "\n".join(lines) + "\n"


def _mark(row: Mapping[str, Any]) -> str:
    if row["gain"] is None or np.isnan(row["gain"]):
        return ""
    return "*" if row["gain_low"] > 0 else "-" if row["gain_high"] < 0 else ""


def _words(gone: int | str | None, ks: Sequence[int]) -> str:
    if gone is None:
        return f"still there at k = {ks[-1]}"
    return gone if isinstance(gone, str) else "no gain at any" if gone == ks[0] else f"k = {gone}"


def _subject(split: Split) -> str:
    return "user_id" if split.by_users else "item_id"


def _held(split: Split) -> pd.DataFrame:
    return pd.concat([split.validation, split.test])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = evaluation_parser("eval.warm_up", __doc__)
    parser.add_argument("--ks", default=",".join(map(str, KS)), help="numbers of real rows, as in 0,1,2,5")
    given = parser.parse_args(arguments)
    try:
        split, ks = read_split(given.split), _numbers(given.ks)
        rows = summarise(sweep(split, read_arms(parse_arms(given.arm), split), options_of(given), ks))
    except LlmAugError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    write_json(given.output / "warm_up.json", rows)
    sys.stdout.write(table(rows))
    return 0


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--ks {text}: write numbers of real rows, as in 0,1,2,5") from None


if __name__ == "__main__":
    sys.exit(main())
