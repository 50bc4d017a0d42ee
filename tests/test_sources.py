from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_aug import sources
from llm_aug.clean_values import identifiers
from llm_aug.errors import InputError
from llm_aug.sources.table import read_table

ITEMS = [{"item_id": "1", "title": "Toy Story"}, {"item_id": "2", "title": "Heat"}]
LOG = [{"user_id": "7", "item_id": "1", "rating": "4"}, {"user_id": "8", "item_id": "2", "rating": ""}]


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    frame, name = pd.DataFrame(rows), path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    if name.endswith(("jsonl", "ndjson")):
        data = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        data = frame.to_csv(index=False, sep="\t" if name.endswith("tsv") else ",")
    path.write_bytes(gzip.compress(data.encode()) if path.name.endswith(".gz") else data.encode())


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "ndjson", "csv.gz", "jsonl.gz"])
def test_every_table_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    write_rows(tmp_path / f"items.{suffix}", ITEMS)
    write_rows(tmp_path / f"interactions.{suffix}", LOG)
    raw = sources.read(tmp_path)
    assert raw.items.frame.to_dict("records") == ITEMS
    assert raw.interactions.frame.to_dict("records") == LOG
    assert [path.name for path in raw.files] == [f"items.{suffix}", f"interactions.{suffix}"]
    first = 2 if "sv" in suffix else 1
    assert list(raw.items.lines) == [first, first + 1]


def test_csv_survives_bom_crlf_quotes_nul_and_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(
        b'\xef\xbb\xbfitem_id,title\r\n1,"two\r\nlines, ""quoted"""\r\n\r\n2,caf\xe9 n\x00l 6" pipe\r\nNA,NULL\r\n'
    )
    table = read_table(path)
    assert list(table.frame.columns) == ["item_id", "title"]
    assert table.frame["item_id"].tolist() == ["1", "2", "NA"]
    assert table.frame["title"].tolist() == ['two\r\nlines, "quoted"', 'caf\ufffd n\x00l 6" pipe', "NULL"]
    assert list(table.lines) == [2, 4, 5]  # rows, not physical lines; row 3 is blank


def test_csv_line_with_a_wrong_number_of_fields_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\n1,a\n2\n3,b,c\n4,d\n")
    table = read_table(path)
    assert table.unreadable == ((3, "wrong_field_count"), (4, "wrong_field_count"))
    assert table.frame["item_id"].tolist() == ["1", "4"]
    assert list(table.lines) == [2, 5]


def test_csv_field_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,description\n1," + "x" * 10_000_000 + "\n2,short\n")
    assert read_table(path).frame["description"].str.len().tolist() == [10_000_000, 5]


@pytest.mark.parametrize("content", ["item_id,title\n", "item_id,title", "item_id,title\r\n\r\n"])
def test_csv_of_a_header_alone_has_columns_and_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "items.csv").write_text(content)
    frame = read_table(tmp_path / "items.csv").frame
    assert (list(frame.columns), len(frame)) == (["item_id", "title"], 0)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("items.csv", b"", "is empty"),
        ("items.csv", b"item_id,item_id\n1,2\n", "several columns named 'item_id'"),
        ("items.csv.gz", b"not gzip", "not a whole gzip file"),
        ("items.parquet", b"not parquet", "not a readable parquet file"),
    ],
)
def test_file_that_cannot_be_read_at_all_is_an_input_error(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_table(tmp_path / name)


def test_json_lines_keep_numbers_and_lists_and_name_the_broken_lines(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    lines = [
        '{"item_id": 12345678901234567, "title": "half \\ud800 pair"}',
        "{broken",
        "[1]",
        "",
        '{"title": ["a", 1], "n": {"k": 2}}',
    ]
    path.write_text("\ufeff" + "\r\n".join(lines))
    table = read_table(path)
    assert table.unreadable == ((2, "not_json"), (3, "not_an_object"))
    assert list(table.lines) == [1, 5]
    assert table.frame.loc[0, "item_id"] == 12345678901234567  # a float would end in ...568
    assert table.frame.loc[0, "title"] == "half \ufffd pair"
    assert table.frame.loc[1, "title"] == ["a", "1"]
    assert table.frame.loc[1, "n"] == '{"k": 2}'


def test_parquet_keeps_long_ids_beside_missing_ones_and_mends_invalid_utf8(tmp_path: Path) -> None:
    raw_bytes = pa.array([b"ok", b"caf\xe9"])
    invalid = pa.Array.from_buffers(pa.string(), 2, raw_bytes.buffers())
    category = pa.array(["x", "y"]).dictionary_encode()
    columns = {"item_id": pa.array([2**60 + 1, None]), "title": raw_bytes, "kind": category, "plot": invalid}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    frame = read_table(tmp_path / "items.parquet").frame
    assert frame["item_id"].tolist() == [2**60 + 1, None]
    assert frame["title"].tolist() == frame["plot"].tolist() == ["ok", "caf\ufffd"]
    assert frame["kind"].tolist() == ["x", "y"]


def test_string_integer_and_float_ids_agree() -> None:
    columns = [["7", ""], [7, None], [7.0, None], ["7.0", ""], [" 7 ", None]]
    for column in columns:
        assert identifiers(pd.Series(column)).tolist() == ["7", ""]
        assert identifiers(pd.Series(column, dtype=object)).tolist() == ["7", ""]
    assert identifiers(pd.Series([7, 8])).tolist() == ["7", "8"]
    assert identifiers(pd.Series(["1.0", "1.1", "007"])).tolist() == ["1.0", "1.1", "007"]


def table_folder(folder: Path, items: str = "asin,name\nB1,Ink\n", log: str = "user_id,asin\n7,B1\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "items.csv").write_text(items)
    (folder / "interactions.csv").write_text(log)
    return folder


def test_column_mapping_holds_for_both_files(tmp_path: Path) -> None:
    raw = sources.read(table_folder(tmp_path), {"item_id": "asin", "title": "name", "description": "name"})
    assert raw.items.frame.to_dict("records") == [{"item_id": "B1", "title": "Ink", "description": "Ink"}]
    assert raw.interactions.frame.to_dict("records") == [{"item_id": "B1", "user_id": "7"}]


def test_mapped_column_takes_the_place_of_one_that_has_the_name(tmp_path: Path) -> None:
    table_folder(tmp_path, items="item_id,asin\n0,B1\n")
    raw = sources.read(tmp_path, {"item_id": "asin"})
    assert raw.items.frame.to_dict("records") == [{"item_id": "B1"}]


def test_unknown_column_in_the_mapping_names_the_files_and_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"items\.csv and interactions\.csv have no column 'asim'.*did you mean 'asin'"
    ):
        sources.read(table_folder(tmp_path), {"item_id": "asim"})


def test_source_that_is_not_there_or_of_no_format_says_what_a_source_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere is not there; a source is a folder with items"):
        sources.detect(tmp_path / "nowhere")
    with pytest.raises(InputError, match="of no known format; a source is"):
        sources.read(tmp_path)
    with pytest.raises(InputError, match="did you mean 'movielens'"):
        sources.read(tmp_path, format_name="movielen")


def test_folder_with_one_file_missing_or_doubled_says_which(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\n1\n")
    with pytest.raises(InputError, match=r"has no interactions\.\*"):
        sources.read(tmp_path)
    (tmp_path / "items.tsv").write_text("item_id\n1\n")
    with pytest.raises(InputError, match=r"has items\.csv and items\.tsv"):
        sources.read(tmp_path)


MOVIELENS = {
    "csv": {
        "movies.csv": b"movieId,title,genres\n1,Toy Story (1995),Adventure|Comedy\n"
        b'2,"Untitled, A",(no genres listed)\n',
        "ratings.csv": b"userId,movieId,rating,timestamp\n7,1,4.0,964982703\n7,2,3.5,964982704\n",
    },
    "dat": {
        "movies.dat": b"1::Toy Story (1995)::Adventure|Comedy\n2::Untitled, A::\n",
        "ratings.dat": b"7::1::4.0::964982703\n7::2::3.5::964982704\n",
    },
    "100k": {
        "u.item": b"1|Toy Story (1995)|01-Jan-1995||http://x|" + b"0|0|1|0|0|1" + b"|0" * 13 + b"\n"
        b"2|Untitled, A||||" + b"|".join([b"0"] * 19) + b"\n",
        "u.data": b"7\t1\t4.0\t964982703\n7\t2\t3.5\t964982704\n",
    },
}


@pytest.mark.parametrize("layout", MOVIELENS)
@pytest.mark.parametrize("packed", [False, True])
def test_movielens_layouts_give_the_same_facts(tmp_path: Path, layout: str, packed: bool) -> None:
    source = tmp_path / "ml.zip" if packed else tmp_path
    if packed:
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in MOVIELENS[layout].items():
                archive.writestr(f"ml/{name}", data)
    else:
        for name, data in MOVIELENS[layout].items():
            (source / name).write_bytes(data)
    assert sources.detect(source) == "movielens"
    raw = sources.read(source)
    assert raw.items.frame[["item_id", "title", "year", "genres"]].to_dict("records") == [
        {"item_id": "1", "title": "Toy Story", "year": "1995", "genres": "Adventure, Comedy"},
        {"item_id": "2", "title": "Untitled, A", "year": "", "genres": ""},
    ]
    assert raw.interactions.frame[["user_id", "item_id", "rating", "timestamp"]].to_numpy().tolist() == [
        ["7", "1", "4.0", "964982703"],
        ["7", "2", "3.5", "964982704"],
    ]


def test_movielens_title_in_latin_1_and_year_ranges(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes("1::Léon (1994)::Drama\n2::Heimat (1984-2004)::Drama\n".encode("latin-1"))
    (tmp_path / "ratings.dat").write_bytes(b"7::1::4::1\n")
    frame = sources.read(tmp_path).items.frame
    assert frame[["title", "year"]].to_numpy().tolist() == [["Léon", "1994"], ["Heimat", "1984"]]


def test_zip_with_a_path_traversal_name_writes_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "deeper"
    inside.mkdir(parents=True)
    source = inside / "ml.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in MOVIELENS["csv"].items():
            archive.writestr(f"../../{name}", b"evil")
            archive.writestr(f"ml/{name}", data)
    before = sorted(tmp_path.rglob("*"))
    assert sources.read(source).items.frame["title"].tolist() == ["Toy Story", "Untitled, A"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"no zip at all", b""])
def test_broken_zip_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ml.zip").write_bytes(content)
    with pytest.raises(InputError, match="not a readable zip"):
        sources.read(tmp_path / "ml.zip")


def test_zip_and_movies_file_of_something_else_are_input_errors(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"is not MovieLens: it has none of movies\.csv and ratings\.csv"):
        sources.read(tmp_path / "other.zip")
    (tmp_path / "movies.csv").write_text("movieId,name\n1,x\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId\n1,1\n")
    with pytest.raises(InputError, match=r"movies\.csv has no column 'title'"):
        sources.read(tmp_path)
