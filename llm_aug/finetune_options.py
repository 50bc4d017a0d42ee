"""The options of fine-tuning; a file without heavy imports, for configuration and command line."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FinetuneOptions(BaseModel):
    """Names and meanings as in Hugging Face's Trainer and PEFT; what is not there:

    max_length: tokens of prompt and answer; longer examples are dropped and counted. max_minutes: ends early, with
    the learning rate falling by the clock. stall_minutes: a step that takes longer ends the run, to be resumed. bf16
    'auto': on a GPU that has it. max_steps: -1 for num_train_epochs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    lora_r: int = Field(8, ge=1)
    lora_alpha: int = Field(16, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    learning_rate: float = Field(2e-4, gt=0)
    num_train_epochs: float = Field(1.0, gt=0)
    max_steps: int = Field(-1, ge=-1)
    per_device_train_batch_size: int = Field(8, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    max_length: int = Field(1024, ge=2)
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    seed: int = 0
    bf16: bool | Literal["auto"] = "auto"
    load_in_4bit: bool = False
    gradient_checkpointing: bool = False
    save_steps: int = Field(200, ge=1)
    max_minutes: float | None = Field(None, gt=0)
    device: Literal["auto", "cpu"] = "auto"
    stall_minutes: float | None = Field(15.0, gt=0)
    trust_remote_code: bool = False
