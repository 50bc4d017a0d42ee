"""From a prompt, and an answer to it, to token ids: the one place that generation, scoring and fine-tuning share.

Prompt("Be brief.", "Toy Story") -> "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nToy Story<|im_end|>\n
<|im_start|>assistant\n" where the tokenizer has a chat template, else "Be brief.\n\nToy Story\n\n".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from llm_aug.data import Prompt
from llm_aug.errors import InputError
from llm_aug.text import is_encodable

_MARK = "§"


class Rendering:
    """Words to tokens for one model.

    An answer is tokenised as what follows the constant ending of every prompt, and its tokens are appended to the
    prompt's: so training, scoring and generation see the same sequence. Special tokens inside item text are broken
    by a space ("<|im_end|>" -> "< |im_end|>"): a catalogue cannot end its own turn.
    """

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int], seq2seq: bool):
        self.tokenizer = tokenizer
        self.seq2seq = seq2seq
        self.chat = tokenizer.chat_template is not None
        added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
        specials = sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True)
        self._specials = re.compile("|".join(re.escape(token) for token in specials if len(token) > 2) or r"(?!)")
        self._has_system = self.chat and self._system_role_works()
        self._ending = "" if seq2seq else self.text(Prompt("", _MARK)).rpartition(_MARK)[2]
        eos = tokenizer.eos_token_id
        self.end = self._end_of_turn(set(eos_ids)) if self.chat else ([] if eos is None else [eos])
        self.ends = frozenset({*eos_ids, *self.end} | (set() if eos is None else {eos}))
        self.pad = next((i for i in (tokenizer.pad_token_id, eos) if i is not None), 0)

    def text(self, prompt: Prompt) -> str:
        """The prompt as the model reads it, up to where its answer begins."""
        system, user = (self._broken(part) for part in (prompt.system, prompt.user))
        if self.chat:
            return self._template(system, user)
        return "\n\n".join(part for part in (system, user) if part) + ("" if self.seq2seq else "\n\n")

    def prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """An empty row for a prompt that is no valid Unicode (a lone surrogate)."""
        rows: list[list[int]] = [[] for _ in prompts]
        texts = {row: self.text(prompt) for row, prompt in enumerate(prompts)}
        texts = {row: text for row, text in texts.items() if is_encodable(text)}
        if texts:
            ids = self._tokens(list(texts.values()), special=not self.chat)
            rows_ids = zip(texts, ids, strict=True)
            for row, tokens in rows_ids:
                trailing = not self.seq2seq and tokens and tokens[-1] in self.ends and not self.chat
                rows[row] = tokens[:-1] if trailing else tokens
        return rows

    def answer_ids(self, answer: str) -> list[int]:
        """Tokens of an answer without its end; empty for one that is no valid Unicode."""
        answer = self._broken(answer)
        if not is_encodable(answer):
            return []
        ending, joint, alone = self._tokens([self._ending, self._ending + answer, answer], special=False)
        aligned = bool(ending) and joint[: len(ending)] == ending
        return joint[len(ending) :] if aligned else alone

    def endings(self, continuations: Sequence[str]) -> list[list[int]]:
        """Tokens of each, which are to be scored. Raises InputError on one that has none."""
        endings = [self.answer_ids(continuation) for continuation in continuations]
        if not all(endings):
            raise InputError(f"continuation {continuations[endings.index([])]!r} has no tokens")
        return endings

    def answer_text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()

    def _tokens(self, texts: list[str], special: bool) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]

    def _broken(self, text: str) -> str:
        return self._specials.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def _template(self, system: str, user: str, answer: str | None = None) -> str:
        if system and not self._has_system:
            system, user = "", f"{system}\n\n{user}"
        messages = (
            [("system", system)] * bool(system) + [("user", user)] + [("assistant", answer)] * (answer is not None)
        )
        return self.tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            tokenize=False,
            add_generation_prompt=answer is None,
            enable_thinking=False,  # read by the templates of reasoning models, ignored by all others
        )

    def _system_role_works(self) -> bool:
        self._has_system = True
        try:
            return _MARK in self._template(_MARK, "")
        except TemplateError:
            return False

    def _end_of_turn(self, eos_ids: set[int]) -> list[int]:
        """What the template writes after an answer, where it is a special token; else the tokenizer's own end."""
        after = self._template("", "", answer=_MARK).rpartition(_MARK)[2]
        first = self._tokens([after.lstrip()], special=False)[0][:1]
        special = set(first) & {*eos_ids, *self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        eos = self.tokenizer.eos_token_id
        return first if special else ([] if eos is None else [eos])
