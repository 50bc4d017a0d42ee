"""vLLM in this process, on its GPUs: vllm:NAME, a folder or a hub id.

Written against vLLM's documented interface (LLM, its llm_engine, SamplingParams, LoRARequest) and tested with a
stand-in of the same shape; vLLM itself was not run. It takes causal models only. `score` reads each prompt anew, since
vLLM does not use its prefix cache where the log-probabilities of a prompt are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from llm_aug.backends import LoadOptions, Scores
from llm_aug.backends.loading import (
    adapter_revision,
    check_trained_on,
    ids_of,
    load_config_and_tokenizer,
    weights_revision,
)
from llm_aug.backends.rendering import Rendering
from llm_aug.data import Completion, Prompt, Sampling
from llm_aug.errors import InputError, Unavailable
from llm_aug.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
MOST_WAITING = 1024  # requests in the engine at once: it holds their prompts, and an abandoned call ends them all
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for


def load(name: str, options: LoadOptions) -> VLLM:
    """options.extra: arguments of vLLM's engine, as in {tensor_parallel_size: 2}; device is vLLM's own choice."""
    if find_spec("vllm") is None:
        raise Unavailable(f"vllm:{name} needs the extra 'vllm': pip install 'llm-aug[vllm]'")
    config, tokenizer = load_config_and_tokenizer(name, options.trust_remote_code)
    if config.is_encoder_decoder:
        raise InputError(f"vllm:{name} is an encoder-decoder model, which vLLM does not run; leave 'vllm:' out")
    revision = weights_revision(name, config)
    given = {"enable_prefix_caching": True, **_with_lora(options.adapter, revision), **options.extra}
    from vllm import LLM

    try:
        llm = LLM(model=name, dtype=options.dtype, trust_remote_code=options.trust_remote_code, **given)
    except (TypeError, ValueError) as error:
        raise InputError(f"vllm:{name} cannot be loaded: {' '.join(str(error).split())}") from error
    ends = ids_of(getattr(config.get_text_config(), "eos_token_id", None))
    return VLLM(f"vllm:{name}", llm, Rendering(tokenizer, ends, seq2seq=False), revision, options.adapter)


class VLLM:
    """An LLM. Prompts are rendered, and cut into tokens, as for `hf`: both engines see the same.

    engine: vLLM's LLM, of which the engine below is driven: only there a request has a name of our own.
    """

    def __init__(self, name: str, engine: Any, rendering: Rendering, revision: str, adapter: Path | None = None):
        self.name = name
        self.revision = revision
        self.adapter = "" if adapter is None else adapter_revision(adapter)
        self.rendering = rendering
        self.engine = engine.llm_engine
        self.limit = int(self.engine.model_config.max_model_len)
        self._lora = {} if adapter is None else {"lora_request": _lora_request(adapter)}
        self._asked = count()

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        """A prompt too long for the model is never sent, and fails alone: finish 'error', text says why."""
        rows = self.rendering.prompt_ids(prompts)
        params = partial(
            _params,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop_token_ids=sorted(self.rendering.ends),
        )
        asked = {row: (ids, params(seed=seed)) for row, (ids, seed) in enumerate(zip(rows, seeds, strict=True))}
        for row, output in self._run(asked, sampling.max_tokens):
            yield row, Completion(output, "error", 0) if isinstance(output, str) else self._completion(output)

    def restricted(self, lines: Sequence[str], count: int) -> NoReturn:
        raise InputError(
            f"{self.name} cannot be held to a catalogue's titles; set constrained: false, or leave 'vllm:' out"
        )

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> Scores:
        """Raises InputError on a continuation without tokens. NaN for a prompt that `complete` would refuse."""
        endings = self.rendering.endings(continuations)
        rows, params = self.rendering.prompt_ids(prompts), _params(temperature=0.0, max_tokens=1, prompt_logprobs=1)
        width = len(endings)
        asked = {
            row * width + place: ([*ids, *ending] if ids else [], params)
            for row, ids in enumerate(rows)
            for place, ending in enumerate(endings)
        }
        sums = np.full(len(asked), np.nan)
        for number, output in self._run(asked, 1):
            if not isinstance(output, str):
                sums[number] = _sum(output.prompt_logprobs, endings[number % width])
        return Scores(sums.reshape(len(rows), width), np.array([len(ending) for ending in endings], dtype=np.int64))

    def _run(self, asked: Mapping[int, tuple[list[int], Any]], new: int) -> Iterator[tuple[int, Any]]:
        """(row, vLLM's output, or why there is none) as they end. new: tokens to come."""
        waiting = iter(asked.items())
        running: dict[str, int] = {}
        try:
            while True:
                while len(running) < MOST_WAITING and (entry := next(waiting, None)) is not None:
                    row, (ids, params) = entry
                    request = f"llm-aug-{next(self._asked)}"
                    if why := self._refusal(ids, new) or self._add(request, ids, params):
                        yield row, why
                    else:
                        running[request] = row
                if not running:
                    return
                for output in self.engine.step():
                    if output.finished and output.request_id in running:
                        yield running.pop(output.request_id), output
        finally:
            if running:
                self.engine.abort_request(list(running))

    def _refusal(self, ids: Sequence[int], new: int) -> str:
        if not ids:
            return "the prompt is empty or no valid Unicode"
        if len(ids) + new > self.limit:
            return f"the prompt has {len(ids)} tokens, with {new} to come; the model has room for {self.limit}"
        return ""

    def _add(self, request: str, ids: list[int], params: Any) -> str:
        """Why vLLM refuses the request, or ''."""
        try:
            self.engine.add_request(request, {"prompt_token_ids": ids}, params, **self._lora)
        except ValueError as error:
            return " ".join(str(error).split())
        return ""

    def _completion(self, output: Any) -> Completion:
        if len(output.outputs) != 1:
            return Completion(f"vLLM gave {len(output.outputs)} answers where 1 was asked for", "error", 0)
        answer = output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            return Completion(f"vLLM ended the answer for {answer.finish_reason!r}", "error", 0)
        ids = list(answer.token_ids)
        while ids and ids[-1] in self.rendering.ends:
            ids.pop()
        return Completion(self.rendering.answer_text(ids), answer.finish_reason, len(ids))


def _params(**given: Any) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY, **given)


def _sum(shown: Sequence[Mapping[int, Any] | None] | None, ending: Sequence[int]) -> float:
    """Of the ending's tokens, the last of the prompt. shown: per position, by token, an object with `logprob`."""
    if shown is None or len(shown) < len(ending):
        return float("nan")
    last = zip(shown[-len(ending) :], ending, strict=True)
    return sum(float(at[token].logprob) if at and token in at else float("nan") for at, token in last)


def _with_lora(adapter: Path | None, revision: str) -> dict[str, Any]:
    """The engine's arguments for an adapter. Raises InputError where it was trained on other weights."""
    if adapter is None:
        return {}
    check_trained_on(adapter, revision)
    rank = int(read_json(adapter / ADAPTER_CONFIG).get("r", RANKS[0]))
    room = next((room for room in RANKS if room >= rank), rank)
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}


def _lora_request(adapter: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("llm-aug", 1, str(adapter.resolve()))
