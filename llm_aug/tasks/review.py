"""Reviews with a rating, of a user for an item he has not seen (write), and what one would search it by (queries).

An answer of write:    "Rating: 4\\nReview: A warm film, and funny too."     (without ratings in the log: no such line)
An answer of queries:  "funny toys\\nfilms for children"
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Prompt, Reject, Request
from llm_aug.errors import InputError, LlmAugError
from llm_aug.prompt import Template, load_template
from llm_aug.tasks import Answered, Parsed, Rejected
from llm_aug.tasks.judge import Judge
from llm_aug.tasks.rating import Scale, contradicts, measure, read_rating
from llm_aug.tasks.reading import FEWEST_WORDS, is_echo, queries_in, review_in, shown
from llm_aug.tasks.rewrite import facts
from llm_aug.tasks.tags import narrowed, tags_of
from llm_aug.text import CHAT_TOKENS, capped, normalised, words

LOG = logging.getLogger(__name__)
VARIABLES = frozenset({"history", "facts", "scale", "count"})
COLUMN = "review"  # of a log that holds what users wrote
RARE = 5  # interactions at most: what needs a review is what has few
DESCRIPTION_WORDS, ANSWER_WORDS = 60, 80  # shown, and taught


@dataclass
class Review:
    """limit: pairs (write) or items (queries) at most. users: of each item. pairs: (user, item), instead of drawn ones.

    rare: interactions that an item has at most to be asked about. attributes: columns to show (default: all).
    count: queries in an answer at most.
    """

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

    @cached_property
    def template(self) -> Template:
        template = load_template("review", self.style)
        unknown = template.variables - VARIABLES
        if unknown or "facts" not in template.variables:
            wrong = f"asks for {min(unknown)!r}" if unknown else "does not show the facts"
            raise InputError(f"prompt {template.name} {wrong}; a review has {', '.join(sorted(VARIABLES))}")
        return template

    @property
    def name(self) -> str:
        return self.template.name

    @property
    def prompt_hash(self) -> str:
        return self.template.hash

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
        user, item = request.parents
        rating, rest = read_rating(text)
        if self._scale is None:
            rating = None
        elif rating is None:
            raise Rejected("no_rating")
        elif not self._scale.holds(rating):
            raise Rejected("off_scale")
        review = review_in(rest, completion.finish == "length")
        if is_echo(review, request.prompt.user):
            raise Rejected("echo")
        if rating is not None and self._scale is not None and contradicts(review, self._scale.place(rating.value)):
            raise Rejected("inconsistent")
        return Parsed(review, (Pair(user, item, rating=None if rating is None else rating.value),))

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        """write: what users wrote, where the log has a column `review`; a rating alone is no review, so else nothing.

        queries: an item's tags, hidden from the facts shown; an item without any gives none.
        """
        dataset = narrowed(dataset, self.attributes)
        if not self.writes:
            yield from self._query_examples(dataset)
        elif COLUMN in dataset.interactions.columns:
            yield from self._review_examples(dataset)
        else:
            LOG.warning(
                "%s: the log has no column %r with what users wrote, so there are no examples", self.name, COLUMN
            )

    def _review_examples(self, dataset: Dataset) -> Iterator[Example]:
        """The history shown is what the user had before, by time and then by item id."""
        scale = measure(dataset.interactions["rating"])
        view = _Shown(self, dataset)
        log = dataset.interactions.sort_values(["user_id", "timestamp", "item_id"], na_position="first")
        before: dict[str, list[str]] = {}
        for row in log.to_dict("records"):
            user, item = row["user_id"], row["item_id"]
            earlier = [one for one in before.setdefault(user, []) if one != item][-self.history :]
            before[user].append(item)
            review = capped(shown(row[COLUMN] or ""), ANSWER_WORDS)
            rated = row["rating"] == row["rating"]
            if len(review.split()) < FEWEST_WORDS or not view.facts.get(item) or (scale and not rated):
                continue
            prompt = self._prompt(view.facts[item], view.lines(user, earlier), scale)
            yield Example(prompt, f"Rating: {row['rating']:g}\nReview: {review}" if scale else f"Review: {review}")

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
