"""Synthetic groups: who is in them, and what their lists are worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from eval.groups import KINDS, LARGEST, RELEVANT, SMALLEST, WAYS, draw_groups, evaluate_groups, main, table
from eval.ranking import held_out
from llm_aug.data import Split
from llm_aug.errors import InputError
from llm_aug.splits import write_split
from recommender.features import dense_vectors
from recommender.matrix import to_log

BLOCKS = csr_matrix(np.kron(np.eye(4), np.ones((10, 6))))  # 40 users, ten of each of four histories


@pytest.mark.parametrize("kind", KINDS)
def test_groups_have_two_to_eight_different_members_and_depend_on_the_seed_alone(kind: str) -> None:
    groups = draw_groups(BLOCKS, kind, 60)
    assert {len(group) for group in groups} == set(range(SMALLEST, LARGEST + 1))
    assert all(len(set(group)) == len(group) for group in groups)
    same, other = draw_groups(BLOCKS, kind, 60), draw_groups(BLOCKS, kind, 60, seed=1)
    assert [list(group) for group in groups] == [list(group) for group in same]
    assert [list(group) for group in groups] != [list(group) for group in other]


def test_similar_users_share_their_history_and_random_ones_need_not() -> None:
    blocks = {kind: [len(set(group // 10)) for group in draw_groups(BLOCKS, kind, 40)] for kind in KINDS}
    assert set(blocks["similar"]) == {1}
    assert np.mean(blocks["random"]) > 2


def test_fewer_users_make_smaller_groups_and_one_makes_none() -> None:
    assert {len(group) for group in draw_groups(BLOCKS[:3], "random", 40)} == {2, 3}
    with pytest.raises(InputError, match="groups need 2 users with held-out rows at least, there are 1"):
        draw_groups(BLOCKS[:1], "random", 1)


@dataclass
class Oracle:
    """Scores an item by whether it is held out of the user; what = -1 turns it round."""

    split: Split
    what: float = 1.0

    def scores(self, users: list[str]) -> np.ndarray:
        held = held_out(self.split, "test")
        rows = [held.users.index(user) for user in users]
        return (self.what * held.relevant[rows]).astype(np.float32)


def test_an_oracle_finds_what_is_held_out_and_its_opposite_does_not(tastes: Split) -> None:
    vectors = dense_vectors(tastes.training, "hash:32")
    good, bad = (evaluate_groups(Oracle(tastes, sign), tastes, vectors, 30) for sign in (1.0, -1.0))  # type: ignore[arg-type]
    assert len(good) == len(KINDS) * len(WAYS) * len(RELEVANT)
    good, bad = (rows[rows["counted"] > 0] for rows in (good, bad))  # random users share no held-out item
    assert len(good) == len(KINDS) * len(WAYS) + len(WAYS)
    for rows in (good, bad):
        assert ((rows["low"] <= rows["ndcg@20"]) & (rows["ndcg@20"] <= rows["high"])).all()
    pleased = good[(good["how"] == "most-pleasure") & (good["relevant"] == "any")]
    assert (pleased["ndcg@20"] > 0.9).all()  # z-scores order members' hits, all of them above any miss
    assert (good["ndcg@20"].to_numpy() > bad["ndcg@20"].to_numpy()).all()


def test_items_that_a_member_has_had_never_compete(tastes: Split) -> None:
    log = to_log(tastes.training)

    class Repeater:
        def scores(self, users: list[str]) -> np.ndarray:
            return log.rows(users).toarray()

    vectors = dense_vectors(tastes.training, "hash:32")
    rows = evaluate_groups(Repeater(), tastes, vectors, 30)  # type: ignore[arg-type]
    assert (rows["ndcg@20"] > 0).any()  # what is left is tied and comes in a drawn order
    similar = rows[(rows["groups"] == "similar") & (rows["how"] == "mean")].set_index("relevant")
    assert similar.loc["all", "counted"] <= similar.loc["any", "counted"] == 30


def test_the_command_prints_a_table_and_json(tastes: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_split(tmp_path, tastes)
    asked = [str(tmp_path), "--student", "ease:l2=5", "--encoder", "hash:32", "--groups", "12"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert [line.split("  ")[0] for line in shown.splitlines()[1:]] == list(WAYS)
    assert main([*asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # NaN is no JSON
    assert set(rows[0]) == {"groups", "how", "relevant", "ndcg@20", "low", "high", "counted"}
    assert main([*asked[:2], "eas", *asked[3:]]) == 2
    assert "did you mean 'ease'" in capsys.readouterr().err


def test_a_cell_without_groups_is_a_dash(tastes: Split) -> None:
    rows = evaluate_groups(Oracle(tastes), tastes, dense_vectors(tastes.training, "hash:32"), 12)  # type: ignore[arg-type]
    rows["counted"] = 0
    assert "nan" not in table(rows)
