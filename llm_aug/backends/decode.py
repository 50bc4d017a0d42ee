"""The decoding loop: a row that has ended leaves the batch at once, and waiting ones take its place.

Every row draws its own noise, so that its text does not depend on its neighbours nor on when it joined them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from llm_aug.backends import draw
from llm_aug.backends.batching import is_memory_error, release_memory
from llm_aug.backends.loading import Engine
from llm_aug.backends.prefixes import State, Tokens, read_prompts
from llm_aug.backends.repeats import Repeats, without
from llm_aug.backends.states import CausalState
from llm_aug.backends.trie import LineAnswer, masked
from llm_aug.data import Completion, Sampling

REFILL = 8  # rows join when an eighth of the batch is free: reading one row takes as long as reading a few

Ended = tuple[int, Completion]
Begun = Callable[[int], LineAnswer]  # of a row, whenever it begins


def decode(
    engine: Engine,
    prompts: Sequence[Tokens],
    sampling: Sampling,
    seeds: Sequence[int],
    rows: Sequence[int],
    begun: Begun | None = None,
) -> Iterator[Ended]:
    """(row, completion) of these rows of prompts, as they end; the longest join first, so that memory runs out early.

    begun: the lists that the rows write, where they write nothing else. After a memory error the rows in flight begin
    anew in smaller batches; a row too large even alone fails alone.
    """
    work = _Work(engine, prompts, sampling, seeds, begun)
    waiting = deque(sorted(rows, key=lambda row: (-len(prompts[row]), row)))
    while waiting or work.rows:
        admitted = [waiting.popleft() for _ in range(work.vacancies(waiting))]
        try:
            work.advance(admitted)
            fits = True
        except (RuntimeError, MemoryError) as error:
            if not is_memory_error(error):
                raise
            fits = False
        # Outside the except block: the traceback would keep the tensors of the failed step alive.
        if not fits:
            waiting.extendleft(work.give_up(admitted)[::-1])
        yield from work.ended
        work.ended.clear()


@dataclass
class _Work:
    """The rows in flight. state: what the model remembers of them. logits: of their next tokens. written: so far.

    answers: where they write known lines, what of them. repeats: else, what they may not say again. ended: rows that
    are done, also where the step in which they ended could not be finished.
    """

    engine: Engine
    prompts: Sequence[Tokens]
    sampling: Sampling
    seeds: Sequence[int]
    begun: Begun | None
    rows: list[int] = field(default_factory=list)
    written: dict[int, Tokens] = field(default_factory=dict)
    answers: dict[int, LineAnswer] = field(default_factory=dict)
    repeats: dict[int, Repeats] = field(default_factory=dict)
    state: State | None = None
    logits: Tensor | None = None
    ended: list[Ended] = field(default_factory=list)

    def cost(self, row: int) -> int:
        return len(self.prompts[row]) + self.sampling.max_tokens

    def vacancies(self, waiting: Sequence[int]) -> int:
        """How many of the waiting rows join now."""
        if not waiting or (self.rows and not (self.state and self.state.joins)):
            return 0
        most = self.engine.budget.rows(max(self.cost(row) for row in (*self.rows, waiting[0])))
        free = min(most - len(self.rows), len(waiting))
        return free if not self.rows or free * REFILL >= most or free == len(waiting) else 0

    @torch.inference_mode()
    def advance(self, admitted: Sequence[int]) -> None:
        """Reads the prompts that join, draws a token for every row, and lets the model read it."""
        if admitted:
            self._admit(admitted)
        assert self.state is not None
        assert self.logits is not None
        device = self.logits.device
        keys = torch.tensor([self.seeds[row] for row in self.rows], device=device)
        steps = torch.tensor([len(self.written[row]) for row in self.rows], device=device)
        logits = self.logits
        if self.begun is not None:
            logits = masked(logits, [self.answers[row] for row in self.rows])
        elif self.repeats:
            logits = without(logits, [self.repeats[row] for row in self.rows])
        tokens = draw.next_tokens(logits, self.sampling, keys, steps).tolist()
        going = []
        for place, (row, token) in enumerate(zip(self.rows, tokens, strict=True)):
            finish = self._finish(row, token)
            if finish is None:
                going.append(place)
            else:
                self.ended.append((row, _completion(self.engine, self.written.pop(row), finish)))
                self.answers.pop(row, None)
                self.repeats.pop(row, None)
        if not going:
            self.rows, self.state, self.logits = [], None, None
            return
        if len(going) < len(self.rows):
            order = self.state.keep(going)
            self.rows, tokens = [self.rows[place] for place in order], [tokens[place] for place in order]
        self.logits = self.state.extend(torch.tensor(tokens, device=device)[:, None])[:, -1]

    def _admit(self, rows: Sequence[int]) -> None:
        flying = [*self.rows, *rows]
        room = (len(flying), max(map(self.cost, flying)))
        for new, state, logits in read_prompts(self.engine, self.prompts, rows):
            if self.state is None or self.logits is None:
                self.state, self.logits = state, logits
            else:
                assert isinstance(self.state, CausalState)
                assert isinstance(state, CausalState)
                self.state.join(state, room)
                self.logits = torch.cat([self.logits, logits])
            self.rows += new
            self.written |= {row: [] for row in new}
            if self.begun is not None:
                self.answers |= {row: self.begun(row) for row in new}
            elif size := self.sampling.no_repeat_ngram_size:
                self.repeats |= {row: Repeats(self.prompts[row], size) for row in new}

    def _finish(self, row: int, token: int) -> Literal["stop", "length", "error"] | None:
        """How the row ends with this token; None where it goes on."""
        if token == draw.NOT_FINITE:
            return "error"
        if token in self.engine.rendering.ends:
            return "stop"
        self.written[row].append(token)
        if row in self.repeats:
            self.repeats[row].write(token)
        if row in self.answers:
            self.answers[row].write(token)
            if self.answers[row].over:
                return "stop"
        return "length" if len(self.written[row]) == self.sampling.max_tokens else None

    def give_up(self, admitted: Sequence[int]) -> list[int]:
        """Forgets what is in flight and remembers that it was too much; a row that was alone ends.

        Returns the rows that begin anew, the longest first.
        """
        done = {row for row, _ in self.ended}
        rows = sorted({*self.rows, *admitted} - done, key=lambda row: (-len(self.prompts[row]), row))
        self.state = self.logits = None
        self.rows, self.written, self.answers, self.repeats = [], {}, {}, {}
        release_memory()
        if len(rows) > 1 or done:
            self.engine.budget.shrink(max(map(self.cost, rows), default=1), len(rows) + len(done))
            return rows
        size = len(self.prompts[rows[0]])
        self.ended.append((rows[0], Completion(f"no memory for a prompt of {size} tokens even alone", "error", 0)))
        return []


def _completion(engine: Engine, ids: Tokens, finish: Literal["stop", "length", "error"]) -> Completion:
    if finish == "error":
        return Completion("the model's logits are not finite; choose another dtype", "error", len(ids))
    return Completion(engine.rendering.answer_text(ids), finish, len(ids))
