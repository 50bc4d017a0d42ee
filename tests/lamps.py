"""Three lamps and two chairs with descriptions, kinds and a review."""

from __future__ import annotations

import pandas as pd

from llm_aug.data import Dataset, tidy_interactions, tidy_items

LAMP = "The Halo lamp is really bright. It weighs 2 kg and stands 30 cm high. It was made in Oslo by Nordlys."


def shelf() -> Dataset:
    """Three lamps and a chair; the last lamp's kind is not known, and its reviews are a second source."""
    rows = [
        {"item_id": "l1", "title": "Halo", "description": LAMP, "kind": "Lamp|Desk", "review": "Very bright indeed."},
        {"item_id": "l2", "title": "Glow", "description": "A warm lamp for the long evening.", "kind": "lamp|Desk"},
        {"item_id": "l3", "title": "Beam", "description": "A lamp with a thin neck.", "kind": "(unknown)"},
        {"item_id": "c1", "title": "Seat", "description": "A chair of oak for four guests.", "kind": "Chair|Oak"},
        {"item_id": "c2", "title": "Stool", "description": "A chair without a back at all.", "kind": "Chair"},
    ]
    frame = pd.DataFrame(rows).fillna("").assign(pages=["1", "1", "2", "2", "2"])
    return Dataset(tidy_items(frame), tidy_interactions(pd.DataFrame({"user_id": [], "item_id": []})))
