"""A collection is whole: filled, and without references to what is not there."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.refused_rows import TableError
from corpus.schemas import OPTIONAL, SCHEMAS, empty_table
from corpus.tables import (
    Collection,
    check_collection,
    read_collection,
    write_collection,
    write_table,
)


def refusal(action: Callable[[], Any]) -> str:
    """The message of the TableError that `action` must end in."""
    with pytest.raises(TableError) as caught:
        action()
    return str(caught.value)


def test_a_collection_is_read_back_as_written(tiny_collection: Collection, tmp_path: Path) -> None:
    write_collection(tiny_collection, tmp_path)
    assert read_collection(tmp_path) == tiny_collection


def test_tables_that_a_user_lacks_are_empty(tiny_collection: Collection, tmp_path: Path) -> None:
    for name in ("queries", "documents"):
        write_table(getattr(tiny_collection, name), tmp_path, name)
    collection = read_collection(tmp_path)
    assert collection.queries == tiny_collection.queries
    for name in ("candidates", "sessions", "judgments", "splits"):
        assert getattr(collection, name) == empty_table(name)


@pytest.mark.parametrize("name", ["queries", "documents"])
def test_a_collection_needs_queries_and_documents(
    name: str, tiny_collection: Collection, tmp_path: Path
) -> None:
    write_collection(tiny_collection, tmp_path)
    path = write_table(empty_table(name), tmp_path, name)
    assert refusal(lambda: read_collection(tmp_path)) == (
        f"{path}: has no rows; the collection is empty"
    )
    path.unlink()
    assert f"{path}: there is no such table" in refusal(lambda: read_collection(tmp_path))


def test_a_collection_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = refusal(lambda: read_collection(tmp_path / "nowhere"))
    assert message.startswith(f"{tmp_path / 'nowhere'}: there is no such folder")


@pytest.mark.parametrize("name", ["candidates", "sessions", "judgments", "splits"])
def test_a_query_that_is_not_there_is_named(
    name: str, tiny_collection: Collection, tmp_path: Path
) -> None:
    good = getattr(tiny_collection, name)
    place = good.schema.get_field_index("query_id")
    unknown = pa.array(["q9", *good["query_id"].to_pylist()[1:]])
    collection = replace(tiny_collection, **{name: good.set_column(place, "query_id", unknown)})
    message = refusal(lambda: check_collection(collection, tmp_path))
    assert message.startswith(
        f"{tmp_path / name}.parquet: column 'query_id' names a query that queries.parquet lacks "
        f"in 1 of {good.num_rows} rows; row 0: {{"
    )
    assert "'query_id': 'q9'" in message


@pytest.mark.parametrize("name", ["candidates", "judgments"])
def test_a_document_that_is_not_there_is_named(
    name: str, tiny_collection: Collection, tmp_path: Path
) -> None:
    good = getattr(tiny_collection, name)
    place = good.schema.get_field_index("doc_id")
    unknown = pa.array([*good["doc_id"].to_pylist()[:-1], "d9"])
    collection = replace(tiny_collection, **{name: good.set_column(place, "doc_id", unknown)})
    message = refusal(lambda: check_collection(collection, tmp_path))
    assert message.startswith(
        f"{tmp_path / name}.parquet: column 'doc_id' names a document that documents.parquet lacks "
        f"in 1 of {good.num_rows} rows; row {good.num_rows - 1}: {{"
    )


def test_a_document_in_a_session_that_is_not_there_is_named(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    sessions = tiny_collection.sessions.to_pydict()
    sessions["doc_ids"] = [["d1", "d2"], ["d2", "d8"], ["d9", "d9"]]
    collection = replace(
        tiny_collection, sessions=pa.table(sessions, tiny_collection.sessions.schema)
    )
    assert refusal(lambda: check_collection(collection, tmp_path)) == (
        f"{tmp_path / 'sessions.parquet'}: column 'doc_ids' names a document that "
        "documents.parquet lacks in 2 of 3 rows; "
        "row 1: {'session_id': 's2', 'query_id': 'q1', 'doc_ids': \"['d2', 'd8']\", "
        "'clicks': '[False, True]'}; "
        "row 2: {'session_id': 's3', 'query_id': 'q2', 'doc_ids': \"['d9', 'd9']\", "
        "'clicks': '[False, False]'}"
    )


@pytest.mark.parametrize("broken", [field.name for field in fields(Collection)])
def test_a_collection_is_checked_before_any_of_it_is_written(
    broken: str, tiny_collection: Collection, tmp_path: Path
) -> None:
    last = [name for name in SCHEMAS[broken].names if name not in OPTIONAL.get(broken, set())][-1]
    lacking = getattr(tiny_collection, broken).drop_columns(last)
    message = refusal(
        lambda: write_collection(replace(tiny_collection, **{broken: lacking}), tmp_path)
    )
    assert f"{broken}.parquet: column '{last}' is missing" in message
    assert list(tmp_path.iterdir()) == []


def test_a_collection_without_its_ids_is_refused_clearly(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    nameless = replace(tiny_collection, queries=tiny_collection.queries.drop_columns("query_id"))
    message = refusal(lambda: write_collection(nameless, tmp_path))
    assert "queries.parquet: column 'query_id' is missing" in message


def test_a_page_that_shows_a_document_twice_is_named(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    sessions = tiny_collection.sessions.to_pydict()
    sessions["doc_ids"] = [["d1", "d2"], ["d2", "d2"], ["d4", "d4"]]
    table = pa.table(sessions, tiny_collection.sessions.schema)
    in_parts = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    collection = replace(tiny_collection, sessions=in_parts)
    assert refusal(lambda: check_collection(collection, tmp_path)).startswith(
        f"{tmp_path / 'sessions.parquet'}: column 'doc_ids' shows a document twice in 2 of 3 rows; "
        "row 1: {'session_id': 's2'"
    )
