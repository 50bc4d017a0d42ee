"""Makes the built-in model from open text: `python -m llm_aug.builtin.pretrain --corpus ... --output ...`.

    python -m llm_aug.builtin.pretrain --corpus ../shared/corpus --output llm_aug/builtin/mini --minutes 150

Run again after a kill, it goes on from the last checkpoint in --work; with fewer --minutes than it has trained, it only
writes the model of that checkpoint. Several processes share each step's rows: `torchrun --nproc_per_node=2 -m
llm_aug.builtin.pretrain ...` on CPUs, `accelerate launch -m ...` on GPUs, where `--set hidden=512 --set layers=8 --set
batch=64` makes a better model.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_aug.builtin import assess, copying, corpus, measure, packing, training
from llm_aug.builtin.card import Build, model_card
from llm_aug.builtin.examples import Document
from llm_aug.builtin.packing import Rows, encode, pack
from llm_aug.builtin.tokenizer import train_tokenizer
from llm_aug.builtin.training import Limits, Observe, Recipe, Trainer, say
from llm_aug.errors import InputError, LlmAugError, did_you_mean
from llm_aug.files import fingerprint, write_text
from llm_aug.prompt import load_template
from llm_aug.signals import Interrupted

TOKENIZER_CHARACTERS = 12_000_000
FEW_HELD_OUT = 3  # documents per stream, at each checkpoint


def prepare(streams: corpus.Streams, recipe: Recipe, folder: Path) -> None:
    """Leaves the tokenizer and the packed rows in the folder; nothing to do where an earlier run left them."""
    packed = folder / "rows.npz"
    if packed.exists():
        return
    documents = corpus.mix(streams, recipe.characters, recipe.seed)
    say(f"{len(documents)} documents")
    tokenizer = train_tokenizer(plain(documents, TOKENIZER_CHARACTERS), recipe.vocab_size)
    tokenizer.save_pretrained(folder / "tokenizer")
    say(f"tokenizer of {len(tokenizer)} tokens")
    rows = pack(list(encode(documents, tokenizer)), recipe.length)
    say(f"{rows.ids.shape[0]} rows of {rows.ids.shape[1]} tokens")
    temporary = folder / "rows.tmp.npz"
    np.savez(temporary, ids=rows.ids, weights=rows.weights)
    temporary.replace(packed)


def prepared(folder: Path) -> tuple[PreTrainedTokenizerFast, Rows]:
    with np.load(folder / "rows.npz", allow_pickle=False) as arrays:
        return PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"), Rows(arrays["ids"], arrays["weights"])


def plain(documents: Sequence[Document], characters: int) -> list[str]:
    """What the tokenizer learns from: answers and prompts, without the chat tokens."""
    texts: list[str] = []
    taken = 0
    for document in documents:
        if taken >= characters:
            break
        texts.append(document.answer)
        if document.prompt:
            texts.append(document.prompt.user)
        taken += document.characters
    return texts


def work_folder(work: Path, corpus_folder: Path, recipe: Recipe) -> Path:
    """One folder per recipe, mix, corpus and prompt wording: a changed one starts anew, the same one goes on."""
    files = [(path.name, path.stat().st_size) for path in sorted(corpus_folder.glob("*.jsonl.zst"))]
    wordings = [load_template(task, style).hash for task, style in corpus.TEMPLATES]
    mixed = [corpus.PROSE, str(corpus.TASKS), packing.PROMPT_WEIGHT, packing.TEXT_WEIGHT, packing.VERDICT_WEIGHT]
    mixed += [copying.SHARPNESS, copying.EMBEDDING, copying.MATCH, copying.BEFORE, copying.COPY]
    mixed += [*copying.DISTANCES, copying.FINDERS, copying.ROPE_THETA]
    folder = work / fingerprint([asdict(recipe), mixed, files, wordings])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(arguments: argparse.Namespace, recipe: Recipe) -> None:
    """The first process reads the corpus, observes and writes; the others train."""
    training.one_machine(arguments.threads)
    accelerator = Accelerator(cpu=arguments.device == "cpu" or not torch.cuda.is_available())
    if recipe.batch < accelerator.num_processes:
        raise InputError(f"{accelerator.num_processes} processes share {recipe.batch} rows; raise --set batch")
    folder = work_folder(arguments.work, arguments.corpus, recipe)
    streams = corpus.Streams({}, {})
    if accelerator.is_main_process:
        say(f"working in {folder}")
        streams = corpus.read_streams(arguments.corpus)
        say(f"{sum(map(len, streams.rows.values()))} rows of text; dropped {dict(streams.dropped)}")
        prepare(streams, recipe, folder)
    accelerator.wait_for_everyone()
    tokenizer, rows = prepared(folder)
    trainer = Trainer(training.new_model(recipe, tokenizer), recipe, accelerator)
    limits = Limits(arguments.minutes, arguments.steps)
    observe = observer(streams, tokenizer, recipe.seed)
    progress = training.train(trainer, rows, limits, folder / "checkpoint.pt", observe)
    if not accelerator.is_main_process:
        return
    say(f"trained {progress.step} steps, {progress.tokens} tokens in {progress.seconds / 60:.1f} minutes")
    made = folder / "made"
    export(trainer.model, tokenizer, made)
    measured = assess.assess(made, streams, recipe.seed, arguments.before)
    megabytes = (made / "model.safetensors").stat().st_size / 1e6
    build = Build(recipe, progress, trainer.model.num_parameters(), megabytes, _machine(accelerator, arguments.threads))
    write_text(made / "README.md", model_card(build, measured, streams, arguments.corpus))
    place(made, arguments.output)
    say(f"wrote {arguments.output}; judge {measured.verdicts}; memory {measured.memory}")


def _machine(accelerator: Accelerator, threads: int) -> str:
    kind = "GPU" if accelerator.device.type == "cuda" else "processor"
    return f"{kind}, {accelerator.num_processes} process(es), {threads} thread(s) each"


def observer(streams: corpus.Streams, tokenizer: PreTrainedTokenizerFast, seed: int) -> Observe:
    """Bits per byte by task on a few held-out documents, and the judge's AUC."""
    few = corpus.held_out_documents(streams, FEW_HELD_OUT, seed)

    def observe(model: LlamaForCausalLM) -> dict[str, float]:
        told = {f"held-out {task}": docs for task, docs in few.items() if task not in packing.VERDICTS}
        bits = {task: measure.bits_per_byte(model, tokenizer, docs) for task, docs in told.items()}
        verdicts = {"judge auc": measure.judge(model, tokenizer, few["judge"]).auc} if "judge" in few else {}
        return bits | verdicts

    return observe


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights in bf16 as safetensors, configuration, tokenizer and chat template."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    shipped = copy.deepcopy(model).to(device="cpu", dtype=torch.bfloat16)
    shipped.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    shipped.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written for its owner only


def place(made: Path, output: Path) -> None:
    """The whole folder appears at once: copied beside `output` under another name, then renamed over it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (output.with_name(f".{output.name}.{word}") for word in ("fresh", "old"))
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, fresh)
    if output.exists():
        output.rename(old)
    fresh.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="llm_aug.builtin.pretrain", description="Make the built-in model.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of <source>.jsonl.zst and SOURCES.md")
    parser.add_argument("--output", type=Path, required=True, help="folder of the model, replaced when it is done")
    parser.add_argument("--before", type=Path, help="folder of an earlier model to put beside it in the card")
    parser.add_argument("--minutes", type=float, default=150.0, help="of training, restarts added up")
    parser.add_argument("--steps", type=int, default=0, help="end after this many steps, if that is earlier")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the recipe: layers=6")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "llm-aug-pretrain")
    return parser.parse_args(argv)


def recipe_of(settings: Sequence[str], seed: int) -> Recipe:
    """The recipe with `name=value` settings applied. Raises InputError on a name it has not or a value not a number."""
    standard = replace(Recipe(), seed=seed)
    known = asdict(standard)
    changed = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known:
            raise InputError(f"the recipe has no {name!r}; {did_you_mean(name, known)}")
        try:
            changed[name] = type(known[name])(value)
        except ValueError:
            raise InputError(f"--set {setting}: {name} is a number such as {known[name]}") from None
    return replace(standard, **changed)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        run(arguments, recipe_of(arguments.set, arguments.seed))
    except LlmAugError as error:
        say(f"error: {error}")
        return error.exit_code
    except Interrupted as stop:
        say(str(stop))
        return stop.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
