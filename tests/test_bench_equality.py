"""The comparison with the libraries on planted tastes: what is the same model has the same figures."""

from __future__ import annotations

import numpy as np
import pytest

from eval.bench.equality import ease, ials, line, measure, training
from llm_aug.data import Split
from recommender import make_student


@pytest.mark.parametrize(("name", "theirs", "within"), [("ials", ials, 1e-4), ("ease", ease, 1e-5)])
def test_the_same_model_has_the_same_scores(name: str, theirs, within: float, tastes: Split) -> None:
    users = [*sorted(set(tastes.train["user_id"])), "nobody"]
    ours = make_student(name, {}, 3).fit(tastes.training).scores(users)
    np.testing.assert_allclose(theirs(training(tastes), 3).scores(users), ours, atol=within)
    assert np.ptp(ours) > 0.1


def test_a_row_per_student_and_group(tastes: Split) -> None:
    rows = measure(tastes, 1, [{"iterations": 1}, {"iterations": 60, "learning_rate": 0.05}])
    assert [(row["student"], row["group"]) for row in rows] == [
        (student, group) for student in ("ials", "bpr", "ease") for group in ("overall", "warm")
    ]
    found = {(row["student"], row["group"]): row for row in rows}
    assert abs(found["ease", "warm"]["difference"]) < 1e-9
    assert abs(found["ials", "warm"]["difference"]) < 1e-6
    assert found["bpr", "warm"]["theirs"] > 0.1
    assert "bpr" in line(found["bpr", "warm"])
