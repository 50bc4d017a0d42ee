"""Reading prompts: what several of them share at their beginning is computed once.

A judge asks one history against many items, a rewriter for several copies of one text: 40 prompts of 280 tokens that
share 256 cost 256 + 40 * 24 tokens instead of 40 * 280.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from llm_aug.backends.loading import Engine
from llm_aug.backends.states import CausalState, Seq2SeqState, pad_left

Tokens = list[int]
Group = tuple[int, list[int]]  # tokens shared, rows that share them
State = CausalState | Seq2SeqState

MIN_SHARED = 24  # tokens; below it a second forward pass costs more than it saves
MIN_SHARE = 0.5  # of the shorter prompt
MIN_OF_NEIGHBOUR = 0.8  # a common system prompt must not swallow the longer histories within it


def read_prompts(
    engine: Engine, prompts: Sequence[Tokens], rows: Sequence[int]
) -> list[tuple[list[int], State, Tensor]]:
    """(rows, their state, their next-token logits): first of the prompts that share nothing, then of the others."""
    read: list[tuple[list[int], State, Tensor]] = []
    groups = prefix_groups(engine, prompts, rows)
    alone = [row for shared, rows in groups for row in rows if not shared]
    for chunk in _chunks(alone, prompts, engine.read_tokens) if engine.shares_prefixes else [alone] if alone else []:
        read.append((chunk, *engine.read([prompts[row] for row in chunk])))
    sharing = [(shared, rows) for shared, rows in groups if shared]
    if sharing:
        prefixes, _ = engine.read([prompts[rows[0]][:shared] for shared, rows in sharing])
        assert isinstance(prefixes, CausalState)
        state = prefixes.branch([group for group, (_, rows) in enumerate(sharing) for _ in rows])
        rest = [prompts[row][shared:] for shared, rows in sharing for row in rows]
        logits = state.read(*pad_left(rest, engine.rendering.pad, engine.model.device))
        read.append(([row for _, rows in sharing for row in rows], state, logits))
    return read


def _chunks(rows: Sequence[int], prompts: Sequence[Tokens], most: int) -> list[list[int]]:
    """Rows of like length together, padded to at most so many tokens, or alone."""
    chunks: list[list[int]] = []
    for row in sorted(rows, key=lambda row: -len(prompts[row])):
        if chunks and len(prompts[chunks[-1][0]]) * (len(chunks[-1]) + 1) <= most:
            chunks[-1].append(row)
        else:
            chunks.append([row])
    return chunks


def prefix_groups(engine: Engine, prompts: Sequence[Tokens], rows: Sequence[int]) -> list[Group]:
    if not engine.shares_prefixes:
        return [(0, [row]) for row in rows]
    ordered = sorted(rows, key=lambda row: prompts[row])
    groups = shared_prefixes([prompts[row] for row in ordered])
    return [(shared, [ordered[place] for place in places]) for shared, places in groups]


def shared_prefixes(ordered: Sequence[Tokens]) -> list[Group]:
    """Cuts lexicographically sorted prompts into runs that share a beginning; at least one token of each is left over.

    Returns (tokens shared, 0 in a run of one; places in the order).
    """
    common = [0, *(_common(a, b) for a, b in pairwise(ordered)), 0]
    groups: list[Group] = []
    for place, prompt in enumerate(ordered):
        shared = common[place]
        shorter = min(len(prompt), len(ordered[place - 1])) if place else 0
        neighbour = max(common[place - 1] if place else 0, common[place + 1])
        if place and shared >= max(MIN_SHARED, MIN_SHARE * shorter, MIN_OF_NEIGHBOUR * neighbour):
            before, places = groups[-1]
            left_over = min(shared, shorter - 1)
            groups[-1] = (left_over if len(places) == 1 else min(before, left_over), [*places, place])
        else:
            groups.append((0, [place]))
    return groups


def _common(a: Tokens, b: Tokens) -> int:
    """Length of the common prefix, by halving: comparing slices is much faster than comparing tokens."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
