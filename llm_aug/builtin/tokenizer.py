"""The built-in model's tokenizer: byte-level BPE with four chat tokens and its chat template."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from llm_aug.errors import InputError

END, PAD = "<|end|>", "<|pad|>"
SPECIAL = ("<|system|>", "<|user|>", "<|assistant|>", END, PAD)
MAX_LENGTH = 1024
VERDICTS = ("yes", "no", " yes", " no")

# A '<|' inside a message is broken up, so that item text can neither close its turn nor open another.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | replace('<|', '< |') + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Any text survives encode and decode unchanged; 'yes', 'no', ' yes' and ' no' are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The judge's two answers are told often enough to become tokens whatever the corpus holds.
    tokenizer.train_from_iterator(_with_verdicts(texts), trainer)
    for verdict in VERDICTS:
        if len(tokenizer.encode(verdict).ids) != 1:
            raise InputError(f"a vocabulary of {vocab_size} has no token for {verdict!r}; ask for 400 or more")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(SPECIAL[:3]),
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _with_verdicts(texts: Iterable[str]) -> Iterable[str]:
    for _ in range(1000):
        yield from VERDICTS
    yield from texts
