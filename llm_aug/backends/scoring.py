"""Log-probabilities of continuations; what prompts share at their beginning is computed once.

A judge asks one history against many items: 40 prompts of 280 tokens that share 256 cost 256 + 40 * 24 tokens
instead of 40 * 280.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_aug.backends.batching import run_batches
from llm_aug.backends.loading import Engine
from llm_aug.backends.states import CausalState, Seq2SeqState, pad_left

Tokens = list[int]
Group = tuple[int, list[int]]  # tokens shared, rows that share them

MIN_SHARED = 24  # tokens; below it a second forward pass costs more than it saves
MIN_SHARE = 0.5  # of the shorter prompt
MIN_OF_NEIGHBOUR = 0.8  # a common system prompt must not swallow the longer histories within it


def score_rows(engine: Engine, prompts: Sequence[Tokens], continuations: Sequence[Tokens]) -> NDArray[np.float64]:
    """[prompts, continuations], NaN for a prompt that is refused or does not fit into memory."""
    scores = np.full((len(prompts), len(continuations)), np.nan)
    longest = max(map(len, continuations), default=0)
    costs = [len(prompt) + longest for prompt in prompts]

    def plan(rows: Sequence[int]) -> list[list[int]]:
        groups = _groups(engine, prompts, rows)
        groups.sort(key=lambda group: (group[0] > 0, -max(costs[row] for row in group[1])))
        batches: list[list[int]] = []
        most = 0
        for row in (row for _, rows in groups for row in rows):
            most = max(most, costs[row])
            if batches and most * (len(batches[-1]) + 1) <= engine.budget.tokens:
                batches[-1].append(row)
            else:
                batches.append([row])
                most = costs[row]
        return batches

    def run(batch: list[int]) -> None:
        for rows, state, logits in _read(engine, prompts, _groups(engine, prompts, batch)):
            scores[rows] = _continue(state, logits, continuations)

    if continuations:
        fitting = [row for row, prompt in enumerate(prompts) if not engine.refusal(prompt, longest)]
        with torch.inference_mode():
            run_batches(fitting, costs, engine.budget, plan, run)
    return scores


def _read(
    engine: Engine, prompts: Sequence[Tokens], groups: Sequence[Group]
) -> list[tuple[list[int], CausalState | Seq2SeqState, Tensor]]:
    """(rows, their state, their next-token logits): first of the prompts that share nothing, then of the others."""
    read = []
    alone = [row for shared, rows in groups for row in rows if not shared]
    if alone:
        read.append((alone, *engine.read([prompts[row] for row in alone])))
    sharing = [(shared, rows) for shared, rows in groups if shared]
    if sharing:
        state, _ = engine.read([prompts[rows[0]][:shared] for shared, rows in sharing])
        assert isinstance(state, CausalState)
        owners = [group for group, (_, rows) in enumerate(sharing) for _ in rows]
        rest = [prompts[row][shared:] for shared, rows in sharing for row in rows]
        state.select(torch.tensor(owners, device=engine.model.device))
        logits = state.read(*pad_left(rest, engine.rendering.pad, engine.model.device))
        read.append(([row for _, rows in sharing for row in rows], state, logits))
    return read


def _continue(
    state: CausalState | Seq2SeqState, logits: Tensor, continuations: Sequence[Tokens]
) -> NDArray[np.float64]:
    """Summed log-probabilities [rows, continuations]; a continuation of one token needs no pass of its own."""
    first = logits.log_softmax(-1)
    columns = []
    for tokens in continuations:
        column = first[:, tokens[0]].double()
        if len(tokens) > 1:
            ids = torch.tensor(tokens, device=logits.device).expand(len(logits), -1)
            more = state.fork().extend(ids[:, :-1]).log_softmax(-1)
            column = column + more.gather(-1, ids[:, 1:, None])[..., 0].double().sum(-1)
        columns.append(column)
    return torch.stack(columns, 1).cpu().numpy()


def _groups(engine: Engine, prompts: Sequence[Tokens], rows: Sequence[int]) -> list[Group]:
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
