"""Every figure of the card: bits per byte by task and source beside two yardsticks, the judge, samples and copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from llm_aug.builtin import corpus, measure
from llm_aug.builtin.corpus import Streams
from llm_aug.builtin.examples import Document
from llm_aug.builtin.measure import Verdicts
from llm_aug.builtin.memorised import Memory, Said, memory
from llm_aug.builtin.ngram import NGram
from llm_aug.builtin.packing import VERDICTS, chat

BASELINE_CHARACTERS = 5_000_000  # prompts included; a character model gains little from more
HELD_OUT_EACH = 40  # documents per stream
SAMPLES = 10  # shown of each style
ASKED = 20  # of each style, in search of copies
STARTS = 100  # pieces of prose that are gone on with, after OPENING characters
OPENING = 40


@dataclass(frozen=True)
class Compared:
    """Bits per byte: of this model, of the character 5-gram, and of the model before it, None where none is named."""

    bits: float
    baseline: float
    before: float | None


@dataclass(frozen=True)
class Measured:
    """compared: (task, source) -> bits. samples: the first ones of each style."""

    compared: dict[tuple[str, str], Compared]
    verdicts: Verdicts | None
    samples: list[Said]
    memory: Memory


def assess(folder: Path, streams: Streams, seed: int, before: Path | None) -> Measured:
    """Of the model in `folder`, as it was exported. before: folder of another model to put beside it."""
    held = corpus.held_out_documents(streams, HELD_OUT_EACH, seed)
    groups = _grouped([one for task, found in held.items() if task not in VERDICTS for one in found])
    bits = _bits(folder, groups)
    old = _bits(before, groups) if before else {}
    ngram = NGram([document.answer for document in corpus.mix(streams, BASELINE_CHARACTERS, seed)])
    model, tokenizer = _loaded(folder)
    said = _said(folder, held, seed)
    texts = [row["text"] for rows in streams.rows.values() for row in rows]
    return Measured(
        {key: Compared(bits[key], _ngram_bits(ngram, found), old.get(key)) for key, found in groups.items()},
        measure.judge(model, tokenizer, held["judge"]) if "judge" in held else None,
        _first(said),
        memory(said, texts),
    )


def _grouped(documents: Sequence[Document]) -> dict[tuple[str, str], list[Document]]:
    groups: dict[tuple[str, str], list[Document]] = {}
    for document in documents:
        groups.setdefault((document.task, document.source), []).append(document)
    return groups


def _loaded(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def _bits(folder: Path, groups: dict[tuple[str, str], list[Document]]) -> dict[tuple[str, str], float]:
    model, tokenizer = _loaded(folder)
    return {key: measure.bits_per_byte(model, tokenizer, documents) for key, documents in groups.items()}


def _ngram_bits(ngram: NGram, documents: Sequence[Document]) -> float:
    return sum(ngram.bits(d.answer) for d in documents) / sum(len(d.answer.encode()) for d in documents)


def _said(folder: Path, held: dict[str, list[Document]], seed: int) -> list[Said]:
    """ASKED answers of each style and STARTS pieces of prose gone on with, at measure.TEMPERATURE."""
    model, tokenizer = _loaded(folder)
    said: list[Said] = []
    for task, documents in held.items():
        if task in VERDICTS:
            continue
        for document in _spread(documents, STARTS if task == "prose" else ASKED):
            opening = "" if document.prompt else document.answer[:OPENING]
            asked = chat(tokenizer, document.prompt) if document.prompt else opening
            said.append(Said(document, opening, measure.answer(model, tokenizer, asked, seed, len(said))))
    return said


def _spread(documents: Sequence[Document], count: int) -> Sequence[Document]:
    """So many of them, from every stream."""
    return documents[:: max(1, len(documents) // count)][:count]


def _first(said: Sequence[Said]) -> list[Said]:
    counts: dict[str, int] = {}
    kept = []
    for one in said:
        counts[one.document.task] = counts.get(one.document.task, 0) + 1
        if one.document.prompt and counts[one.document.task] <= SAMPLES:
            kept.append(one)
    return kept
