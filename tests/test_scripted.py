from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llm_aug.backends import completed, load_llm
from llm_aug.backends.scripted import Call, Scripted
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError

RULES = [
    {"match": "Toy Story", "answer": ["A toy.", "Another toy."], "score": {"yes": -0.1, "no": -2.4}},
    {"pattern": r"Title: (?P<title>\w+)", "answer": r"A film called \g<title>."},
    {"pattern": "slow", "answer": "too late", "finish": "length", "delay": 0.02},
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"rules": RULES}))
    return path


def test_rules_answer_exactly_or_by_pattern(script: Path) -> None:
    prompts = [Prompt("s", "Toy Story"), Prompt("Title: Heat", "u"), Prompt("s", "slow"), Prompt("s", "other")]
    assert completed(load_llm(f"scripted:{script}"), prompts, Sampling(), [0, 1, 2, 3]) == [
        Completion("A toy.", "stop", 2),
        Completion("A film called Heat.", "stop", 4),
        Completion("too late", "length", 2),
        Completion("no rule of the script fits this prompt", "error", 0),
    ]


def test_the_seed_chooses_among_answers(script: Path) -> None:
    answers = completed(load_llm(f"scripted:{script}"), [Prompt("", "Toy Story")] * 3, Sampling(), [1, 2, 1])
    assert [answer.text for answer in answers] == ["Another toy.", "A toy.", "Another toy."]


def test_max_tokens_cuts_words(script: Path) -> None:
    [answer] = completed(load_llm(f"scripted:{script}"), [Prompt("", "Title: Heat")], Sampling(max_tokens=2), [0])
    assert answer == Completion("A film", "length", 2)


def test_scores_come_from_the_rules(script: Path) -> None:
    scores = (
        load_llm(f"scripted:{script}").score([Prompt("", "Toy Story"), Prompt("", "other")], ["yes", "no", "eh"]).sums
    )
    np.testing.assert_array_equal(scores, [[-0.1, -2.4, np.nan], [np.nan] * 3])
    assert load_llm(f"scripted:{script}").score([], ["yes", "no"]).sums.shape == (0, 2)


def test_calls_are_counted() -> None:
    llm = Scripted(lambda prompt, sampling, seed: f"{prompt.user} {seed}", lambda prompt, continuation: -1.0)
    assert completed(llm, [Prompt("", "a"), Prompt("", "b")], Sampling(), [7, 8])[1].text == "b 8"
    llm.score([Prompt("", "a")], ["yes"])
    assert llm.calls == [Call("complete", 1), Call("complete", 1), Call("score", 1)]
    assert llm.rows == 3


def test_a_function_may_say_how_it_ended() -> None:
    llm = Scripted(lambda prompt, sampling, seed: Completion("busy", "error", 0), lambda prompt, continuation: 0.0)
    assert completed(llm, [Prompt("", "a")], Sampling(), [0]) == [Completion("busy", "error", 0)]


def test_revision_changes_with_the_script(script: Path) -> None:
    before = load_llm(f"scripted:{script}")
    assert (before.name, before.adapter) == (f"scripted:{script}", "")
    script.write_text(json.dumps({"rules": RULES[:1]}))
    assert load_llm(f"scripted:{script}").revision != before.revision


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rules": [{"match": "a", "anwser": "b"}]}, "anwser"),
        ({"rules": [{"answer": "b"}]}, "either 'match' or 'pattern'"),
        ({"rules": [{"pattern": "("}]}, "pattern"),
        ({"rules": [{"match": "a", "answer": []}]}, "not empty"),
        ([], "valid"),
    ],
)
def test_a_bad_script_says_where(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_llm(f"scripted:{tmp_path / 'bad.json'}")


def test_a_script_takes_no_adapter_and_must_be_there(script: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no adapter"):
        load_llm(f"scripted:{script}", adapter=tmp_path)
    with pytest.raises(InputError, match="is not there"):
        load_llm("scripted:nothing.json")
