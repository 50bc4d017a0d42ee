"""What a folder has cost: summed over its runs, those that failed and those that were stopped too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_server import FakeServer, Refused, serving

from llm_aug.backends.spending import FILE, metered
from llm_aug.config import recipe_of
from llm_aug.data import Split
from llm_aug.errors import InputError, ShortOfTarget
from llm_aug.files import read_json
from llm_aug.generators import Wanted, generate_samples
from llm_aug.splits import write_split
from llm_aug.stage import read_mark

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.usefixtures("fresh_model")
def test_runs_that_failed_are_on_the_bill_of_the_one_that_ends(
    tastes: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 items, one of which fails twice in the first run and is asked alone in the second."""
    write_split(tmp_path / "split", tastes)
    made = tmp_path / "made"

    def run(fake: FakeServer) -> None:
        recipe = recipe_of([f"model={fake.name}", "engine.prompt_price=2.0"])
        generate_samples(recipe, Wanted("rewrite", None), tmp_path / "split", None, made)

    monkeypatch.setattr("fake_server.completion", answered)
    with serving(script={"Title: loud brass music band number7": [Refused(400)] * 2}) as fake:
        with pytest.raises(ShortOfTarget):
            run(fake)
        assert read_json(made / FILE) == first(59)
        assert "made: spent so far: requests 59, retries 0, prompt_tokens 590" in capsys.readouterr().err
        run(fake)
    mark = read_mark(made)
    assert mark is not None
    assert read_json(made / FILE) == first(60)
    assert mark["counts"].items() >= first(60).items()


def answered(body: Any, event: Any, logprobs: bool) -> Any:
    content = "A thing that people of any age may like to have at home, or to give to a friend."
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}


def first(answers: int) -> dict[str, float]:
    tokens = {"prompt_tokens": 10 * answers, "completion_tokens": 5 * answers}
    return {"requests": answers, "retries": 0, **tokens, "cost": pytest.approx(20e-6 * answers)}  # type: ignore[dict-item]


def test_an_interrupted_run_is_counted_and_a_model_that_counts_nothing_leaves_no_file(tmp_path: Path) -> None:
    llm: Any = SimpleNamespace(usage={"requests": 7})
    for asked in (7, 14):
        with suppress(KeyboardInterrupt), metered(tmp_path, llm):
            llm.usage = {"requests": llm.usage["requests"] + 7}
            raise KeyboardInterrupt
        assert read_json(tmp_path / FILE) == {"requests": asked}
    for silent in (None, SimpleNamespace(), SimpleNamespace(usage={"requests": 3})):
        with metered(tmp_path / "none", silent):  # type: ignore[arg-type]
            pass
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["[]", '{"requests": "7"}', '{"requests": true}', "{"])
def test_a_bill_that_is_no_bill_is_named_before_anything_is_asked(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=FILE), metered(tmp_path, None):
        pytest.fail("nothing may be asked")
