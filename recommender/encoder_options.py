"""The options of tuning a sentence encoder; a file without heavy imports, for configuration and command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass
class EncoderTuning:
    """layers: the last ones, whose linear maps get LoRA of rank lora_r. max_length: tokens of a text; the rest is cut.

    batch_size: items whose texts a step reads, each with at most pairs_per_item of its users.
    """

    layers: Annotated[int, Field(ge=1)] = 2
    lora_r: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    epochs: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=2)] = 64
    pairs_per_item: Annotated[int, Field(ge=1)] = 16
    temperature: Annotated[float, Field(gt=0)] = 0.1
    max_length: Annotated[int, Field(ge=8)] = 96
    seed: int = 0
