"""Histories in titles: what a user with few events liked next (extend), and what an invented user liked (simulate).

An answer is one title per line. Titles become items through `grounding`; what names no item is left out and counted.
A template that uses `history` extends a user's; one that uses `profile` invents users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_aug import seeds
from llm_aug.data import Completion, Dataset, Example, Kind, Pair, Reject, Request
from llm_aug.errors import InputError, LlmAugError
from llm_aug.prompt import Template
from llm_aug.tasks import Rejected
from llm_aug.tasks.grounding import MARGIN, Grounding, lines, release_column
from llm_aug.tasks.judge import Judge
from llm_aug.tasks.mix import Mix, profile_lines
from llm_aug.tasks.prompted import Prompted

DAY = 86_400  # seconds: the gap where no user has two events to tell one
CUTS = 4  # examples of one user: the most active would otherwise teach everything
READ = 3  # lines read for each title asked: some models never stop
UNGROUNDED = ("ungrounded", "ambiguous", "other_year")


@dataclass(frozen=True)
class _Log:
    """What the training log says. items: of each user, oldest first. first, last: each user's times, in seconds.

    gaps: between a user's events. repeats: share of events that name an item which the user had before.
    """

    items: Mapping[str, tuple[str, ...]]
    first: Mapping[str, int]
    last: Mapping[str, int]
    gaps: NDArray[np.int64]
    repeats: float


def read_log(dataset: Dataset) -> _Log:
    log = dataset.interactions
    timed = log.dropna(subset=["timestamp"]).sort_values(["user_id", "timestamp"])
    times = timed.groupby("user_id")["timestamp"]
    return _Log(
        items=Judge(history=max(1, len(log))).histories(dataset),
        first={user: int(when) for user, when in times.min().items()},
        last={user: int(when) for user, when in times.max().items()},
        gaps=times.diff().dropna().to_numpy(dtype=np.int64),
        repeats=float(log.duplicated(["user_id", "item_id"]).mean()) if len(log) else 0.0,
    )


@dataclass
class History(Prompted):
    """events: titles asked of a user. users_with_at_most: so many events has a user who is extended, and one at least.

    users: ids to extend instead. shown: latest items in a prompt. new_users: to be invented, by `profiles` in turn or
    by what items of a drawn user have in common. least: usable titles without which an answer is rejected. limit: users
    asked at most. copies: answers per user, each a history of its own. words: of a title that are shown. encoder,
    floor, margin, release: see `Grounding`; attributes: columns in an invented user's profile (default: all).
    constrained: the model writes `events` titles of the catalogue, none of them known to the user or yet to come.
    """

    task: ClassVar[str] = "history"
    style: str = "extend"
    events: int = 5
    users_with_at_most: int = 5
    users: Sequence[str] | None = None
    new_users: int = 0
    profiles: Sequence[str] = ()
    attributes: Sequence[str] | None = None
    limit: int | None = None
    copies: int = 1
    seed: int = 0
    shown: int = 8
    words: int = 12
    least: int = 1
    encoder: str = "letters:512"
    floor: float | None = None
    margin: float = MARGIN
    release: str | None = None
    constrained: bool = False
    kind: Kind = "history"
    stage: str = "generate"

    def __post_init__(self) -> None:
        for name in ("events", "users_with_at_most", "copies", "shown", "words", "least"):
            if getattr(self, name) < 1:
                raise InputError(f"history: {name} is at least 1, not {getattr(self, name)}")
        self._ready: tuple[Grounding, _Log] | None = None
        self._told: dict[str, Counter[str]] = {}

    def variables(self, template: Template) -> tuple[Set[str], Set[str]]:
        return {"profile" if "profile" in template.variables else "history", "count"}, set()

    @property
    def extends(self) -> bool:
        """Whether there is a user already."""
        return "history" in self.template.variables

    def requests(self, dataset: Dataset) -> Iterator[Request | Reject]:
        """Reads the catalogue and the log that `parse` needs, then asks, users in a seeded order."""
        if not self.extends and (self.copies > 1 or self.new_users < 1):
            raise InputError(
                f"{self.name} invents users: new_users says how many (it is {self.new_users}), and copies is 1"
            )
        grounding, log = self._ready = self._grounding(dataset), read_log(dataset)
        yield from self._extended(grounding, log) if self.extends else self._invented(dataset, log)

    def _grounding(self, dataset: Dataset) -> Grounding:
        release = release_column(dataset.attributes, self.release)
        return Grounding(dataset.items, self.encoder, self.floor, self.margin, release, self.words)

    def _extended(self, grounding: Grounding, log: _Log) -> Iterator[Request | Reject]:
        few = [user for user, items in log.items.items() if len(items) <= self.users_with_at_most]
        users = sorted(few if self.users is None else set(self.users))
        asked = 0
        for index in seeds.generator(self.seed, "history", "order").permutation(len(users)):
            if asked == self.limit:
                return
            user = users[index]
            titles = [grounding.names[item] for item in log.items.get(user, ()) if item in grounding.names]
            if not titles:
                yield Reject(user, self.stage, "no_titles" if user in log.items else "no_history")
                continue
            asked += 1
            prompt = self.template.render(history=titles[-self.shown :], count=self.events)
            for copy in range(self.copies):
                yield Request(f"{self.name}/{user}/{copy}", user, prompt, parents=(user,))

    def _invented(self, dataset: Dataset, log: _Log) -> Iterator[Request | Reject]:
        mix = Mix(dataset, self.attributes, self.release)
        real = sorted(log.items)
        number = -1
        for count in range(self.new_users if self.limit is None else min(self.limit, self.new_users)):
            number += 1
            while f"synthetic/{number}" in log.items:  # a user of an earlier run that is in the log now
                number += 1
            user = f"synthetic/{number}"
            random = seeds.generator(self.seed, "history", "mix", user)
            like = log.items[real[random.integers(len(real))]] if real else ()
            drawn = () if self.profiles else _some(like, self.shown, random)
            profile = profile_lines(self.profiles[count % len(self.profiles)]) if self.profiles else mix.profile(drawn)
            if not profile:
                yield Reject(user, self.stage, "no_profile")
                continue
            prompt = self.template.render(profile=profile, count=self.events)
            yield Request(f"{self.name}/{user}/0", user, prompt, parents=drawn)

    def parse(self, request: Request, completion: Completion) -> str | tuple[Pair, ...]:
        """Reasons: empty, truncated (inside the first title), ungrounded (fewer than `least` titles name an item), or
        what most of the grounded ones are: known (to the user), repeated, unreleased."""
        truncated = completion.finish == "length"
        titles = lines(completion.text, truncated)[: READ * self.events]
        told = self._told[request.key] = Counter[str]()
        if not titles:
            raise Rejected("truncated" if truncated and completion.text.strip() else "empty")
        pairs = self._pairs(request, titles, told)
        if len(pairs) < self.least:
            grounded = told.total() - sum(told[reason] for reason in UNGROUNDED)
            faults = [(told[reason], reason) for reason in ("known", "repeated", "unreleased")]
            raise Rejected("ungrounded" if grounded < self.least else max(faults)[1])
        return tuple(pairs)

    def titles(self) -> list[str]:
        """What may be written where only titles that exist may be: each leads back to its item."""
        return self._read()[0].unique_names()

    def barred(self, request: Request) -> list[str]:
        """Titles that `parse` refuses to this user whatever else the answer says: known ones, and those yet to come."""
        grounding, log = self._read()
        when = self._start(request.subject, log, self._times(request))
        known = (grounding.names[item] for item in self._refused(request, log) if item in grounding.names)
        return [*known, *([] if when is None else grounding.released_after(when))]

    def _read(self) -> tuple[Grounding, _Log]:
        if self._ready is None:
            raise LlmAugError(f"{self.name}: answers are read after requests(dataset), which knows the catalogue")
        return self._ready

    def _pairs(self, request: Request, titles: Sequence[str], told: Counter[str]) -> list[Pair]:
        """Up to `events` pairs; told counts, for each title read, 'kept' or why not."""
        grounding, log = self._read()
        random = self._times(request)
        refused, new = self._refused(request, log), set[str]()
        when = self._start(request.subject, log, random)
        pairs: list[Pair] = []
        for title in titles:
            found = grounding.ground(title)
            item = found.item
            fault = found.reason
            if item in refused:
                fault = "known"
            elif item in new and random.random() >= log.repeats:
                fault = "repeated"
            if not fault and when is not None and grounding.released.get(item, when) > when:
                fault = "unreleased"
            told[fault or "kept"] += 1
            if fault:
                continue
            pairs.append(Pair(request.subject, item, when))
            new.add(item)
            if len(pairs) == self.events:
                break
            when = None if when is None else when + _gap(log, random)
        return pairs

    def _times(self, request: Request) -> np.random.Generator:
        return seeds.generator(self.seed, "history", "times", request.key)

    def _refused(self, request: Request, log: _Log) -> set[str]:
        """What the user had and does not take again: repeats are as frequent as in the log."""
        had = list(dict.fromkeys(log.items.get(request.subject, ())))
        draws = seeds.generator(self.seed, "history", "repeats", request.key).random(len(had))
        return {item for item, draw in zip(had, draws.tolist(), strict=True) if draw >= log.repeats}

    def _start(self, user: str, log: _Log, random: np.random.Generator) -> int | None:
        """The first new event's time: after the user's last; where some user began, for an invented one."""
        if user in log.items:
            return log.last[user] + _gap(log, random) if user in log.last else None
        starts = [log.first[one] for one in sorted(log.first)]
        return starts[random.integers(len(starts))] if starts else None

    def metrics(self) -> dict[str, Any]:
        """Of the last answer to each request so far: titles = kept + every reason. grounding_rate: share of the titles
        that name an item, usable or not; None before the first title."""
        told = sum(self._told.values(), Counter[str]())
        grounded = told.total() - sum(told[reason] for reason in UNGROUNDED)
        found: dict[str, Any] = {"answers": len(self._told), "titles": told.total(), **dict(told.most_common())}
        found["grounding_rate"] = grounded / told.total() if told else None
        if self._ready is not None and told:
            grounding = self._ready[0]
            found |= {"encoder": grounding.encoder.name, "floor": grounding.floor, "margin": grounding.margin}
        return found

    def examples(self, dataset: Dataset) -> Iterator[Example]:
        """The titles that followed in a user's own history, at up to CUTS places of it; without times, in any order."""
        grounding, log, mix = self._grounding(dataset), read_log(dataset), Mix(dataset, self.attributes, self.release)
        for user in sorted(log.items):
            random = seeds.generator(self.seed, "examples", self.name, user)
            items = [item for item in log.items[user] if item in grounding.names]
            if user not in log.last:
                random.shuffle(items)
            places = np.arange(int(self.extends), len(items))
            for cut in sorted(random.permutation(places)[:CUTS].tolist()):
                answer = [grounding.names[item] for item in items[cut : cut + self.events]]
                if self.extends:
                    before = [grounding.names[item] for item in items[max(0, cut - self.shown) : cut]]
                    prompt = self.template.render(history=before, count=len(answer))
                elif profile := mix.profile(_some(items, self.shown, random)):
                    prompt = self.template.render(profile=profile, count=len(answer))
                else:
                    continue
                yield Example(prompt, "\n".join(answer))


def _some(items: Sequence[str], most: int, random: np.random.Generator) -> tuple[str, ...]:
    return tuple(items[place] for place in sorted(random.permutation(len(items))[:most]))


def _gap(log: _Log, random: np.random.Generator) -> int:
    """Seconds to the next event, 1 at least: times increase."""
    return max(1, int(random.choice(log.gaps))) if len(log.gaps) else DAY
