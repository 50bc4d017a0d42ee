"""Three fruits: one well described, one with a stub, one with facts only."""

from __future__ import annotations

import pandas as pd

from llm_aug.data import Dataset, Request, tidy_interactions, tidy_items
from llm_aug.tasks.rewrite import Rewrite

APPLE = "A crisp red fruit from the old orchard. It keeps well all winter. Bakers like it."


def catalogue() -> Dataset:
    rows = [
        {"item_id": "a", "title": "Apple", "description": APPLE, "kinds": "red; sweet|crisp", "picked_in": "1995"},
        {"item_id": "b", "title": "Pear", "description": "A pear.", "kinds": "", "picked_in": "1996"},
        {"item_id": "c", "title": "", "description": "", "kinds": "", "picked_in": ""},
    ]
    interactions = pd.DataFrame({"user_id": ["u"], "item_id": ["a"]})
    return Dataset(tidy_items(pd.DataFrame(rows)), tidy_interactions(interactions))


def asked(task: Rewrite) -> dict[str, Request]:
    return {entry.key: entry for entry in task.requests(catalogue()) if isinstance(entry, Request)}
