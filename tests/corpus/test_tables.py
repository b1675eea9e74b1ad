"""Tables are what their schemas say, or are refused by file, column and row."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.schemas import SCHEMAS, empty_table
from corpus.table_checks import check_table
from corpus.tables import read_table, read_without_repeated, table_path, write_table
from tests.corpus.table_rows import ROWS, refusal

# Any text that UTF-8 can hold: Chinese, Arabic, emoji, control characters, none at all.
texts = st.text(st.characters(codec="utf-8"), max_size=30)


@pytest.mark.parametrize("name", SCHEMAS)
def test_good_rows_are_read_back_as_written(name: str, tmp_path: Path) -> None:
    path = write_table(pa.table(ROWS[name], SCHEMAS[name]), tmp_path, name)
    table = read_table(tmp_path, name)
    assert path == tmp_path / f"{name}.parquet"
    assert table.schema == SCHEMAS[name]
    assert table.to_pydict() == ROWS[name]


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_rows_are_read_back_too(name: str, tmp_path: Path) -> None:
    write_table(empty_table(name), tmp_path, name)
    assert read_table(tmp_path, name) == empty_table(name)
    no_types = pd.DataFrame(columns=SCHEMAS[name].names)
    assert check_table(pa.Table.from_pandas(no_types), name, "my.parquet") == empty_table(name)


def test_rows_that_are_the_same_are_taken_for_one(tmp_path: Path) -> None:
    good = pa.table(ROWS["judgments"] | {"by": ["ann", "bo"]})
    pq.write_table(pa.concat_tables([good, good.slice(1), good]), table_path(tmp_path, "judgments"))
    repeated: Counter[str] = Counter()
    read = read_without_repeated(tmp_path, "judgments", repeated)
    assert read.to_pylist() == good.to_pylist()
    assert repeated == {"judgments": 3}
    other = good.set_column(2, "grade", pa.array([1, 0]))
    pq.write_table(pa.concat_tables([good, other]), table_path(tmp_path, "judgments"))
    message = refusal(lambda: read_without_repeated(tmp_path, "judgments", repeated))
    assert "is a key that stands there more than once in 1 of 4 rows; row 2: {'query_id'" in message


def test_columns_come_in_the_order_of_the_schema_and_extra_ones_after_them(tmp_path: Path) -> None:
    table = pa.table(
        {"market": ["de", "jp"], "frequency": [3, 0], "text": ["fox", "狐"], "query_id": ["a", "b"]}
    )
    write_table(table, tmp_path, "queries")
    read = read_table(tmp_path, "queries")
    assert read.column_names == ["query_id", "text", "frequency", "market"]
    assert read["market"].to_pylist() == ["de", "jp"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(rows=st.lists(st.tuples(texts, texts), max_size=10))
def test_any_text_comes_back_as_it_was(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    documents = {
        "doc_id": [f"文档 {row} وثيقة 🦊" for row in range(len(rows))],
        "title": [title for title, _ in rows],
        "body": [body for _, body in rows],
    }
    write_table(pa.table(documents, SCHEMAS["documents"]), tmp_path, "documents")
    assert read_table(tmp_path, "documents").to_pydict() == documents


def test_a_table_may_be_a_folder_of_parts(tmp_path: Path) -> None:
    parts = table_path(tmp_path, "queries")
    parts.mkdir()
    rows = pa.table(ROWS["queries"])
    pq.write_table(rows.slice(0, 1), parts / "part-0.parquet")
    pq.write_table(rows.slice(1, 1), parts / "part-1.parquet")
    (parts / "_SUCCESS").touch()
    assert read_table(tmp_path, "queries").to_pydict() == ROWS["queries"]


def test_a_key_repeated_in_two_parts_is_refused(tmp_path: Path) -> None:
    parts = table_path(tmp_path, "queries")
    parts.mkdir()
    for number in range(2):
        pq.write_table(pa.table(ROWS["queries"]), parts / f"part-{number}.parquet")
    message = refusal(lambda: read_table(tmp_path, "queries"))
    assert message.startswith(f"{parts}: column 'query_id' is a key")
    assert "row 2: {'query_id': 'q1'" in message
    assert "row 3: {'query_id': 'q2'" in message


def test_a_file_that_is_missing_or_no_parquet_is_named(tmp_path: Path) -> None:
    path = table_path(tmp_path, "queries")
    assert f"{path}: there is no such table" in refusal(lambda: read_table(tmp_path, "queries"))
    path.write_text("query_id,text,frequency\n")
    assert f"{path}: cannot be read as parquet" in refusal(lambda: read_table(tmp_path, "queries"))


def test_writing_a_bad_table_leaves_the_old_one(tmp_path: Path) -> None:
    path = write_table(pa.table(ROWS["queries"]), tmp_path, "queries")
    before = path.read_bytes()
    bad = pa.table(ROWS["queries"] | {"frequency": [1, -1]})
    assert "'frequency' is below 0" in refusal(lambda: write_table(bad, tmp_path, "queries"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["queries.parquet"]


def test_a_write_that_is_cut_short_leaves_the_old_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(pa.table(ROWS["queries"]), tmp_path, "queries")
    before = path.read_bytes()

    def half_a_file(table: pa.Table, where: Path) -> None:
        Path(where).write_bytes(before[: len(before) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", half_a_file)
        with pytest.raises(KeyboardInterrupt):
            write_table(pa.table(ROWS["queries"]).slice(1), tmp_path, "queries")
    assert path.read_bytes() == before
    assert write_table(pa.table(ROWS["queries"]).slice(1), tmp_path, "queries") == path
    assert read_table(tmp_path, "queries")["query_id"].to_pylist() == ["q2"]
