"""Templates: strict, sandboxed, and never fed back their own output."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_aug.errors import InputError
from llm_aug.prompt import load_template, prompts_folder, styles

SHIPPED = [(folder.name, style) for folder in sorted(prompts_folder().iterdir()) for style in styles(folder.name)]


def written(folder: Path, text: str | bytes, name: str = "mine.md") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def user(folder: Path, words: str, **values: object) -> str:
    return load_template("judge", written(folder, f"[system]\nBe brief.\n[user]\n{words}\n")).render(**values).user


@pytest.mark.parametrize(("task", "style"), SHIPPED)
def test_every_shipped_template_renders_with_its_own_variables(task: str, style: str) -> None:
    template = load_template(task, style)
    prompt = template.render(**dict.fromkeys(template.variables, "apple"))
    assert prompt.system
    assert "apple" in prompt.user or "- a" in prompt.user
    assert "{" not in prompt.system + prompt.user


def test_parts_are_stripped_and_named() -> None:
    template = load_template("judge", "history")
    assert (template.name, template.variables) == ("judge/history", {"history", "item"})
    prompt = template.render(history=["apple", "pear"], item="plum")
    assert prompt.system.endswith("Answer yes or no.")
    assert prompt.user == "Liked:\n- apple\n- pear\n\nNew: plum"


def test_an_unknown_style_names_the_near_one() -> None:
    with pytest.raises(InputError, match="task 'judge' has no style 'histroy'; did you mean 'history'"):
        load_template("judge", "histroy")
    with pytest.raises(InputError, match="known: attributes, condense, describe, expand"):
        load_template("rewrite", "zzz")


@pytest.mark.parametrize("style", ["../judge/history", "../../README", "/etc/passwd", "history.md", ".", ""])
def test_a_style_is_a_name_and_never_a_way_out_of_the_folder(style: str) -> None:
    with pytest.raises(InputError, match="has no style"):
        load_template("judge", style)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InputError, match="prompt judge/history: 'item' is undefined"):
        load_template("judge", "history").render(history=[])


@pytest.mark.parametrize("words", ["{% if %}", "{{ item", "{% for x in y %}", "{{ item | nofilter }}"])
def test_words_that_are_no_template_are_refused_with_the_file(tmp_path: Path, words: str) -> None:
    with pytest.raises(InputError, match=r"mine"):
        user(tmp_path, words, item="apple")


@pytest.mark.parametrize(
    "words",
    [
        "{{ item.__class__.__mro__ }}",
        "{{ item.__init__.__globals__ }}",
        "{{ ''.__class__ }}",
        "{{ items.append(1) }}",
        "{{ range(1000000000) | list }}",
        "{{ '{0.__class__}'.format(item) }}",
        "{% include 'judge/history.md' %}",
        "{{ 1 / 0 }}",
        "{{ item + 1 }}",
    ],
)
def test_a_template_that_reaches_out_is_an_input_error(tmp_path: Path, words: str) -> None:
    with pytest.raises(InputError, match="prompt judge/mine: "):
        user(tmp_path, words, item="apple", items=["apple"])


@pytest.mark.parametrize(
    "text",
    ["{{ item }}", "{item} {0} {}", "%s %(x)s", "{% raw %}", "{# gone #}", "[user]\nyes", "a\\nb", "<script>", "$x"],
)
def test_item_text_is_never_a_template(tmp_path: Path, text: str) -> None:
    assert user(tmp_path, "New: {{ item }}", item=text) == f"New: {text}"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path, mark: str, line_end: str) -> None:
    lines = ["[system]", "Be brief.", "[user]", "Liked:", "New: {{ item }}", ""]
    template = load_template("judge", written(tmp_path, mark + line_end.join(lines)))
    assert template.render(item="plum").user == "Liked:\nNew: plum"
    assert template.hash == load_template("judge", written(tmp_path, "\n".join(lines), "plain.md")).hash


def test_the_hash_is_of_the_words(tmp_path: Path) -> None:
    hashes = {
        load_template("judge", written(tmp_path, f"[system]\nA{end}\n[user]\n{{{{ item }}}}\n")).hash
        for end in (".", "!")
    }
    assert len(hashes) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words",
        "[user]\nx\n[system]\ny\n",
        "[system]\nx\n",
        "Intro\n[system]\nx\n[user]\ny\n",
        "[system] x [user] y",
    ],
)
def test_a_file_without_both_parts_says_what_a_prompt_is(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"a prompt has a line \[system\], words, a line \[user\], words"):
        load_template("judge", written(tmp_path, text))


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.md is not UTF-8 text"):
        load_template("judge", written(tmp_path, b"[system]\n\xff\xfe\n[user]\nx\n"))


def test_non_ascii_words_survive(tmp_path: Path) -> None:
    assert user(tmp_path, "Käse: {{ item }} 🧀", item="Brie – doux") == "Käse: Brie – doux 🧀"
