"""A fitted student answers for users and items that it has never seen, as it would for those of its training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from students import users_of
from typer.testing import CliRunner

from eval.bench import latency
from eval.metrics import rank
from llm_aug.cli import app
from llm_aug.data import Dataset, Split, tidy_items
from llm_aug.errors import InputError
from llm_aug.files import read_parquet
from recommender import make_student
from recommender.content import ContentKNN
from recommender.live import Shelf, fold_in, history_rows, newcomers, with_items
from recommender.matrix import to_log
from recommender.store import load, save

OPTIONS: dict[str, dict[str, Any]] = {
    "content": {"encoder": "hash:64"},
    "two-tower": {"encoder": "hash:64", "dimensions": 16, "epochs": 4},
    "fusion": {"encoder": "hash:64"},
    "ials": {"factors": 4, "regularization": 1.0, "iterations": 200},  # until nothing moves
    "ease": {"l2": 5.0},
    "autorec": {"hidden": 8, "epochs": 2},
    "mult-vae": {"hidden": 8, "latent": 4, "epochs": 2},
    "gru": {"encoder": "hash:16", "dimensions": 8, "max_length": 4, "epochs": 2},
    "sasrec": {"encoder": "hash:16", "dimensions": 8, "max_length": 4, "epochs": 2},
}


FOLDING = ("popularity", "content", "ials", "ease", "two-tower", "fusion", "autorec", "mult-vae", "gru", "sasrec")


TAKING = ("content", "two-tower", "fusion")


NEW = tidy_items(pd.DataFrame({"item_id": ["n0", "n1"], "title": ["sweet red fruit juice new", "fast blue car new"]}))


@pytest.fixture(scope="module")
def fitted(tastes: Split) -> Callable[[str], Any]:
    rows = tastes.training.interactions
    in_order = Dataset(tastes.training.items, rows.assign(timestamp=pd.array(range(len(rows)), dtype="Int64")))
    models = {name: make_student(name, OPTIONS.get(name, {})).fit(in_order) for name in {*FOLDING, *TAKING}}
    return models.__getitem__


def histories_of(split: Split) -> list[list[str]]:
    return [list(rows["item_id"]) for _, rows in split.train.groupby("user_id")]


@pytest.mark.parametrize("name", FOLDING)
def test_a_user_folded_in_by_his_training_events_has_his_scores(
    name: str, fitted: Callable[[str], Any], tastes: Split
) -> None:
    model = fitted(name)
    folded = fold_in(model, histories_of(tastes))
    assert folded.dtype == np.float32
    np.testing.assert_allclose(folded, model.scores(users_of(tastes)), atol=1e-4 if name == "ials" else 1e-5)


@pytest.mark.parametrize("name", FOLDING)
def test_an_empty_history_gets_what_an_unknown_user_gets(name: str, fitted: Callable[[str], Any]) -> None:
    model = fitted(name)
    np.testing.assert_allclose(fold_in(model, [[], []]), model.scores(["nobody", "no one"]), atol=1e-6)
    assert fold_in(model, []).shape == model.scores([]).shape


@pytest.mark.parametrize("name", FOLDING)
def test_folding_in_depends_on_no_neighbour_and_no_repeat(
    name: str, fitted: Callable[[str], Any], tastes: Split
) -> None:
    model, (first, second) = fitted(name), histories_of(tastes)[:2]
    together = fold_in(model, [first, second])
    np.testing.assert_allclose(fold_in(model, [second, [*first, *first]])[::-1], together, atol=1e-5)


@pytest.mark.parametrize("name", ["gru", "sasrec"])
def test_a_model_of_sequences_reads_the_last_events_in_their_order(name: str, fitted: Callable[[str], Any]) -> None:
    forth, back, long = fold_in(
        fitted(name), [["i0", "i1", "i2", "i4"], ["i4", "i2", "i1", "i0"], ["i9", "i8", "i0", "i1", "i2", "i4"]]
    )
    assert not np.allclose(forth, back)
    np.testing.assert_allclose(forth, long, atol=1e-5)  # max_length is 4


@pytest.mark.parametrize("name", ["autorec", "mult-vae", "gru", "sasrec"])
def test_a_stored_network_folds_in_as_before(
    name: str, fitted: Callable[[str], Any], tastes: Split, tmp_path: Path
) -> None:
    save(tmp_path, name, fitted(name), tastes.training)
    history = histories_of(tastes)[:3]
    assert np.array_equal(fold_in(load(tmp_path).model, history), fold_in(fitted(name), history))


def test_ials_solves_the_equation_of_its_paper(fitted: Callable[[str], Any], tastes: Split) -> None:
    """x = (Y' C Y + l2 I)^-1 Y' C p over the whole catalogue, C = alpha where the user has an event, else 1."""
    model = fitted("ials")
    history, Y = histories_of(tastes)[0], model.item_factors.astype(float)
    p = np.isin(model.items, history).astype(float)
    C = np.diag(np.where(p > 0, model.alpha, 1.0))
    x = np.linalg.solve(Y.T @ C @ Y + model.regularization * np.eye(Y.shape[1]), Y.T @ C @ p)
    np.testing.assert_allclose(fold_in(model, [history])[0], Y @ x, atol=1e-5)


def test_an_unknown_event_is_refused_by_name(fitted: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match=r"'i999' is not an item that the student knows; leave it out"):
        fold_in(fitted("ease"), [["i0", "i999"]])


def test_a_student_that_cannot_says_which_can() -> None:
    with pytest.raises(InputError, match="object knows the users of its training alone; for new ones train content"):
        fold_in(object(), [["i0"]])
    with pytest.raises(
        InputError, match=r"EASE knows an item by its users alone.*train content, two-tower, content-tower or fusion"
    ):
        with_items(make_student("ease", {}), NEW)


@pytest.mark.parametrize("name", TAKING)
def test_new_items_are_scored_by_their_text_and_the_old_scores_stay(
    name: str, fitted: Callable[[str], Any], tastes: Split
) -> None:
    model, users = fitted(name), users_of(tastes)
    before = model.scores(users)
    wider = with_items(model, NEW)
    after = wider.scores(users)
    assert after.shape == (len(users), before.shape[1] + 2)
    if name != "fusion":  # its parts have mean 0 and deviation 1 over the catalogue
        np.testing.assert_allclose(after[:, :-2], before, atol=1e-6)
    assert np.array_equal(model.scores(users), before)
    fruit = np.array([int(user[1:]) % 4 == 0 for user in users])  # i0, i4, ... are of fruit
    cars = np.array([int(user[1:]) % 4 == 1 for user in users])
    assert after[fruit, -2].mean() > after[fruit, -1].mean()
    assert after[cars, -1].mean() > after[cars, -2].mean()
    by_event = fold_in(wider, [["n0"]])[0]
    kinds = np.array([int(item[1:]) % 4 for item in tastes.items["item_id"]])
    assert by_event[:-2][kinds == 0].mean() > by_event[:-2][kinds != 0].mean()


@pytest.mark.parametrize("name", TAKING)
def test_a_known_item_comes_in_anew_as_it_is_known(name: str, fitted: Callable[[str], Any], tastes: Split) -> None:
    """Only what history taught of it is missing: for content kNN, nothing."""
    model, again = fitted(name), tastes.items.iloc[[3]].assign(item_id="copy")
    scores = with_items(model, again).scores(users_of(tastes))
    if name == "content":
        np.testing.assert_allclose(scores[:, -1], scores[:, 3], atol=1e-6)
    else:
        assert np.corrcoef(scores[:, -1], scores[:, 3])[0, 1] > 0.5


@pytest.mark.parametrize("name", TAKING)
def test_a_stored_student_takes_items_as_before(
    name: str, fitted: Callable[[str], Any], tastes: Split, tmp_path: Path
) -> None:
    model = fitted(name)
    save(tmp_path, name, model, tastes.training)
    stored = load(tmp_path).model
    history = histories_of(tastes)[:3]
    assert np.array_equal(fold_in(with_items(stored, NEW), history), fold_in(with_items(model, NEW), history))


@pytest.mark.parametrize("ids", [["i0", "n1"], ["n0", "n0"], ["n0", ""]])
def test_new_items_need_new_ids(ids: list[str], fitted: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match=r"new items: row [12] has the id .* which is empty or there before"):
        with_items(fitted("content"), NEW.assign(item_id=ids))


def test_an_encoder_fitted_on_the_catalogue_takes_no_items(tastes: Split) -> None:
    model = ContentKNN(encoder="tfidf:8").fit(tastes.training)
    with pytest.raises(InputError, match="fitted on a catalogue, and there is none here; choose minilm or hash"):
        with_items(model, NEW)


def test_no_items_change_nothing(fitted: Callable[[str], Any], tastes: Split) -> None:
    users = users_of(tastes)[:3]
    assert np.array_equal(with_items(fitted("content"), NEW[:0]).scores(users), fitted("content").scores(users))


def test_history_rows_are_the_rows_of_the_log(tastes: Split) -> None:
    log = to_log(tastes.training)
    rows = history_rows(histories_of(tastes), log.items)
    assert np.array_equal(rows.toarray(), log.rows(users_of(tastes)).toarray())
    assert newcomers(NEW, log.items)[1][0] == "sweet red fruit juice new"


def test_a_shelf_gives_the_lists_of_the_dense_path() -> None:
    random = np.random.default_rng(0)
    items, queries = (random.standard_normal((n, 8)).astype(np.float32) for n in (50, 30))
    seen = csr_matrix(random.random((30, 50)) < np.linspace(0, 0.9, 30)[:, None])
    found, scores = Shelf(items).best(queries, seen, 10)
    dense = queries @ items.T
    assert np.array_equal(found, rank(dense, seen.toarray() == 0, 10, np.random.default_rng(0)))
    there = found >= 0
    np.testing.assert_allclose(scores[there], np.take_along_axis(dense, found, axis=1)[there], atol=1e-5)
    assert (~there).any()  # some users have seen more than 40 items
    assert (scores[~there] == 0).all()


def test_a_shelf_has_nothing_for_a_query_without_direction() -> None:
    shelf, nothing = Shelf(np.eye(3, dtype=np.float32)), csr_matrix((2, 3))
    found, scores = shelf.best(np.array([[0, 0, 0], [0, 1, 0.5]], np.float32), nothing, 5)
    assert found.tolist() == [[-1] * 5, [1, 2, 0, -1, -1]]
    assert scores[1].tolist() == [1, 0.5, 0, 0, 0]
    assert (shelf.best(np.zeros((1, 3), np.float32), nothing[:1], 2)[0] == -1).all()


def test_the_dense_part_of_content_lists_stands_on_a_shelf(fitted: Callable[[str], Any], tastes: Split) -> None:
    model, histories = fitted("content"), histories_of(tastes)[:8]
    dense = ContentKNN(encoder="hash:64", tfidf_weight=0.0).fit(tastes.training)
    seen = history_rows(histories, model.log.items)
    _, scores = Shelf(model.vectors).best(model.event_vectors(histories), seen, 5)
    unseen = np.where(seen.toarray() > 0, -np.inf, fold_in(dense, histories))
    np.testing.assert_allclose(scores, -np.sort(-unseen, axis=1)[:, :5], atol=1e-6)


@pytest.fixture
def stored(fitted: Callable[[str], Any], tastes: Split, tmp_path: Path) -> Path:
    save(tmp_path / "model", "ease", fitted("ease"), tastes.training)
    return tmp_path / "model"


def recommended(model: Path, file: Path, text: str, *more: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, the rows written, and what was said."""
    file.write_text(text, encoding="utf-8")
    output = file.with_suffix(".parquet")
    asked = ["recommend", str(model), "--events", str(file), "--k", "3", "--output", str(output), *more]
    result = CliRunner().invoke(app, asked)
    return result.exit_code, read_parquet(output).to_pylist() if output.exists() else [], result.stderr


def test_the_command_ranks_for_new_users_what_they_have_not_had(
    stored: Path, fitted: Callable[[str], Any], tmp_path: Path
) -> None:
    events = "user_id,item_id,timestamp\nzoe,i4,20\nyan,i1,5\nzoe,i0,10\nzoe,i777,30\n"
    code, rows, said = recommended(stored, tmp_path / "events.csv", events)
    assert code == 0, said
    assert "1 items of" in said
    assert [(row["user_id"], row["rank"]) for row in rows] == [(u, n) for u in ("zoe", "yan") for n in (1, 2, 3)]
    scores = fold_in(fitted("ease"), [["i0", "i4"]])[0]
    mask = ~fitted("ease").log.items.isin(["i0", "i4"])
    np.testing.assert_allclose([row["score"] for row in rows[:3]], -np.sort(-scores[mask])[:3], atol=1e-6)
    assert not {"i0", "i4"} & {row["item_id"] for row in rows[:3]}


def test_the_command_says_when_a_new_user_is_an_old_one(stored: Path, tmp_path: Path, tastes: Split) -> None:
    user = users_of(tastes)[0]
    code, rows, said = recommended(stored, tmp_path / "events.csv", f"user_id,item_id\n{user},i0\n")
    assert (code, len(rows)) == (0, 3)
    assert "1 users are in the training, too; their lists come of" in said
    logged = set(tastes.train.loc[tastes.train["user_id"] == user, "item_id"])
    assert not logged & {row["item_id"] for row in rows}


@pytest.mark.parametrize(
    ("text", "more", "complaint"),
    [
        (
            "user_id,item_id,timestamp\nzoe,i4,20\nzoe,i0,\n",
            (),
            "1 rows have no usable timestamp, though others have one, the first is row 3",
        ),
        ("user_id,item_id\nzoe,i4,9\nzoe,i4\n", (), "row 2: "),
        ("user_id,item_id\nzoe,\n", (), "1 rows have no usable item_id, the first is row 2"),
        ("user_id,item_id\n", (), "holds no events"),
        ("user,item\nzoe,i4\n", (), "it needs the columns"),
        ("user_id,item_id\nzoe,i4\n", ("--user", "zoe"), "--events names its users itself"),
    ],
)
def test_the_command_refuses_what_are_no_events(
    text: str, more: tuple[str, ...], complaint: str, stored: Path, tmp_path: Path
) -> None:
    code, rows, said = recommended(stored, tmp_path / "events.csv", text, *more)
    assert (code, rows) == (2, [])
    assert complaint in said


def test_the_bench_times_lists_of_all_and_new_items_of_those_with_text(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"items": 120, "warm": 60, "users": 40, "requests": 3, "encoder": "hash:16"}
    latency.main(json=True, student=["popularity", "content"], **small)  # type: ignore[arg-type]
    students = json.loads(capsys.readouterr().out)["students"]
    assert list(students) == ["popularity", "content"]
    assert all(0 < one["list"]["p50"] <= one["list"]["p95"] for one in students.values())
    assert (students["popularity"]["new item"] is None, students["content"]["new item"]["p50"] > 0) == (True, True)
