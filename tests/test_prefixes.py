"""Where prompts are cut to share what they have in common."""

from __future__ import annotations

from llm_aug.backends.prefixes import shared_prefixes


def test_shared_prefixes_cuts_at_histories_and_not_at_the_system_prompt() -> None:
    system, one, two = list(range(100)), list(range(200, 260)), list(range(300, 360))
    rows = sorted([system + one + [1, 2], system + one + [3], system + two + [4], system + two + [5], [7] * 50])
    groups = shared_prefixes(rows)
    assert [(shared, [rows[place][-1] for place in places]) for shared, places in groups] == [
        (160, [2, 3]),
        (160, [4, 5]),
        (0, [7]),
    ]


def test_shared_prefixes_leaves_a_token_of_equal_prompts() -> None:
    assert shared_prefixes([[1] * 30, [1] * 30]) == [(29, [0, 1])]
