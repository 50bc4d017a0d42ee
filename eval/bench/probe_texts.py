"""Texts with a known fault, and faultless ones, made by rule from real descriptions for `eval.bench.probes`.

Every maker takes a text and a seeded generator; None where the text does not lend itself to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from llm_aug.text import QUANTITY, normalised, sentences, unit_of, words

Random = np.random.Generator
_UNITS = ("inch", "lb", "gallon", "minute", "gb")
CHANGED = 0.15  # of its words a faultless paraphrase has anew or in less, at least: a lighter one is a near-duplicate

_PAIRS = """
    about=concerning above=over across=throughout added=extra additional=extra adventure=quest agent=operative
    allows=lets along=alongside also=too although=though always=at_all_times around=round
    assignment=task attempt=effort attempts=tries battle=fight beautiful=lovely because=since become=turn_into
    becomes=turns_into before=ahead_of begin=start begins=starts best=finest big=large both=the_two bright=vivid
    bring=carry brings=carries brother=sibling build=construct but=yet buy=purchase called=named can=is_able_to
    chance=opportunity child=kid children=kids choose=pick city=town clean=tidy clear=plain college=university
    comes=arrives contains=holds convenient=handy couple=pair create=make crew=team danger=peril dangerous=risky
    dead=lifeless deadly=lethal decide=resolve decides=resolves deliver=give delivers=gives designed=meant
    desk=table discover=learn discovers=learns durable=sturdy during=in_the_course_of each=every easily=readily
    easy=simple ends=finishes enough=sufficient ensure=guarantee escape=flee evil=wicked excellent=superb
    exciting=thrilling face=confront falls=drops family=household famous=well-known fast=quick fight=struggle
    film=picture find=locate finds=locates first=earliest for=meant_for forced=compelled former=one-time
    friend=companion friends=companions gets=receives gift=present girl=young_lady goes=heads great=splendid
    group=band grows=develops happy=glad has=possesses hard=tough help=aid helps=aids high=tall hold=carry
    holds=carries home=house house=home however=still ideal=perfect important=vital including=among_them
    intended=meant into=in_to job=post journey=trip keep=retain keeps=retains kill=slay kills=slays large=big
    learns=discovers leaves=departs like=such_as little=small live=dwell lives=dwells living=dwelling long=lengthy
    look=glance love=affection made=produced makes=produces man=fellow many=numerous meet=encounter
    meets=encounters men=fellows mission=errand money=cash more=additional most=the_bulk_of movie=picture
    murder=killing must=has_to mysterious=puzzling needs=requires new=fresh night=evening no=not_any now=at_present
    offers=gives often=frequently old=aged once=formerly only=just order=command over=above own=personal
    people=persons perfect=ideal plan=scheme plans=schemes police=officers powerful=mighty product=article
    protect=guard protects=guards provide=supply provides=supplies quality=grade quick=swift quickly=swiftly
    quiet=silent real=genuine reliable=dependable return=come_back returns=comes_back safe=secure save=rescue
    search=hunt secret=hidden secure=safe seeks=looks_for seems=appears set=placed several=a_few shows=displays
    simple=plain sister=sibling small=little smart=clever smooth=even so=thus son=boy soon=before_long
    special=particular start=begin starts=begins stay=remain stop=halt story=tale strange=odd strong=robust
    struggle=fight student=pupil sturdy=robust suddenly=all_at_once supplies=goods take=carry takes=carries
    tale=story team=squad terrible=awful that=which their=their_own then=after_that thing=matter things=matters
    through=by_way_of time=moment together=jointly town=village travel=journey tries=attempts trip=journey
    true=genuine try=attempt trying=attempting turns=changes two=a_couple_of under=beneath unique=one_of_a_kind
    until=till upon=on use=employ used=employed uses=employs using=by_means_of very=quite war=conflict
    way=manner wealthy=rich well=properly when=at_the_time_that where=in_which which=that while=as wife=spouse
    will=is_going_to with=along_with within=inside without=lacking woman=lady women=ladies wonderful=marvellous
    work=labour works=operates world=globe year=twelvemonth young=youthful
"""
SYNONYMS = {one: other.replace("_", " ") for one, other in (pair.split("=") for pair in _PAIRS.split())}
_TO_19 = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_LEADING = re.compile(r"^(After|As|Before|If|In|On|Once|Since|Until|When|While|With) ([^,]{8,}), ([^,;:]{15,})([.!?])$")
_OPENING = re.compile(r"[A-Z][a-z']* [a-z]\w* [^A-Z]")  # a sentence that begins with no name
_BUT = re.compile(r"^(.{15,}?),? but (.{15,})$")


def with_synonyms(text: str, random: Random) -> str:
    """Every word of the table by its synonym, a tenth of them left as they are."""

    def other(match: re.Match[str]) -> str:
        word = match[0]
        opens = match.start() == 0 and _OPENING.match(match.string)
        if word.lower() not in SYNONYMS or (word[0].isupper() and not opens) or random.random() < 0.1:
            return word
        found = SYNONYMS[word.lower()]
        return found[0].upper() + found[1:] if word[0].isupper() else found

    return " ".join(re.sub(r"\b[A-Za-z']+\b(?!-)", other, sentence) for sentence in sentences(text))


def with_other_clauses(text: str, random: Random) -> str:
    """'When he wakes, all are gone.' as 'All are gone when he wakes.', and 'A, but B.' as 'A. Yet B.'"""
    changed = []
    for sentence in sentences(text):
        found = _LEADING.match(sentence)
        if found:
            main = found[3][0].upper() + found[3][1:]
            changed.append(f"{main} {found[1].lower()} {found[2]}{found[4]}")
        elif halves := _BUT.match(sentence):
            changed.append(f"{halves[1]}. Yet {halves[2]}")
        else:
            changed.append(sentence)
    return " ".join(changed)


def with_fewer_sentences(text: str, random: Random) -> str | None:
    """A third of the sentences left out, one at least, and the others in another order."""
    told = sentences(text)
    if len(told) < 3:
        return None
    kept = sorted(random.permutation(len(told))[: len(told) - max(1, len(told) // 3)].tolist())
    turn = int(random.integers(1, len(kept))) if len(kept) > 1 else 0
    return " ".join(told[row] for row in (*kept[turn:], *kept[:turn]))


def with_numbers_in_words(text: str, random: Random) -> str | None:
    """'24 pens' as 'twenty-four pens', of numbers up to 99."""

    small, tens = ["", *_TO_19.split()], _TENS.split()

    def said(match: re.Match[str]) -> str:
        high, low = divmod(int(match[0]), 10)
        return small[int(match[0])] if high < 2 else "-".join(filter(None, (tens[high - 2], small[low])))

    found = re.sub(r"(?<![^\s(])[1-9]\d?(?= [a-z]{2})", said, text)
    return found if found != text else None


def changed_share(text: str, source: str) -> float:
    """1 - words in common / words of the longer one, as multisets of normalised words."""
    one, other = (Counter(normalised(each).split()) for each in (text, source))
    return 1 - (one & other).total() / max(one.total(), other.total(), 1)


def paraphrase(text: str, random: Random, way: str = "all") -> str | None:
    """way: synonyms, clauses (and synonyms), sentences (dropped, reordered, and clauses and synonyms) or all of them;
    numbers: synonyms, then numbers in words.

    None where less than CHANGED of the words would change, or where fewer than 8 would be left.
    """
    found: str | None = text
    if way in ("sentences", "all"):
        found = with_fewer_sentences(text, random)
    if found is not None and way in ("clauses", "sentences", "all"):
        found = with_other_clauses(found, random)
    if found is None:
        return None
    found = with_synonyms(found, random)
    if way == "numbers" and (found := with_numbers_in_words(found, random)) is None:
        return None
    return found if changed_share(found, text) >= CHANGED and len(words(found)) >= 8 else None


def edited(text: str, share: float, vocabulary: Sequence[str], random: Random) -> str:
    """share of the words but the last, one at least, replaced by a common word, left out, or swapped with the next."""
    *said, last = text.split()
    for at in sorted(random.permutation(len(said))[: max(1, round(share * len(said)))].tolist(), reverse=True):
        way = int(random.integers(3))
        if way == 0:
            said[at] = str(random.choice(np.array(vocabulary)))
        elif way == 1 and len(said) > 1:
            del said[at]
        else:
            said[at : at + 2] = said[at : at + 2][::-1]
    return " ".join([*said, last])


def other_case(text: str, random: Random) -> str:
    return (str.upper, str.lower, str.swapcase)[int(random.integers(3))](text)


def other_spacing(text: str, random: Random) -> str:
    spaces = ("  ", "\n", "\t", "\u00a0", " \u2003")
    return " " + "".join(word + spaces[int(random.integers(len(spaces)))] for word in text.split())


def other_form(text: str, random: Random) -> str:
    """A third of the Latin letters and digits in their full-width form, which NFKC folds back."""
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() and random.random() < 1 / 3 else c for c in text)


def cut(text: str, random: Random) -> str | None:
    """Ends inside a sentence, after at least 8 words of the text."""
    said = text.split()
    places = [at for at in range(8, len(said)) if said[at - 1][-1].isalnum()]
    return " ".join(said[: int(random.choice(places))]) if places else None


def looped(text: str, random: Random) -> str:
    """Its last sentence, its last three words, or its last word, over and over."""
    said = text.split()
    last = (sentences(text)[-1], " ".join(said[-3:]), said[-1].strip(".!?"))[int(random.integers(3))]
    return f"{text} " + " ".join([last] * int(random.integers(6, 12)))


def other_number(text: str, random: Random) -> str | None:
    """One of its numbers of two digits or more is another."""
    found = list(re.finditer(r"(?<![\w.,])\d{2,4}(?![\w.,]*\d)", text))
    if not found:
        return None
    place = found[int(random.integers(len(found)))]
    taken = set(re.findall(r"\d+", text))
    drawn = next(n for n in iter(lambda: str(random.integers(11, 9999)), "") if n not in taken)
    return text[: place.start()] + drawn + text[place.end() :]


def other_unit(text: str, random: Random) -> str | None:
    """One of its measures is of another kind: 8 inches as 8 pounds."""
    found = [each for each in QUANTITY.finditer(text) if unit_of(each) in _UNITS]
    if not found:
        return None
    place = found[int(random.integers(len(found)))]
    others = [unit for unit in _UNITS if unit != unit_of(place)]
    return f"{text[: place.end('number')]} {random.choice(np.array(others))}{text[place.end() :]}"


def with_number(text: str, random: Random) -> str:
    number, part = int(random.integers(13, 9000)), int(random.integers(1, 10))
    more = (
        f"It weighs {number % 90 + 11}.{part} kg.",
        f"There are {number} of them.",
        f"It was first shown in {number}.",
    )
    return f"{text} {more[number % len(more)]}"


def coined(random: Random) -> str:
    """A name that no catalogue holds: Zovrentik, Quamorda."""
    parts = (
        ("Zov", "Quam", "Brel", "Vint", "Trax", "Jorm"),
        ("ren", "or", "ula", "ike", "ant"),
        ("tik", "da", "vo", "xel"),
    )
    return "".join(str(random.choice(np.array(part))) for part in parts)


def with_brand(text: str, random: Random) -> str:
    one, other = coined(random), coined(random)
    more = (
        f"It is the work of {one} {other}.",
        f"Everything here was made by {one}.",
        f"Fans of {one} will be pleased.",
    )
    return f"{text} {more[int(random.integers(len(more)))]}"


def with_one_of(*additions: Callable[[Random], str] | str) -> Callable[[str, Random], str]:
    """A maker that puts one of the additions before or after the text."""

    def add(text: str, random: Random) -> str:
        chosen = additions[int(random.integers(len(additions)))]
        said = chosen if isinstance(chosen, str) else chosen(random)
        return f"{text} {said}" if random.random() < 0.5 else f"{said} {text}"

    return add
