"""The training loop of the built-in model: a wall-clock schedule, fp32 master weights, checkpoints and resume.

Under `torchrun` or `accelerate launch` each process takes its share of a step's rows, and they learn what one would.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_aug.builtin.copying import ROPE_THETA, fixed_parts, start_copying
from llm_aug.builtin.packing import Rows
from llm_aug.builtin.tokenizer import END, MAX_LENGTH, PAD
from llm_aug.finetune_loop import agreed
from llm_aug.seeds import derive, generator
from llm_aug.signals import Interrupted, deferred_interrupts

CHECKPOINT_SECONDS = 300.0
WARM_UP = 0.03  # of the time
LAST_RATE = 0.02  # of the highest learning rate


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, but for the time, which decides how far the run gets."""

    seed: int = 0
    characters: int = 120_000_000
    vocab_size: int = 4096
    hidden: int = 192
    layers: int = 4
    heads: int = 4
    feed_forward: int = 512
    length: int = 512
    batch: int = 8
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    copying: int = 1  # 0: all heads start at random, and none is fixed


@dataclass
class Progress:
    """seconds: of training so far, over all restarts. curve: what was printed at each checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Limits:
    """The run ends after `minutes` of training or `steps` steps, whichever comes first; 0 steps means no such end."""

    minutes: float
    steps: int = 0

    def done(self, progress: Progress) -> float:
        """Share of the run that lies behind, 1 at the end."""
        share = progress.seconds / (60 * self.minutes)
        return min(1.0, max(share, progress.step / self.steps if self.steps else 0.0))


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(derive(recipe.seed, "builtin", "weights") % 2**32)
    end = tokenizer.convert_tokens_to_ids(END)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    model = LlamaForCausalLM(config)
    if recipe.copying:
        start_copying(model)
    return model


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the processor has it (1.4 times as fast as fp32 on one Zen 4 thread), else fp32.

    Without AVX-512 it has not: there a bf16 product is 60 times as slow as one in fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


class Trainer:
    """Working weights in `dtype` run forward and backward; AdamW moves their fp32 masters, which are what is saved.

    The parts that `copying` fixes keep their first values. All processes hold the same masters and move them alike.
    """

    def __init__(
        self, model: LlamaForCausalLM, recipe: Recipe, accelerator: Accelerator, dtype: torch.dtype | None = None
    ) -> None:
        self.recipe, self.accelerator, self.device = recipe, accelerator, accelerator.device
        device, dtype = self.device, dtype or fast_dtype(self.device)
        self.masters = {name: p.detach().float().clone().to(device) for name, p in model.named_parameters()}
        self.model = model.to(device=device, dtype=dtype).train()
        parts = fixed_parts(model) if recipe.copying else {}
        self.fixed = {name: (mask, self.masters[name][mask].clone()) for name, mask in parts.items()}
        matrices = [p for p in self.masters.values() if p.dim() > 1]
        gains = [p for p in self.masters.values() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)

    def step(self, ids: torch.Tensor, weights: torch.Tensor, rate: float) -> float:
        """One update on ids, int64 [batch, length], of which this process takes its share.

        Returns the weighted loss in nats per token of the whole batch.
        """
        total = weights[:, 1:].sum().clamp(min=1)
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        mine, counts = ids[rank::processes], weights[rank::processes, 1:]
        hidden = self.model.model(input_ids=mine, use_cache=False).last_hidden_state[:, :-1]
        counted = counts > 0
        logits = self.model.lm_head(hidden[counted]).float()
        losses = cross_entropy(logits, mine[:, 1:][counted], reduction="none")
        loss = (losses * counts[counted]).sum() / total
        torch.autograd.backward(loss)
        self._take_gradients()
        torch.nn.utils.clip_grad_norm_(list(self.masters.values()), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        for name, (mask, values) in self.fixed.items():
            self.masters[name].data[mask] = values
        self.copy_masters()
        return float(self.accelerator.reduce(loss.detach(), "sum"))

    def _take_gradients(self) -> None:
        """From the working weights to the masters, summed over the processes in one message."""
        parameters = dict(self.model.named_parameters())
        if self.accelerator.num_processes > 1:
            grads = [p.grad.float().flatten() for p in parameters.values() if p.grad is not None]
            every = self.accelerator.reduce(torch.cat(grads), "sum")
            parts = every.split([p.numel() for p in parameters.values()])
            found = {name: part.view_as(parameters[name]) for name, part in zip(parameters, parts, strict=True)}
        else:
            found = {name: p.grad.float() for name, p in parameters.items() if p.grad is not None}
        for name, parameter in parameters.items():
            self.masters[name].grad = found[name]
            parameter.grad = None

    def copy_masters(self) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.masters[name])

    def save(self, path: Path, progress: Progress) -> None:
        state = {"masters": self.masters, "optimizer": self.optimizer.state_dict(), "progress": vars(progress)}
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> Progress:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(state["masters"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.copy_masters()
        return Progress(**state["progress"])


def learning_rate(highest: float, done: float) -> float:
    """Linear warm-up, then half a cosine down to LAST_RATE of the highest; done in [0, 1] is time, not steps."""
    if done < WARM_UP:
        return highest * (done + 1e-3) / (WARM_UP + 1e-3)
    wave = 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
    return highest * (LAST_RATE + (1 - LAST_RATE) * wave)


Observe = Callable[[LlamaForCausalLM], dict[str, float]]


def train(trainer: Trainer, rows: Rows, limits: Limits, checkpoint: Path, observe: Observe) -> Progress:
    """Trains until the limit, going on from the checkpoint where there is one.

    At each checkpoint the figures of `observe` join the curve. Neither they nor pauses between runs count as time.
    Raises Interrupted after a clean checkpoint.
    """
    recipe, accelerator = trainer.recipe, trainer.accelerator
    progress = trainer.load(checkpoint) if checkpoint.exists() else Progress()
    accelerator.wait_for_everyone()
    order = _Order(recipe, rows)
    saved, recent, stop = progress.seconds, [], 0
    with deferred_interrupts() as caught:
        while limits.done(progress) < 1:
            since = time.monotonic()
            ids, weights = (part.to(trainer.device) for part in order.batch(progress.step))
            recent.append(trainer.step(ids, weights, learning_rate(recipe.learning_rate, limits.done(progress))))
            took, stop = agreed(accelerator, time.monotonic() - since, caught)
            progress.seconds += took
            progress.step += 1
            progress.tokens += ids.numel()
            if stop or progress.seconds - saved >= CHECKPOINT_SECONDS or limits.done(progress) >= 1:
                if accelerator.is_main_process:
                    _report(progress, recent, limits, {} if stop else observe(trainer.model))
                    trainer.save(checkpoint, progress)
                accelerator.wait_for_everyone()
                saved, recent = progress.seconds, []
            if stop:
                raise Interrupted(stop, f"pretraining: {progress.step} steps")
    return progress


class _Order:
    """Which rows make up a step: each pass over them has an order of its own, which depends on the seed alone."""

    def __init__(self, recipe: Recipe, rows: Rows) -> None:
        self.recipe, self.rows = recipe, rows
        self.per_pass = max(1, len(rows.ids) // recipe.batch)
        self._order, self._of = np.zeros(0, int), -1

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """ids, int64, and weights, fp32: [batch, length]."""
        number, place = divmod(step, self.per_pass)
        if number != self._of:
            random = generator(self.recipe.seed, "builtin", "order", number)
            self._order, self._of = random.permutation(len(self.rows.ids)), number
        chosen = self._order[place * self.recipe.batch : (place + 1) * self.recipe.batch]
        ids = torch.from_numpy(self.rows.ids[chosen].astype(np.int64))
        return ids, torch.from_numpy(self.rows.weights[chosen].astype(np.float32))


def _report(progress: Progress, recent: list[float], limits: Limits, observed: dict[str, float]) -> None:
    point: dict[str, float] = {
        "minutes": round(progress.seconds / 60, 2),
        "step": progress.step,
        "tokens": progress.tokens,
        "loss": round(float(np.mean(recent)), 4),
        "tokens_per_second": round(progress.tokens / max(progress.seconds, 1e-9), 1),
        **{name: round(value, 4) for name, value in observed.items()},
    }
    progress.curve.append(point)
    parts = " ".join(f"{name} {value}" for name, value in point.items())
    say(f"{100 * limits.done(progress):5.1f} % {parts}")


def say(words: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")
    sys.stderr.flush()


def one_machine(threads: int) -> None:
    """Sets how many threads torch and the tokenizer may use."""
    torch.set_num_threads(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
