"""The tuned sentence encoder: what it learns, from which pairs, and that it is never used where it knows the answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from llm_aug import pipeline
from llm_aug.cli_stages import finetune
from llm_aug.config import recipe_of
from llm_aug.data import Dataset, Split, item_texts
from llm_aug.errors import InputError
from llm_aug.files import read_json
from llm_aug.learn import candidates_of
from llm_aug.splits import read_split, write_split
from llm_aug.tuned_encoder import TUNING_RECORD, check_encoder
from llm_aug.vectors import load_encoder
from recommender.encoder_options import EncoderTuning
from recommender.encoder_tuning import _Tower, batch_loss, tune_encoder

OPTIONS = EncoderTuning(layers=1, lora_r=4, epochs=12, batch_size=16, learning_rate=0.01)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sentence-transformers folder: BERT of two layers and 32 dimensions with random weights, one token per word."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    base = tmp_path_factory.mktemp("bert")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] sweet red fruit juice fast blue racing car old stone garden wall loud brass"
    known = [*words.split(), "music", "band", *(f"number{n}" for n in range(60))]
    (base / "vocab.txt").write_text("\n".join(known), encoding="utf-8")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(known), max_position_embeddings=64, **sizes)).save_pretrained(base)
    BertTokenizer(str(base / "vocab.txt")).save_pretrained(base)
    folder = tmp_path_factory.mktemp("encoder")
    model = SentenceTransformer(modules=[Transformer(str(base)), Pooling(32), Normalize()])
    model.save_pretrained(str(folder), create_model_card=False)
    return str(folder)


def without(dataset: Dataset, items: set[str]) -> Dataset:
    return replace(dataset, interactions=dataset.interactions[~dataset.interactions["item_id"].isin(items)])


def test_a_tuned_encoder_tells_the_tastes_apart_in_items_that_it_never_saw(tastes: Split, tiny_bert: str) -> None:
    held = set(sorted(set(tastes.train["item_id"]))[::5])
    tuned = tune_encoder(tastes.training, without(tastes.training, held), tiny_bert, OPTIONS)
    assert tuned.held_out_items == len(held)
    assert tuned.loss_before is not None
    assert tuned.loss_after is not None
    assert tuned.loss_after < tuned.loss_before - 0.1


def test_the_folder_holds_the_vectors_that_were_trained(tastes: Split, tiny_bert: str, tmp_path: Path) -> None:
    tuned = tune_encoder(tastes.training, tastes.training, tiny_bert, OPTIONS)
    tuned.write(tmp_path / "encoder")
    texts = item_texts(tastes.training)
    plain, found = (load_encoder(name).encode(texts) for name in (tiny_bert, str(tmp_path / "encoder")))
    np.testing.assert_allclose(found, tuned.model.encode(texts), atol=0.02)  # bfloat16 where there is such a processor
    assert np.abs(found - plain).max() > 0.1
    assert load_encoder(str(tmp_path / "encoder")).name != load_encoder(tiny_bert).name


def test_the_same_seed_gives_the_same_encoder(tastes: Split, tiny_bert: str) -> None:
    some = ["sweet red fruit", "old stone wall"]
    one, same, other = (
        tune_encoder(tastes.training, tastes.training, tiny_bert, replace(OPTIONS, epochs=1, seed=seed)).model.encode(
            some
        )
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_cached_lower_layers_give_the_vectors_of_the_whole_encoder(tastes: Split, tiny_bert: str) -> None:
    texts = item_texts(tastes.training)[:10]
    tower = _Tower(tiny_bert, texts, OPTIONS)
    np.testing.assert_allclose(tower.all_vectors().numpy(), load_encoder(tiny_bert).encode(texts), atol=0.02)
    np.testing.assert_allclose(
        tower.vectors(np.array([7])).detach().numpy()[0], tower.all_vectors()[7].numpy(), atol=1e-5
    )


def by_hand(log: NDArray[np.float32], table: NDArray[np.float32], user: int, item: int) -> float:
    """-log softmax of one pair among all items but the user's others."""
    rest = [other for other in np.flatnonzero(log[user]) if other != item]
    profile = table[rest].mean(axis=0)
    logits = table @ profile / np.linalg.norm(profile) / 0.1
    logits[rest] = -np.inf
    return float(np.log(np.exp(logits).sum()) - logits[item])


def test_the_loss_of_a_batch_of_all_items_is_the_formula() -> None:
    log = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=np.float32)
    table = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    vectors, pairs = torch.from_numpy(table), ([0, 1, 1, 2], [0, 2, 3, 3])
    users, own = (np.array(part) for part in pairs)
    found = batch_loss(csr_matrix(log), vectors, np.arange(4), vectors, users, own, 0.1)
    wanted = np.mean(
        [by_hand(log, table, user, item) for user, item in ((0, 0), (1, 2), (1, 3))]
    )  # user 2 has one item
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_an_encoder_without_layers_and_a_log_without_company_are_refused(tastes: Split, tiny_bert: str) -> None:
    with pytest.raises(InputError, match="encoder 'hash:64' has no layers to tune; choose minilm"):
        tune_encoder(tastes.training, tastes.training, "hash:64", OPTIONS)
    alone = replace(tastes.training, interactions=tastes.train.drop_duplicates("user_id"))
    with pytest.raises(InputError, match="no two items have a user in common"):
        tune_encoder(alone, alone, tiny_bert, OPTIONS)


@pytest.fixture
def tuned(tastes: Split, tiny_bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_AUG_CACHE", str(tmp_path / "cache"))
    write_split(tmp_path / "split", tastes)
    recipe = recipe_of(encoder_tuning={"epochs": 1}, encoder=tiny_bert)
    pipeline.tune_encoder(recipe, tmp_path / "split", tmp_path / "encoder")
    return tmp_path / "encoder"


def test_the_stage_learns_nothing_of_the_items_that_the_funnel_plays_cold(tuned: Path) -> None:
    split = read_split(tuned.parent / "split")
    record = read_json(tuned / TUNING_RECORD)
    warm = split.train["item_id"].nunique()
    assert record["held_out_items"] == round(0.2 * warm)
    assert record["items"] == warm - record["held_out_items"]
    hidden = candidates_of(recipe_of(encoder=str(tuned)), split).hidden
    assert record["pairs"] == len(hidden.interactions)
    with pytest.raises(InputError, match="has learnt from items that the funnel plays cold"):
        candidates_of(recipe_of(encoder=str(tuned), seeds=[1]), split)
    with pytest.raises(InputError, match="has learnt from items that the funnel plays cold"):
        candidates_of(recipe_of(["funnel.pseudo_fraction=0.3"], encoder=str(tuned)), split)


def test_an_encoder_of_another_split_of_the_catalogue_is_refused(tuned: Path) -> None:
    split = read_split(tuned.parent / "split")
    check_encoder(str(tuned), split)
    check_encoder("minilm", split)
    with pytest.raises(InputError, match="tuned on another split of this catalogue"):
        check_encoder(str(tuned), replace(split, hash="other"))
    renamed = split.items.assign(item_id="new-" + split.items["item_id"])
    check_encoder(str(tuned), replace(split, hash="other", items=renamed))


def test_the_command_refuses_a_flag_that_says_nothing_to_the_encoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--max-steps says nothing to --task encoder, which takes --encoder, --seed"):
        finetune(tmp_path, tmp_path / "encoder", task="encoder", max_steps=3)
    with pytest.raises(InputError, match=r"encoder_tuning\.epochs is 0"):
        finetune(tmp_path, tmp_path / "encoder", task="encoder", num_train_epochs=0)
