"""The installed program: exit codes, what goes to which stream, what a kill leaves; and help loads nothing heavy."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shop import write_recipe, write_script, write_source
from typer.testing import CliRunner

from llm_aug import __version__
from llm_aug.cli import COMMANDS, app
from llm_aug.files import read_json, read_parquet
from llm_aug.splits import read_split
from recommender import STUDENTS

PROGRAM = Path(sys.executable).with_name("llm-aug")
HEAVY = ("torch", "transformers", "pandas", "numpy", "faiss", "sklearn", "datasets", "pyarrow", "pydantic", "eval")


def program(*arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "LLM_AUG_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def invoked(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process: as the program, without its start."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What `prepare` makes of the shop."""
    command = ("prepare", write_source(tmp_path / "source"), "--column", "item_id=asin", "--min-rating", 2)
    code, out, err = invoked(*command, "--output", tmp_path / "data")
    assert (code, out) == (0, "")
    assert "interactions.csv: 161 read = 160 kept + 1 dropped (below_min_rating: 1)" in err
    return tmp_path / "data"


@pytest.fixture
def cut(data: Path, tmp_path: Path) -> Path:
    code, out, err = invoked("split", data, "--cold-fraction", 0.3, "--seed", 1, "--output", tmp_path / "split")
    assert (code, out) == (0, "")
    assert re.search(r"160 pairs = \d+ train \+ \d+ validation \+ \d+ test", err)
    return tmp_path / "split"


def test_help_and_version_load_nothing_heavy() -> None:
    code = f"import sys, llm_aug.cli; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_version_goes_to_stdout_and_is_quick(tmp_path: Path) -> None:
    started = time.process_time(), os.times().children_user
    found = program("--version", folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"llm-aug {__version__}\n", "")
    assert os.times().children_user - started[1] < 0.5


def test_every_command_explains_itself() -> None:
    for name in COMMANDS:
        code, out, _ = invoked(name, "--help")
        assert code == 0
        assert "Usage:" in out
    _, out, _ = invoked("train", "--help")
    assert all(name in out for name in STUDENTS)


@pytest.mark.parametrize(
    "arguments",
    [["splt"], ["split"], ["split", "data", "--output", "x", "--cold-fraction", "much"], ["recommend", "m", "--nope"]],
)
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    code, out, err = invoked(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err


def test_the_program_says_what_to_mend_in_one_line_and_exits_with_its_code(tmp_path: Path) -> None:
    found = program("run", "nowhere.yaml", folder=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "error: nowhere.yaml is not a file; `llm-aug init FOLDER` writes a recipe to start from\n"
    found = program("--debug", "run", "nowhere.yaml", folder=tmp_path)
    assert found.returncode == 2
    assert "Traceback" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["split", "{data}", "--strategy", "item-randon", "--output", "{out}"], 2, "did you mean 'item-random'"),
        (["split", "{data}", "--output", "{data}"], 4, "holds a prepare, not a split"),
        (["split", "{out}", "--output", "{out}"], 2, "items.parquet is not there"),
        (["generate", "{cut}", "--output", "{out}"], 2, "name a --task"),
        (["generate", "{cut}", "--task", "rewrit", "--output", "{out}"], 2, "did you mean 'rewrite'"),
        (["generate", "{cut}", "--generator", "funel", "--output", "{out}"], 2, "did you mean 'funnel'"),
        (
            ["generate", "{cut}", "--task", "rewrite", "--model", "no/where/here", "--output", "{out}"],
            5,
            "no model folder",
        ),
        (["filter", "{cut}", "--split", "{cut}", "--output", "{out}"], 2, "samples.parquet is not there"),
        (["filter", "{cut}", "--split", "{cut}", "--option", "fidelty.copy=1", "--output", "{out}"], 2, "did you mean"),
        (["train", "{cut}", "--model", "eas", "--output", "{out}"], 2, "did you mean 'ease'"),
        (["train", "{cut}", "--model", "ials", "--option", "alpa=1", "--output", "{out}"], 2, "did you mean 'alpha'"),
        (["recommend", "{cut}", "--output", "{out}"], 2, "model.json is not there"),
        (["evaluate", "{cut}", "--arm", "llm", "--output", "{out}"], 2, "NAME=FOLDER"),
        (["evaluate", "{cut}", "--student", "isal", "--output", "{out}"], 2, "did you mean 'ials'"),
        (["report", "{cut}", "--output", "{out}"], 2, "holds no scores"),
        (["status", "{out}"], 2, "neither a run"),
    ],
)
def test_a_mistake_has_its_exit_code(arguments: list[str], code: int, words: str, data: Path, cut: Path) -> None:
    places = {"data": data, "cut": cut, "out": data.parent / "out"}
    found, out, err = invoked(*(argument.format(**places) for argument in arguments))
    assert (found, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


def test_a_stage_is_done_once_and_another_recipe_is_refused(data: Path, cut: Path) -> None:
    before = read_split(cut).hash
    same = invoked("split", data, "--cold-fraction", 0.3, "--seed", 1, "--output", cut)
    other = invoked("split", data, "--cold-fraction", 0.3, "--seed", 2, "--output", cut)
    assert (same[0], other[0]) == (0, 4)
    assert "split: done, kept" in same[2]
    assert "seed was 1, is 2" in other[2]
    assert read_split(cut).hash == before


def test_texts_go_from_the_model_through_the_filter_into_a_verdict(cut: Path, tmp_path: Path) -> None:
    model = write_script(tmp_path / "script.json")
    asked = ("--task", "rewrite", "--style", "describe", "--limit", 6, "--copies", 2, "--model", model)
    assert invoked("generate", cut, *asked, "--output", tmp_path / "samples")[0] == 0
    assert read_parquet(tmp_path / "samples" / "samples.parquet").num_rows == 12
    filtered = ("--split", cut, "--encoder", "hash:64", "--output", tmp_path / "kept")
    code, _, err = invoked("filter", tmp_path / "samples", *filtered)
    assert code == 0
    assert "12 judged = 5 kept + 7 dropped (repeated_text: 5, near_repeat: 2)" in err
    students = ("--student", "popularity", "--student", "content:tfidf_weight=1.0", "--encoder", "hash:64")
    arms = (
        "--arm",
        f"text={tmp_path / 'kept'}",
        "--arm",
        f"both={tmp_path / 'kept'}",
        "--arm",
        f"both={tmp_path / 'kept'}",
    )
    code, out, err = invoked("evaluate", cut, *arms, *students, "--output", tmp_path / "scores")
    assert code == 0
    assert out.startswith("Best single model on merged data, content (")
    assert re.search(r"^A/A, .*content.*: no gain, as it must", out, re.MULTILINE)
    assert "evaluate: content on both" in err
    code, out, _ = invoked("evaluate", cut, *arms, *students, "--output", tmp_path / "scores", "--json")
    assert {row["arm"] for row in json.loads(out)} == {"real", "text", "both", "a/a"}
    code, out, err = invoked("report", tmp_path / "scores", "--output", tmp_path / "page.html")
    assert (code, out) == (0, "")
    assert "<html" in (tmp_path / "page.html").read_text()


def test_the_same_verdict_comes_from_the_module(cut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from eval.cold_start import main

    assert main([str(cut), "--student", "popularity", "--output", str(tmp_path / "module")]) == 0
    table = capsys.readouterr().out
    code, out, _ = invoked("evaluate", cut, "--student", "popularity", "--output", tmp_path / "command")
    assert (code, out) == (0, table)
    assert main([str(cut), "--student", "popularty", "--output", str(tmp_path / "module")]) == 2
    assert "did you mean 'popularity'" in capsys.readouterr().err


def test_lists_of_a_trained_model(cut: Path, tmp_path: Path) -> None:
    assert invoked("train", cut, "--model", "popularity", "--output", tmp_path / "model")[0] == 0
    asked = ("--k", 3, "--user", "u03", "--user", "nobody", "--output", tmp_path / "recs.parquet")
    code, _, err = invoked("recommend", tmp_path / "model", *asked)
    assert code == 0
    assert "1 users have no training row" in err
    rows = read_parquet(tmp_path / "recs.parquet").to_pylist()
    assert [(row["user_id"], row["rank"]) for row in rows] == [("u03", 1), ("u03", 2), ("u03", 3)] + [
        ("nobody", rank) for rank in (1, 2, 3)
    ]


def test_a_failed_request_is_3_after_everything_else_is_written(cut: Path, tmp_path: Path) -> None:
    model = write_script(tmp_path / "script.json", pattern="Title: (?P<title>[^r].+)", answer="A tale of \\g<title>.")
    asked = ("--task", "rewrite", "--model", model, "--output", tmp_path / "samples")
    code, out, err = invoked("generate", cut, *asked)
    assert (code, out) == (3, "")
    assert "2 of 30 requests failed" in err
    assert "run again to retry" in err
    assert read_parquet(tmp_path / "samples" / "samples.parquet").num_rows == 28
    assert read_json(tmp_path / "samples" / "stage.json")["state"] == "running"


def test_a_killed_command_goes_on_where_it_was(cut: Path, tmp_path: Path) -> None:
    model = write_script(tmp_path / "script.json", delay=0.05)
    command = ["generate", cut, "--task", "rewrite", "--copies", 2, "--model", model, "--output", "samples"]
    arguments = [PROGRAM, *map(str, command)]
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert next(running.stderr) == "rewrite/describe: 0/60 done, 60 to do\n"
        time.sleep(0.5)
        running.send_signal(signal.SIGTERM)
        told = running.stderr.read()
    assert running.returncode == 143
    sentence = r"error: stopped by SIGTERM, rewrite/describe: \d+/60 done; run the same command again to go on\n"
    assert re.fullmatch(sentence, told)
    assert read_json(tmp_path / "samples" / "stage.json")["state"] == "running"
    assert program(*command, folder=tmp_path).returncode == 0
    assert read_parquet(tmp_path / "samples" / "samples.parquet").num_rows == 60


@pytest.mark.slow
def test_a_run_of_the_program_from_init_to_status(tmp_path: Path) -> None:
    assert program("init", "start", folder=tmp_path).stdout == "start/recipe.yaml\n"
    write_recipe(tmp_path)
    found = program("run", "recipe.yaml", "--set", "arms=[funnel]", "--json", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert {row["arm"] for row in json.loads(found.stdout)} == {"real", "funnel", "a/a"}
    assert found.stderr.endswith("report: runs/recipe/report.html\n")
    assert "\x1b" not in found.stderr
    shown = program("status", "runs/recipe", folder=tmp_path)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["done"] * 5
    rows = json.loads(program("status", "runs/recipe", "--json", folder=tmp_path).stdout)
    assert [row["stage"] for row in rows] == ["prepare", "split", "funnel", "filter", "evaluate"]
    again = program("run", "recipe.yaml", "--set", "arms=[funnel]", "--resume", "never", folder=tmp_path)
    assert again.returncode == 4


def test_one_sample_is_explained_from_what_is_there_or_anew(cut: Path, tmp_path: Path) -> None:
    model = write_script(tmp_path / "script.json")
    asked = ("--task", "rewrite", "--style", "describe", "--limit", 3, "--copies", 2, "--model", model)
    invoked("generate", cut, *asked, "--output", tmp_path / "samples")
    rows = read_parquet(tmp_path / "samples" / "samples.parquet")["sample_id"].to_pylist()
    asked = ("filter", tmp_path / "samples", "--split", cut, "--encoder", "hash:64", "--explain", rows[1])
    code, anew, _ = invoked(*asked)
    assert code == 0
    assert "repeat: nearest is sample" in anew
    assert not (tmp_path / "kept").exists()
    code, _, err = invoked(*asked[:-2], "--output", tmp_path / "kept")
    assert "fidelity.copy = 0.98 (default: a text with a word or two changed)" in err
    assert invoked(*asked, "--output", tmp_path / "kept")[:2] == (0, anew)
    code, out, err = invoked(*asked[:-1], "nobody", "--output", tmp_path / "kept")
    assert (code, out) == (2, "")
    assert "no sample 'nobody'; " in err
    assert invoked(*asked[:-2])[0] == 2
    other = ("filter", tmp_path / "kept", *asked[2:], "--output", tmp_path / "kept")
    code, _, err = invoked(*other)
    assert code == 2
    assert "leave out --output to judge anew" in err
