"""What the built-in model says word for word as its training text does, of samples that nobody picked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_aug.builtin.examples import Document
from llm_aug.filters.ngrams import Passages
from llm_aug.text import normalised

RUN = 12  # words in a row that nobody writes by chance
FEWEST = 5  # shorter runs are everybody's


@dataclass(frozen=True)
class Said:
    """An answer to the document's prompt, or what came after the opening of its prose."""

    document: Document
    opening: str
    answer: str

    @property
    def shown(self) -> str:
        """What the model was given; words from there are no memory."""
        prompt = self.document.prompt
        return f"{prompt.system} {prompt.user}" if prompt else self.opening


@dataclass(frozen=True)
class Memory:
    """share: of the samples that hold RUN words in a row of the training text. longest: words of the longest passage,
    0 under FEWEST; passage: the sample that has it. Words that stand in the prompt do not count.
    """

    samples: int
    share: float
    longest: int
    passage: str


def memory(said: Sequence[Said], texts: Sequence[str]) -> Memory:
    copies: int | None = None
    for run in range(RUN, FEWEST - 1, -1):
        passages = Passages([("", text) for text in texts], run)
        found = [(passages.longest(normalised(one.answer).split(), (one.shown,))[0], one.answer) for one in said]
        copies = sum(length > 0 for length, _ in found) if copies is None else copies
        longest, passage = max(found, default=(0, ""))
        if longest:
            return Memory(len(said), copies / len(said), longest, passage)
    return Memory(len(said), 0.0, 0, "")
