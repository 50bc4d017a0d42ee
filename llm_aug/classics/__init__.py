"""What the field did before language models, as generators like any other: noise, transforms, mixing, VAE, GAN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_aug.data import Dataset, Reject, Sample
from llm_aug.errors import InputError, did_you_mean
from llm_aug.registry import check_options, named, typed

CLASSICS = {
    "noise": "llm_aug.classics.noise:Noise",
    "transform": "llm_aug.classics.transform:Transform",
    "mix": "llm_aug.classics.mix:Mix",
    "vae": "llm_aug.classics.vae:VAE",
    "gan": "llm_aug.classics.gan:GAN",
}
TEXTS = ("descriptions", "attributes")  # styles whose volume counts texts, not pairs


@dataclass(frozen=True)
class Context:
    """volume: pairs (of TEXTS: texts) to make. folder: for checkpoints of what takes long; of this recipe alone, and
    gone when the stage is done.

    vectors: the items' unit text vectors [items in catalogue order, dimensions], encoded when first asked for.
    users: of the volume, the pairs of each user, where something tells them: they sum to it.
    output: the stage's folder, in which what takes long shows how far it is; None shows it nowhere.
    """

    volume: int
    seed: int
    folder: Path
    vectors: Callable[[], NDArray[np.float32]]
    users: Mapping[str, int] = field(default_factory=dict)
    output: Path | None = None


@dataclass(frozen=True)
class Made:
    """samples: without origin but for its parents, the stage stamps it. record: for metrics.json, as loss curves."""

    samples: Iterable[Sample]
    rejects: Iterable[Reject] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


class Classic(Protocol):
    """A frozen dataclass whose fields are its options. style: one of STYLES, the first by default."""

    STYLES: ClassVar[tuple[str, ...]]

    @property
    def style(self) -> str: ...

    def make(self, dataset: Dataset, context: Context) -> Made:
        """From the training side of a split alone: dataset.interactions holds no row of a cold item.

        The samples bring `context.volume` pairs in all; what could not be made is a reject with its reason. The rows
        of the dataset are in a canonical order. Raises InputError where it cannot serve (nothing to make for).
        """


def load_classic(name: str, **options: Any) -> Classic:
    """Raises InputError for an unknown classic, option or style, or a value of another type."""
    make = named("classic", name, CLASSICS)
    check_options(name, options, make)
    classic: Classic = typed(f"{name}.", options, make)
    if classic.style not in classic.STYLES:
        raise InputError(f"{name} has no style {classic.style!r}; {did_you_mean(classic.style, classic.STYLES)}")
    return classic
