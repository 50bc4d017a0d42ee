"""The model card, written from the figures of the run that made the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_aug.builtin import cleaning, copying, corpus, measure, packing
from llm_aug.builtin.assess import SAMPLES, Measured
from llm_aug.builtin.measure import Verdicts
from llm_aug.builtin.memorised import FEWEST, RUN, Memory, Said
from llm_aug.builtin.reserved import RESERVED_IN
from llm_aug.builtin.training import Progress, Recipe
from llm_aug.shingles import LETTERS, WORDS

CURVE_ROWS = 12


@dataclass(frozen=True)
class Build:
    """parameters: a count. megabytes: of model.safetensors, 10^6 bytes. machine: device and threads in words."""

    recipe: Recipe
    progress: Progress
    parameters: int
    megabytes: float
    machine: str


def model_card(build: Build, measured: Measured, streams: corpus.Streams, corpus_folder: Path) -> str:
    recipe, progress = build.recipe, build.progress
    speed = progress.tokens / max(progress.seconds, 1e-9)
    shape = f"Llama, {recipe.layers} layers, width {recipe.hidden}, {recipe.heads} heads"
    shape += ", attention biases, tied embeddings"
    heads = len(copying.DISTANCES) + copying.FINDERS
    by_hand = f", but for {heads} heads set by hand to find what to copy, which stay fixed (`copying.py`)"
    start = f"random{by_hand if recipe.copying else ''}"
    return f"""# The built-in model `mini`

A language model of {build.parameters / 1e6:.1f} million parameters that comes with the package, so that every command
runs without a model hub. It writes short English item descriptions and gives a yes or no for the judge. It is for
trying things out and for tests; for data worth keeping, name a larger model. This page is written by
`python -m llm_aug.builtin.pretrain`, which also made the weights.

## Recipe

| | |
|---|---|
| shape | {shape} |
| start | {start} |
| tokenizer | byte-level BPE, {recipe.vocab_size} tokens, trained on the same mix |
| size | {build.parameters:,} parameters, {build.megabytes:.1f} MB in bf16 |
| tokens seen | {progress.tokens:,} in {progress.step:,} steps of {recipe.batch} rows of {recipe.length} |
| time | {progress.seconds / 60:.0f} minutes on {build.machine}, {speed:,.0f} tokens/s |
| optimiser | AdamW, rate {recipe.learning_rate:g}, warm-up, cosine by wall clock, clipped at 1, fp32 masters |
| loss | prose and answers; a prompt counts nothing, a verdict {packing.VERDICT_WEIGHT} times |
| seed | {recipe.seed} |

{_curve(progress)}

## Held-out text

One row in {corpus.HELD_OUT_IN} of every source, chosen by its title or input, was never trained on, nor was a copy
of it. Bits per byte of the answers, prompts given; the yardsticks are a character 5-gram model trained on a part of the
same mix, which sees no prompt, and the model that this one replaces, where one was named (it chose the same rows). No
score is given on published test sets: parts of them are in the training text.

{_held_out(measured)}

{_judge(measured.verdicts)}

## Training text

English text from public repositories; licences as stated there. Shares are of characters, prompts included.

{_sources(list(streams.rows), corpus_folder)}

{_cleaned(streams)}

The model has seen no interaction of any dataset: no rating, no click, no history of a person. `wikipedia_movies`
describes films that also occur in film catalogues (titles, casts, genres and summaries): catalogue text.

## Limits

- Small and briefly trained: it makes up facts, drops facts, repeats itself and misspells names. Filter what it writes.
- English only; mostly films and shop goods; much of the film text is about films from before 1960.
- Its yes and no are a comparison of words and are not calibrated: fine-tune it, or calibrate its scores, before use.
- It carries whatever views its sources carry. Do not use it to write about living people.

## Copies of the training text

{_memory(measured.memory)}

## Samples, not picked

The first {SAMPLES} held-out questions of each style, one draw each at temperature {measure.TEMPERATURE}.

{_samples(measured.samples)}
"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _curve(progress: Progress) -> str:
    """At most CURVE_ROWS points, evenly spread, the last one always among them."""
    points = progress.curve
    stride = max(1, -(-len(points) // CURVE_ROWS))
    kept = points[::-1][::stride][::-1]
    kinds = sorted({name for point in points for name in point if name.startswith(("held-out ", "judge "))})
    rows = [
        [
            f"{point['minutes']:.0f}",
            f"{point['tokens']:,.0f}",
            f"{point['loss']:.3f}",
            *(f"{point[kind]:.3f}" if kind in point else "" for kind in kinds),
        ]
        for point in kept
    ]
    return _table(["minutes", "tokens", "training loss, nats", *kinds], rows)


def _held_out(measured: Measured) -> str:
    rows = [
        [task, source, f"{one.bits:.3f}", "" if one.before is None else f"{one.before:.3f}", f"{one.baseline:.3f}"]
        for (task, source), one in sorted(measured.compared.items())
    ]
    return _table(["task", "source", "this model", "the one before", "character 5-gram"], rows)


def _judge(verdicts: Verdicts | None) -> str:
    if verdicts is None:
        return "The judge was not measured: no held-out question could be made."
    return f"""The judge, on {verdicts.questions} held-out questions of rule-made readers, of which
{verdicts.yes_share:.0%} are a yes: accuracy {verdicts.accuracy:.3f}, AUC {verdicts.auc:.3f}, says yes to
{verdicts.yes_rate:.0%}. A reader is a rule (a genre or two, or an actor) over films. Real readers are not like that:
this says how well the model compares the words of a list with those of an item, and no more."""


def _sources(sources: Sequence[str], corpus_folder: Path) -> str:
    stated = read_licences(corpus_folder / "SOURCES.md")
    shares = corpus.nominal_shares(sources)
    rows = [
        [source, *stated.get(source, ("not stated", "not stated")), f"{100 * share:.1f} %"]
        for source, share in sorted(shares.items(), key=lambda pair: -pair[1])
    ]
    return _table(["source", "repository", "licence as stated", "share"], rows)


def read_licences(path: Path) -> dict[str, tuple[str, str]]:
    """source -> (repository @ commit, licence) from the table of SOURCES.md; {} where the file is missing."""
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 4 and cells[1] in corpus.SOURCES:
            found[cells[1]] = (cells[2], cells[3])
    return found


def _cleaned(streams: corpus.Streams) -> str:
    """What was left out of the sources."""
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in streams.dropped.most_common())
    kept = sum(map(len, streams.rows.values()))
    same = f"{cleaning.SAME:.0%} of the runs of {WORDS} words, or of {LETTERS} letters where it is short"
    return f"""{kept:,} rows were read. Left out: {dropped or "nothing"}. A near copy shares {same}.
Reserved is one title in {RESERVED_IN}, by a hash, so that rewriting can be tested on items that the model has not read
about."""


def _memory(found: Memory) -> str:
    longest = f"{found.longest} words: {found.passage!r}" if found.longest else f"shorter than {FEWEST} words"
    return f"""Of {found.samples} samples at temperature {measure.TEMPERATURE}, {found.share:.1%} hold {RUN} words in a
row that stand in the training text and not in the prompt. The longest passage is {longest}."""


def _samples(samples: Sequence[Said]) -> str:
    parts = []
    for one in samples:
        assert one.document.prompt is not None
        asked, said = (text.replace("```", "'''") for text in (one.document.prompt.user, one.answer))
        parts.append(f"**{one.document.task}**\n\n```text\n{asked}\n=> {said}\n```")
    return "\n\n".join(parts)
