"""Personal data by its patterns, passages of others, and distances whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llm_aug.data import Dataset, Sample, Verdict, tidy_interactions, tidy_items
from llm_aug.errors import InputError, Unavailable
from llm_aug.filters import personal
from llm_aug.filters.duplicate import Duplicate, DuplicateConfig
from llm_aug.filters.ngrams import Passages
from llm_aug.filters.personal import RULES, found, luhn
from llm_aug.filters.privacy import Privacy, PrivacyConfig
from llm_aug.filters.reference import Reference
from llm_aug.vectors import load_encoder

LAMP = "a tall lamp of brass that stands beside the bed and throws a warm light on the book"
DESK = "an oak desk with three drawers, call 555-123-4567 for spare parts and for other colours of wood"
REVIEW = "my wife bought this for our cabin by the lake and we have used it every evening since"


def step(**options: Any) -> Privacy:
    items = pd.DataFrame({"item_id": ["lamp", "desk"], "title": ["Lamp", "Desk"], "description": [LAMP, DESK]})
    log = pd.DataFrame({"user_id": ["u"], "item_id": ["lamp"], "review": [REVIEW]})
    return Privacy(
        Reference(Dataset(tidy_items(items), tidy_interactions(log)), load_encoder("letters:8")),
        PrivacyConfig(**options),
    )


def verdict(text: str, subject: str = "lamp", **options: Any) -> Verdict:
    return step(**options).judge([Sample("1", "description", subject, text)])[0]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("mail", "write to jane.doe+shop@mail.example.co.uk today"),
        ("mail", "write to jane (at) example (dot) com today"),
        ("phone", "call (555) 123-4567 now"),
        ("phone", "555-123-4567"),
        ("phone", "1-800-555-0199"),
        ("phone", "at +44 20 7946 0958"),
        ("phone", "at +1 (555) 123-4567"),
        ("phone", "0049 30 901820"),
        ("phone", "+493012345678"),
        ("phone", "au 06 12 34 56 78"),
        ("phone", "in Berlin 030/123 4567"),
        ("phone", "call me at 5551234567"),
        ("phone", "tel.: 555-0123"),
        ("phone", "mi móvil es 612 345 678."),
        ("phone", "Teléfono: 612345678"),
        ("phone", "en Madrid 91 234 56 78"),
        ("phone", "电话13812345678，欢迎来电。"),
        ("phone", "手机：138-1234-5678"),
        ("card", "4111 1111 1111 1111"),
        ("card", "卡号4111111111111111。"),
        ("card", "paid with 378282246310005"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB82WEST12345698765432"),
        ("social_security", "no. 078-05-1120"),
        ("ip", "from 203.0.113.77 at night"),
        ("ip", "from 2001:db8::8a2e:370:7334"),
        ("address", "at 742 Evergreen Terrace"),
        ("address", "221B Baker Street"),
        ("address", "1600 N. Main St"),
        ("address", "Hauptstraße 12"),
        ("address", "12, rue de la Paix"),
        ("address", "8 place Vendôme"),
        ("address", "8 Place de la Concorde"),
        ("address", "at 1987 Main Street"),
        ("address", "in 221B Baker Street"),
        ("address", "Marktplatz 4"),
        ("address", "Calle Mayor 15, 28013 Madrid"),
        ("address", "vive en la Avenida de la Paz, 7"),
        ("address", "上海市徐汇区漕溪北路88号"),
        ("address", "P.O. Box 441"),
        ("address", "in Springfield, IL 62704"),
        ("handle", "follow @jane_doe for more"),
        ("url", "see https://example.com/jane"),
    ],
)
def test_personal_data_is_found(kind: str, text: str) -> None:
    assert kind in {name for name, _ in found(text, list(RULES))}


@pytest.mark.parametrize(
    "text",
    [
        "8-1/2 x 11 inches, 500 sheets, 20 lb, item 25164PP",
        "fits A713-1210, HR-100TM and T124120-S, UPC 012345678905",
        "rated 4.5 of 5 by 1,234 people from 1995 to 2001, at 12:30:45",
        "pens 0.7 mm, 4111 1111 1111 1112, version 1.2.3.4",
        "a 3 Way Street sign", "50 Drive Bays", "the 24 hour place 2000 people know",
        "a 16 GB Flash Drive", "a 1 TB Hard Drive", "a 2 Inch Square", "12 place cards", "12 Place Cards",
        "50 Avery Place Cards",
        "the 1987 Wall Street crash", "In 1929 Wall Street fell", "Speicherplatz 64 GB", "Arbeitsplatz 4 Personen",
        "rooms 612 345 678 901 and 1612 345 678", "第12号，共88号",
    ],
)  # fmt: skip
def test_numbers_of_things_are_nobodys(text: str) -> None:
    assert found(text, list(RULES)) == []


def test_luhn() -> None:
    assert luhn("79927398713")
    assert not luhn("79927398710")


def test_what_the_row_says_itself_is_public() -> None:
    assert verdict("call 555-123-4567 for a desk", "desk").keep
    assert verdict("call (555) 123 4567 for a desk", "desk").keep
    assert verdict("call 555-123-4567 for a lamp") == Verdict(False, "personal_data", nearest="555-123-4567")
    assert verdict("call 555-123-4567", "nobody").reason == "personal_data"


def test_urls_stay_where_they_are_allowed() -> None:
    assert verdict("see www.example.com").reason == "personal_data"
    assert verdict("see www.example.com", urls=True).keep


def test_a_passage_of_another_item_or_of_a_review_is_a_copy() -> None:
    words = LAMP.upper().split()
    assert verdict("it is " + " ".join(words[:12]), "desk") == Verdict(False, "copied_ngram", 12.0, "lamp")
    assert verdict("it is " + " ".join(words[:11]), "desk").keep
    assert verdict("it is " + " ".join(words[:11]), "desk", ngram=11).reason == "copied_ngram"
    assert verdict(LAMP).keep  # its own: fidelity judges that
    assert verdict("bought: " + REVIEW).nearest == "lamp"
    assert verdict(REVIEW).score == len(REVIEW.split())
    with pytest.raises(InputError, match="ngram is at least 2 words"):
        step(ngram=1)


SHORT = "Love these, my daughter Emma uses them at school"


def test_a_short_review_is_a_passage_as_a_whole() -> None:
    items = pd.DataFrame({"item_id": ["lamp", "desk"], "title": ["a lamp of brass for the night", "Desk"]})
    reviews = [SHORT, SHORT.rpartition(" ")[0] + " home", "Great lamp for the night"]
    log = pd.DataFrame({"user_id": ["u", "v", "w"], "item_id": ["lamp", "desk", "desk"], "review": reviews})
    shop = Reference(Dataset(tidy_items(items), tidy_interactions(log)), load_encoder("letters:8"))

    def told(text: str, **options: Any) -> Verdict:
        return Privacy(shop, PrivacyConfig(**options)).judge([Sample("1", "review", "desk", text)])[0]

    assert told(f"Very nice. {SHORT.upper()}!") == Verdict(False, "copied_ngram", nearest="lamp")
    assert told(f"Very nice. {SHORT.upper()}!", ngram=9).score == 9
    assert told("Very nice. " + SHORT.rpartition(" ")[0]).keep
    assert told("Very nice. Great lamp for the night").keep  # five words are anybody's
    assert told("Very nice, a lamp of brass for the night").keep  # a title is no review


def test_a_review_that_was_written_before_is_an_exact_duplicate() -> None:
    items = pd.DataFrame({"item_id": ["lamp", "desk"], "title": ["Lamp", "Desk"]})
    log = pd.DataFrame(
        {"user_id": ["u", "v"], "item_id": ["lamp", "desk"], "review": ["So bright, I love it", "Great!"]}
    )
    step = Duplicate(
        Reference(Dataset(tidy_items(items), tidy_interactions(log)), load_encoder("hash:8")), DuplicateConfig()
    )
    asked = [Sample(text, "review", "desk", text) for text in ("so BRIGHT; I love it!", "great", "So bright")]
    assert step.judge(asked) == [Verdict(False, "exact_duplicate", 1.0, "lamp"), Verdict(True), Verdict(True)]


def test_passages_equal_a_search_by_hand() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abc"), 30)) for _ in range(6)]
    passages = Passages(((str(n), text) for n, text in enumerate(texts)), 5)
    for _ in range(200):
        said = list(rng.choice(list("abcd"), 9))
        grams = [" ".join(said[place : place + 5]) for place in range(5)]
        expected = any(f" {gram} " in f" {text} " for gram in grams for text in texts)
        assert (passages.longest(said)[0] >= 5) == expected
    assert Passages([], 5).longest(list("abcdef")) == (0, "")


def test_presidio_is_asked_and_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def analyze(self, text: str, language: str, entities: list[str], score_threshold: float) -> list[Any]:
            assert (language, score_threshold) == ("en", 0.5)
            assert "PERSON" in entities
            start = text.find("Jane Roe")
            return [SimpleNamespace(start=start, end=start + 8, entity_type="PERSON", score=0.85)] if start >= 0 else []

    monkeypatch.setattr(personal, "import_module", lambda name: SimpleNamespace(AnalyzerEngine=Engine))
    assert verdict("a lamp made by Jane Roe", presidio=True) == Verdict(False, "personal_data", nearest="Jane Roe")
    assert verdict("a lamp made by hand", presidio=True).keep

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(personal, "import_module", absent)
    assert verdict("a lamp made by Jane Roe").keep
    with pytest.raises(Unavailable, match=r"pip install 'llm-aug\[privacy\]'"):
        verdict("a lamp", presidio=True)
