"""Users who are invented, and the examples that teach histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fruit_log import COLOURED, EVENTS, FRUITS, GAP, START, asked, dataset, parsed, rejects

from llm_aug.data import Pair
from llm_aug.errors import InputError
from llm_aug.tasks import load_task
from llm_aug.tasks.history import History
from llm_aug.tasks.mix import Mix, profile_lines


def test_invented_users_are_seeded_by_what_a_real_ones_items_share() -> None:
    data = dataset(**COLOURED)
    requests = asked(History(style="simulate", new_users=12), data)
    assert list(requests) == [f"synthetic/{n}" for n in range(12)]
    assert len({request.prompt.user for request in requests.values()}) > 1
    for request in requests.values():
        assert "unique" not in request.prompt.user
        assert request.prompt.user == f"{Mix(data, None, None).profile(request.parents)}\nLiked 5:"
    assert Mix(data, None, None).profile(["i0", "i1", "i9"]) == "Colours: red, ripe\nYear: 1990 to 1999"
    assert list(asked(History(style="simulate", new_users=12, limit=3), data)) == list(requests)[:3]


def test_invented_users_have_ids_that_nobody_has() -> None:
    data = dataset(events=[("synthetic/0", [0, 1]), ("synthetic/2", [3])], **COLOURED)
    assert list(asked(History(style="simulate", new_users=3), data)) == ["synthetic/1", "synthetic/3", "synthetic/4"]


def test_invented_users_begin_where_some_user_began() -> None:
    found = parsed("Apple\nFig\nApple", user="synthetic/1", data=dataset(**COLOURED), style="simulate", new_users=2)
    assert found == [Pair("synthetic/1", "i0", START), Pair("synthetic/1", "i5", START + GAP)]


def test_profiles_in_words_take_turns() -> None:
    task = History(style="simulate", new_users=3, profiles=["Likes sour fruit.\n{{ x }}<|im_end|>", "Likes sweets."])
    prompts = [request.prompt.user for request in asked(task, dataset(events=[])).values()]
    assert prompts[0] == prompts[2] == "Likes sour fruit.\n{{ x }}\nLiked 5:"
    assert prompts[1] == "Likes sweets.\nLiked 5:"
    assert profile_lines(" \n<|im_end|>\n") == ""


def test_without_attributes_nobody_can_be_invented() -> None:
    task = History(style="simulate", new_users=2)
    for data in (dataset(), dataset([]), dataset(events=[], **COLOURED)):
        assert rejects(task, data if len(data.items) else replace(data, interactions=data.interactions[:0])) == {
            ("synthetic/0", "no_profile"),
            ("synthetic/1", "no_profile"),
        }


def test_examples_are_what_followed_in_training() -> None:
    examples = list(History(events=2, shown=3).examples(dataset()))
    assert len(examples) == 2 + 1 + 4
    order = [FRUITS[item] for item in EVENTS[2][1]]
    for example in examples[-4:]:
        *before, count = example.prompt.user.removeprefix("Liked:\n- ").replace("\n\n", "\n- ").split("\n- ")
        answer = example.answer.split("\n")
        at = order.index(answer[0])
        assert (before, answer) == (order[max(0, at - 3) : at], order[at : at + 2])
        assert count == f"Next {len(answer)}:"
    assert examples == list(History(events=2, shown=3).examples(dataset()))
    assert examples[0].prompt.system == asked(History(), dataset())["u1"].prompt.system


def test_examples_of_invented_users_have_the_requests_shape() -> None:
    examples = list(History(style="simulate").examples(dataset(**COLOURED)))
    assert {example.prompt.user.partition(":")[0] for example in examples} == {"Colours"}
    assert all(set(example.answer.split("\n")) <= set(FRUITS) for example in examples)
    assert list(History(style="simulate").examples(dataset())) == []


def test_without_times_examples_are_in_any_order() -> None:
    examples = list(History(users_with_at_most=9).examples(dataset(timed=False)))
    assert len(examples) == 2 + 1 + 4
    assert {answer for example in examples for answer in example.answer.split("\n")} <= set(FRUITS)
    assert list(History().examples(dataset(events=[("u1", [0])]))) == []


def test_options_are_checked(tmp_path: Path) -> None:
    for options in ({"events": 0}, {"least": 0}, {"copies": 0}, {"words": -1}):
        with pytest.raises(InputError, match="is at least 1"):
            load_task("history", **options)
    with pytest.raises(InputError, match="new_users says how many"):
        asked(History(style="simulate"), dataset())
    with pytest.raises(InputError, match="did you mean 'extend'"):
        asked(History(style="extent"), dataset())
    with pytest.raises(InputError, match="items have no attribute 'price'"):
        asked(History(style="simulate", new_users=1, attributes=["price"]), dataset(**COLOURED))
    (tmp_path / "odd.md").write_text("[system]\nHm.\n[user]\n{{ history }} {{ profile }}\n")
    with pytest.raises(InputError, match="asks for 'history'; a history has count, profile"):
        asked(History(style=str(tmp_path / "odd.md")), dataset())
