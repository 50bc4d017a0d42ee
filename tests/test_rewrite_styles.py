"""Styles of rewriting: what each promises of its answers, and whom it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fruit_texts import catalogue
from lamps import LAMP, shelf

from llm_aug.backends import load_llm
from llm_aug.data import Completion, Reject, Request, Sampling
from llm_aug.errors import InputError
from llm_aug.files import read_parquet
from llm_aug.generate import GenerateOptions, generate
from llm_aug.prompt import styles
from llm_aug.tables import samples_from
from llm_aug.tasks import Rejected, load_task
from llm_aug.tasks.closed_sets import closed_set
from llm_aug.tasks.rewrite import Rewrite
from llm_aug.tasks.rewrite_styles import CHECKS, STYLES
from llm_aug.text import is_blank, names, quantities


def verdict(style: str, text: str, item: str = "l1", finish: str = "stop", **options: object) -> str:
    """The parsed text, or the reason of its rejection."""
    task = load_task("rewrite", style=style, **options)
    request = next(one for one in task.requests(shelf()) if isinstance(one, Request) and one.subject == item)
    try:
        parsed = task.parse(request, Completion(text, finish, 9))  # type: ignore[arg-type]
    except Rejected as rejected:
        return rejected.reason
    assert isinstance(parsed, str)
    return parsed


def test_the_table_of_styles_is_the_folder_of_prompts() -> None:
    assert sorted(STYLES) == styles("rewrite")
    assert {reason for style in STYLES.values() for reason in style.checks} == set(CHECKS)


SHORT = "The bright Halo lamp, 2 kg and 30 cm high, is made in Oslo by Nordlys."


@pytest.mark.parametrize(
    ("style", "text", "reason"),
    [
        ("paraphrase", SHORT.replace("2 kg", "two kilos"), "lost_number"),
        ("paraphrase", SHORT.replace("2 kg", "2 g"), "lost_number"),
        ("paraphrase", SHORT + " It costs 99 coins.", "new_number"),
        ("expand", "A Halo lamp from Oslo.", "not_longer"),
        ("expand", LAMP + " It has shone for 40 years.", "new_number"),
        ("condense", LAMP + " It is really bright.", "not_shorter"),
        ("condense", "A bright lamp of 2 kg, 30 cm high.", "lost_name"),
        ("condense", "The Halo lamp was made in Oslo by Nordlys.", "lost_number"),
        ("condense", "Title: Halo", "lost_number"),
        ("trim", LAMP, "not_shorter"),
        ("trim", "A lamp whose light is a joy: Halo weighs 2 kg.", "not_trimmed"),
        ("trim", "Made in Oslo it was. It weighs 2 kg and stands 30 cm high.", "not_trimmed"),
        ("trim", "Halo Lamp Desk", "not_trimmed"),
        ("swap", LAMP.upper(), "unchanged"),
        ("swap", "From Oslo comes something new: 2 kg, 30 cm.", "too_changed"),
        ("swap", LAMP.replace("2 kg", "3 kg"), "lost_number"),
        ("swap", LAMP.replace("bright", "bright (5 stars)"), "new_number"),
        ("fuse", "A Halo lamp with 8 bulbs.", "new_number"),
        ("fuse", "Very bright indeed.", "echo"),
    ],
)
def test_an_answer_that_is_not_what_the_style_promises(style: str, text: str, reason: str) -> None:
    assert verdict(style, text, **({"sources": ["review"]} if style == "fuse" else {})) == reason


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("paraphrase", SHORT),
        ("paraphrase", SHORT.replace("2 kg", "2 kilograms").replace("30 cm", "30-centimetre")),
        ("expand", LAMP + " Whoever reads at night will be glad of its light."),
        ("condense", SHORT),
        ("condense", "It weighs 2 kg and stands 30 cm high. It was made in Oslo by Nordlys."),
        ("trim", LAMP.replace("really ", "")),
        ("trim", "It weighs 2 kg and stands 30 cm high. It was made in Oslo by Nordlys."),
        ("swap", LAMP.replace("bright", "luminous").replace("lamp", "light")),
        ("fuse", "A Halo lamp of 2 kg, very bright, as its buyers say."),
    ],
)
def test_an_answer_that_is(style: str, text: str) -> None:
    assert verdict(style, text, **({"sources": ["review"]} if style == "fuse" else {})) == text


def test_numbers_are_read_with_their_units_and_names_inside_sentences() -> None:
    assert quantities("1,000 sheets, 8-Inch, 2.5 kilos; 50% in 1990s") == {
        ("1000", ""),
        ("8", "inch"),
        ("2.5", "kg"),
        ("50", "%"),
        ("1990", ""),
    }
    assert quantities("5 inches") == quantities("5 inch") != quantities("5 in")
    assert names("The doll is Woody's. Andy likes Woody. I do.") == {"woody"}
    assert [value for value in ("", " N/A ", "(no genres listed)", "Comedy") if is_blank(value)] == [
        "",
        " N/A ",
        "(no genres listed)",
    ]


def test_what_is_too_short_for_a_style_is_not_asked() -> None:
    for style in ("trim", "condense"):
        found = list(Rewrite(style=style, items=["l2", "c1"]).requests(shelf()))
        assert {one.subject: isinstance(one, Reject) for one in found} == {"l2": True, "c1": True}
        assert {one.reason for one in found if isinstance(one, Reject)} == {"no_description"}


def test_fuse_shows_every_source_and_needs_one_beside_the_facts() -> None:
    task = Rewrite(style="fuse", sources=["review"])
    shown = {one.subject: one.prompt.user for one in task.requests(shelf()) if isinstance(one, Request)}
    assert shown["l1"] == f"Title: Halo\nKind: Lamp, Desk\nPages: 1\nDescription: {LAMP}\nReview: Very bright indeed."
    bare = replace(shelf(), items=shelf().items.assign(description="", review=["Bright.", "", "", "", ""]))
    found = list(task.requests(bare))
    assert {one.subject for one in found if isinstance(one, Request)} == {"l1"}
    assert {one.reason for one in found if isinstance(one, Reject)} == {"one_source"}
    with pytest.raises(InputError, match="items have no attribute 'reviews'; known: kind, review, pages"):
        list(Rewrite(style="fuse", sources=["reviews"]).requests(shelf()))


def test_missing_attributes_are_asked_for_with_the_values_that_items_share() -> None:
    task = Rewrite(style="attributes", copies=2)
    found = list(task.requests(shelf()))
    asked = [one for one in found if isinstance(one, Request)]
    assert [one.key for one in asked] == ["rewrite/attributes/kind/l3/0", "rewrite/attributes/kind/l3/1"]
    assert asked[0].prompt.user == (
        "Title: Beam\nPages: 2\nDescription: A lamp with a thin neck.\nKnown values of kind: Lamp; Desk; Chair\n"
        "Missing: kind"
    )
    assert {one.reason for one in found if isinstance(one, Reject)} == {"nothing_missing"}
    assert task.kind == "attributes"
    assert [(one.prompt.user.splitlines()[-1], one.answer) for one in task.examples(shelf())] == [
        ("Missing: kind", "kind: Lamp; Desk"),
        ("Missing: kind", "kind: Lamp; Desk"),
        ("Missing: kind", "kind: Chair"),
        ("Missing: kind", "kind: Chair"),
    ]
    assert all("Kind:" not in one.prompt.user for one in task.examples(shelf()))


@pytest.mark.parametrize(
    ("text", "finish", "parsed"),
    [
        ("kind: Lamp; Desk", "stop", "kind: Lamp|Desk"),
        ("Kind: LAMP, desk.\n", "stop", "kind: Lamp|Desk"),
        ("lamp|lamp", "stop", "kind: Lamp"),
        ("kind: Lamp; Des", "length", "kind: Lamp"),
        ("kind: Lamp; Des", "stop", "unknown_value"),
        ("kind: Oak", "stop", "unknown_value"),
        ("kind: La", "length", "truncated"),
        ("A lamp, I would say", "stop", "unknown_value"),
        ("pages: 2", "stop", "not_missing"),
        ("kind: Lamp\npages: 2", "stop", "not_missing"),
        ("kind: Lamp; Desk; Chair", "stop", "too_many_values"),
        ("kind:", "stop", "empty"),
        ("\x00 \n", "stop", "empty"),
    ],
)
def test_values_outside_the_closed_set_are_rejected(text: str, finish: str, parsed: str) -> None:
    assert verdict("attributes", text, "l3", finish) == parsed


def test_what_has_no_closed_set_is_said() -> None:
    with pytest.raises(InputError, match=r"no attribute has a closed set of 2 to 64 values .*looked at: kinds, pick"):
        list(Rewrite(style="attributes").requests(catalogue()))
    with pytest.raises(InputError, match="'review' has no values that items share"):
        list(Rewrite(style="attributes", attributes=["review"]).requests(shelf()))
    asked = list(Rewrite(style="attributes", attributes=["pages"]).requests(shelf()))
    assert {one.reason for one in asked if isinstance(one, Reject)} == {"nothing_missing"}


def test_of_many_values_those_that_the_text_names_are_shown() -> None:
    cells = [f"brand{number}" for number in range(40) for _ in range(45 - number)] + ["Red Owl"] * 2
    brands = closed_set("brand", cells)
    assert brands.values("Red owl, brand3, once") == ["Red Owl", "brand3"]
    assert not replace(brands, counts={**brands.counts, **{f"b{number}": 2 for number in range(40)}}).closed
    assert brands.choices("a lamp") == [f"brand{number}" for number in range(32)]
    assert brands.choices("a lamp by red owl") == [*(f"brand{number}" for number in range(31)), "Red Owl"]


@pytest.mark.parametrize(
    ("name", "words_of_it", "says"),
    [
        ("trim", "{{ facts }}", "rewrite/trim does not ask for 'description', which this style needs"),
        ("attributes", "{{ missing }}", "rewrite/attributes does not ask for 'choices', which this style needs"),
        ("mine", "{{ missing }}", "rewrite/mine does not ask for 'choices', which this style needs"),
        ("mine", "{{ descripton }}", "asks for 'descripton'; .* did you mean 'description'"),
        ("mine", "{{ ''.__class__ }}", "prompt rewrite/mine: access to attribute '__class__'"),
        ("mine", "{{ facts.__class__.__mro__ }}", "prompt rewrite/mine: access to attribute '__class__'"),
        ("mine", "{{ facts.append('x') }}", "prompt rewrite/mine: .*append"),
        ("mine", "{% if %}", r"mine\.md: "),
    ],
)
def test_a_template_of_ones_own_that_cannot_work(tmp_path: Path, name: str, words_of_it: str, says: str) -> None:
    path = tmp_path / f"{name}.md"
    path.write_text(f"[system]\nBe brief.\n[user]\n{words_of_it}\n")
    with pytest.raises(InputError, match=says):
        list(Rewrite(style=str(path)).requests(shelf()))


def test_a_wording_of_ones_own_keeps_the_promises_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "trim.md"
    path.write_text("[system]\nOnly what matters.\n[user]\n{{ description }}\n")
    assert verdict(str(path), LAMP) == "not_shorter"
    other = path.rename(tmp_path / "slim.md")
    assert verdict(str(other), LAMP + " It is a lamp.") == "echo"
    assert verdict(str(other), "It shines for 8 hours.") == "It shines for 8 hours."


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "t5"])
def test_every_style_asks_base_chat_and_seq2seq_models(
    model_folder: Callable[..., Path], tmp_path: Path, architecture: str
) -> None:
    """Tiny models with random weights: what they say is nonsense, and every row is counted."""
    llm = load_llm(str(model_folder(architecture)), device="cpu")
    options = GenerateOptions(sampling=Sampling(0.9, 0.95, 12), stop_share=1.1)
    for style in styles("rewrite"):
        task = Rewrite(style=style, copies=3)
        asked = len(list(task.requests(shelf())))
        task_with_room = _Lenient(task)
        result = generate(task_with_room, shelf(), llm, options, tmp_path / style)  # type: ignore[arg-type]
        assert result.asked == asked == result.parsed + result.rejected
        assert result.failed == 0
        samples = samples_from(read_parquet(tmp_path / style / "samples.parquet"))
        assert len(samples) == result.parsed
        assert {sample.kind for sample in samples} == {task.kind}


class _Lenient:
    """The same task, whose last request is always answered well: `generate` refuses a run without a single sample."""

    def __init__(self, task: Rewrite):
        self.task = task
        self.last = [one for one in task.requests(shelf()) if isinstance(one, Request)][-1].key

    def __getattr__(self, name: str) -> object:
        return getattr(self.task, name)

    def parse(self, request: Request, completion: Completion) -> object:
        return "well" if request.key == self.last else self.task.parse(request, completion)
