"""Small real models, built from a configuration and saved as a hub model would be, and a small planted log."""

from __future__ import annotations

import os

# Before torch and BLAS are loaded: on models of 32 dimensions a second thread costs more than it brings.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.split import SplitOptions, cut
from llm_aug.data import Dataset, Split, tidy_interactions, tidy_items

pytest.register_assert_rewrite("fuzzing", "page", "served")  # their asserts say as much as a test's own

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

WORDS = """Someone liked the items in the list. Would they like the new item too? Answer yes or no.
Liked: Toy Story, Jumanji, Heat, Casino. New: Sabrina. Write a description of this item from its facts.
A cowboy doll is jealous of a new spaceman toy. Comedy, Drama, Horror, Action, Romance, 1995, yes, no, yes, no."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT_WITHOUT_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
ARCHITECTURES = ("llama", "qwen2", "mistral", "gpt2", "t5")


def make_tokenizer(chat_template: str | None = None, seq2seq: bool = False) -> Any:
    """Byte-level BPE of at most 400 tokens; an encoder-decoder one ends every text with </s>."""
    from tokenizers import ByteLevelBPETokenizer, processors
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    trained.train_from_iterator([WORDS] * 4, vocab_size=400, min_frequency=1, special_tokens=special)
    if seq2seq:
        trained._tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", special.index("</s>"))]
        )
    end = "<|im_end|>" if chat_template else "</s>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        pad_token="<pad>",
        eos_token=end,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def make_model(architecture: str, vocabulary: int, positions: int = 512) -> Any:
    """Random weights, two layers of width 32, large enough in scale for answers to differ between prompts."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    size = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    wide = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    window = {"max_position_embeddings": positions, "initializer_range": 0.2}
    if architecture == "llama":
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**size, **wide, **window, num_key_value_heads=2))
    elif architecture == "qwen2":
        model = hf.Qwen2ForCausalLM(hf.Qwen2Config(**size, **wide, **window, num_key_value_heads=2))
    elif architecture == "mistral":  # its window is shorter than the prompts of the tests
        model = hf.MistralForCausalLM(
            hf.MistralConfig(**size, **wide, **window, num_key_value_heads=2, sliding_window=16)
        )
    elif architecture == "gpt2":
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": positions, "initializer_range": 0.2}
        model = hf.GPT2LMHeadModel(hf.GPT2Config(**size, **shape))
    else:
        shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
        model = hf.T5ForConditionalGeneration(hf.T5Config(**size, **shape, initializer_factor=1.0))
    return model.eval()


def save_model(folder: Path, architecture: str, chat_template: str | None = None, positions: int = 512) -> Path:
    tokenizer = make_tokenizer(chat_template, seq2seq=architecture == "t5")
    model = make_model(architecture, len(tokenizer), positions)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """model_folder("llama") -> a saved model; Qwen2 has a chat template, the others have none unless given."""

    @cache
    def build(architecture: str, chat_template: str | None = None, positions: int = 512) -> Path:
        template = CHAT if architecture == "qwen2" and chat_template is None else chat_template
        return save_model(tmp_path_factory.mktemp(architecture), architecture, template, positions)

    return build


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Vectors are cached beside the tests, not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_AUG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tastes() -> Split:
    """80 users of four tastes, 60 items whose text tells the taste; a user has 6 items of his taste and 1 of another.

    Users u0, u4, u8, ... share a taste, as do items i0, i4, i8, ...; a fifth of the items is cold.
    """
    random = np.random.default_rng(5)
    words = ["sweet red fruit juice", "fast blue racing car", "old stone garden wall", "loud brass music band"]
    items = pd.DataFrame(
        {"item_id": [f"i{n}" for n in range(60)], "title": [f"{words[n % 4]} number{n}" for n in range(60)]}
    )
    pairs = [
        (f"u{user}", f"i{item}")
        for user in range(80)
        for item in {*(4 * random.choice(15, 6, replace=False) + user % 4), 4 * random.integers(15) + (user + 1) % 4}
    ]
    log = tidy_interactions(pd.DataFrame(pairs, columns=["user_id", "item_id"]))
    return cut(Dataset(tidy_items(items), log), SplitOptions(validation_cold_fraction=0.1, seed=1))


@pytest.fixture
def fresh_model() -> None:
    """No model that another test has loaded."""
    from llm_aug import generators

    generators.llm_of.cache_clear()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny shop and a whole run on it, in run/; a test that changes it takes a copy."""
    from shop import write_recipe

    from llm_aug.config import load_recipe
    from llm_aug.run import run

    folder = tmp_path_factory.mktemp("shop")
    run(load_recipe(write_recipe(folder)), folder / "run")
    return folder


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses is asked again within milliseconds."""
    from llm_aug.backends import server_faults

    monkeypatch.setattr(server_faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(server_faults, "LONGEST_WAIT", 0.05)
