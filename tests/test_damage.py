"""Every file that a run writes, damaged in every way: the next command names it, or sets it aside and asks again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from damaging import DAMAGES, damage
from shop import write_script, write_source
from test_cli import invoked

from llm_aug import generators, pipeline
from llm_aug.backends.scripted import Scripted
from llm_aug.config import Recipe, recipe_of
from llm_aug.errors import InputError, ResumeRefused
from llm_aug.files import read_json, read_parquet, write_json
from recommender.store import load

STAGES = ("data", "split", "samples", "kept", "model", "scores")


# What each folder is read by, and which of its files: a damaged reject stops nobody who does not look at it.


READERS = {
    "data": ("*", ("split", "{data}", "--output", "{out}")),
    "split": ("*", ("generate", "{split}", "--generator", "random", "--encoder", "hash:64", "--output", "{out}")),
    "samples": (
        "samples.parquet",
        ("filter", "{samples}", "--split", "{split}", "--encoder", "hash:64", "--output", "{out}"),
    ),
    "kept": (
        "kept.parquet",
        ("train", "{split}", "--synthetic", "{kept}", "--model", "popularity", "--output", "{out}"),
    ),
    "model": ("*", ("recommend", "{model}", "--output", "{out}/recs.parquet")),
    "scores": ("*", ("report", "{scores}", "--output", "{out}/report.html")),
}


def commands(folder: Path) -> dict[str, tuple[object, ...]]:
    """What made each of STAGES, in order."""
    at = {name: folder / name for name in STAGES}
    model = f"scripted:{folder / 'script.json'}"
    return {
        "data": ("prepare", folder / "source", "--column", "item_id=asin"),
        "split": ("split", at["data"], "--cold-fraction", 0.3),
        "samples": ("generate", at["split"], "--task", "rewrite", "--limit", 12, "--model", model),
        "kept": ("filter", at["samples"], "--split", at["split"], "--encoder", "hash:64"),
        "model": ("train", at["split"], "--synthetic", at["kept"], "--model", "popularity"),
        "scores": (
            *("evaluate", at["split"], "--arm", f"text={at['kept']}"),
            *("--student", "content:tfidf_weight=0.5", "--encoder", "hash:64"),
        ),
    }


pytestmark = pytest.mark.usefixtures("fresh_model")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    write_source(folder / "source")
    write_script(folder / "script.json")
    for name, command in commands(folder).items():
        code, _, err = invoked(*command, "--output", folder / name)
        assert code == 0, err
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that reach the scripted model."""
    rows: list[int] = []
    complete = Scripted.complete

    def counted(self: Scripted, prompts: Any, *rest: Any) -> Any:
        rows.extend([1] * len(prompts))
        return complete(self, prompts, *rest)

    monkeypatch.setattr(Scripted, "complete", counted)
    return rows


def damaged(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each result in the folder after each damage, one at a time."""
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        if path.name == "progress.json":
            continue
        for kind in DAMAGES:
            if path.name == "stage.json" and kind in ("gone", "short of a byte"):
                continue  # a folder without a mark is someone else's; the last byte of a mark is a line end
            before = damage(path, kind)
            assert not path.exists() or path.read_bytes() != before, (path, kind)
            yield path, kind
            path.write_bytes(before)


@pytest.mark.parametrize("name", STAGES)
def test_the_same_command_names_what_is_damaged_in_its_folder(whole: Path, name: str, asked: list[int]) -> None:
    command = (*commands(whole)[name], "--output", whole / name)
    tried = 0
    for path, kind in damaged(whole / name):
        code, out, err = invoked(*command)
        assert (code, out) == (4, ""), (path.name, kind, err)
        assert path.name in err, (path.name, kind, err)
        assert "remove the folder and run again" in err
        assert "Traceback" not in err
        tried += 1
    assert tried >= 2 * len(DAMAGES)
    assert asked == []
    assert invoked(*command)[0] == 0


@pytest.mark.parametrize("name", STAGES)
def test_the_command_that_reads_it_names_what_is_damaged(whole: Path, tmp_path: Path, name: str) -> None:
    pattern, reader = READERS[name]
    command = [part.format(out=tmp_path / "out", **{one: whole / one for one in STAGES}) for part in reader]
    tried = 0
    for path, kind in damaged(whole / name):
        if not path.match(pattern) and path.name != "stage.json":
            continue
        code, out, err = invoked(*command)
        assert (code, out) == (2, ""), (path.name, kind, err)
        assert path.name in err, (path.name, kind, err)
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()
        tried += 1
    assert tried >= len(DAMAGES)
    assert invoked(*command)[0] == 0


def test_a_model_without_a_mark_knows_its_own_damage(whole: Path, tmp_path: Path) -> None:
    for name in ("model.json", "arrays.npz"):
        shutil.copy(whole / "model" / name, tmp_path / name)
    assert load(tmp_path).student == "popularity"
    for path, kind in damaged(tmp_path):
        if (path.name, kind) == ("model.json", "short of a byte"):
            continue  # its line end
        with pytest.raises(InputError, match=r"model\.json|arrays\.npz"):
            load(tmp_path)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_shard_is_set_aside_and_its_rows_are_asked_again(
    whole: Path, tmp_path: Path, kind: str, asked: list[int]
) -> None:
    """A larger limit goes on from the answers. What is asked again is all of the shard, or nothing where no bit of the
    rows was hit; never is anything else read."""
    shutil.copytree(whole / "samples", tmp_path / "samples")
    command = [*commands(whole)["samples"], "--limit", 14]
    [shard] = (tmp_path / "samples" / "answers").glob("*.parquet")
    damage(shard, kind)
    code, _, err = invoked(*command, "--output", tmp_path / "samples")
    assert code == 0, err
    aside = list(shard.parent.glob("*.bad"))
    assert len(asked) == (14 if aside or kind == "gone" else 2)
    assert aside or kind == "gone" or kind.startswith(("bit", "footer"))
    assert not aside or f"{shard.name}.bad" in err
    asked.clear()
    assert invoked(*command, "--output", tmp_path / "fresh")[0] == 0
    rows = [read_parquet(tmp_path / name / "samples.parquet").to_pylist() for name in ("samples", "fresh")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_manifest_of_unfinished_work_is_named_or_not_needed(
    whole: Path, tmp_path: Path, kind: str, asked: list[int]
) -> None:
    shutil.copytree(whole / "samples", tmp_path / "samples")
    mark = read_json(tmp_path / "samples" / "stage.json")
    write_json(tmp_path / "samples" / "stage.json", {**mark, "state": "running"})
    damage(tmp_path / "samples" / "manifest.json", kind)
    code, _, err = invoked(*commands(whole)["samples"], "--output", tmp_path / "samples")
    assert asked == []
    if code == 0:  # what was hit is written anew before it is read
        assert read_parquet(tmp_path / "samples/samples.parquet") == read_parquet(whole / "samples/samples.parquet")
        assert kind.startswith(("bit", "footer", "short", "foreign"))
    else:
        assert code == 4
        assert "manifest.json" in err
        assert "Traceback" not in err


# Adapters and checkpoints


@pytest.fixture(scope="module")
def adapter(whole: Path, model_folder: Callable[..., Path]) -> tuple[Recipe, Path]:
    options = {"tasks": ["rewrite"], "max_steps": 1, "limit": 2, "per_device_train_batch_size": 2}
    model = {"model": str(model_folder("llama")), "engine": {"device": "cpu"}}
    recipe = recipe_of(finetune=options, encoder="hash:64", rewrite={"limit": 1}, **model)
    pipeline.finetune(recipe, whole / "split", whole / "adapter")
    return recipe, whole / "adapter"


def test_a_damaged_adapter_is_neither_kept_nor_used(
    whole: Path, adapter: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("a damaged adapter was loaded, or trained again")

    monkeypatch.setattr(generators, "load_llm", never)
    recipe, folder = adapter
    seen = set()
    for path, kind in damaged(folder):
        with pytest.raises(ResumeRefused, match=path.name):
            pipeline.finetune(recipe, whole / "split", folder)
        with pytest.raises(InputError, match=path.name):
            pipeline.ask(recipe, "rewrite", whole / "split", folder, tmp_path / "out")
        assert not (tmp_path / "out").exists(), kind
        seen.add(path.name)
    assert {"adapter_model.safetensors", "adapter_config.json", "finetune.json", "stage.json"} <= seen
