"""Log-probabilities of continuations after prompts, many to many; what prompts share is computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_aug.backends.batching import run_batches
from llm_aug.backends.loading import Engine
from llm_aug.backends.prefixes import State, Tokens, prefix_groups, read_prompts
from llm_aug.backends.states import CausalState

FAN = 4  # continuations of one row from which on it is cheaper to read them side by side than to copy the row
FAN_TOKENS = 256  # in a pass; with twice as many, what they do not see of each other costs more than it saves


def score_rows(engine: Engine, prompts: Sequence[Tokens], continuations: Sequence[Tokens]) -> NDArray[np.float64]:
    """[prompts, continuations], NaN for a prompt that is refused or does not fit into memory."""
    scores = np.full((len(prompts), len(continuations)), np.nan)
    longest = max(map(len, continuations), default=0)
    costs = [len(prompt) + longest for prompt in prompts]

    def plan(rows: Sequence[int]) -> list[list[int]]:
        """Rows that share a prefix in one batch, as far as they fit."""
        groups = prefix_groups(engine, prompts, rows)
        groups.sort(key=lambda group: (group[0] > 0, -max(costs[row] for row in group[1])))
        batches: list[list[int]] = []
        most = 0
        for row in (row for _, rows in groups for row in rows):
            most = max(most, costs[row])
            if batches and len(batches[-1]) < engine.budget.rows(most):
                batches[-1].append(row)
            else:
                batches.append([row])
                most = costs[row]
        return batches

    def run(batch: list[int]) -> None:
        for rows, state, logits in read_prompts(engine, prompts, batch):
            room = engine.budget.rows(max(costs[row] for row in rows))
            scores[rows] = _continue(state, logits, continuations, room)

    if continuations:
        fitting = [row for row, prompt in enumerate(prompts) if not engine.refusal(prompt, longest)]
        with torch.inference_mode():
            run_batches(fitting, costs, engine.budget, plan, run)
    return scores


def _continue(state: State, logits: Tensor, continuations: Sequence[Tokens], room: int) -> NDArray[np.float64]:
    """Summed log-probabilities [rows, continuations]. room: pairs of a row and a continuation to compute at once.

    The first token of every continuation is told by the prompt's own logits: 'yes' and 'no' need no further pass.
    """
    first = logits.log_softmax(-1)
    sums = first[:, [tokens[0] for tokens in continuations]].double()
    longer = sorted(
        (n for n, tokens in enumerate(continuations) if len(tokens) > 1), key=lambda n: len(continuations[n])
    )
    if len(longer) >= FAN and isinstance(state, CausalState) and state.fans:
        for row in range(len(logits)):
            sums[row, longer] += _fanned(state.branch([row]), [continuations[n] for n in longer], room)
        return sums.cpu().numpy()
    pairs = [(row, n) for n in longer for row in range(len(logits))]
    for start in range(0, len(pairs), room):
        chosen = pairs[start : start + room]
        rows, columns = ([pair[part] for pair in chosen] for part in (0, 1))
        sums[rows, columns] += _rest(state.branch(rows), [continuations[column] for column in columns])
    return sums.cpu().numpy()


def _fanned(state: CausalState, continuations: Sequence[Tokens], room: int) -> Tensor:
    """As `_rest`, of several continuations of one row, as many in a pass as make some FAN_TOKENS."""
    size = min(room, max(1, FAN_TOKENS // max(map(len, continuations))))
    sums = []
    for start in range(0, len(continuations), size):
        some = continuations[start : start + size]
        logits = state.fan([tokens[:-1] for tokens in some])
        told = torch.tensor([token for tokens in some for token in tokens[1:]], device=logits.device)
        owner = torch.tensor([n for n, tokens in enumerate(some) for _ in tokens[1:]], device=logits.device)
        found = (logits.gather(-1, told[:, None])[:, 0] - logits.logsumexp(-1)).double()
        sums.append(torch.zeros(len(some), dtype=torch.double, device=logits.device).index_add_(0, owner, found))
    return torch.cat(sums)


def _rest(state: State, continuations: Sequence[Tokens]) -> Tensor:
    """Summed log-probabilities [rows] of all tokens but the first, one continuation for each row of the state."""
    longest = max(map(len, continuations))
    padded = [[*tokens, *[tokens[-1]] * (longest - len(tokens))] for tokens in continuations]
    ids = torch.tensor(padded, device=state.mask.device)
    logits = state.extend(ids[:, :-1])  # what pads on the right is seen by no token before it
    found = torch.gather(logits, -1, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
    lengths = torch.tensor([len(tokens) - 1 for tokens in continuations], device=ids.device)
    counted = torch.arange(longest - 1, device=ids.device) < lengths[:, None]
    return found.double().masked_fill(~counted, 0.0).sum(-1)
