"""A text in other words by rule: synonyms, clauses moved to the front, sentences cut in two; names and numbers stay.

"The film begins in a small town in 1944, but he is angry."  ->  "In 1944, ..." is one move, "little town" one swap.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from llm_aug.text import normalised, sentences

CHANGED, FEW = 0.10, 2  # share of the words, or so many of them: what has changed no more is a copy to the filter
SWAPPED = 0.9  # of the phrases that have a synonym
# a=b: each may stand for the other in any sentence, as far as a list can promise that; a>b: b for a alone.
_PAIRS = (
    "movie>film|movies>films|story=tale|begins=starts|began=started|begin=start|begins to=starts to|big=large|"
    "bigger=larger|small>little|quickly=rapidly|often=frequently|buy=purchase|nearly=almost|perhaps=maybe|"
    "entire=whole|intelligent=clever|rich=wealthy|angry=furious|strange=odd|frightened=scared|tired=weary|"
    "helps>aids|discovers=uncovers|discovers that=finds out that|learns that=finds out that|tried=attempted|"
    "tries to=attempts to|try to=attempt to|trying to=attempting to|receives>gets|requires>needs|required=needed|"
    "kid=child|kids=children|father=dad|mother=mom|physician=doctor|lawyer=attorney|mistake=error|"
    "mistakes=errors|ocean=sea|stone>rock|street=road|battle=fight|battles=fights|attractive=appealing|"
    "durable=sturdy|comfortable=comfy|simple=easy|ideal=perfect|elegant=graceful|gentle>soft|"
    "premium=high-quality|several=multiple|many=numerous|various=different|includes=contains|include=contain|"
    "including=containing|built=constructed|crafted>made|creates>makes|create>make|provides=offers|provide=offer|"
    "providing=offering|improve=enhance|additionally=moreover|however=nevertheless|therefore=thus|because>since|"
    "although=though|whereas>while|until=till|upon>on|towards=toward|humorous=funny|famous=well-known|"
    "important=significant|difficult>hard|dangerous=hazardous|modern=contemporary|ancient>old|huge=enormous|"
    "tiny=minuscule|actual>real|murdered=killed|murder=killing|pupil>student|pupils>students|companion=friend|"
    "companions=friends|support=assist|choose=select|chooses=selects|retain>keep|allows you to=lets you|"
    "allow you to=let you|allowing you to=letting you|is forced to=has to|are forced to=have to|"
    "in order to=so as to|decides to=chooses to|decide to=choose to|decided to=chose to|in which>where|"
    "as well as=along with|together with=along with|best friend=closest friend|"
    "best friends=closest friends|becomes a=turns into a|becomes an=turns into an|becomes the=turns into the|"
    "named=called|known as=referred to as|based on=drawn from|searches for=looks for|searching for=looking for|"
    "search for=hunt for|escapes=flees|escape from=flee from|to save his=to rescue his|to save her=to rescue her|"
    "to save the=to rescue the|to save their=to rescue their|to stop=to halt|to find=to locate|to kill=to slay|"
    "killed by=slain by|returns to=comes back to|return to=come back to|travels to=journeys to|"
    "moves to=relocates to|leads to=results in|leading to=resulting in|with the help of=aided by|"
    "meets=encounters|meet=encounter|evil=wicked|mysterious=puzzling|beautiful=lovely|deadly=lethal|"
    "brutal=savage|crazy=mad|cop=policeman|cops=policemen|detective=investigator|car=automobile|cars=automobiles|"
    "money=cash|trip=journey|boy=lad|boys=lads|teenager=adolescent|teenagers=adolescents|teenage=adolescent|"
    "attack=assault|killer=murderer|killers=murderers|soldiers=troops|ship=vessel|forced to=compelled to|"
    "wants to=wishes to|want to=wish to|hopes to=aims to|plans to=intends to|plan to=intend to|"
    "agrees to=consents to|refuses to=declines to|struggles to=battles to|suddenly=all of a sudden|"
    "finally=at last|eventually=in the end|immediately=at once|apparently=seemingly|especially=particularly|"
    "only=just|very=extremely|really=truly|always=at all times|because of=owing to|due to=because of|"
    "despite=in spite of|instead of=rather than|in addition=besides|easily=with ease|designed for=meant for|"
    "designed to=made to|perfect for=ideal for|suitable for=fit for|high quality=top quality|"
    "long-lasting=lasting|long lasting=lasting|easy to use=simple to use|ensure=make sure|ensures=makes sure|"
    "ensuring=making sure|comes with=is supplied with|made of=built of|made from=crafted from|can be=may be|"
    "can also=may also|you can=you may|will not=won't|does not=doesn't|do not=don't|is not=isn't|are not=aren't|"
    "cannot=can't|they are=they're|it is a=it's a|protects=guards|protect=guard|prevent=stop|prevents=stops|"
    "reduces=lessens|reduce=lessen|reliable=dependable|strong=sturdy|lightweight=light|bright=vivid|"
    "convenient=handy|additional=extra|wide range of=broad range of|a variety of=a range of|a lot of=plenty of|"
    "lots of=plenty of|a number of=a few|all kinds of=all sorts of|types of=kinds of|type of=kind of|"
    "such as>like|so that=in order that|as soon as=once|at the same time=simultaneously|in the middle of=amid|"
    "throughout=all through|near=close to|, but=, yet|a group of=a band of|around the world=across the globe|"
    "in the world=on earth|in search of=looking for|takes place in=is set in|goes to=heads to|go to=head to|"
    "young=youthful|wife>spouse|husband>spouse|his life=his existence|her life=her existence|"
    "their lives=their existence|happy=glad|sad=sorrowful|falls in love=becomes enamoured|relationship=bond|"
    "journey=voyage|house>home|quiet=calm|former=one-time|successful=prosperous|must face=has to face|"
    "along the way=on the way|when he=once he|when she=once she|when they=once they|when a=once a|"
    "when the=once the|who is>that is|who has>that has|who was>that was|great=excellent|product=item|"
    "products=items|securely=firmly|ideal for=well suited to|great for=good for|used to=employed to|best=finest|"
    "helps you=aids you|help you=aid you|you need=you require|your home=your house|at home=in the house|"
    "as he=while he|as she=while she|as they=while they|where he>in which he|where she>in which she|"
    "where they>in which they|he must=he has to|she must=she has to|they must=they have to|his own=his very own|"
    "her own=her very own|their own=their very own|its own=its very own"
)
SYNONYMS: dict[str, list[str]] = {}
for _pair in _PAIRS.split("|"):
    _one, _both, _other = re.split("([=>])", _pair)
    SYNONYMS.setdefault(_one, []).append(_other)
    if _both == "=":
        SYNONYMS.setdefault(_other, []).append(_one)
_PHRASES = "|".join(map(re.escape, sorted(SYNONYMS, key=len, reverse=True)))
_PHRASE = re.compile(rf"(?:\b(?P<article>[Aa]n?) )?(?<![\w'’-])(?P<phrase>{_PHRASES})(?![\w'’-])", re.IGNORECASE)
_IN_YEAR = re.compile(r"^(?P<rest>[^,;:]{12,}?),? (?P<when>in (?:the )?(?:\d{4}s?|[a-z]+ \d{4}))\.$")
_OPENING = re.compile(r"^(?P<when>(?:In|During|After|Before|With|At|For) [^,;:]{3,40}), (?P<rest>[^;:]{12,})\.$")
_CLAUSE = re.compile(r"^(?P<when>(?:When|While|If|Although|Because|Once) [^,;:.]{8,90}), (?P<rest>[^,;:.]{12,})\.$")
_LATER = re.compile(r"^(?P<rest>[A-Z][^,;:.]{12,}?),? (?P<when>(?:when|while|if|because|after|before) [^,;:.]{12,})\.$")
_AND = re.compile(r"^(?P<first>[^;:]{25,}?), (?:and|but) (?P<who>it|he|she|they|we|you) (?P<second>[^;:]{12,})\.$")
_STARTERS = frozenset(re.findall(r"\w+", "the a an this that these those his her its their he she it they we you"))


def reworded(text: str, rng: np.random.Generator) -> str:
    """'' where too little came out another way: see `is_changed`."""
    made = swapped(" ".join(_moved(sentence, rng) for sentence in sentences(text)), rng)
    return made if is_changed(text, made) else ""


def swapped(text: str, rng: np.random.Generator) -> str:
    """With synonyms alone, every other word in its place."""

    def swap(found: re.Match[str]) -> str:
        phrase, article = found["phrase"], found["article"]
        starts = article is None and phrase[:1].isupper() and _starts(text, found.start("phrase"))
        if not (phrase.islower() or (starts and phrase[1:].islower())) or rng.random() >= SWAPPED:
            return found[0]
        others = SYNONYMS[phrase.lower()]
        other = others[int(rng.integers(len(others)))]
        if starts:
            other = other[0].upper() + other[1:]
        if article is None:
            return other
        return f"{article[0]}{'n' if other[0] in 'aeiou' else ''} {other}"

    return _PHRASE.sub(swap, text)


def is_changed(text: str, made: str) -> bool:
    """Whether more than CHANGED of the words, and more than FEW, are in one of the two alone."""
    said, told = normalised(text).split(), normalised(made).split()
    longer = max(len(said), len(told))
    return longer - (Counter(said) & Counter(told)).total() > max(FEW, CHANGED * longer)


def _starts(text: str, place: int) -> bool:
    """Whether a sentence begins there, so that its capital letter says nothing."""
    return place == 0 or text[:place].rstrip().endswith((".", "!", "?"))


def _moved(sentence: str, rng: np.random.Generator) -> str:
    """With its time or a clause at the other end, or in two sentences; most have neither."""
    if found := _AND.match(sentence):
        return f"{found['first']}. {found['who'].capitalize()} {found['second']}."
    if (found := _IN_YEAR.match(sentence) or _LATER.match(sentence)) and _is_movable(found["rest"]):
        return f"{found['when'][0].upper()}{found['when'][1:]}, {_lowered(found['rest'])}."
    if (found := _OPENING.match(sentence) or _CLAUSE.match(sentence)) and rng.random() < 0.7:
        when = found["when"][0].lower() + found["when"][1:]
        return f"{found['rest'][0].upper()}{found['rest'][1:]} {when}."
    return sentence


def _is_movable(text: str) -> bool:
    """Whether it is known if its first word keeps its capital letter: as a name of two words does."""
    first, second, *_ = [*text.split(), ""]
    return first.lower() in _STARTERS or second[:1].isupper()


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:] if text.split()[0].lower() in _STARTERS else text
