from __future__ import annotations

import random
import time

import pytest

from llm_aug.plain_text import MAX_CHARS, plain
from llm_aug.text import is_whole, normalised, sentences


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<b>Tom</b> &amp; Jerry\n", "Tom & Jerry"),
        ("one<br>two<br/>three", "one two three"),
        ("<b>bold</b>er", "bolder"),
        ("a < b and c > d", "a < b and c > d"),
        ("if a <b and c> d, I <3 you", "if a <b and c> d, I <3 you"),
        ("&amp;quot;twice&amp;quot; &lt;br&gt;", '"twice"'),
        ("<a href='x>y'>link</a><script>alert(1)</script><!-- note -->", "link"),
        ("AT&T &copy 2 &#0;", "AT&T &copy 2"),
        ("\ufeffx\x00y\x1b\t z\r\n", "xy z"),
        ("Cafe\u0301", "Café"),
    ],
)
def test_plain_text(before: str, after: str) -> None:
    assert plain(before).text == after


def test_plain_text_keeps_html_when_told_and_says_what_it_did() -> None:
    assert plain("<b>a</b>", keep_html=True).text == "<b>a</b>"
    assert (plain("<b>a</b>").html, plain("a").html) == (True, False)
    assert (plain("a\x00").characters, plain("a\n").characters) == (True, False)
    assert (plain("x" * (MAX_CHARS + 1)).cut, plain("x" * MAX_CHARS).cut) == (True, False)


@pytest.mark.parametrize("piece", ["x", "<script>", "<a b='", "&amp;", "amp;", "<!--", "<a ", "<a b=c", " "])
def test_ten_megabytes_of_anything_take_no_time(piece: str) -> None:
    started = time.perf_counter()
    assert len(plain("&<a" + piece * (10_000_000 // len(piece))).text) <= MAX_CHARS
    assert time.perf_counter() - started < 3


def test_ascii_reads_as_it_does_beside_other_letters() -> None:
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(rng.choices("abZ09_ '\"-.,\n\t\x1c", k=40))
        assert normalised(f"{text} é") == f"{normalised(text)} é".strip()


@pytest.mark.parametrize(
    "text",
    [
        "Er sagte: „Das ist gut.“",
        "Ein Film »voller Wunder.«",
        "她说：“很好。”",
        "他说：「很好。」",
        "好用（三支。）",
        "Good. [A pen.]",
    ],
)
def test_closing_marks_end_a_whole_text(text: str) -> None:
    assert is_whole(text)
    assert not is_whole(text.rstrip("”“«」）]").rstrip(".。！"))


def test_chinese_sentences_have_no_space_between() -> None:
    assert sentences("这是一句。这是“另一句！”好吗？！好。") == ["这是一句。", "这是“另一句！”", "好吗？！", "好。"]
    assert sentences("Version 3.5 is out. „Gut.“ Ja... gut.") == ["Version 3.5 is out.", "„Gut.“", "Ja...", "gut."]


def test_an_apostrophe_reads_the_same_in_either_form() -> None:
    assert normalised("Don’t go, ‘Rock ’n’ Roll’") == normalised("Don't go, 'Rock 'n' Roll'")
