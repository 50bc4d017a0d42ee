"""Which users' histories are continued, and what becomes of those that a model writes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from fruit_log import FRUITS, GAP, START, asked, dataset, items, parsed, rejects

from llm_aug.data import Completion, Dataset, Pair, Request
from llm_aug.errors import InputError, LlmAugError
from llm_aug.tasks import Rejected
from llm_aug.tasks.history import History, read_log


def reason(text: str, **options: Any) -> str:
    with pytest.raises(Rejected) as rejected:
        parsed(text, **options)
    return rejected.value.reason


def test_users_with_few_events_are_asked_what_came_next() -> None:
    requests = asked(History(), dataset())
    assert set(requests) == {"u1", "u2"}
    assert requests["u1"].prompt.user == "Liked:\n- Apple\n- Pear\n- Plum\n\nNext 5:"
    assert (requests["u1"].key, requests["u1"].parents) == ("history/extend/u1/0", ("u1",))
    assert asked(History(shown=2), dataset())["u1"].prompt.user == "Liked:\n- Pear\n- Plum\n\nNext 5:"
    assert set(asked(History(users_with_at_most=8), dataset())) == {"u1", "u2", "u3"}
    assert set(asked(History(users_with_at_most=1), dataset())) == set()


def test_limit_takes_the_first_of_a_seeded_order_and_copies_have_keys() -> None:
    for seed in range(6):
        whole = list(asked(History(users_with_at_most=9, seed=seed), dataset()))
        assert list(asked(History(users_with_at_most=9, seed=seed, limit=2), dataset())) == whole[:2]
    assert len({tuple(asked(History(users_with_at_most=9, seed=seed), dataset())) for seed in range(20)}) > 1
    keys = [entry.key for entry in History(copies=2, limit=1).requests(dataset()) if isinstance(entry, Request)]
    assert [key[-2:] for key in keys] == ["/0", "/1"]


def test_named_users_without_events_or_titles_cannot_be_asked() -> None:
    task = History(users=["u3", "new"])
    assert set(asked(task, dataset())) == {"u3"}
    assert rejects(task, dataset()) == {("new", "no_history")}
    assert rejects(History(), dataset([*FRUITS[:3], "", "?!", *FRUITS[5:]])) == {("u2", "no_titles")}


def test_an_answer_becomes_pairs_after_the_last_event() -> None:
    found = parsed("1. Quince\n2. fig\n- **Lime**")
    assert found == [Pair("u1", f"i{item}", START + GAP * (3 + n)) for n, item in enumerate((3, 5, 7))]


def test_times_are_drawn_from_the_gaps_and_increase() -> None:
    data = dataset()
    times = [START, START, START + 7, START, START + 1000, START + 3, START + 4, START + 10**6]
    log = data.interactions.iloc[:8].assign(timestamp=pd.array(times, "Int64"))
    log = pd.concat([log, data.interactions.iloc[8:].assign(timestamp=pd.array([pd.NA] * 5, "Int64"))])
    uneven = Dataset(data.items, log)
    gaps = set(read_log(uneven).gaps.tolist())
    assert gaps == {0, 7, 1000, 1, 10**6 - 4}
    found = [parsed("\n".join(FRUITS), data=uneven, seed=seed) for seed in range(20)]
    for pairs in found:
        times = [START + 7, *(pair.timestamp or 0 for pair in pairs)]
        assert {max(0, b - a) for a, b in pairwise(times)} <= {*gaps, 1} - {0}
    assert len({tuple(pairs) for pairs in found}) > 5
    assert found[3] == parsed("\n".join(FRUITS), data=uneven, seed=3)


def test_without_times_pairs_have_none() -> None:
    assert {pair.timestamp for pair in parsed("Quince\nFig", data=dataset(timed=False))} == {None}


def test_known_and_repeated_items_are_left_out() -> None:
    assert items(parsed("Apple\nQuince\nQuince\nFig")) == ["i3", "i5"]
    assert reason("Apple\nPear\nPear") == "known"
    assert reason("Quince\nQuince\nQuince", least=2) == "repeated"


def test_repeats_are_as_frequent_as_in_the_log() -> None:
    """Half of the events of u4 repeat: of many answers that repeat, some are taken and some are not."""
    data = dataset(events=[("u1", [0, 0, 1, 1]), ("u2", [3, 4, 3, 4])])
    assert read_log(data).repeats == 0.5
    counts = {len(parsed("Apple\nFig", data=data, seed=seed)) for seed in range(30)}
    assert counts == {1, 2}


def test_nothing_is_liked_before_its_release() -> None:
    years = ["1999", "", "soon", "2001", "2002", "2030", "2002-01-01", "2001-01-01", "1990", "1990"]
    found = parsed("\n".join(FRUITS[3:]), data=dataset(year=years), release="year")
    assert items(found) == ["i3", "i7", "i8", "i9"]
    assert reason("Fig\nCherry", data=dataset(year=years)) == "unreleased"
    assert items(parsed("Fig\nCherry", data=dataset(colour=years))) == ["i5", "i4"]
    with pytest.raises(InputError, match="no attribute 'born'"):
        asked(History(release="born"), dataset())


def test_at_most_so_many_events_and_lines_are_read() -> None:
    assert items(parsed("\n".join(FRUITS), events=2)) == ["i3", "i4"]
    assert reason("\n".join(["Durian"] * 6 + ["Quince"]), events=2) == "ungrounded"


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("", "stop", "empty"),
        ("\n \x00\nHere you are:", "stop", "empty"),
        ("Quin", "length", "truncated"),
        ("", "length", "empty"),
        ("Durian\nJackfruit", "stop", "ungrounded"),
        ("I cannot help with that.", "stop", "ungrounded"),
        ("Durian\nQuince and a bit mo", "length", "ungrounded"),
    ],
)
def test_answers_are_rejected_with_a_reason(text: str, finish: str, why: str) -> None:
    assert reason(text, finish=finish) == why


def test_the_last_line_of_a_cut_answer_is_left_out() -> None:
    assert items(parsed("Quince\nFig", finish="length")) == ["i3"]


def test_items_of_one_title_are_not_guessed_unless_the_year_decides() -> None:
    data = dataset([*FRUITS[:8], "Fig", "Fig"], year=["1990"] * 8 + ["1992", "1999"])
    assert reason("Fig", data=data) == "ungrounded"
    assert items(parsed("Fig (1999)\nFig (1990)", data=data)) == ["i9", "i5"]
    task = History()
    with pytest.raises(Rejected):
        task.parse(asked(task, data)["u1"], Completion("Fig", "stop", 1))
    assert task.metrics()["ambiguous"] == 1


def test_the_grounding_rate_counts_each_answer_once() -> None:
    task = History()
    requests = asked(task, dataset())
    assert task.metrics()["grounding_rate"] is None
    for _ in range(2):  # as when an answer of an earlier run is read again
        task.parse(requests["u1"], Completion("Apple\nQuince\nDurian\nFig", "stop", 9))
    found = task.metrics()
    assert (found["answers"], found["titles"], found["grounding_rate"]) == (1, 4, 0.75)
    assert (found["kept"], found["known"], found["ungrounded"]) == (2, 1, 1)
    assert found["encoder"] == "letters:512"


def test_answers_are_not_read_before_the_catalogue() -> None:
    with pytest.raises(LlmAugError, match=r"after requests\(dataset\)"):
        History().parse(Request("k", "u1", asked(History(), dataset())["u1"].prompt), Completion("Fig", "stop", 1))
