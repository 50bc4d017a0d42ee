"""Cold items -> candidate users (funnel) -> judge (an LLM's log-odds) -> graded pairs; and the controls without an LLM.

OUTPUT/answers/*.parquet   the judge's scores, so that a killed run asks only for what is missing
OUTPUT/samples.parquet     one sample per pair: {"sample_id": "llm/7/1", "kind": "interactions", "subject": "1",
                           "interactions": [{"user_id": "7", "item_id": "1"}], "weight": 0.61}
OUTPUT/rejects.parquet     candidates that were looked at and not taken     OUTPUT/metrics.json   AUC inside the lists
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_aug import seeds
from llm_aug.answers import Answers, kept, locked, open_answers, say, write_manifest
from llm_aug.backends import LLM
from llm_aug.candidates import Candidates
from llm_aug.controls import CONTROLS, other_users
from llm_aug.data import Dataset, Example, Origin, Pair, Prompt, Reject, Sample
from llm_aug.errors import InputError, LlmAugError, ShortOfTarget, did_you_mean
from llm_aug.files import write_json
from llm_aug.generate import dataset_hash
from llm_aug.grade import auc_in_lists, calibrate, choose, held_out_odds, weights
from llm_aug.progress import Meter
from llm_aug.results import write_results
from llm_aug.tasks.judge import NO_SCORE, Judge, Question, log_odds, score, stored
from llm_aug.watchdog import STALL_SECONDS

GENERATORS = ("llm", "funnel", *CONTROLS)
STOP_SHARE = 0.9  # of a chunk without scores: the rest would only burn hours
FEWEST_TO_STOP = 50
SHARD_ROWS = 100_000
FIRST_CALL, CALL_SECONDS = 64, 30.0  # questions in the first call, and what a call may take


@dataclass(frozen=True)
class SimulateOptions:
    """calibration_pairs: pseudo-cold pairs at most that the judge scores to be calibrated.

    chunk: most questions in a call. shard_seconds: scores are written so often. stall_seconds: the run ends, to be
    resumed, when a call takes longer.
    """

    seed: int = 0
    split_hash: str = ""
    judge: Judge = field(default_factory=Judge)
    calibration_pairs: int = 6000
    chunk: int = 1024
    shard_seconds: float = 30.0
    stall_seconds: float | None = STALL_SECONDS


@dataclass(frozen=True)
class SimulateResult:
    """asked = parsed + rejected + failed, in pairs. reused: the judge's questions that were answered already.

    auc: inside the pseudo-cold lists, of the funnel, the judge and both.
    """

    asked: int
    parsed: int
    rejected: int
    failed: int
    reused: int
    auc: dict[str, float]

    def __str__(self) -> str:
        return f"{self.asked} asked = {self.parsed} parsed + {self.rejected} rejected + {self.failed} failed"


def halves(pseudo: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pseudo-cold pairs to train the judge on, and those to calibrate it with: no item is in both."""
    items = np.array(sorted(pseudo["item_id"].unique()), dtype=object)
    training = set(seeds.generator(seed, "judge", "halves").permutation(items)[: len(items) // 2])
    mine = pseudo["item_id"].isin(training)
    return pseudo[mine], pseudo[~mine]


def judge_examples(
    candidates: Candidates, judge: Judge, seed: int, validation_share: float = 0.1
) -> tuple[list[Example], list[Example]]:
    """Examples to train and to validate the judge on, from the training half of the pseudo-cold items."""
    training, _ = halves(candidates.pseudo, seed)
    examples = list(judge.examples(candidates.hidden, training, seed))
    cut = round(validation_share * len(examples))
    cut -= cut % 2 if judge.compares else 0  # both orders of a comparison on one side
    return examples[cut:], examples[:cut]


def simulate(
    generator: str,
    candidates: Candidates,
    dataset: Dataset,
    output: Path,
    options: SimulateOptions,
    llm: LLM | None = None,
) -> SimulateResult:
    """generator: llm (funnel and judge), funnel (no judge), or a control of `controls` at the funnel's volume.

    The judge scores pseudo-cold pairs first, so that its AUC is told before the cold pairs cost their time.
    Raises ResumeRefused where the folder holds another recipe, and ShortOfTarget where nearly no score is finite or no
    pair is left.
    """
    if generator not in GENERATORS:
        raise InputError(f"no generator {generator!r}; {did_you_mean(generator, GENERATORS)}")
    judging = generator == "llm"
    config = _recipe(generator, candidates, dataset, options, llm if judging else None)
    with locked(output):
        answers = open_answers(output, config)
        write_manifest(output, config, state="running")
        _, pseudo = halves(candidates.pseudo, options.seed)
        cold, features, reused = candidates.cold, ["preference"], 0
        if judging:
            assert llm is not None, "the judge needs a model"
            judge = _Judging(llm, options, answers, output)
            pseudo = judge.scored("pseudo", _some(pseudo, options), candidates.hidden)
            features = ["preference", "judge"]
        pseudo = pseudo.dropna(subset=features)
        auc = _auc(pseudo, features)
        say(f"{generator}: AUC inside pseudo-cold lists: {', '.join(f'{n} {v:.3f}' for n, v in auc.items())}")
        if judging:
            cold, reused = judge.scored("cold", cold, dataset), judge.reused
        pairs, rest = _graded(pseudo, cold, features, candidates)
        if generator in CONTROLS:
            pairs = other_users(generator, pairs, dataset, cold["item_id"].unique().tolist(), options.seed)
        failed = int(cold[features].isna().any(axis=1).sum())
        result = SimulateResult(len(cold), len(pairs), len(rest), failed, reused, auc)
        assert result.asked == result.parsed + result.rejected + result.failed, result
        _write(output, pairs, rest, config, result)
    say(f"{generator}: {result}")
    if not result.parsed:
        raise ShortOfTarget(f"{generator}: none of {result.asked} candidates became a pair, {failed} have no score")
    return result


def _recipe(
    generator: str, candidates: Candidates, dataset: Dataset, options: SimulateOptions, llm: LLM | None
) -> dict[str, Any]:
    recipe = {
        "generator": generator,
        "input": dataset_hash(dataset),
        "candidates": candidates.fingerprint,
        "split_hash": options.split_hash,
        "seed": options.seed,
    }
    if llm is None:
        return recipe
    judge = options.judge
    shown = {"prompt_hash": judge.prompt_hash, "history": judge.history, "words": judge.words}
    if judge.compares:
        shown["rivals"] = judge.rivals
    model = {"model": llm.name, "revision": llm.revision, "adapter": llm.adapter}
    return {**recipe, **shown, **model, "calibration_pairs": options.calibration_pairs}


def _some(pseudo: pd.DataFrame, options: SimulateOptions) -> pd.DataFrame:
    """Whole lists of as many items as fit into calibration_pairs, one at least, in the order of the candidates."""
    items = np.array(sorted(pseudo["item_id"].unique()), dtype=object)
    items = seeds.generator(options.seed, "calibration").permutation(items)
    sizes = pseudo["item_id"].value_counts().reindex(items).cumsum()
    return pseudo[pseudo["item_id"].isin([*items[:1], *sizes.index[sizes <= options.calibration_pairs]])]


@dataclass
class _Judging:
    """The judge at work. output: the folder that tells its progress. reused: questions that were answered already.

    size: of the next call. On a large model without a GPU, a full chunk may take an hour in which nothing is told.
    """

    llm: LLM
    options: SimulateOptions
    answers: Answers
    output: Path
    reused: int = 0
    size: int = FIRST_CALL

    def scored(self, part: str, pairs: pd.DataFrame, log: Dataset) -> pd.DataFrame:
        """The pairs with `judge`, their score less its mean over the user's pairs; NaN where there is none.

        part: 'pseudo' or 'cold', so that a question has one key in each. log: the histories that the judge may see.
        """
        asked = self.options.judge.questions(pairs, self.options.seed)
        odds = self._answered(part, list(dict.fromkeys(question for row in asked for question, _ in row)), log)
        judged = pairs.assign(judge=np.array([score(row, odds) for row in asked], dtype=float))
        # As the funnel's preferences are: how readily a user likes things says nothing of which thing he likes.
        judged["judge"] -= judged.groupby("user_id")["judge"].transform("mean")
        return judged

    def _answered(self, part: str, questions: Sequence[Question], log: Dataset) -> dict[Question, float]:
        """The log-odds of each. A user's questions are asked one after the other: they begin alike."""
        keys = [_key("judge", part, *question.key) for question in questions]
        asked = zip(keys, self.options.judge.prompts(log, questions), strict=True)
        old = sum(self.answers.holds(key) for key in keys)
        say(f"judge: {part}: {old}/{len(keys)} done, {len(keys) - old} to do")
        self.reused += old
        odds: list[float] = []
        meter = Meter(f"judge: {part}", len(keys), old, self.output)
        with kept(self.answers, meter, self.options.stall_seconds) as watchdog:
            while chunk := list(islice(asked, min(self.size, self.options.chunk))):
                odds += self._odds(chunk, meter)
                watchdog.beat()
                if self.answers.due(SHARD_ROWS, self.options.shard_seconds):
                    self.answers.write()
        return dict(zip(questions, odds, strict=True))

    def _odds(self, chunk: Sequence[tuple[str, Prompt]], meter: Meter) -> list[float]:
        """Of each prompt; asks for those that have no score yet, or had none to give."""
        known = {key: old for key, prompt in chunk if (old := self.answers.get(key, prompt)) and old.finish != "error"}
        todo = [(key, prompt) for key, prompt in chunk if key not in known]
        started = time.monotonic()
        answers = self.options.judge.answers
        scores = self.llm.score([prompt for _, prompt in todo], answers).sums if todo else np.zeros((0, len(answers)))
        self._pace(len(todo), time.monotonic() - started)
        if scores.shape != (len(todo), len(answers)):
            raise LlmAugError(f"model {self.llm.name} gave scores of shape {scores.shape} to {len(todo)} prompts")
        for (key, prompt), row in zip(todo, scores, strict=True):
            known[key] = self.answers.add(key, prompt, stored(row))
            lost = known[key].finish == "error"
            meter.advance(0 if lost else 1, reason="no finite score" if lost else "")
        failed = sum(known[key].finish == "error" for key, _ in todo)
        if failed >= max(FEWEST_TO_STOP, STOP_SHARE * len(todo)):
            raise ShortOfTarget(f"the judge stopped: {failed} of {len(todo)} prompts have no score ({NO_SCORE})")
        return [log_odds(known[key]) for key, _ in chunk]

    def _pace(self, rows: int, seconds: float) -> None:
        if rows >= self.size and seconds < CALL_SECONDS / 4:
            self.size = min(2 * self.size, self.options.chunk)
        elif seconds > CALL_SECONDS:
            self.size = max(1, self.size // 2)


def _key(*parts: str) -> str:
    """Ids may hold slashes: escaped, so that ("a/b", "c") and ("a", "b/c") are two keys."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _auc(pseudo: pd.DataFrame, features: Sequence[str]) -> dict[str, float]:
    found = {"funnel": auc_in_lists(pseudo, "preference")}
    if "judge" in features:
        both = pseudo.assign(both=held_out_odds(pseudo, features)).dropna(subset=["both"])
        found |= {"judge": auc_in_lists(pseudo, "judge"), "both": auc_in_lists(both, "both")}
    return found


def _graded(
    pseudo: pd.DataFrame, cold: pd.DataFrame, features: Sequence[str], candidates: Candidates
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs that were taken, with probability and weight, and those that were outranked."""
    scored = cold.dropna(subset=features)
    probability = pd.Series(calibrate(pseudo, scored, features), index=scored.index, dtype=float)
    graded = cold.assign(probability=probability)
    chosen = choose(graded, candidates.per_item, candidates.per_user)
    pairs = graded[chosen].assign(weight=lambda rows: weights(rows["probability"].to_numpy()))
    return pairs, graded[~chosen & graded["probability"].notna()]


def _write(
    output: Path, pairs: pd.DataFrame, rest: pd.DataFrame, config: dict[str, Any], result: SimulateResult
) -> None:
    name = config["generator"]
    origin = Origin(
        generator=f"interactions/{name}",
        model=config.get("model", ""),
        revision=config.get("revision", ""),
        adapter=config.get("adapter", ""),
        prompt_hash=config.get("prompt_hash", ""),
        seed=config["seed"],
        split_hash=config["split_hash"],
    )
    samples = (
        Sample(
            _key(name, user, item),
            "interactions",
            item,
            None,
            (Pair(user, item),),
            float(weight),
            replace(origin, parents=(item, user)),
        )
        for user, item, weight in zip(pairs["user_id"], pairs["item_id"], pairs["weight"], strict=True)
    )
    rejected = (
        Reject(item, "interactions", "outranked", f"user {user}, probability {probability:.4f}")
        for user, item, probability in zip(rest["user_id"], rest["item_id"], rest["probability"], strict=True)
    )
    write_results(output, samples, rejected)
    finite = {key: value for key, value in result.auc.items() if np.isfinite(value)}
    write_json(output / "metrics.json", {"auc_in_pseudo_cold_lists": finite})
    counts = {key: value for key, value in vars(result).items() if key != "auc"}
    write_manifest(output, config, state="done", counts=counts)
