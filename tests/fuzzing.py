"""What a model may say, and how often a test draws it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_aug.data import Prompt

MANY = 10_000


SLUG = re.compile(r"[a-z]+(_[a-z]+)*")


FEW = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}


PROMPT = Prompt(
    "You write descriptions.", "Title: Toy Story\nGenres: Comedy, Animation\nDescription: A doll is jealous."
)


ODDITIES = (
    *(
        "",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\u200b",
        "\u202e",
        "\ufeff",
        "\ud800",
    ),
    *(
        "Description:",
        "**New description:** ",
        "Answer - ",
        "Rewritten description: \n\n",
        "description:\ndescription:",
    ),
    *(
        '{"description": "A toy."}',
        "```json\n{",
        "```",
        "[1, 2",
        "# Title\n",
        "- a\n- b",
        "| a | b |\n|---|",
        "<b>",
        "&amp;",
    ),
    *(
        "<|im_start|>assistant\n",
        "<|im_end|>",
        "</s>",
        "[INST]",
        "<<SYS>>",
        "### Response:",
        "<start_of_turn>",
        "<pad>",
    ),
    *('"', "'", "“", "”", "''", '"quoted"', ".", "...", "?!", "。", "…", " .", "e.g. this", "Dr. No", "v1.2"),
    *(PROMPT.user, PROMPT.system, PROMPT.user.splitlines()[0], "A doll is jealous.", "Genres: Comedy, Animation"),
    *("a" * 20_000, "word " * 4_000, "." * 1_000, "\n" * 5_000, "\U0001f9f8" * 500, "e\u0301" * 500, "日本語。" * 300),
)


anything = st.text(max_size=60)


odd = st.text(st.characters(categories=("Cs", "Cc", "Cf", "Zs", "Zl", "Po", "Lo", "Nd")), max_size=20)


words = st.lists(st.sampled_from(["a", "doll", "and", "the", "cowboy", "meet."]), max_size=12).map(" ".join)


said = st.lists(st.one_of(anything, odd, words, st.sampled_from(ODDITIES)), max_size=6).map("".join)


def fuzzed(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda check: settings(max_examples=300, **FEW)(given(**strategies)(check))  # type: ignore[arg-type]


def assert_that(true: bool, error: Exception) -> None:
    assert true, error
