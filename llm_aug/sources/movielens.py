"""MovieLens as GroupLens publishes it, unpacked or as the zip: latest and 20M/25M/32M (csv), 1M/10M (.dat), 100K (u.*).

One row of items: {"item_id": "1", "title": "Toy Story", "year": "1995", "genres": "Adventure, Animation"}
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from llm_aug.errors import InputError
from llm_aug.sources import delimited
from llm_aug.sources.raw import RawDataset, RawTable

LAYOUTS = (("movies.csv", "ratings.csv"), ("movies.dat", "ratings.dat"), ("u.item", "u.data"))
GENRES_100K = [
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
OUR_NAMES = {"movieId": "item_id", "userId": "user_id"}
MOVIES = ("item_id", "title", "genres")
RATINGS = ("user_id", "item_id", "rating", "timestamp")


def fits(source: Path) -> bool:
    """Any zip, so that one without MovieLens files in it gets this reader's error."""
    if source.is_dir():
        return any(all((source / name).is_file() for name in layout) for layout in LAYOUTS)
    return source.suffix.lower() == ".zip"


def read(source: Path) -> RawDataset:
    if source.is_dir():
        found = {path.name: path for path in source.iterdir() if path.is_file()}
        movies, ratings = _layout(source, set(found))
        return _raw(movies, ratings, lambda name: found[name].read_bytes(), (found[movies], found[ratings]))
    try:
        with zipfile.ZipFile(source) as archive:
            members = _members(archive)
            movies, ratings = _layout(source, set(members))
            return _raw(movies, ratings, lambda name: archive.read(members[name]), (source,))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # RuntimeError: encrypted
        raise InputError(f"{source} is not a readable zip: {error}") from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """File name -> member, the least nested first. Members are read in memory: no name of theirs becomes a path."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    files.sort(key=lambda info: (-len(PurePosixPath(info.filename).parts), info.filename))
    return {PurePosixPath(info.filename).name: info for info in files}


def _layout(source: Path, names: set[str]) -> tuple[str, str]:
    for movies, ratings in LAYOUTS:
        if {movies, ratings} <= names:
            return movies, ratings
    pairs = ", ".join(" and ".join(layout) for layout in LAYOUTS)
    raise InputError(f"{source} is not MovieLens: it has none of {pairs}")


def _raw(movies: str, ratings: str, content: Callable[[str], bytes], files: tuple[Path, ...]) -> RawDataset:
    items, interactions = _movies(movies, content(movies)), _ratings(ratings, content(ratings))
    return RawDataset(_facts(items), interactions, files)


def _movies(name: str, data: bytes) -> RawTable:
    if name.endswith(".csv"):
        return _named(delimited.parse(data, name, ","))
    if name.endswith(".dat"):
        return delimited.parse(_separated(data), name, "\x1f", MOVIES, quoted=False)
    header = ("item_id", "title", "released", "video", "url", *GENRES_100K)
    table = delimited.parse(_utf8(data), name, "|", header, quoted=False)
    flags = np.asarray(table.frame[GENRES_100K] == "1", dtype=bool)
    genres = ["|".join(np.array(GENRES_100K)[row]) for row in flags]
    return replace(table, frame=table.frame[["item_id", "title"]].assign(genres=genres))


def _ratings(name: str, data: bytes) -> RawTable:
    if name.endswith(".csv"):
        return _named(delimited.parse(data, name, ","))
    if name.endswith(".dat"):
        return delimited.parse(_separated(data), name, "\x1f", RATINGS, quoted=False)
    return delimited.parse(data, name, "\t", RATINGS, quoted=False)


def _named(table: RawTable) -> RawTable:
    return replace(table, frame=table.frame.rename(columns=OUR_NAMES))


def _separated(data: bytes) -> bytes:
    return _utf8(data).replace(b"::", b"\x1f")


def _utf8(data: bytes) -> bytes:
    """The releases before 2015 are in Latin-1, the 10M one in UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1").encode("utf-8")
    return data


def _facts(movies: RawTable) -> RawTable:
    """Title "Toy Story (1995)" -> title and year; genres "A|B" -> "A, B"."""
    frame = movies.frame
    for name in MOVIES:
        if name not in frame:
            raise InputError(f"{movies.file} has no column {name!r}; columns: {', '.join(frame.columns)}")
    parts = frame["title"].str.extract(r"^\s*(?P<title>.*?)\s*(?:\((?P<year>\d{4})(?:[-–]\d{0,4})?\))?\s*$")
    genres = frame["genres"].replace("(no genres listed)", "").str.replace("|", ", ")
    frame = frame.assign(title=parts["title"].fillna(""), year=parts["year"].fillna(""), genres=genres)
    return replace(movies, frame=frame)
