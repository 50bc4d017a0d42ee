"""Near-duplicates: the greedy search equals brute force, shingles give exact Jaccard, every order keeps the same."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from llm_aug import greedy
from llm_aug.data import Dataset, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.filters.duplicate import Duplicate, DuplicateConfig
from llm_aug.filters.lexical import Lexical, LexicalConfig
from llm_aug.filters.reference import Reference
from llm_aug.filters.repeat import Repeat, RepeatConfig
from llm_aug.greedy import keep_first
from llm_aug.neighbours import Vectors, unit
from llm_aug.shingles import Overlaps, jaccard, shingles
from llm_aug.vectors import load_encoder

FISH = "a small red fish swims along the river bank at night and sleeps all day"  # 15 words, 13 shingles
BIRD = "the big white bird sits upon an old roof and sings songs until the morning"
ITEMS = pd.DataFrame({"item_id": ["fish", "bird"], "title": ["Fish", "Bird"], "description": [FISH, BIRD]})


def reference(*earlier: Sample) -> Reference:
    log = tidy_interactions(pd.DataFrame({"user_id": ["u"], "item_id": ["fish"]}))
    return Reference(Dataset(tidy_items(ITEMS), log), load_encoder("hash:512"), earlier)


def sample(sample_id: str, subject: str, text: str, kind: str = "description") -> Sample:
    return Sample(sample_id, kind, subject, text)  # type: ignore[arg-type]


def clustered(rows: int, width: int, seed: int = 0) -> Vectors:
    """Ten rows around each of several directions, in random order; most cosines in one cluster are about .83."""
    rng = np.random.default_rng(seed)
    middles = np.repeat(rng.standard_normal((rows // 10, width)), 10, axis=0)
    return unit(rng.permutation(middles + 0.45 * rng.standard_normal(middles.shape)))


def brute(vectors: Vectors, limit: float, settled: int = 0) -> list[bool]:
    products = (vectors.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    kept: list[bool] = []
    for row in range(len(vectors)):
        kept.append(row < settled or not any(kept[other] and products[row, other] >= limit for other in range(row)))
    return kept


@pytest.mark.parametrize("limit", [-1.0, 0.3, 0.8, 0.85, 0.99])
@pytest.mark.parametrize("block", [50, 5000])
def test_what_stays_is_what_brute_force_keeps(limit: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small block has the bounds used, a large one has the rows searched as they are."""
    monkeypatch.setattr(greedy, "BLOCK", block)
    vectors = clustered(600, 96)
    assert keep_first(vectors, limit).tolist() == brute(vectors, limit)
    assert keep_first(vectors, limit, settled=200).tolist() == brute(vectors, limit, 200)


def test_bounds_are_never_below_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "BLOCK", 50)
    vectors = clustered(600, 96)
    bounds, _ = greedy._bounds(vectors, 0.8)
    assert bounds.shape[1] < 96
    assert (bounds @ bounds.T >= vectors @ vectors.T - 1e-5).all()


def test_equal_rows_leave_the_first() -> None:
    assert keep_first(np.ones((5000, 1), np.float32), 0.9).nonzero()[0].tolist() == [0]


def test_no_rows_and_one_row() -> None:
    assert keep_first(np.zeros((0, 4), np.float32), 0.9).tolist() == []
    assert keep_first(np.ones((1, 1), np.float32), 0.9).tolist() == [True]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_without_direction_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="mask them"):
        keep_first(np.full((2, 2), value, np.float32), 0.9)


def test_only_rows_that_stayed_are_rivals() -> None:
    asked: list[tuple[int, list[int]]] = []

    def stays(row: int, rivals: np.ndarray, scores: np.ndarray) -> bool:
        asked.append((row, rivals.tolist()))
        return row != 1

    keep_first(np.ones((4, 1), np.float32), 0.9, stays)
    assert asked == [(0, []), (1, [0]), (2, [0]), (3, [0, 2])]


def test_shingles_are_runs_of_words_or_of_letters() -> None:
    long = "one two three four five six seven eight"
    assert len(shingles(long)) == 6
    assert jaccard(shingles(long), shingles(long + " nine")) == 6 / 7
    assert jaccard(shingles(long), shingles("six seven eight one two three four five")) == 4 / 8
    assert len(shingles("red fig")) == 3
    assert len(shingles("")) == 0
    assert jaccard(shingles("red fig"), shingles("red figs")) == 3 / 4


@pytest.mark.parametrize("least", [0.1, 0.5, 0.7, 0.8, 1.0])
def test_overlaps_are_the_exact_jaccard_indices(least: float) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abcd", k=rng.randint(2, 14))) for _ in range(150)] + ["", ""]
    overlaps = Overlaps(texts, least)
    for row in range(len(texts)):
        overlaps.add(row)
    sets = [shingles(text) for text in texts]
    for row, one in enumerate(sets):
        scored = [(jaccard(one, other), place) for place, other in enumerate(sets) if place != row]
        strange = texts[row] + " e"
        among = [(jaccard(shingles(strange), other), place) for place, other in enumerate(sets)]
        assert overlaps.like(strange) == sorted((p for p in among if p[0] >= least), key=lambda x: (-x[0], x[1]))
        assert overlaps.of(row) == sorted((pair for pair in scored if pair[0] >= least), key=lambda x: (-x[0], x[1]))


def test_a_description_of_another_item_with_a_word_changed_falls_by_its_wording() -> None:
    changed = FISH.replace("day", "noon")  # 12 of 14 shingles
    step = Lexical(reference(), LexicalConfig())
    assert step.judge([sample("1", "bird", changed)]) == [
        Verdict(False, "lexical_duplicate", pytest.approx(12 / 14), "fish")
    ]
    assert step.judge([sample("1", "fish", changed)])[0].keep
    assert Lexical(reference(), LexicalConfig(0.9)).judge([sample("1", "bird", changed)])[0].keep
    assert step.thresholds["overlap"].source == "default: only 2 distinct descriptions"


def test_a_text_may_share_as_much_with_another_item_as_its_own_item_does() -> None:
    told = reference()
    told.training.items.loc[1, "description"] = FISH.replace("a small", "one small")
    assert Lexical(told, LexicalConfig()).judge([sample("1", "fish", FISH + " long")])[0].keep
    assert not Lexical(told, LexicalConfig()).judge([sample("1", "bird", FISH + " long")])[0].keep


def test_a_repeat_by_wording_names_what_was_kept() -> None:
    one, other = sample("a", "fish", FISH), sample("b", "fish", FISH.replace("day", "noon"))
    assert [verdict.reason for verdict in Repeat(reference(), RepeatConfig()).judge([other, one])] == [
        "lexical_repeat",
        "",
    ]
    assert Repeat(reference(), RepeatConfig(overlap=0.9)).judge([one, other])[1].keep


def test_what_a_dropped_sample_resembles_is_not_dropped_for_it() -> None:
    """b resembles a by wording, and c resembles b alone: whatever drops b, c stays."""
    words = FISH.split()
    chain = [words, [*words[3:], "long"], [*words[6:], "long", "and", "late"]]
    samples = [sample(name, "fish", " ".join(text)) for name, text in zip("abc", chain, strict=True)]
    verdicts = Repeat(reference(), RepeatConfig(overlap=0.5, same_subject=1.1)).judge(samples)
    assert [verdict.reason for verdict in verdicts] == ["", "lexical_repeat", ""]


def test_samples_of_different_kinds_do_not_repeat_each_other() -> None:
    samples = [sample("a", "fish", FISH), sample("b", "fish", FISH, "review")]
    assert all(verdict.keep for verdict in Repeat(reference(), RepeatConfig()).judge(samples))


def mixed(count: int) -> list[Sample]:
    rng = random.Random(1)
    words = (FISH + " " + BIRD).split()
    texts = [" ".join(rng.choices(words, k=6)) for _ in range(count // 2)]
    texts += [rng.choice(texts).replace(rng.choice(words), rng.choice(words)).title() for _ in range(count // 2)]
    return [sample(f"{row:03}", rng.choice(["fish", "bird"]), text) for row, text in enumerate(texts)]


def test_every_order_keeps_the_same_and_so_does_a_second_run() -> None:
    samples = mixed(80)
    config = RepeatConfig(similarity=0.75, same_subject=0.85, overlap=0.6)
    told = {one.sample_id: v for one, v in zip(samples, Repeat(reference(), config).judge(samples), strict=True)}
    assert {verdict.reason for verdict in told.values()} == {"", "repeated_text", "lexical_repeat", "near_repeat"}
    for seed in range(3):
        order = random.Random(seed).sample(samples, len(samples))
        again = Repeat(reference(), config).judge(order)
        assert {one.sample_id: verdict for one, verdict in zip(order, again, strict=True)} == told
    kept = [one for one in samples if told[one.sample_id].keep]
    assert all(verdict.keep for verdict in Repeat(reference(), config).judge(kept))


def test_what_an_earlier_run_kept_stands_before_all() -> None:
    earlier = [sample("z", "fish", FISH), sample("y", "fish", "")]
    samples = [sample("a", "fish", FISH.upper()), sample("b", "bird", BIRD)]
    verdicts = Repeat(reference(*earlier), RepeatConfig()).judge(samples)
    assert [(verdict.reason, verdict.nearest) for verdict in verdicts] == [("repeated_text", "z"), ("", "")]
    assert Repeat(reference(*earlier), RepeatConfig()).judge([]) == []


def test_in_two_runs_as_much_stays_as_in_one() -> None:
    samples = mixed(80)
    config = RepeatConfig(similarity=0.75, same_subject=0.85, overlap=0.6)
    whole = Repeat(reference(), config).judge(samples)
    first = [one for one, verdict in zip(samples[:50], whole, strict=False) if verdict.keep]
    assert Repeat(reference(*first), config).judge(samples[50:]) == whole[50:]


def test_texts_that_read_the_same_are_encoded_once_whatever_their_order() -> None:
    texts = {"b": "RED  fish!", "a": "Red fish", "c": "red fish", "d": "★", "e": "☆"}
    samples = [sample(name, "fish", text) for name, text in texts.items()]

    class Counting:
        name = "counting"

        def __init__(self) -> None:
            self.asked: list[str] = []

        def encode(self, texts: list[str]) -> Vectors:
            self.asked += texts
            return np.ones((len(texts), 1), np.float32)

    for order in (samples, samples[::-1]):
        encoder = Counting()
        told = Reference(reference().training, encoder)  # type: ignore[arg-type]
        assert told.encode_samples(order).shape == (5, 1)
        assert told.encode_samples(order[:1]).shape == (1, 1)
        assert sorted(encoder.asked) == ["Red fish", "★", "☆"]


def test_a_title_is_no_new_text() -> None:
    verdict = Duplicate(reference(), DuplicateConfig()).judge([sample("1", "bird", " FISH. ")])[0]
    assert verdict == Verdict(False, "exact_duplicate", 1.0, "fish")
