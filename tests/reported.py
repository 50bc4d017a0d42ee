"""Scores and a run for a report to show, as the stages leave them, with a hostile item and a hostile answer in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from llm_aug.data import Origin, Pair, Reject, Sample
from llm_aug.files import write_json, write_parquet, write_text
from llm_aug.tables import rejects_table, samples_table

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/a onerror=alert(1)> {{ 7 * 7 }} & \"quoted\""
GAINS = {"real": 0.0, "a/a": 0.0, "random": -0.08, "funnel": 0.01, "llm": 0.02}
STUDENTS = {"content": 0.2, "ials": 0.3}


def write_scores(folder: Path, seed: int, gains: dict[str, float], students: dict[str, float], users: int = 40) -> Path:
    """Each user's NDCG is the student's level, plus the user's own, plus the arm's gain, plus a little noise."""
    random = np.random.default_rng(seed)
    own = np.abs(random.normal(0, 0.1, users))
    frames = [
        pd.DataFrame(
            {
                "student": student,
                "arm": arm,
                "seed": seed,
                "group": group,
                "user_id": [f"u{user}" for user in range(users)],
                "ndcg@20": level + own + gain * (2 if group == "cold" else 1) + random.normal(0, 0.01, users),
                "recall@20": 0.5,
            }
        )
        for student, level in students.items()
        for arm, gain in gains.items()
        for group in ("cold", "warm", "overall")
    ]
    write_parquet(folder / "per_user.parquet", pa.Table.from_pandas(pd.concat(frames), preserve_index=False))
    volumes = [{"arm": arm, "pairs": 0 if arm == "real" else 1200, "texts": 0} for arm in gains]
    write_json(folder / "arms.json", {"encoder": "minilm", "split_hash": f"hash{seed}", "arms": volumes})
    choice = {"options": {"factors": 64, "l2": 0.1}, "weight": 0.5, "variant": 2, "tried": 8}
    chosen = [
        {"student": student, "arm": arm, "validation": level + gain, **choice}
        for student, level in students.items()
        for arm, gain in gains.items()
    ]
    write_json(folder / "tuning.json", chosen)
    keys = [{"student": student, "arm": arm, "group": "overall", "seed": seed} for student in students for arm in gains]
    figures = {"coverage": 0.625, "gini": 0.25, "novelty": 7.5, "diversity": 0.5}
    lists = [
        {**key, "metric": name, "k": 20, "value": one, "users": 40} for key in keys for name, one in figures.items()
    ]
    write_json(folder / "catalogue.json", lists)
    bins = {"0": (1, 4), "1-3": (0, 0)}
    write_json(
        folder / "popularity.json",
        [{**key, "bin": name, "hits": hits, "relevant": of} for key in keys for name, (hits, of) in bins.items()],
    )
    return folder


def write_warm_up(folder: Path, arms: tuple[str, ...] = ("real", "llm")) -> None:
    rows: list[dict[str, Any]] = [
        {"student": "ials", "arm": arm, "k": k, "group": "cold", "mean": 0.1 * k + place, "users": 40}
        for place, arm in enumerate(arms)
        for k in (0, 1, 5)
    ]
    ends = [{"low": row["mean"] - 0.05, "high": row["mean"] + 0.05} for row in rows]
    write_json(folder / "warm_up.json", [row | end for row, end in zip(rows, ends, strict=True)])


def write_run(run: Path, seeds: int = 1) -> Path:
    """A run's folders as the pipeline leaves them, with a hostile item and a hostile answer."""
    titles = ["Toy Story", "Heat", "The <b>Matrix</b>", HOSTILE]
    items = pd.DataFrame({"item_id": list("1234"), "title": titles, "description": "", "genres": "Comedy|Drama"})
    versions = {"python": "3.11.9", "torch": "2.13.0"}
    write_json(run / "manifest.json", {"config": {"seed": 0, "model": "builtin:mini"}, "versions": versions})
    for seed in range(seeds):
        home = run / f"seed-{seed}"
        write_parquet(home / "02-split/items.parquet", pa.Table.from_pandas(items, preserve_index=False))
        log = pd.DataFrame({"user_id": ["3", "0", "3"], "item_id": ["2", "4", "3"]})
        write_parquet(home / "02-split/train.parquet", pa.Table.from_pandas(log, preserve_index=False))
        split = {
            "strategy": "item-random",
            "seed": seed,
            "hash": f"hash{seed}",
            "cold_items": [f"c{n}" for n in range(99)],
        }
        write_json(home / "02-split/split.json", split)
        curve = [[step, 0.4 + 2 / (step + 2)] for step in range(1, 300)] + [[300, float("inf")]]
        speed = {"steps": 300, "seconds": 61.5, "tokens_per_second": 5210.4, "examples": 2400}
        losses = {"validation_before": 1.41, "validation_after": 0.448, "options": {"model": "builtin:mini"}}
        write_text(home / "03-adapter/finetune.json", pd.Series({"curve": curve, **speed, **losses}).to_json())
        _write_arm(home, "rewrite", _texts(seed), {"invented_facts": 2, "copy": 1})
        _write_arm(home, "llm", _pairs(seed), {"popular_user": 1})
        auc = {"funnel": 0.7131, "judge": 0.6544, "both": 0.7402}
        write_json(home / "04-samples-llm/metrics.json", {"auc_in_pseudo_cold_lists": auc})
    return run


def _texts(seed: int) -> list[Sample]:
    made: dict[str, Any] = {"model": "builtin:mini", "revision": "r1", "adapter": "a9", "prompt_hash": "p7"}
    origin = Origin("rewrite/describe", **made, seed=41 + seed)
    words = [
        "A cowboy doll meets a spaceman and learns to share.",
        "A thief and a policeman; a long night.",
        "",
        HOSTILE,
    ]
    return [
        Sample(f"rewrite/describe/{n}/0", "description", f"{n}", text=text, origin=origin)
        for n, text in enumerate(words, start=1)
    ]


def _pairs(seed: int) -> list[Sample]:
    origin = Origin("interactions/llm", model="builtin:mini", seed=seed)
    return [
        Sample(f"llm/{user}/1", "interactions", "1", None, (Pair(f"{user}", "1"),), weight=0.5, origin=origin)
        for user in range(6)
    ]


def _write_arm(home: Path, arm: str, samples: list[Sample], reasons: dict[str, int]) -> None:
    asked, kept = home / f"04-samples-{arm}", home / f"05-kept-{arm}"
    n, lost = len(samples), sum(reasons.values())
    counts = {"asked": n + 2, "parsed": n, "rejected": 1, "failed": 1, "reused": 0}
    write_json(asked / "stage.json", {"stage": arm, "line": f"{n + 2} asked = {n} parsed", "seconds": 12.5})
    write_json(asked / "manifest.json", {"fingerprint": "9c1f", "config": {}, "state": "done", "counts": counts})
    write_parquet(asked / "samples.parquet", samples_table(samples))
    write_parquet(asked / "rejects.parquet", rejects_table([Reject("1", "rewrite", "empty_answer")]))
    answers = pa.table({"key": [f"k{i}" for i in range(n + 2)], "n_tokens": [30] * (n + 2)})
    write_parquet(asked / "answers/000000.parquet", answers)
    write_parquet(kept / "kept.parquet", samples_table(samples[lost:]))
    dropped = samples_table(samples[:lost]).append_column("reason", pa.array(list(reasons) * 2)[:lost])
    write_parquet(kept / "dropped.parquet", dropped.append_column("nearest", pa.array(["2"] * lost)))
    scores = {"sample_id": [sample.sample_id for sample in samples], "fidelity": [0.83, None] * (n // 2)}
    scores |= {"dropped_by": ["fidelity"] * lost + [""] * (n - lost), "fidelity_nearest": ["2"] * n}
    write_parquet(kept / "scores.parquet", pa.table(scores))
    sides = {"synthetic": {"length": 12.0, "gini": 0.25}, "real": {"length": 34.5}}
    write_json(
        kept / "corpus.json", {"description": {"samples": n - lost, "auc": 0.875, "length_drift": None, **sides}}
    )
    summary = {"counts": {"judged": n, "kept": n - lost, "dropped": lost}, "reasons": reasons, "encoder": "minilm"}
    summary["borderline"] = {"fidelity": [{"sample_id": "nobody's line", "score": 0.5}]}
    write_json(kept / "filter.json", summary)
