"""Who may import whom, and how long a file and a function may be; a failure names the offender."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("llm_aug", "recommender", "eval")
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
PROSE = {"llm_aug.builtin.card.model_card"}  # one text from its first line to its last
HEAVY = {
    "accelerate", "datasets", "faiss", "implicit", "peft", "ray", "sentence_transformers", "sklearn", "torch",
    "transformers", "vllm",
}  # fmt: skip
GENERATORS = (
    "generate",
    "simulate",
    "candidates",
    "finetune",
    "similar_reviews",
    "item_controls",
    "backends",
    "tasks",
    "classics",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


def absolute(name: str, node: ast.ImportFrom) -> str:
    """`from .errors import X` in llm_aug.files is llm_aug.errors."""
    if not node.level:
        return node.module or ""
    package = name.split(".")[: -node.level + (SOURCES[name].name == "__init__.py") or None]
    return ".".join([*package, *([node.module] if node.module else [])])


def targets(name: str, node: ast.AST) -> set[str]:
    """The modules that an import statement names: `from llm_aug import seeds` is llm_aug.seeds."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    module = absolute(name, node)
    inner = {f"{module}.{alias.name}" for alias in node.names}
    return {one if one in SOURCES else module for one in inner}


@functools.cache
def imports(name: str) -> frozenset[str]:
    """All that a file imports, inside functions and for type checking too."""
    return frozenset(target for node in ast.walk(tree(name)) for target in targets(name, node))


def ours(name: str) -> set[str]:
    return {target for target in imports(name) if target in SOURCES and target != name}


def at_once(name: str) -> set[str]:
    """What is imported when the file is: not what stands in functions, nor under `if TYPE_CHECKING`."""
    found: set[str] = set()
    stack: list[ast.AST] = [tree(name)]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
            continue
        found |= targets(name, node)
        stack += ast.iter_child_nodes(node)
    return found


def within(name: str, *parts: str) -> bool:
    """Whether the module is one of these, or lies in one of these packages."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def offenders(files: list[str], allowed: tuple[str, ...]) -> list[str]:
    """'A imports B' for each import of ours by files that is not allowed; a package may import itself only if told."""
    assert files
    return [f"{one} imports {other}" for one in files for other in sorted(ours(one)) if not within(other, *allowed)]


def files(*packages: str) -> list[str]:
    return [name for name in SOURCES if within(name, *packages)]


EVALUATION = [name for name in files("eval") if not within(name, "eval.bench")]


def llm_aug(*modules: str) -> tuple[str, ...]:
    return tuple(f"llm_aug.{module}" for module in modules)


def test_data_and_what_lies_below_it() -> None:
    assert offenders(["llm_aug.data"], llm_aug("errors", "files", "tidy")) == []
    assert offenders(["llm_aug.tidy"], llm_aug("errors", "files", "text")) == []
    assert offenders(["llm_aug.files"], llm_aug("errors")) == []
    assert offenders(["llm_aug.errors", "llm_aug.seeds", "llm_aug.text"], ()) == []


def test_the_recommenders_know_the_data_and_the_vectors_alone() -> None:
    allowed = llm_aug("data", "vectors", "errors", "seeds", "files", "funnel", "processes", "registry")
    assert offenders(files("recommender"), ("recommender", *allowed)) == []
    from_funnel = {
        alias.name
        for name in files("recommender")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ImportFrom) and node.module == "llm_aug.funnel"
        for alias in node.names
    }
    assert from_funnel == {"Space"}


def test_the_evaluation_gets_its_arms_as_files() -> None:
    allowed = llm_aug(
        "data",
        "splits",
        "vectors",
        "errors",
        "seeds",
        "files",
        "merge",
        "sources.samples",
        "tables",
        "seen",
        "registry",
    )
    assert offenders(EVALUATION, ("eval", "recommender", *allowed)) == []


def reached(name: str) -> set[str]:
    """All of ours that a file imports, directly or not."""
    found, stack = set(), [name]
    while stack:
        for other in ours(stack.pop()) - found:
            found.add(other)
            stack.append(other)
    return found


def test_the_evaluation_reaches_no_generator_by_any_way() -> None:
    generators = llm_aug(*GENERATORS)
    found = [f"{one} reaches {other}" for one in EVALUATION for other in reached(one) if within(other, *generators)]
    assert found == []


def test_benchmarks_measure_everything_and_nothing_needs_them() -> None:
    assert [name for name in SOURCES if name not in files("eval.bench") and "eval.bench" in str(ours(name))] == []


def test_tasks_and_backends_never_see_each_other() -> None:
    for one, other in (("llm_aug.tasks", "llm_aug.backends"), ("llm_aug.backends", "llm_aug.tasks")):
        assert [f"{name} reaches {other}" for name in files(one) if any(within(x, other) for x in reached(name))] == []


def test_only_what_makes_samples_sees_tasks_and_backends() -> None:
    both = [
        name
        for name in SOURCES
        if all(any(within(x, part) for x in ours(name)) for part in llm_aug("tasks", "backends"))
    ]
    both = [name for name in both if not within(name, "eval.bench")]
    assert set(both) <= {f"llm_aug.{name}" for name in ("asking", "generate", "simulate", "generators")}, both


def test_what_makes_samples_knows_no_recommender_and_no_evaluation() -> None:
    makers = files(*llm_aug(*GENERATORS, "filters", "sources", "funnel", "grade", "builtin"))
    found = [
        f"{one} reaches {other}" for one in makers for other in reached(one) if within(other, "recommender", "eval")
    ]
    assert found == []


def test_no_circles() -> None:
    circles = [name for name in SOURCES if name in reached(name)]
    assert circles == [], f"files that import themselves by way of others: {circles}"


def test_the_command_line_goes_by_the_pipeline() -> None:
    below = [name for name in SOURCES if within(name, "llm_aug") and not name.startswith("llm_aug.cli")]
    found = [f"{name} imports {other}" for name in below for other in ours(name) if other.startswith("llm_aug.cli")]
    assert found == []


@pytest.mark.parametrize("start", ["llm_aug.cli", "llm_aug.data", "llm_aug.errors", "recommender"])
def test_light_files_load_nothing_heavy(start: str) -> None:
    """Follows what each file imports when it is imported; `--help` must not wait for torch."""
    via, stack = {start: start}, [start]
    while stack:
        name = stack.pop()
        for target in at_once(name):
            assert target.partition(".")[0] not in HEAVY, f"{via[name]} imports {target}"
            parents = [target[:end] for end, sign in enumerate(target + ".") if sign == "."]
            for other in parents:  # importing a.b runs a first
                if other in SOURCES and other not in via:
                    via[other] = f"{via[name]} -> {other}"
                    stack.append(other)


def test_files_are_short() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name in SOURCES
        for node in ast.walk(tree(name))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION and name not in PROSE} == {}


def test_there_is_something_to_check() -> None:
    """A wrong root or a renamed package would make every rule above true."""
    assert {"llm_aug.data", "recommender.ease", "eval.metrics"} <= set(SOURCES)
    assert ours("eval.ranking") >= {"eval.metrics", "llm_aug.seeds", "recommender.matrix"}
    assert "torch" in at_once("recommender.embedding")
    assert "implicit.cpu.als" in imports("recommender.ials") - at_once("recommender.ials")
    assert "llm_aug.data" in reached("eval.ranking")
