"""Who is profiled, alone or in groups, and by what tags; users like fruits or tools."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from profiled import ANSWER, asked, dataset

from llm_aug.data import Completion, Dataset, Prompt, Reject, Request
from llm_aug.errors import InputError, LlmAugError
from llm_aug.tasks.profile import Profile, grouped
from llm_aug.tasks.tags import tags_of


def bare() -> Dataset:
    data = dataset()
    return Dataset(data.items[["item_id", "title", "description"]], data.interactions)


def rejects(task: Profile, data: Dataset) -> list[tuple[str, str]]:
    return [(entry.subject, entry.reason) for entry in task.requests(data) if isinstance(entry, Reject)]


def test_tags_are_shared_values_in_words() -> None:
    tags = tags_of(dataset())
    assert tags.items == {"Fruit": 4, "Sweet": 2, "Tool": 4}  # one item alone is Sharp; a year is no interest
    assert tags.of["i0"] == ("Fruit", "Sweet")
    assert tags.names["fruit"] == "Fruit"
    assert tags.typical(["i0", "i2", "i4"]) == ["Sweet", "Fruit"]
    assert tags.typical(["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7"]) == []  # as the catalogue itself
    assert tags_of(dataset(kind="Thing")).names == {}  # all items have it
    assert tags_of(dataset(kind=["one two three four five six"] * 2 + ["Tool"] * 6)).items == {"Tool": 6}


def test_choices_mix_own_and_common_tags_by_name() -> None:
    tags = tags_of(dataset())
    assert tags.choices(["i4"], 30) == ["Fruit", "Sweet", "Tool"]
    assert tags.choices(["i0"], 2) == ["Fruit", "Sweet"]  # its rarest, then the catalogue's most frequent


def test_a_prompt_shows_what_a_user_liked_and_the_tags() -> None:
    (request,) = asked(Profile(users=["u0"]))
    assert request.prompt.user == (
        "Liked:\n- apple. Fruit, Sweet. 1995\n- pear. Fruit. 1995\n- plum. Fruit, Sweet. 1995\n\n"
        "Tags: Fruit, Sweet, Tool"
    )
    assert (request.key, request.subject, request.parents) == ("profile/interests/u0/0", "u0", ("u0",))
    narrow = asked(Profile(users=["u0"], attributes=["kind"]))[0].prompt.user
    assert "1995" not in narrow


def test_users_come_in_a_seeded_order() -> None:
    whole = [request.key for request in asked(Profile(seed=3))]
    assert len(whole) == 8
    assert [request.key for request in asked(Profile(seed=3, limit=2))] == whole[:2]
    assert len({tuple(request.key for request in asked(Profile(seed=seed))) for seed in range(6)}) > 2
    assert [request.key[-1] for request in asked(Profile(limit=1, copies=3))] == ["0", "1", "2"]


def test_groups_are_of_users_who_are_alike() -> None:
    groups = {request.subject: request for request in asked(Profile(style="group", groups=2))}
    assert {name: set(request.parents) for name, request in groups.items()} == {
        "group/0": {"u0", "u2", "u4", "u6"}, "group/1": {"u1", "u3", "u5", "u7"},
    }  # fmt: skip
    request = groups["group/0"]
    assert request.key == "profile/group/0/0"
    assert "the 4 users" in request.prompt.system
    assert request.prompt.user.startswith("Liked by several of them:\n- apple")
    assert "hammer" not in request.prompt.user
    assert asked(Profile(style="group", groups=2)) == asked(Profile(style="group", groups=2))


def test_groups_number_by_their_users_not_by_the_order_of_the_log() -> None:
    pairs = dataset().interactions[["user_id", "item_id"]]
    assert grouped(pairs, 2, 0) == grouped(pairs.iloc[::-1].reset_index(drop=True), 2, 0)
    many = dataset(users=300).interactions[["user_id", "item_id"]]
    assert len(grouped(many, None, 0)) <= 8  # there are eight different histories
    assert sorted(user for group in grouped(many, 4, 0) for user in group) == sorted(set(many["user_id"]))
    assert grouped(pairs.iloc[:0], None, 0) == []


def test_large_logs_are_grouped_in_fewer_dimensions() -> None:
    rows = [
        (f"u{u:03}", f"{'fruit' if u % 2 else 'tool'}{(7 * u + 5 * n * n) % 41}") for u in range(120) for n in range(9)
    ]
    found = grouped(pd.DataFrame(rows, columns=["user_id", "item_id"]).drop_duplicates(), 2, 0)
    assert [{int(user[1:]) % 2 for user in group} for group in found] == [{0}, {1}]


def test_edges_of_the_data() -> None:
    one = dataset(users=1)
    assert len(asked(Profile(), one)) == 1
    assert rejects(Profile(style="group"), one) == [("group/0", "single_member")]
    nobody = Dataset(dataset().items, dataset().interactions.iloc[:0])
    assert list(Profile().requests(nobody)) == list(Profile(style="group").requests(nobody)) == []
    for data in (bare(), Dataset(dataset().items.iloc[:0], dataset().interactions)):
        with pytest.raises(InputError, match="no attribute of the catalogue holds words"):
            list(Profile().requests(data))
        assert list(Profile().examples(data)) == []
    gone = Dataset(dataset().items[dataset().items["title"] != "apple"], dataset().interactions)
    assert "apple" not in asked(Profile(users=["u0"]), gone)[0].prompt.user
    rest = Dataset(dataset().items.iloc[3:], dataset().interactions)  # without all that u0 had
    assert rejects(Profile(users=["u0"]), rest) == [("u0", "no_history")]


def test_wrong_options_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in the log, for example 'u99'"):
        asked(Profile(users=["u99"]))
    with pytest.raises(InputError, match="no attribute 'price'"):
        asked(Profile(attributes=["price"]))
    with pytest.raises(InputError, match="at least 1"):
        Profile(count=0)
    with pytest.raises(LlmAugError, match="before requests"):
        Profile().parse(Request("k", "u0", Prompt("", "")), Completion(ANSWER, "stop", 9))
    (tmp_path / "odd.md").write_text("[system]\nHm.\n[user]\n{{ history }}{{ price }}\n")
    with pytest.raises(InputError, match="asks for 'price'"):
        asked(Profile(style=str(tmp_path / "odd.md")))
    (tmp_path / "blind.md").write_text("[system]\nHm.\n[user]\n{{ tags }}\n")
    with pytest.raises(InputError, match="does not ask for 'history'"):
        asked(Profile(style=str(tmp_path / "blind.md")))


def test_a_style_without_tags_needs_none(tmp_path: Path) -> None:
    (tmp_path / "words.md").write_text("[system]\nSay it.\n[user]\n{{ history | join('; ') }}\n")
    task = Profile(style=str(tmp_path / "words.md"))
    (request, *_) = asked(task, bare())
    assert task.parse(request, Completion("Interests: Fresh fruit.", "stop", 9)) == "Fresh fruit."
    assert next(example.answer for example in task.examples(dataset())).startswith("Interests: Mostly ")
