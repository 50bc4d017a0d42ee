"""Reviews with a rating, of a user for an item he has not seen (write), and what one would search it by (queries).

An answer of write:    "Rating: 4\\nReview: A warm film, and funny too."     (without ratings in the log: no such line)
An answer of queries:  "funny toys\\nfilms for children"
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Prompt, Reject, Request
from llm_aug.errors import InputError, LlmAugError
from llm_aug.prompt import Template
from llm_aug.tasks import Answered, Parsed, Rejected
from llm_aug.tasks.judge import Judge
from llm_aug.tasks.prompted import Prompted
from llm_aug.tasks.rating import Scale, contradicts, measure, read_rating
from llm_aug.tasks.reading import FEWEST_WORDS, is_echo, queries_in, review_in, shown, whole
from llm_aug.tasks.rewrite import facts
from llm_aug.tasks.rule_reviews import by_rule
from llm_aug.tasks.tags import Tags, narrowed, tags_of
from llm_aug.text import CHAT_TOKENS, capped, normalised, words
from llm_aug.tidy import REVIEW

LOG = logging.getLogger(__name__)
RARE = 5  # interactions at most: what needs a review is what has few
DESCRIPTION_WORDS, ANSWER_WORDS = 60, 80  # shown, and taught
ENOUGH = 200  # reviews that teach the form of an answer without any help
RULED = 4  # examples by rule of one user: the most active would otherwise teach everything


@dataclass
class Review(Prompted):
    """limit: pairs (write) or items (queries) at most. users: of each item. pairs: (user, item), instead of drawn ones.

    rare: interactions that an item has at most to be asked about. attributes: columns to show (default: all).
    count: queries in an answer at most.
    """

    task: ClassVar[str] = "review"
    style: str = "write"
    copies: int = 1
    limit: int | None = None
    seed: int = 0
    pairs: Sequence[tuple[str, str]] | None = None
    users: int = 1
    rare: int = RARE
    attributes: Sequence[str] | None = None
    history: int = 6
    words: int = 14
    count: int = 5
    kind: Kind = "review"
    stage: str = "generate"

    def __post_init__(self) -> None:
        if min(self.copies, self.users, self.history, self.words, self.count) < 1:
            raise InputError("review: copies, users, history, words and count are at least 1")
        self._scale: Scale | None = None
        self._measured = False

    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        return {"facts"}, {"history", "scale", "count"}

    @property
    def writes(self) -> bool:
        """Whether a user reviews an item; a template without a history asks for queries."""
        return "history" in self.template.variables

    def requests(self, dataset: Dataset) -> Iterator[Request | Reject]:
        """The rarest items first, those equally rare in a seeded order; of each a user who does not have it."""
        dataset = narrowed(dataset, self.attributes)
        self._scale, self._measured = measure(dataset.interactions["rating"]), True
        view = _Shown(self, dataset)
        asked = 0
        for user, item in self._pairs(dataset) if self.writes else ((None, item) for item in self._items(dataset)):
            if asked == self.limit:
                return
            if not view.facts[item]:
                yield Reject(item, self.stage, "no_facts")
                continue
            if user is None and self.writes:
                yield Reject(item, self.stage, "no_user")
                continue
            asked += 1
            parents = (item,) if user is None else (user, item)
            key = "/".join(quote(part, safe="") for part in parents)
            prompt = self._prompt(view.facts[item], view.history(user, item) if user else (), self._scale)
            for copy in range(self.copies):
                yield Request(f"{self.name}/{key}/{copy}", item, prompt, parents)

    def parse(self, request: Request, completion: Completion) -> Answered:
        """Reasons of write: empty, no_rating, off_scale, no_review, truncated, echo, inconsistent (rating.contradicts).

        Of queries: empty, truncated, no_queries, echo (the title or lines of the prompt alone), too_long (sentences).
        """
        if not self._measured:
            raise LlmAugError("review: an answer was read before requests, which measures the scale of the ratings")
        text = CHAT_TOKENS.sub(" ", completion.text)
        if not words(text):
            raise Rejected("empty")
        if not self.writes:
            found = queries_in(text, request.prompt.user, completion.finish == "length")
            return "\n".join(found[: self.count])
        rating, review = _read(text, request.prompt, self._scale, completion.finish == "length")
        user, item = request.parents
        return Parsed(review, (Pair(user, item, rating=rating),))

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        """write: what users wrote, where the log has a column `review`. Where that is fewer than ENOUGH, also ratings
        with words made by rule, RULED of a user at most: weak supervision, which teaches the form of an answer alone.
        Nothing where there are neither reviews nor ratings.

        queries: an item's tags, hidden from the facts shown; an item without any gives none.
        """
        dataset = narrowed(dataset, self.attributes)
        yield from self._review_examples(dataset) if self.writes else self._query_examples(dataset)

    def _review_examples(self, dataset: Dataset) -> Iterator[Example]:
        """Only such as `parse` reads as they are, the rating and the words."""
        scale = measure(dataset.interactions["rating"])
        view = _Shown(self, dataset)
        written = set[tuple[str, str]]()
        for event in self._events(dataset) if REVIEW in dataset.interactions else ():
            review = whole(capped(shown(event.review), ANSWER_WORDS), cut=False)
            if example := self._example(event, review, view, scale):
                written.add((event.user, event.item))
                yield example
        if len(written) >= ENOUGH:
            return
        told = "their ratings are put in words by rule" if scale else "and no ratings on a scale, either"
        LOG.warning("%s: the log has %d reviews to learn from (column %r), %s", self.name, len(written), REVIEW, told)
        tags = tags_of(dataset)
        for user, events in groupby(self._events(dataset) if scale else (), key=lambda event: event.user):
            random = seeds.generator(self.seed, "review", "rule", user)
            silent = [event for event in events if (user, event.item) not in written and event.rating == event.rating]
            for place in sorted(random.permutation(len(silent))[:RULED].tolist()):
                if example := self._ruled(silent[place], tags, view, scale):
                    yield example

    def _ruled(self, event: _Event, tags: Tags, view: _Shown, scale: Scale | None) -> Example | None:
        """The first wording that can be read."""
        assert scale is not None
        random = seeds.generator(self.seed, "review", "wording", event.user, event.item)
        title = shown(view.title.get(event.item, ""))
        said = by_rule(title, tags.of.get(event.item, ()), scale.place(event.rating), random)
        return next((example for review in said if (example := self._example(event, review, view, scale))), None)

    def _example(self, event: _Event, review: str, view: _Shown, scale: Scale | None) -> Example | None:
        """None where there is nothing to show or to say, or where `parse` would read something else."""
        if len(review.split()) < FEWEST_WORDS or not view.facts.get(event.item):
            return None
        prompt = self._prompt(view.facts[event.item], view.lines(event.user, event.earlier), scale)
        answer = f"Rating: {event.rating:g}\nReview: {review}" if scale else f"Review: {review}"
        try:
            found = _read(answer, prompt, scale, cut=False)
        except Rejected:
            return None
        return Example(prompt, answer) if found == (event.rating if scale else None, review) else None

    def _events(self, dataset: Dataset) -> Iterator[_Event]:
        """User by user, by time and then by item id."""
        log = dataset.interactions.sort_values(["user_id", "timestamp", "item_id"], na_position="first")
        reviews = log[REVIEW] if REVIEW in log else [""] * len(log)
        before: list[str] = []
        last = None
        for user, item, rating, review in zip(log["user_id"], log["item_id"], log["rating"], reviews, strict=True):
            if user != last:
                before, last = [], user
            earlier = [*islice((one for one in reversed(before) if one != item), self.history)][::-1]
            yield _Event(user, item, rating, review or "", earlier)
            before.append(item)

    def _query_examples(self, dataset: Dataset) -> Iterator[Example]:
        tags = tags_of(dataset)
        view = _Shown(self, Dataset(dataset.items[["item_id", "title", "description"]], dataset.interactions))
        for item in dataset.items["item_id"]:
            title = normalised(view.title[item])
            labels = [tag for tag in tags.of.get(item, ()) if normalised(tag) != title][: self.count]
            if labels and view.facts[item]:
                yield Example(self._prompt(view.facts[item], (), None), "\n".join(labels))

    def _prompt(self, item_facts: str, history: Sequence[str], scale: Scale | None) -> Prompt:
        values = {"facts": item_facts, "history": history, "scale": str(scale or ""), "count": self.count}
        return self.template.render(**{name: values[name] for name in self.template.variables})

    def _items(self, dataset: Dataset) -> list[str]:
        """At most `rare` interactions, the fewest first."""
        counts = dataset.interactions["item_id"].value_counts()
        items = list(dataset.items["item_id"])
        order = seeds.generator(self.seed, "review", "order").permutation(len(items))
        rare = [items[place] for place in order if counts.get(items[place], 0) <= self.rare]
        return sorted(rare, key=lambda item: int(counts.get(item, 0)))

    def _pairs(self, dataset: Dataset) -> Iterator[tuple[str | None, str]]:
        """(user, item), user None where everybody has the item. Raises InputError for given pairs that are unknown."""
        log = dataset.interactions
        if self.pairs is not None:
            users, items = set(log["user_id"]), set(dataset.items["item_id"])
            unknown = [pair for pair in self.pairs if pair[0] not in users or pair[1] not in items]
            if unknown:
                raise InputError(f"{len(unknown)} pairs to review name an unknown user or item, e.g. {unknown[0]}")
            yield from self.pairs
            return
        names = sorted(set(log["user_id"]))
        names = [names[place] for place in seeds.generator(self.seed, "review", "users").permutation(len(names))]
        seen = set(zip(log["user_id"], log["item_id"], strict=True))
        for item in self._items(dataset):
            start = seeds.derive(self.seed, "review", "user", item) % max(1, len(names))
            around = (*names[start:], *names[:start])
            chosen = [user for user in around if (user, item) not in seen][: self.users]
            yield from ((user, item) for user in chosen or [None])


class _Event(NamedTuple):
    """earlier: the items that the user had before, the latest last."""

    user: str
    item: str
    rating: float
    review: str
    earlier: list[str]


def _read(text: str, prompt: Prompt, scale: Scale | None, cut: bool) -> tuple[float | None, str]:
    """The rating, where there is a scale, and the review. Raises Rejected, see `Review.parse`."""
    rating, rest = read_rating(text)
    if scale is not None and rating is None:
        raise Rejected("no_rating")
    if scale is not None and rating is not None and not scale.holds(rating):
        raise Rejected("off_scale")
    review = review_in(rest, cut)
    if is_echo(review, prompt.user):
        raise Rejected("echo")
    if scale is None or rating is None:
        return None, review
    if contradicts(review, scale.place(rating.value)):
        raise Rejected("inconsistent")
    return rating.value, review


class _Shown:
    """What of a dataset is put into prompts, each computed once: facts of items, histories of users."""

    def __init__(self, task: Review, dataset: Dataset) -> None:
        judge = Judge(history=task.history, words=task.words)
        rows = dataset.items.to_dict("records")
        self.title = {row["item_id"]: row["title"] for row in rows}
        self.facts = {row["item_id"]: self._facts(row, dataset.attributes) for row in rows}
        self._lines = {item: shown(line) for item, line in judge.lines(dataset).items()}
        self._histories = judge.histories(dataset) if task.writes else {}
        log = dataset.interactions
        rated = zip(log["user_id"], log["item_id"], log["rating"], strict=True) if task.writes else ()
        self._ratings = {(user, item): rating for user, item, rating in rated if rating == rating}

    def _facts(self, row: Any, attributes: Sequence[str]) -> str:
        told = capped(shown(row["description"]), DESCRIPTION_WORDS)
        lines = [facts(row, attributes), f"Description: {told}" if told else ""]
        return "\n".join(line for line in lines if line)

    def history(self, user: str, item: str) -> list[str]:
        """Without the item itself, whose rating would be the answer."""
        return self.lines(user, [one for one in self._histories.get(user, ()) if one != item])

    def lines(self, user: str, items: Sequence[str]) -> list[str]:
        """'Toy Story. Comedy (rated 4)'; items that the catalogue does not have are left out."""
        found = [(self._lines[item], self._ratings.get((user, item))) for item in items if self._lines.get(item)]
        return [line if rating is None else f"{line} (rated {rating:g})" for line, rating in found]
