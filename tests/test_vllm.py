"""Against a stand-in with vLLM's names and shapes, which runs the same tiny model row by row, out of order."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import WORDS

from llm_aug.backends import completed, load_llm
from llm_aug.backends.vllm import VLLM
from llm_aug.data import Prompt, Sampling
from llm_aug.errors import InputError, Unavailable

PROMPTS = [Prompt("Be brief.", " ".join(WORDS.split()[: 3 * n])) for n in range(1, 9)]
GREEDY = Sampling(0.0, 1.0, 10)
ENGINES: list[FakeEngine] = []


class RequestOutputKind(enum.Enum):
    CUMULATIVE = 0
    FINAL_ONLY = 2


@dataclass
class SamplingParams:
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 16
    stop_token_ids: list[int] | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""


@dataclass
class FakeEngine:
    """Of the requests it holds, ends the last one at each step; the others are told of as unfinished."""

    model: Any
    model_config: Any
    waiting: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)

    def add_request(
        self, request_id: str, prompt: Mapping[str, Any], params: SamplingParams, *, lora_request: Any = None
    ) -> None:
        ids = prompt["prompt_token_ids"]
        if len(ids) > self.model_config.max_model_len:
            raise ValueError("an over-long prompt ends the batch")
        if len(ids) == 7:
            raise ValueError("seven is\nrefused")
        self.asked.append((request_id, ids, params, lora_request))
        self.waiting.append((request_id, ids, params))

    def step(self) -> list[Any]:
        ended = self.waiting.pop()
        return [
            *(SimpleNamespace(request_id=waiting[0], finished=False, outputs=[]) for waiting in self.waiting),
            self.run(*ended),
        ]

    def abort_request(self, request_ids: list[str]) -> None:
        self.aborted += request_ids

    def run(self, request_id: str, ids: list[int], params: SamplingParams) -> Any:
        shown = None
        if params.prompt_logprobs is not None:
            with torch.no_grad():
                logs = self.model(torch.tensor([ids])).logits[0].log_softmax(-1)
            shown = [
                None,
                *({token: SimpleNamespace(logprob=float(logs[at, token]))} for at, token in enumerate(ids[1:])),
            ]
        new: list[int] = []
        while len(new) < params.max_tokens and not (new and new[-1] in (params.stop_token_ids or ())):
            with torch.no_grad():
                new.append(int(self.model(torch.tensor([ids + new])).logits[0, -1].argmax()))
        finish = "stop" if new[-1] in (params.stop_token_ids or ()) else "length"
        answer = SimpleNamespace(index=0, text="", token_ids=tuple(new), finish_reason=finish)
        return SimpleNamespace(request_id=request_id, finished=True, outputs=[answer], prompt_logprobs=shown)


class LLM:
    def __init__(self, model: str, *, dtype: str, trust_remote_code: bool, **options: Any):
        from transformers import AutoModelForCausalLM

        if "no_such_option" in options:
            raise TypeError("unexpected keyword argument 'no_such_option'")
        self.options = options
        loaded = AutoModelForCausalLM.from_pretrained(model).eval()
        config = SimpleNamespace(max_model_len=options.get("max_model_len", 512))
        self.llm_engine = FakeEngine(loaded, config)
        self.llm_engine.options = options  # type: ignore[attr-defined]
        ENGINES.append(self.llm_engine)


@pytest.fixture(autouse=True)
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams},
        "vllm.sampling_params": {"RequestOutputKind": RequestOutputKind, "SamplingParams": SamplingParams},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    ENGINES.clear()


def loaded(folder: Path, **options: Any) -> tuple[VLLM, FakeEngine]:
    llm = load_llm(f"vllm:{folder}", **options)
    assert isinstance(llm, VLLM)
    return llm, ENGINES[-1]


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_it_answers_and_scores_as_the_same_model_does_here(
    model_folder: Callable[..., Path], architecture: str
) -> None:
    here = load_llm(str(model_folder(architecture)), device="cpu")
    llm, _ = loaded(model_folder(architecture))
    assert completed(llm, PROMPTS, GREEDY, range(8)) == completed(here, PROMPTS, GREEDY, range(8))
    theirs, ours = here.score(PROMPTS, ["yes", "no, no"]), llm.score(PROMPTS, ["yes", "no, no"])
    np.testing.assert_allclose(ours.sums, theirs.sums, atol=1e-3)
    assert ours.tokens.tolist() == theirs.tokens.tolist()
    assert llm.score([], ["yes", "no"]).sums.shape == (0, 2)
    assert (llm.revision, llm.adapter) == (here.revision, "")


def test_an_overlong_prompt_is_never_sent(model_folder: Callable[..., Path]) -> None:
    llm, engine = loaded(model_folder("llama"), extra={"max_model_len": 60})
    asked = [Prompt("", "long " * 60), *PROMPTS[:2], Prompt("", "\ud800")]
    found = completed(llm, asked, GREEDY, range(4))
    assert "the model has room for 60" in found[0].text
    assert "Unicode" in found[3].text
    assert [one.finish == "error" for one in found] == [True, False, False, True]
    assert len(engine.asked) == 2
    scores = llm.score(asked[:2], ["yes"]).sums
    assert np.isnan(scores[:, 0]).tolist() == [True, False]


def test_what_the_engine_refuses_fails_alone(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm, _ = loaded(model_folder("llama"))
    rows = [[5] * 6, [5] * 7, [5] * 8]
    monkeypatch.setattr(llm.rendering, "prompt_ids", lambda prompts: rows)
    found = completed(llm, PROMPTS[:3], GREEDY, range(3))
    assert [one.finish == "error" for one in found] == [False, True, False]
    assert found[1].text == "seven is refused"


def test_each_row_has_its_own_seed_and_name(model_folder: Callable[..., Path]) -> None:
    llm, engine = loaded(model_folder("llama"))
    for _ in range(2):
        completed(llm, PROMPTS[:3], Sampling(0.7, 0.9, 3), [11, 12, 13])
    names, _, params, adapters = zip(*engine.asked, strict=True)
    assert len(set(names)) == 6
    assert [one.seed for one in params] == [11, 12, 13] * 2
    assert {(one.temperature, one.top_p, one.max_tokens) for one in params} == {(0.7, 0.9, 3)}
    assert {one.output_kind for one in params} == {RequestOutputKind.FINAL_ONLY}
    assert set(adapters) == {None}
    assert engine.options["enable_prefix_caching"]  # type: ignore[attr-defined]


def test_an_abandoned_call_ends_its_requests(model_folder: Callable[..., Path]) -> None:
    llm, engine = loaded(model_folder("llama"))
    rows = llm.complete(PROMPTS, GREEDY, range(8))
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert len(engine.aborted) == 7


def test_an_adapter_goes_with_each_request(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    (tmp_path / "adapter_config.json").write_text('{"r": 12}')
    llm, engine = loaded(model_folder("llama"), adapter=tmp_path)
    completed(llm, PROMPTS[:1], GREEDY, [0])
    assert engine.asked[0][3] == LoRARequest("llm-aug", 1, str(tmp_path))
    assert engine.options["max_lora_rank"] == 16  # type: ignore[attr-defined]
    assert llm.adapter
    (tmp_path / "finetune.json").write_text('{"revision": "other"}')
    with pytest.raises(InputError, match="was trained on weights other"):
        loaded(model_folder("llama"), adapter=tmp_path)


def test_what_vllm_cannot_do(model_folder: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="encoder-decoder"):
        loaded(model_folder("t5"))
    with pytest.raises(InputError, match="no_such_option"):
        loaded(model_folder("llama"), extra={"no_such_option": 1})
    with pytest.raises(InputError, match="constrained: false"):
        loaded(model_folder("llama"))[0].restricted(["Heat"], 1)


def test_without_vllm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "vllm")
    with pytest.raises(Unavailable, match=r"pip install 'llm-aug\[vllm\]'"):
        load_llm("vllm:anything")
