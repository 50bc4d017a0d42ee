"""LoRA fine-tuning on (prompt, answer) pairs: the same call on a laptop, on a GPU and under `accelerate launch`.

Writes OUTPUT/{adapter_model.safetensors, adapter_config.json, seen.parquet, finetune.json}, whole or not at all.
Until then OUTPUT.partial holds a checkpoint, from which the same call goes on with the same result.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, prepare_model_for_kbit_training
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from llm_aug import seeds
from llm_aug.answers import locked
from llm_aug.backends.batching import is_memory_error
from llm_aug.backends.loading import (
    ADAPTER_WEIGHTS,
    adapter_revision,
    load_config_and_tokenizer,
    load_weights,
    make_engine,
    weights_revision,
    weights_source,
    without_peft_warnings,
)
from llm_aug.checkpoint import recipe_of, whole_folder
from llm_aug.data import Example
from llm_aug.errors import InputError, Resumable, ResumeRefused, Unavailable
from llm_aug.files import fingerprint, read_json, write_json
from llm_aug.finetune_loop import Run, train
from llm_aug.finetune_options import FinetuneOptions
from llm_aug.finetune_record import FINETUNE_RECORD
from llm_aug.finetune_rows import tokenise
from llm_aug.seen import Hashes, write_seen

_NOT_RECIPE = {
    "model",
    "save_steps",
    "gradient_checkpointing",
    "device",
    "stall_minutes",
}  # the revision stands for the model


@dataclass(frozen=True)
class FinetuneResult:
    """revision: of the model's weights. adapter_revision: of the adapter's. curve: [step, mean loss per answer token].

    seconds and tokens_per_second (read tokens, padding not counted) are of the training steps alone.
    """

    adapter: Path
    adapter_revision: str
    revision: str
    steps: int
    curve: list[list[float]]
    validation_before: float | None
    validation_after: float | None
    examples: int
    dropped: int
    seconds: float
    tokens_per_second: float
    resumed_from: int
    reused: bool


def finetune(
    examples: Sequence[Example],
    validation: Sequence[Example],
    options: FinetuneOptions,
    output: Path,
    split_hash: str = "",
    catalogue: str = "",
    seen: Hashes | None = None,
) -> FinetuneResult:
    """Trains an adapter, goes on with a half-trained one, or returns the finished one of the same recipe.

    split_hash, catalogue: of what the examples are from, see `finetune_record`. seen: the real pairs they may tell of.
    Raises InputError without usable examples, ResumeRefused where `output` holds another recipe, Unavailable without
    the model, Resumable when memory runs out.
    """
    source = weights_source(options.model)
    config, tokenizer = load_config_and_tokenizer(source, options.trust_remote_code)
    revision = weights_revision(source, config)
    accelerator = Accelerator(cpu=options.device == "cpu", mixed_precision="bf16" if _bf16(options) else "no")
    recipe = {
        "options": options.model_dump(exclude=_NOT_RECIPE),
        "examples": fingerprint([asdict(example) for example in examples]),
        "validation": fingerprint([asdict(example) for example in validation]),
        "revision": revision,
        "split_hash": split_hash,
        **({"processes": accelerator.num_processes} if accelerator.num_processes > 1 else {}),  # rows of a step
    }
    key = fingerprint(recipe)
    partial = output.with_name(f"{output.name}.partial")
    if _is_finished(output, key):
        shutil.rmtree(partial, ignore_errors=True)  # left by a kill just before its removal
        return _result(output, reused=True)
    with _locked(partial, key, accelerator.is_main_process), _memory_errors():
        base = load_base(source, config, options, accelerator.device)
        engine = make_engine(base, tokenizer, revision)
        room = min(options.max_length, engine.limit or options.max_length)
        rows, dropped = tokenise(examples, engine.rendering, room)
        held, _ = tokenise(validation, engine.rendering, room)
        if not len(rows):
            raise InputError(f"none of {len(examples)} examples fits into {room} tokens; raise max_length")
        model = with_lora(base, options)
        outcome = train(Run(accelerator, model, engine, options, partial, key), rows, held)
        if accelerator.is_main_process:
            counts = {"examples": len(rows), "dropped": dropped}
            record = {**recipe, **outcome, **counts, "catalogue": catalogue, "model": options.model, "recipe": key}
            _write_adapter(output, model, record, seen)
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(partial)
    return _result(output, reused=False)


def load_base(source: str, config: Any, options: FinetuneOptions, device: torch.device) -> Any:
    """The frozen weights on the device: bfloat16 or float32, or four bits where asked for."""
    dtype = torch.bfloat16 if _bf16(options) else torch.float32
    if not options.load_in_4bit:
        model = load_weights(source, config, options.trust_remote_code, dtype=dtype).to(device)
        if options.gradient_checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        return model
    if find_spec("bitsandbytes") is None:
        raise Unavailable("load_in_4bit needs the package bitsandbytes: pip install bitsandbytes")
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    placed: dict[str, Any] = {"quantization_config": four_bits, "device_map": {"": device}}
    model = load_weights(source, config, options.trust_remote_code, dtype=dtype, **placed)
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=options.gradient_checkpointing)


def with_lora(model: Any, options: FinetuneOptions) -> Any:
    """Adapters on every linear layer but the head (Hu et al. 2021, Dettmers et al. 2023); the first draw is seeded."""
    torch.manual_seed(seeds.derive(options.seed, "finetune", "lora") % 2**32)
    lora = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    with without_peft_warnings():
        return get_peft_model(model, lora)


def _bf16(options: FinetuneOptions) -> bool:
    if options.bf16 != "auto":
        return options.bf16
    on_gpu = options.device == "auto" and torch.cuda.is_available()
    return on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)


def _is_finished(output: Path, key: str) -> bool:
    """Raises ResumeRefused where something else lies in the way."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if not (output / FINETUNE_RECORD).is_file():
        raise ResumeRefused(f"{output} is there and is no adapter of ours; choose another --output")
    if read_json(output / FINETUNE_RECORD).get("recipe") != key:
        raise ResumeRefused(f"{output} holds an adapter of another recipe; choose another --output or remove it")
    return True


@contextmanager
def _locked(partial: Path, key: str, main_process: bool) -> Iterator[None]:
    """Holds the unfinished run; raises ResumeRefused where it is another recipe's or another process trains it."""
    if recipe_of(partial) not in (None, key):
        raise ResumeRefused(f"{partial} holds a half-trained adapter of another recipe; finish or remove it")
    if not main_process:
        yield
        return
    with locked(partial):
        yield


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory_error(error):
            raise
        mend = "lower per_device_train_batch_size or max_length"
        raise Resumable(f"memory ran out while fine-tuning; {mend}") from error


def _write_adapter(output: Path, model: Any, record: dict[str, Any], seen: Hashes | None) -> None:
    """The adapter names its model as the user did, not the folder it was loaded from."""
    model.peft_config["default"].base_model_name_or_path = record["model"]
    state = {
        key: value.contiguous() for key, value in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    with whole_folder(output) as folder:
        save_file(state, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        model.peft_config["default"].target_modules = sorted(model.peft_config["default"].target_modules)
        model.peft_config["default"].save_pretrained(folder)
        if seen is not None:
            write_seen(folder, seen)
        write_json(folder / FINETUNE_RECORD, record)


def _result(output: Path, reused: bool) -> FinetuneResult:
    record = read_json(output / FINETUNE_RECORD)
    own = {field.name: record[field.name] for field in fields(FinetuneResult) if field.name in record}
    return FinetuneResult(adapter=output, adapter_revision=adapter_revision(output), reused=reused, **own)
