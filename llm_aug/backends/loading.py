"""From a model's name to weights on a device: safetensors only, no remote code unless asked for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from llm_aug.backends import LoadOptions, attention
from llm_aug.backends.batching import Budget
from llm_aug.backends.rendering import Rendering
from llm_aug.backends.states import CausalState, Seq2SeqState, pad_left, prefixes_can_be_shared
from llm_aug.errors import InputError, Unavailable, did_you_mean
from llm_aug.files import fingerprint, read_json, sha256_file
from llm_aug.finetune_record import FINETUNE_RECORD

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_RELATIVE_POSITIONS = {"t5", "mt5", "umt5"}  # their n_positions is a habit of training, not a limit
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_EXACT_BELOW = 100_000_000
_READ_TOKENS = {"cpu": 2048}  # what passes between layers then fits into the cache
_BATCH_TOKENS = {"cpu": 32768, "cuda": 65536}


@dataclass(frozen=True)
class Engine:
    """A loaded model with everything that decoding and scoring need.

    limit: most positions, None where unlimited. read_tokens: of prompts to read at once, padding included.
    """

    model: Any
    rendering: Rendering
    budget: Budget
    revision: str
    limit: int | None
    shares_prefixes: bool
    decoder_start: tuple[int, ...]
    read_tokens: int = 1 << 62

    @property
    def seq2seq(self) -> bool:
        return self.rendering.seq2seq

    def read(self, rows: Sequence[Sequence[int]]) -> tuple[CausalState | Seq2SeqState, torch.Tensor]:
        """The state after these prompts and the logits of the next token, float32 [rows, vocabulary]."""
        tokens, mask = pad_left(rows, self.rendering.pad, self.model.device)
        if self.seq2seq:
            return Seq2SeqState.read(self.model, tokens, mask, self.decoder_start)
        state = CausalState.empty(self.model, len(rows))
        return state, state.read(tokens, mask)

    def refusal(self, prompt: Sequence[int], new: int) -> str:
        """Why a prompt with `new` tokens to come cannot be run; '' where it can."""
        if not prompt:
            return "the prompt is empty or no valid Unicode"
        needed = max(len(prompt), new) if self.seq2seq else len(prompt) + new
        if self.limit is not None and needed > self.limit:
            return f"the prompt has {len(prompt)} tokens, with {new} to come; the model has room for {self.limit}"
        return ""


def load_engine(name: str, options: LoadOptions) -> Engine:
    """name: a folder or a hub id. Raises Unavailable where model or adapter is missing, InputError on a bad option."""
    device = resolve_device(options.device)
    config, tokenizer = load_config_and_tokenizer(name, options.trust_remote_code)
    dtype = resolve_dtype(options.dtype, device, getattr(config, "dtype", None))
    model = load_weights(name, config, dtype=dtype, trust_remote_code=options.trust_remote_code)
    if options.dtype == "auto" and device.type == "cpu" and model.num_parameters() < _EXACT_BELOW:
        model = model.float()
    revision = weights_revision(name, config)
    if options.adapter is not None:
        model = _with_adapter(model, options.adapter, revision)
    model = model.to(device).eval()
    attention.use_for(model)
    return make_engine(model, tokenizer, revision, options.batch_tokens)


def make_engine(model: Any, tokenizer: Any, revision: str, batch_tokens: int | None = None) -> Engine:
    generation = model.generation_config
    seq2seq = bool(model.config.is_encoder_decoder)
    config = model.config if seq2seq else model.config.get_text_config()
    limited = config.model_type not in _RELATIVE_POSITIONS
    return Engine(
        model=model,
        rendering=Rendering(tokenizer, ids_of(generation.eos_token_id), seq2seq),
        budget=Budget(_affordable(model) if batch_tokens is None else batch_tokens),
        revision=revision,
        limit=getattr(config, "max_position_embeddings", None) if limited else None,
        shares_prefixes=prefixes_can_be_shared(model),
        decoder_start=decoder_start(model) if seq2seq else (),
        read_tokens=_READ_TOKENS.get(model.device.type, 1 << 62),
    )


def _affordable(model: Any) -> int:
    """Tokens whose keys and values take at most a quarter of the memory that is free, within a default by device.

    On a CPU nobody would tell that memory ran out: the system ends the process.
    """
    most = _BATCH_TOKENS.get(model.device.type, _BATCH_TOKENS["cpu"])
    config = model.config.get_text_config(decoder=True)
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    layers, width = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if not layers or not width:
        return most
    heads = getattr(config, "num_attention_heads", None) or 1
    share = (getattr(config, "num_key_value_heads", None) or heads) / heads
    each = 2 * layers * width * share * torch.finfo(model.dtype).bits / 8
    return max(1, min(most, int(free / 4 / each)))


def decoder_start(model: Any) -> tuple[int, ...]:
    """What an encoder-decoder model's answer begins with, before its first own token."""
    generation = model.generation_config
    start = generation.decoder_start_token_id
    if start is None:
        start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        raise InputError(f"{model.config.name_or_path} names no decoder_start_token_id in its configuration")
    return (start,) if generation.forced_bos_token_id is None else (start, generation.forced_bos_token_id)


def weights_source(name: str) -> str:
    """The folder or hub id in `builtin:mini`, `hf:...`, `vllm:...` or a bare name. Raises InputError for others."""
    scheme, colon, rest = name.partition(":")
    if not colon or Path(name).exists():
        return name
    if scheme == "builtin":
        from llm_aug.builtin import model_path

        return str(model_path(rest))
    if scheme not in ("hf", "vllm"):
        raise InputError(f"{name} has no weights to train; choose builtin:mini, a folder or a hub id")
    return rest


def load_config_and_tokenizer(name: str, trust_remote_code: bool = False) -> tuple[Any, Any]:
    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise Unavailable(f"there is no model folder {name}; give a folder with config.json or a hub id")
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
        return config, AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise _unavailable(name, error) from error


def load_weights(name: str, config: Any, trust_remote_code: bool = False, **options: Any) -> Any:
    """The model on the CPU, or where a quantisation among the options puts it."""
    if not sys.stderr.isatty():
        disable_progress_bar()
    # Else a hub model without safetensors makes transformers ask a public service to convert it.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    folder = Path(name)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        if any(list(folder.glob(pattern)) for pattern in _PICKLED):
            raise Unavailable(f"{name} holds pickled weights only, which can run code; convert them to safetensors")
        raise Unavailable(f"{name} holds no *.safetensors weights")
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        model, info = auto.from_pretrained(
            name,
            config=config,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            attn_implementation="sdpa",
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError) as error:
        raise _unavailable(name, error) from error
    if info["missing_keys"]:
        lacking = sorted(info["missing_keys"])[0]
        raise InputError(f"{name} is no language model: its weights lack {lacking}; choose a causal or seq2seq model")
    return model


def weights_revision(name: str, config: Any) -> str:
    """The hub's commit, or a short hash of a local folder's weights."""
    if not Path(name).is_dir():
        return str(config._commit_hash)
    return fingerprint({path.name: sha256_file(path) for path in sorted(Path(name).glob("*.safetensors"))})


def adapter_revision(folder: Path) -> str:
    """A short hash of the adapter's weights. Raises Unavailable where there are none."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise Unavailable(f"{folder} holds no {ADAPTER_WEIGHTS}; make one with `llm-aug finetune`")
    return sha256_file(folder / ADAPTER_WEIGHTS)[:16]


def check_trained_on(folder: Path, revision: str) -> None:
    """Raises InputError where the adapter was trained on other weights, Unavailable where it is none."""
    adapter_revision(folder)
    record = folder / FINETUNE_RECORD
    trained_on = read_json(record).get("revision", revision) if record.is_file() else revision
    if trained_on != revision:
        raise InputError(f"{folder} was trained on weights {trained_on}, the model has {revision}; fine-tune again")


def _with_adapter(model: Any, folder: Path, revision: str) -> Any:
    """Adds the adapter to the weights, so that it costs nothing at inference."""
    from peft import PeftModel

    check_trained_on(folder, revision)
    try:
        with without_peft_warnings():
            return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{folder} does not fit the model: {str(error).splitlines()[0]}") from error


@contextmanager
def without_peft_warnings() -> Iterator[None]:
    """PEFT asks models for a property under its old name, which no user of ours can mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield


def resolve_device(device: str) -> torch.device:
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Unavailable(f"device {device!r} is not there: {str(error).splitlines()[0]}") from error
    return torch.device(device)


def resolve_dtype(dtype: str, device: torch.device, stored: torch.dtype | None) -> torch.dtype:
    """auto: bfloat16 on a GPU that has it, and on a CPU that has it when the weights are stored so; else float32.

    A CPU never narrows float32 weights by itself, and widens small bfloat16 models (_EXACT_BELOW parameters): these are
    about as fast in float32, where a row's text does not depend on its batch nor on the processor
    (eval.bench.determinism: no row of 256 changes, in bfloat16 3 to 7 %).
    """
    if dtype != "auto":
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r} is not known; {did_you_mean(dtype, (*DTYPES, 'auto'))}")
        return DTYPES[dtype]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and stored == torch.bfloat16 and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def ids_of(value: int | Sequence[int] | None) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)


def _unavailable(name: str, error: Exception) -> Unavailable:
    reason = " ".join(str(error).split()).partition(". ")[0]
    return Unavailable(f"model {name!r} cannot be loaded: {reason}")
