"""Interest profiles, in words and as tags from the catalogue: of a user (interests) or of a group (from its members).

An answer:  "Interests: Quiet dramas and war films.\\nTags: Drama, War"
A template that uses `members` is asked about groups, one that uses `tags` gets a closed set to choose from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Prompt, Reject, Request
from llm_aug.errors import InputError, LlmAugError
from llm_aug.prompt import Template
from llm_aug.tasks import Rejected
from llm_aug.tasks.judge import Judge
from llm_aug.tasks.prompted import Prompted
from llm_aug.tasks.reading import is_echo, shown, whole
from llm_aug.tasks.tags import Tags, narrowed, tags_of
from llm_aug.text import CHAT_TOKENS, normalised, one_line

GROUP_SIZE = 20  # users per group, on average: enough for what they share to stand out
DIMENSIONS = 32  # of the histories before they are clustered
CHOICES = 30  # tags shown: a closed set of 5,000 names fits no small model's window
_TAGS = re.compile(r"^[\s*#>-]*tags\b[\s*]*[:=-]", re.IGNORECASE | re.MULTILINE)
_INTERESTS = re.compile(r"^[\s*#>-]*interests?\b[\s*]*[:=-]", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Subject:
    """Whom a profile is about: a user, or a group and its members. items: liked ones to show, the telling ones last."""

    name: str
    members: tuple[str, ...]
    items: tuple[str, ...]


@dataclass
class Profile(Prompted):
    """limit: users or groups at most. history: items shown. count: tags in an answer at most. groups: None by size.

    attributes: columns that are shown and whose values are tags (default: all).
    """

    task: ClassVar[str] = "profile"
    style: str = "interests"
    copies: int = 1
    limit: int | None = None
    seed: int = 0
    users: Sequence[str] | None = None
    attributes: Sequence[str] | None = None
    history: int = 8
    words: int = 14
    count: int = 5
    groups: int | None = None
    kind: Kind = "profile"
    stage: str = "generate"

    def __post_init__(self) -> None:
        if min(self.history, self.words, self.count, self.copies, self.groups or 1) < 1:
            raise InputError("profile: history, words, count, copies and groups are at least 1")
        self._told: dict[str, Counter[str]] = {}
        self._closed: Tags | None = None

    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        return {"history"}, {"tags", "count", "members"}

    def requests(self, dataset: Dataset) -> Iterator[Request | Reject]:
        """Users or groups in a seeded order. Raises InputError where tags are wanted and the catalogue has none."""
        dataset = narrowed(dataset, self.attributes)
        self._told.clear()
        tags = self._closed = self._tags(dataset)
        lines = self._lines(dataset)
        prefix = "group/" if "members" in self.template.variables else ""
        asked = 0
        for subject in self._subjects(dataset):
            if asked == self.limit:
                return
            if "members" in self.template.variables and len(subject.members) < 2:
                yield Reject(subject.name, self.stage, "single_member")
                continue
            if not any(lines[item] for item in subject.items):
                yield Reject(subject.name, self.stage, "no_history")
                continue
            asked += 1
            prompt = self._prompt(subject, lines, tags)
            for copy in range(self.copies):
                yield Request(
                    f"{self.name}/{quote(subject.name.removeprefix(prefix), safe='')}/{copy}",
                    subject.name,
                    prompt,
                    subject.members,
                )

    def parse(self, request: Request, completion: Completion) -> str | tuple[Pair, ...]:
        """'Interests: ...\\nTags: a, b' in the catalogue's spelling; without tags in the template the words alone.

        Reasons: empty, truncated, no_interests, echo (of lines of the prompt), no_tags. A tag that is not in the closed
        set is dropped and counted (see `metrics`); a last one that max_tokens cut in two is no tag.
        """
        if self._closed is None:
            raise LlmAugError("profile: parse was called before requests, which finds out the closed set of tags")
        told = self._told[request.key] = Counter[str]()
        text = CHAT_TOKENS.sub(" ", completion.text)
        if not one_line(text):
            raise Rejected("empty")
        cut = completion.finish == "length"
        wanted = "tags" in self.template.variables
        interests, label, listed = _parts(text)
        words = whole(interests, cut and not label)
        if not words:
            raise Rejected("no_interests")
        if is_echo(words, request.prompt.user):
            raise Rejected("echo")
        if not wanted:
            return words
        chosen = self._chosen(listed, cut, told)
        if not chosen:
            raise Rejected("truncated" if cut and not label else "no_tags")
        return f"Interests: {words}\nTags: {', '.join(chosen)}"

    def metrics(self) -> dict[str, Any]:
        """Of the last answer to each request since `requests`: tags = kept + unknown_tag (outside the closed set) +
        repeated + over_count; an answer that is rejected before its tags are read has none."""
        told = sum(self._told.values(), Counter[str]())
        return {"answers": len(self._told), "tags": told.total(), **dict(told.most_common())}

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        """Tags that the shown items have more often than the catalogue does, and a sentence that says no more.

        Nothing where the catalogue has no tags, since then there is no true label.
        """
        dataset = narrowed(dataset, self.attributes)
        tags = tags_of(dataset)
        if not tags.names:
            return
        lines = self._lines(dataset)
        for subject in self._subjects(dataset):
            labels = tags.typical(subject.items)[: self.count]
            if labels:
                words = f"Interests: {_sentence(labels)}"
                answer = f"{words}\nTags: {', '.join(labels)}" if "tags" in self.template.variables else words
                yield Example(self._prompt(subject, lines, tags), answer)

    def _prompt(self, subject: Subject, lines: dict[str, str], tags: Tags) -> Prompt:
        values = {
            "history": [lines[item] for item in subject.items if lines[item]],
            "tags": tags.choices(subject.items, CHOICES),
            "count": self.count,
            "members": len(subject.members),
        }
        return self.template.render(**{name: values[name] for name in self.template.variables})

    def _chosen(self, listed: str, cut: bool, told: Counter[str]) -> list[str]:
        """The closed set's spelling of what was listed, each once, at most `count`; told counts, for each tag listed,
        'kept' or why not."""
        assert self._closed is not None
        parts = [part.strip(" \t*\"'.[]") for part in re.split(r"[,;|\n]", listed)]
        parts = [part for part in parts if part]
        found: dict[str, None] = {}
        for place, part in enumerate(parts):
            name = self._closed.names.get(normalised(part))
            if name is None and cut and place == len(parts) - 1:
                break
            fault = "unknown_tag" if name is None else "repeated" if name in found else ""
            fault = fault or ("over_count" if len(found) == self.count else "")
            told[fault or "kept"] += 1
            if name is not None and not fault:
                found[name] = None
        return list(found)

    def _tags(self, dataset: Dataset) -> Tags:
        tags = tags_of(dataset)
        if "tags" in self.template.variables and not tags.names:
            raise InputError(
                f"prompt {self.name} lets the model choose among tags, and no attribute of the catalogue holds words "
                "that several items share; add such a column to items, or use a style without tags"
            )
        return tags

    def _lines(self, dataset: Dataset) -> dict[str, str]:
        judged = Judge(words=self.words).lines(dataset)
        return {item: shown(line) for item, line in judged.items()}

    def _subjects(self, dataset: Dataset) -> Iterator[Subject]:
        known = set(dataset.items["item_id"])
        log = dataset.interactions
        histories = Judge(history=self.history).histories(Dataset(dataset.items, log[log["item_id"].isin(known)]))
        if "members" in self.template.variables:
            yield from self._groups(log[log["item_id"].isin(known)])
            return
        users = sorted(set(log["user_id"]) if self.users is None else set(self.users))
        unknown = set(users) - set(log["user_id"])
        if unknown:
            raise InputError(f"{len(unknown)} users to profile are not in the log, for example {min(unknown)!r}")
        for place in seeds.generator(self.seed, "profile", "order").permutation(len(users)):
            yield Subject(users[place], (users[place],), histories.get(users[place], ()))

    def _groups(self, log: Any) -> Iterator[Subject]:
        """Shown is what most of its members had; among equals what fewer other users had."""
        pairs = log[["user_id", "item_id"]].drop_duplicates()
        everyone = pairs["item_id"].value_counts()
        members = grouped(pairs, self.groups, self.seed)
        order = seeds.generator(self.seed, "profile", "order").permutation(len(members))
        for number in order:
            own = pairs[pairs["user_id"].isin(set(members[number]))]["item_id"].value_counts()
            ranked = sorted(own.index, key=lambda item: (-own[item], everyone[item], item))
            yield Subject(f"group/{number}", members[number], tuple(ranked[: self.history]))


def grouped(pairs: Any, groups: int | None, seed: int) -> list[tuple[str, ...]]:
    """Users whose histories are alike (k-means over TF-IDF of their items, by SVD); sorted, no group is empty.

    pairs: user_id, item_id. groups: at most so many; None gives GROUP_SIZE users to a group on average.
    """
    from scipy.sparse import csr_matrix
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import normalize

    users, items = (pairs[name].astype("category").cat for name in ("user_id", "item_id"))
    names = list(users.categories)
    different = len(set(pairs.sort_values("item_id").groupby("user_id")["item_id"].agg(tuple)))
    wanted = min(different, groups or max(1, round(len(names) / GROUP_SIZE)))  # k-means warns of more than there are
    if wanted <= 1:
        return [tuple(names)] if names else []
    shape = (len(names), len(items.categories))
    counts = csr_matrix((np.ones(len(pairs)), (users.codes, items.codes)), shape=shape)
    vectors = TfidfTransformer().fit_transform(counts)
    state = seeds.derive(seed, "profile", "groups") % 2**32
    if min(shape) > DIMENSIONS and different > DIMENSIONS:
        vectors = normalize(TruncatedSVD(DIMENSIONS, random_state=state).fit_transform(vectors))
    labels = KMeans(wanted, random_state=state, n_init=4).fit_predict(vectors)
    members: dict[int, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        members.setdefault(int(label), []).append(name)
    return sorted(tuple(group) for group in members.values())


def _parts(text: str) -> tuple[str, bool, str]:
    """(what stands before the tags, whether there is a line of tags, the first such line and what is listed below)."""
    found = _TAGS.search(text)
    before, after = (text, "") if found is None else (text[: found.start()], text[found.end() :])
    label = _INTERESTS.search(before)
    interests = before if label is None else before[label.end() :]
    again = _INTERESTS.search(after)  # a model that goes on with the next user
    return interests, found is not None, (after if again is None else after[: again.start()]).strip().split("\n\n")[0]


def _sentence(labels: Sequence[str]) -> str:
    first, *rest = labels
    if not rest:
        return f"Mostly {first}."
    return f"Mostly {first}, also {' and '.join(rest) if len(rest) < 3 else ', '.join(rest[:-1]) + ' and ' + rest[-1]}."
