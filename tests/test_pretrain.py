import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from small_corpus import small_corpus, write_corpus
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from llm_aug.builtin import assess, measure, packing, pretrain, training
from llm_aug.builtin.copying import DISTANCES, FINDERS, fixed_parts
from llm_aug.builtin.packing import Rows
from llm_aug.builtin.tokenizer import train_tokenizer
from llm_aug.builtin.training import Limits, Progress, Recipe, Trainer, learning_rate
from llm_aug.errors import InputError
from llm_aug.signals import Interrupted

TINY = Recipe(
    characters=30_000,
    vocab_size=500,
    hidden=24,
    layers=2,
    heads=3,
    feed_forward=16,
    length=96,
    batch=2,
    learning_rate=1e-2,
)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(["The quick brown fox says yes and no to the dog."] * 50, TINY.vocab_size)


@pytest.fixture
def rows() -> Rows:
    ids = np.tile(np.arange(10, 34, dtype=np.uint16), (8, 4))
    return Rows(ids, np.ones(ids.shape, np.uint8))


def trainer_of(tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype = torch.float32) -> Trainer:
    return Trainer(training.new_model(TINY, tokenizer), TINY, Accelerator(cpu=True), dtype)


def nothing(model: torch.nn.Module) -> dict[str, float]:
    return {}


def test_the_rate_warms_up_and_falls_by_the_clock() -> None:
    rates = [learning_rate(1.0, done) for done in (0.0, training.WARM_UP, 0.5, 1.0)]
    assert rates[0] < 0.05
    assert rates[1] == pytest.approx(1.0)
    assert 0.4 < rates[2] < 0.6
    assert rates[3] == pytest.approx(training.LAST_RATE)


@pytest.mark.parametrize(("seconds", "step", "done"), [(30.0, 0, 0.5), (0.0, 8, 0.8), (90.0, 1, 1.0)])
def test_a_run_ends_by_its_minutes_or_its_steps(seconds: float, step: int, done: float) -> None:
    assert Limits(minutes=1, steps=10).done(Progress(step=step, seconds=seconds)) == done


def test_an_untrained_model_looks_back_and_copies(tokenizer: PreTrainedTokenizerFast) -> None:
    model = training.new_model(replace(TINY, hidden=192, heads=4), tokenizer).eval()
    model.set_attn_implementation("eager")
    once = torch.randint(5, len(tokenizer), (4, 30), generator=torch.Generator().manual_seed(0))
    twice = torch.cat([once, once], 1)
    with torch.inference_mode():
        made = model(twice, output_attentions=True)
    for head, distance in enumerate(DISTANCES):
        assert made.attentions[0][:, head].diagonal(-distance, 1, 2)[:, 5:].mean() > 0.8
    after_the_same = made.attentions[1][:, :FINDERS].diagonal(-29, 2, 3)[..., 3:]
    assert after_the_same.mean() > 0.5
    assert after_the_same[:, 1:].mean() > after_the_same[:, 0].mean(), "two tokens say more than one"
    right = made.logits[:, :-1].argmax(-1) == twice[:, 1:]
    assert right[:, :29].float().mean() < 0.1
    assert right[:, 33:].float().mean() > 0.5


def test_training_leaves_the_place_finding_heads_alone(tokenizer: PreTrainedTokenizerFast, rows: Rows) -> None:
    trainer = trainer_of(tokenizer)
    before = {name: master.clone() for name, master in trainer.masters.items()}
    ids = torch.from_numpy(rows.ids[:2].astype(np.int64))
    for _ in range(3):
        trainer.step(ids, torch.ones(ids.shape), 1e-2)
    fixed = fixed_parts(trainer.model)
    assert len(fixed) == 9
    for name, master in trainer.masters.items():
        moved, mask = master != before[name], fixed.get(name, torch.zeros_like(master, dtype=torch.bool))
        assert not moved[mask].any(), name
        assert mask.all() or moved.any(), name


def test_copying_heads_need_two_layers(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="two layers"):
        training.new_model(replace(TINY, layers=1), tokenizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_repeated_row_is_learnt(
    tokenizer: PreTrainedTokenizerFast, rows: Rows, tmp_path: Path, dtype: torch.dtype
) -> None:
    trainer = trainer_of(tokenizer, dtype)
    progress = training.train(trainer, rows, Limits(10, 40), tmp_path / "c.pt", nothing)
    assert progress.curve[-1]["step"] == 40
    ids = torch.from_numpy(rows.ids[:2].astype(np.int64))
    assert trainer.step(ids, torch.ones(ids.shape), 0.0) < 0.7 * math.log(len(tokenizer))


def test_masters_keep_what_bf16_would_round_away(tokenizer: PreTrainedTokenizerFast, rows: Rows) -> None:
    trainer = trainer_of(tokenizer, torch.bfloat16)
    before = {name: master.clone() for name, master in trainer.masters.items()}
    ids = torch.from_numpy(rows.ids[:2].astype(np.int64))
    trainer.step(ids, torch.ones(ids.shape), 1e-6)
    name = "model.norm.weight"
    assert not torch.equal(trainer.masters[name], before[name])
    assert torch.equal(trainer.model.model.norm.weight, before[name].bfloat16())


def test_tokens_of_no_weight_teach_nothing(tokenizer: PreTrainedTokenizerFast, rows: Rows) -> None:
    trainer = trainer_of(tokenizer)
    ids = torch.from_numpy(rows.ids[:2].astype(np.int64))
    weights = torch.zeros(ids.shape)
    weights[:, 5] = 1
    other = ids.clone()
    other[:, 6:] = 40
    losses = [trainer.step(each, weights, 0.0) for each in (ids, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_resumed_run_equals_an_unbroken_one(
    tokenizer: PreTrainedTokenizerFast, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "learning_rate", lambda highest, done: highest)  # the clock decides it otherwise
    whole, first, second = (trainer_of(tokenizer) for _ in range(3))
    training.train(whole, rows, Limits(10, 6), tmp_path / "whole.pt", nothing)
    training.train(first, rows, Limits(10, 3), tmp_path / "broken.pt", nothing)
    progress = training.train(second, rows, Limits(10, 6), tmp_path / "broken.pt", nothing)
    assert progress.step == 6
    assert [point["step"] for point in progress.curve] == [3, 6]
    for name, master in whole.masters.items():
        assert torch.allclose(master, second.masters[name], atol=1e-6), name


def test_the_command_makes_a_model_and_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "Recipe", lambda: TINY)
    monkeypatch.setattr(assess, "HELD_OUT_EACH", 3)
    monkeypatch.setattr(measure, "NEW_TOKENS", 3)
    source, output = small_corpus(tmp_path / "corpus"), tmp_path / "mini"
    (source / "SOURCES.md").write_text("| A | wikipedia_movies | some/films @1 | MIT |\n")
    arguments = ["--corpus", str(source), "--output", str(output), "--work", str(tmp_path / "work"), "--steps", "2"]
    output.mkdir()
    (output / "stale.txt").write_text("of an earlier model")

    assert pretrain.main(arguments) == 0

    assert not (output / "stale.txt").exists()
    assert list(tmp_path.glob(".mini*")) == []
    tokenizer = AutoTokenizer.from_pretrained(output)
    model = AutoModelForCausalLM.from_pretrained(output)
    assert model.dtype == torch.bfloat16
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<|end|>")
    card = (output / "README.md").read_text()
    assert "384 in 2 steps of 2 rows of 96" in card
    assert "| wikipedia_movies | some/films @1 | MIT |" in card
    assert card.count("**describe**") == 3  # so many held-out ones were asked for
    assert "seen no interaction" in card


def test_the_command_run_again_trains_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretrain, "Recipe", lambda: TINY)
    monkeypatch.setattr(assess, "HELD_OUT_EACH", 1)
    monkeypatch.setattr(measure, "NEW_TOKENS", 1)
    steps = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, *batch: steps.append(1) or step(self, *batch))
    arguments = ["--corpus", str(small_corpus(tmp_path / "corpus")), "--output", str(tmp_path / "mini")]
    for count in ("2", "3"):
        assert pretrain.main([*arguments, "--work", str(tmp_path / "work"), "--steps", count]) == 0
    assert len(steps) == 3
    assert capsys.readouterr().err.count("rows of 96 tokens") == 1


def test_another_corpus_is_another_work_folder(tmp_path: Path) -> None:
    folders = {
        pretrain.work_folder(tmp_path, corpus, recipe)
        for corpus in (small_corpus(tmp_path / "a"), write_corpus(tmp_path / "b", []))
        for recipe in (TINY, Recipe())
    }
    assert len(folders) == 4


def test_another_weighting_is_another_work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pretrain.work_folder(tmp_path, tmp_path, TINY)
    monkeypatch.setattr(packing, "VERDICT_WEIGHT", 99)
    assert pretrain.work_folder(tmp_path, tmp_path, TINY) != before


def test_a_missing_corpus_ends_in_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main(["--corpus", str(tmp_path), "--output", str(tmp_path / "x"), "--work", str(tmp_path)]) == 2
    assert "no corpus file of ours" in capsys.readouterr().err


def test_the_recipe_can_be_changed_by_name() -> None:
    changed = pretrain.recipe_of(["layers=8", "learning_rate=1e-3"], seed=5)
    assert (changed.layers, changed.learning_rate, changed.seed) == (8, 0.001, 5)
    assert changed.hidden == Recipe().hidden


@pytest.mark.parametrize(
    ("setting", "message"), [("layer=8", "did you mean 'layers'"), ("layers=many", "layers is a number such as 4")]
)
def test_a_wrong_setting_is_named(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pretrain.recipe_of([setting], seed=0)


TWO = """
import sys
from pathlib import Path
import torch
from accelerate import Accelerator
from test_pretrain import trained

accelerator, folder = Accelerator(cpu=True), Path(sys.argv[1])
assert accelerator.num_processes == 2
masters = trained(accelerator, folder / "c.pt")
torch.save(masters, folder / f"{accelerator.process_index}.pt")
"""


def trained(accelerator: Accelerator, checkpoint: Path) -> dict[str, torch.Tensor]:
    """Five steps in two runs, whose rates depend on the number of the step alone."""
    words = train_tokenizer(["The quick brown fox says yes and no to the dog."] * 50, TINY.vocab_size)
    ids = np.random.default_rng(0).integers(10, 250, (12, 48)).astype(np.uint16)
    weights = np.random.default_rng(1).integers(0, 3, ids.shape).astype(np.uint8)
    recipe = replace(TINY, batch=3)
    for steps in (3, 5):
        trainer = Trainer(training.new_model(recipe, words), recipe, accelerator, torch.float32)
        training.train(trainer, Rows(ids, weights), Limits(1e9, steps), checkpoint, nothing)
    return trainer.masters


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "two.py").write_text(TWO)
    launch = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}"]
    command = [sys.executable, "-m", *launch, str(tmp_path / "two.py"), str(tmp_path)]
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, weights in trained(Accelerator(cpu=True), tmp_path / "one.pt").items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(weights, first[name], atol=1e-4), name


def test_a_signal_ends_a_run_after_a_checkpoint(
    tokenizer: PreTrainedTokenizerFast, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step
    monkeypatch.setattr(
        Trainer, "step", lambda self, *batch: os.kill(os.getpid(), signal.SIGTERM) or step(self, *batch)
    )
    with pytest.raises(Interrupted, match="1 steps") as stopped:
        training.train(trainer_of(tokenizer), rows, Limits(10, 9), tmp_path / "c.pt", nothing)
    assert stopped.value.exit_code == 143
    assert trainer_of(tokenizer).load(tmp_path / "c.pt").step == 1


def test_more_processes_than_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 16)
    arguments = pretrain.parse(["--corpus", str(tmp_path), "--output", str(tmp_path / "mini")])
    with pytest.raises(InputError, match="16 processes share 8 rows"):
        pretrain.run(arguments, Recipe(batch=8))
