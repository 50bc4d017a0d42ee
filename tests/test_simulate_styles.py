"""Judges of other styles in the planted world: which of two, and yes or no in both orders; stopped and gone on with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from planted import GenreJudge, training
from test_simulate import OPTIONS, found, pairs, run

from llm_aug.backends import Scores
from llm_aug.data import Prompt
from llm_aug.errors import ResumeRefused
from llm_aug.files import read_json
from llm_aug.signals import Interrupted
from llm_aug.simulate import halves, judge_examples, simulate
from llm_aug.tasks.judge import Judge

PREFERENCE, BOTH_ORDERS = Judge("preference"), Judge("both_orders")


@dataclass
class Leaning(GenreJudge):
    """Chooses by genre, as the others do, but likes A, and the word that is named first, far better than any item."""

    lean: float = 5.0

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        if list(continuations) == ["yes", "no"]:
            scores = super().score(prompts, continuations)
            leans = [self.lean * (1 if "yes or no" in prompt.system else -1) for prompt in prompts]
            return Scores(scores.sums + np.array([leans, np.zeros(len(prompts))]).T, scores.tokens)
        assert list(continuations) == ["A", "B"]
        if len(self.asked) >= self.interrupt_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.asked += [prompt.user for prompt in prompts]
        sums = np.array([[self._likes(prompt.user, letter) for letter in "AB"] for prompt in prompts])
        return Scores(sums.reshape(len(prompts), 2), np.ones(2, dtype=np.int64))

    def _likes(self, text: str, letter: str) -> float:
        shown = dict(re.findall("^(A|B): (.+)$", text, re.MULTILINE))[letter]
        yes, no = self._score(f"{text.partition('A: ')[0]}New: {shown}")
        return yes - no + self.lean * (letter == "A")


def test_a_preference_finds_what_its_letters_hide(tmp_path: Path) -> None:
    llm = Leaning()
    result = run(tmp_path / "llm", llm=llm, judge=PREFERENCE)
    assert result.asked == len(found().cold) == result.parsed + result.rejected
    assert result.parsed == run(tmp_path / "funnel", "funnel").parsed
    assert result.auc["judge"] > result.auc["funnel"] + 0.05
    assert len(set(llm.asked)) == len(llm.asked)
    _, mine = halves(found().pseudo, OPTIONS.seed)
    assert len(llm.asked) <= 2 * (len(mine) + len(found().cold))
    manifest = read_json(tmp_path / "llm/manifest.json")["config"]
    assert (manifest["prompt_hash"], manifest["rivals"]) == (PREFERENCE.prompt_hash, 2)


def test_a_lean_to_the_word_named_first_cancels(tmp_path: Path) -> None:
    leaning, even = Leaning(), GenreJudge()
    run(tmp_path / "leaning", llm=leaning, judge=BOTH_ORDERS)
    run(tmp_path / "even", llm=even)
    one, other = (pairs(tmp_path / name).sort_values(["user_id", "item_id"]) for name in ("leaning", "even"))
    assert (one["item_id"].to_numpy() == other["item_id"].to_numpy()).all()
    np.testing.assert_allclose(one["weight"], other["weight"], atol=1e-9)
    assert len(leaning.asked) == 2 * len(even.asked)


@pytest.mark.parametrize("judge", [PREFERENCE, BOTH_ORDERS])
def test_interrupted_they_go_on_where_they_were(tmp_path: Path, judge: Judge) -> None:
    whole = Leaning()
    run(tmp_path / "whole", llm=whole, judge=judge)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", llm=Leaning(interrupt_after=300), judge=judge, chunk=16)
    rest = Leaning()
    result = run(tmp_path / "cut", llm=rest, judge=judge, chunk=50)
    assert result.reused + len(rest.asked) == len(whole.asked)
    assert result.reused >= 300
    for name in ("samples.parquet", "rejects.parquet", "metrics.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_users_questions_are_asked_in_a_row(tmp_path: Path) -> None:
    llm = Leaning()
    run(tmp_path, llm=llm, judge=PREFERENCE)
    _, mine = halves(found().pseudo, OPTIONS.seed)
    shown = [text.partition("A: ")[0] for text in llm.asked]
    assert len(list(groupby(shown))) <= mine["user_id"].nunique() + found().cold["user_id"].nunique()


def test_a_user_with_one_candidate_is_neither_asked_nor_lost(tmp_path: Path) -> None:
    alone = replace(found(), cold=found().cold.drop_duplicates("user_id"))
    llm = Leaning()
    result = simulate("llm", alone, training(), tmp_path, replace(OPTIONS, judge=PREFERENCE), llm)
    assert (result.asked, result.failed) == (len(alone.cold), 0)
    _, mine = halves(found().pseudo, OPTIONS.seed)
    assert len(llm.asked) == len({question for row in PREFERENCE.questions(mine, OPTIONS.seed) for question, _ in row})


def test_other_rivals_are_another_recipe_of_a_preference_alone(tmp_path: Path) -> None:
    run(tmp_path / "preference", llm=Leaning(), judge=PREFERENCE)
    with pytest.raises(ResumeRefused, match="rivals was 2, is 3"):
        run(tmp_path / "preference", llm=Leaning(), judge=replace(PREFERENCE, rivals=3))
    run(tmp_path / "history")
    again = GenreJudge()
    run(tmp_path / "history", llm=again, judge=Judge(rivals=3))
    assert again.calls == 0


def test_examples_of_a_comparison_stay_on_one_side_in_both_orders() -> None:
    train, validation = judge_examples(found(), PREFERENCE, seed=1)
    for part in (train, validation):
        assert part
        assert set(Counter(_unordered(example.prompt) for example in part).values()) == {2}
        assert Counter(example.answer for example in part)["A"] == len(part) / 2


def _unordered(prompt: Prompt) -> tuple[str, ...]:
    history, _, shown = prompt.user.partition("A: ")
    return history, *sorted(shown.split("\nB: "))
