"""The commands of single stages: flags in, one call into the pipeline, a folder out. `--help` loads it: kept light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; work that is done in it is kept.")]
SplitFolder = Annotated[Path, typer.Argument(metavar="SPLIT", help="Folder that `llm-aug split` wrote.")]
Encoder = Annotated[str | None, typer.Option(help="minilm, hash:DIM, tfidf:DIM, a hub id or a folder.")]
Model = Annotated[str | None, typer.Option(help="builtin:mini, a hub id, a folder, server:URL#NAME, scripted:FILE.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn at random.")]
Style = Annotated[str | None, typer.Option(help="As in rewrite's describe, or mix's users; or a FILE.md.")]
Number = Annotated[int | None, typer.Option()]
Fraction = Annotated[float | None, typer.Option()]
Columns = Annotated[list[str] | None, typer.Option(metavar="OURS=THEIRS", help="item_id=asin: their column as ours.")]
Attributes = Annotated[list[str] | None, typer.Option(help="Keep this column of the items; default: all but counts.")]
Thresholds = Annotated[list[str] | None, typer.Option(metavar="FILTER.KEY=VALUE", help="As in fidelity.margin=0.05.")]
Preview = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Show N prompts, answers and verdicts, and write nothing.")
]
Patience = Annotated[float | None, typer.Option(help="End with exit code 75 when the model says nothing for so long.")]
EngineOptions = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="As in api_key_env=MY_KEY.")]
Ray = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="On the workers of a Ray cluster: local, auto or host:port.")
]
TaskOptions = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the task or generator.")]
MaybeOutput = Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write; a killed run goes on.")]
Task = Annotated[str | None, typer.Option(help="rewrite, history, review, profile; interactions: users of cold items.")]
Generator = Annotated[
    str | None,
    typer.Option(help="Without a model: funnel, random, popular-items, noise, transform, mix, vae, gan, ..."),
]
Source = Annotated[
    Path | None,
    typer.Option("--from", metavar="SAMPLES", help="Samples to go by: profiles, reviews, volumes to equal."),
]
Synthetic = Annotated[list[Path] | None, typer.Option(metavar="KEPT", help="Samples to merge in; may be repeated.")]
Fixed = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the student: factors=32.")]
# All of `recommender.STUDENTS`, which is not imported here: help is to be quick.
STUDENTS_HELP = (
    "two-tower, content-tower, fusion, content, ials, ease, popularity, bpr, lightgcn, mf, gru, sasrec, autorec, "
    "mult-vae, mlp, logistic, linear or direct."
)
Events = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Instead: new users by these user_id, item_id[, timestamp] (csv, parquet)."),
]
Users = Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this user; may be repeated.")]


def prepare(
    source: Annotated[
        str, typer.Argument(help="Folder with items.* and interactions.*, MovieLens, builtin:movielens.")
    ],
    output: Output,
    format_name: Annotated[str | None, typer.Option("--format", help="table or movielens.")] = None,
    min_rating: Annotated[float | None, typer.Option(help="Keep ratings from this one on.")] = None,
    min_item_count: Annotated[int | None, typer.Option(help="Pairs that an item must have.")] = None,
    min_user_count: Annotated[int | None, typer.Option(help="Pairs that a user must have.")] = None,
    column: Columns = None,
    attribute: Attributes = None,
    max_bad_rows: Annotated[int | None, typer.Option(help="Broken rows to put up with; default: one in 100.")] = None,
) -> None:
    """Read a catalogue and a log, clean them, and say what was dropped and why."""
    from eval.arguments import parse_pairs
    from llm_aug import pipeline
    from llm_aug.config import recipe_of

    data = {"source": source, "format": format_name, "columns": parse_pairs(column or (), "item_id=asin")}
    counts = {"min_item_count": min_item_count, "min_user_count": min_user_count, "max_bad_rows": max_bad_rows}
    recipe = recipe_of(data=data, clean={"min_rating": min_rating, "attributes": attribute, **counts})
    pipeline.prepare(recipe, output)


def split(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder that `llm-aug prepare` wrote.")],
    output: Output,
    strategy: Annotated[str | None, typer.Option(help="item-random, item-temporal or user-random.")] = None,
    cold_fraction: Annotated[float | None, typer.Option(help="Share of items (users) that test sees cold.")] = None,
    revealed: Annotated[
        int | None, typer.Option(help="user-random: first rows of a cold user that train holds.")
    ] = None,
    reserved: Annotated[int | None, typer.Option(help="First rows of a cold item or user that no part holds.")] = None,
    seed: Seed = 0,
) -> None:
    """Cut train, validation and test so that cold items, or cold users, have no training row but revealed ones."""
    from llm_aug import pipeline
    from llm_aug.config import recipe_of

    rows = {"revealed": revealed, "reserved": reserved}
    recipe = recipe_of(split={"strategy": strategy, "cold_fraction": cold_fraction, **rows}, seeds=[seed])
    pipeline.split(recipe, data, output)


def finetune(
    split: SplitFolder,
    output: Output,
    task: Annotated[str, typer.Option(help="What to learn, as in judge, rewrite/describe,history, or encoder.")],
    model: Model = None,
    style: Style = None,
    encoder: Encoder = None,
    limit: Annotated[int | None, typer.Option(help="Examples at most.")] = None,
    per_task: Annotated[int | None, typer.Option(help="Examples of each task and style at most.")] = None,
    lora_r: Annotated[int | None, typer.Option(help="Rank of the adapter.")] = None,
    learning_rate: Fraction = None,
    num_train_epochs: Fraction = None,
    per_device_train_batch_size: Number = None,
    max_steps: Number = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="End by the clock, the learning rate falling by it.")
    ] = None,
    bf16: Annotated[bool | None, typer.Option("--bf16/--no-bf16")] = None,
    load_in_4bit: Annotated[bool | None, typer.Option("--load-in-4bit")] = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Train a LoRA adapter on the tasks' own examples, or the text encoder on the log; on training data alone."""
    from llm_aug import pipeline
    from llm_aug.config import recipe_of

    options: dict[str, Any] = {
        "tasks": task.split(","),
        "limit": limit,
        "per_task": per_task,
        "lora_r": lora_r,
        "learning_rate": learning_rate,
        "num_train_epochs": num_train_epochs,
        "per_device_train_batch_size": per_device_train_batch_size,
        "max_steps": max_steps,
        "max_minutes": max_minutes,
        "bf16": bf16,
        "load_in_4bit": load_in_4bit,
    }
    if task == "encoder":
        tuning = _encoder_tuning({**options, "tasks": None, "model": model, "style": style, "device": device})
        recipe = recipe_of(encoder_tuning=tuning, encoder=encoder, seeds=[seed])
        pipeline.tune_encoder(recipe, split, output)
        return
    shared: dict[str, Any] = {"model": model, "encoder": encoder, "engine": {"device": device}}
    recipe = recipe_of(finetune=options, rewrite={"style": style}, seeds=[seed], **shared)
    pipeline.finetune(recipe, split, output)


def _encoder_tuning(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags as options of the encoder's tuning. Raises InputError for one that it does not have."""
    from llm_aug.errors import InputError

    names = {"lora_r": "lora_r", "learning_rate": "learning_rate", "num_train_epochs": "epochs"}
    names["per_device_train_batch_size"] = "batch_size"
    for name, value in flags.items():
        if value is not None and name not in names:
            known = ", ".join(f"--{flag.replace('_', '-')}" for flag in ("encoder", "seed", *names))
            raise InputError(f"--{name.replace('_', '-')} says nothing to --task encoder, which takes {known}")
    return {names[name]: value for name, value in flags.items() if value is not None}


def generate(
    split: SplitFolder,
    output: MaybeOutput = None,
    preview: Preview = None,
    task: Task = None,
    generator: Generator = None,
    source: Source = None,
    style: Style = None,
    model: Model = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder that `llm-aug finetune` wrote.")] = None,
    limit: Annotated[int | None, typer.Option(help="Items or users to ask about at most.")] = None,
    copies: Annotated[int | None, typer.Option(help="Answers for each.")] = None,
    tries: Annotated[int | None, typer.Option(help="How often to ask at most, while answers are rejected.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_p: Fraction = None,
    max_tokens: Annotated[int | None, typer.Option(help="Of an answer.")] = None,
    option: TaskOptions = None,
    encoder: Encoder = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="Tokens that the model holds at once at most.")] = None,
    stall_minutes: Patience = None,
    ray: Ray = None,
    engine_option: EngineOptions = None,
    seed: Seed = 0,
) -> None:
    """Ask a model for item texts, or for users of cold items; killed, the same command goes on."""
    from llm_aug import pipeline
    from llm_aug.classics import CLASSICS
    from llm_aug.config import recipe_of
    from llm_aug.errors import InputError
    from llm_aug.tasks import TASKS

    sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    of_task = {"style": style, "limit": limit, "copies": copies, "tries": tries, **sampling}
    engine = {"device": device, "dtype": dtype, "batch_tokens": batch_tokens, "stall_minutes": stall_minutes}
    shared: dict[str, Any] = {"model": model, "encoder": encoder, "engine": {**engine, "ray": ray}}
    section, asked = task, {task: of_task} if task in TASKS else _says_nothing(of_task, task or generator)
    if generator in CLASSICS:
        section, asked = f"classics.{generator}", {"classics": {generator: {"style": style}}}
    own = [f"{section}.{entry}" for entry in option or ()] + [f"engine.{entry}" for entry in engine_option or ()]
    recipe = recipe_of(own, **asked, seeds=[seed], failed_share=0, **shared)
    if preview is not None:
        for block in pipeline.preview(recipe, str(task), split, adapter, preview):
            typer.echo(block)
    elif output is None:
        raise InputError("name an --output folder, or --preview N to look at a few answers first")
    else:
        pipeline.generate_samples(recipe, pipeline.Wanted(task, generator, source), split, adapter, output)


def _says_nothing(flags: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Refuses the flags of a task that were given to something else; `style` is no such flag."""
    from llm_aug.errors import InputError

    for flag, value in flags.items():
        if value is not None and flag != "style":
            raise InputError(f"--{flag.replace('_', '-')} says nothing to {name}; leave it out")
    return {}


def filter_samples(
    samples: Annotated[Path, typer.Argument(help="Folder or parquet file of samples, ours or foreign.")],
    split: Annotated[Path, typer.Option(help="The split that they were made from.")],
    output: MaybeOutput = None,
    encoder: Encoder = None,
    option: Thresholds = None,
    ray: Ray = None,
    explain: Annotated[
        str | None, typer.Option(metavar="SAMPLE_ID", help="Show why this one is kept or dropped, and write nothing.")
    ] = None,
) -> None:
    """Keep what is new, faithful and well formed; every drop has its reason."""
    from llm_aug import pipeline
    from llm_aug.config import recipe_of
    from llm_aug.errors import InputError

    recipe = recipe_of([f"filter.{entry}" for entry in option or ()], encoder=encoder, engine={"ray": ray})
    if explain is not None:
        typer.echo(pipeline.explain_sample(recipe, samples, split, explain, output))
    elif output is None:
        raise InputError("name an --output folder, or --explain SAMPLE_ID to look at one sample")
    else:
        pipeline.filter_samples(recipe, samples, split, output)


def train(
    split: SplitFolder,
    output: Output,
    model: Annotated[str, typer.Option(help=STUDENTS_HELP)] = "two-tower",
    synthetic: Synthetic = None,
    option: Fixed = None,
    seed: Seed = 0,
) -> None:
    """Fit a recommender on real data and on synthetic samples."""
    from eval.arguments import parse_options
    from llm_aug import pipeline

    pipeline.train(split, synthetic or (), model, parse_options(option or ()), seed, output)


def recommend(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `llm-aug train` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file: user_id, item_id, rank, score.")],
    k: Annotated[int, typer.Option("--k", min=1, help="Items per user.")] = 100,
    user: Users = None,
    events: Events = None,
) -> None:
    """Rank the whole catalogue for each user, without what the user has seen."""
    from llm_aug import pipeline
    from llm_aug.errors import InputError

    if events is None:
        pipeline.recommend(model, user or (), k, output)
    elif user:
        raise InputError("--events names its users itself; leave out --user, or cut the file down to them")
    else:
        pipeline.recommend_events(model, events, k, output)
