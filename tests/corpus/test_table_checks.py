"""Tables follow their schemas, or are refused by file, column and row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import table_checks
from corpus.refused_rows import TableError
from corpus.schemas import KEYS, OPTIONAL, SCHEMAS
from corpus.table_checks import check_table
from corpus.tables import read_table, table_path
from tests.conftest import make_table
from tests.corpus.table_rows import ROWS, refusal


def check(name: str, **columns: Any) -> pa.Table:
    """Checks the two good rows of table `name`, with `columns` in place of their columns."""
    return check_table(pa.table(ROWS[name] | columns), name, "my.parquet")


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (name, column)
        for name in SCHEMAS
        for column in SCHEMAS[name].names
        if column not in OPTIONAL.get(name, set())
    ],
)
def test_a_missing_column_is_named(name: str, column: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(ROWS[name]).drop_columns(column), table_path(tmp_path, name))
    message = refusal(lambda: read_table(tmp_path, name))
    assert message.startswith(f"{tmp_path / name}.parquet: column '{column}' is missing")
    assert all(other in message for other in SCHEMAS[name].names)


def test_optional_columns_that_are_missing_are_null() -> None:
    good = pa.table(ROWS["annotations"], SCHEMAS["annotations"])
    checked = check_table(good.drop_columns(["answered_mass", "reasoning"]), "annotations", "x")
    assert checked.schema == good.schema
    assert checked["answered_mass"].null_count == checked["reasoning"].null_count == 2


@pytest.mark.parametrize(
    ("name", "column", "values", "row"),
    [
        ("queries", "frequency", [1.5, 1.0], "row 0: {'query_id': 'q1', 'frequency': '1.5'}"),
        ("queries", "frequency", [1.0, 1.5], "row 1: {'query_id': 'q2', 'frequency': '1.5'}"),
        ("queries", "frequency", ["7", "often"], "row 1: {'query_id': 'q2', 'frequency': 'often'}"),
        ("queries", "text", [["a"], ["b"]], "row 0: {'query_id': 'q1', 'frequency': '3'}; row 1"),
        ("documents", "doc_id", [{"a": 1}, {"a": 2}], "row 0: {'doc_id': \"{'a': 1}\"}"),
        ("candidates", "rank", ["first", "2"], "row 0: {'query_id': 'q1', 'doc_id': 'd1', 'rank'"),
        ("sessions", "doc_ids", ["d1,d2", "d2"], "row 0: {'session_id': 's1'"),
        ("sessions", "clicks", [["yes", "no"], ["0"]], "row 0: {'session_id': 's1'"),
    ],
)
def test_a_wrong_type_is_named_with_the_rows_that_have_it(
    name: str, column: str, values: list[Any], row: str
) -> None:
    message = refusal(lambda: check(name, **{column: values}))
    assert message.startswith(f"my.parquet: column '{column}' is ")
    assert f"cannot be read as {SCHEMAS[name].field(column).type}" in message
    assert f"; {row}" in message


def test_splits_may_tell_supervision_by_numbers_and_leave_cells_empty() -> None:
    told = check("splits", bucket=[None, "low"], supervised=[1, None])
    assert told["bucket"].to_pylist() == [None, "low"]
    assert told["supervised"].to_pylist() == [True, None]


@pytest.mark.parametrize("name", KEYS)
def test_a_repeated_key_is_named(name: str) -> None:
    good = pa.table(ROWS[name], SCHEMAS[name])
    twice = pa.concat_tables([good, good.slice(0, 1)])
    message = refusal(lambda: check_table(twice, name, "my.parquet"))
    assert message.startswith(f"my.parquet: column '{', '.join(KEYS[name])}' is a key")
    assert "in 1 of 3 rows; row 2: {" in message


@pytest.mark.parametrize(
    ("name", "column", "values", "reason", "row"),
    [
        ("queries", "query_id", ["q1", None], "is null", 1),
        ("queries", "frequency", [3, -1], "is below 0", 1),
        ("documents", "body", [None, "c"], "is null", 0),
        ("candidates", "rank", [0, 1], "is below 1", 0),
        ("sessions", "clicks", [[True], [False]], "has another length than doc_ids", 0),
        ("sessions", "clicks", [[True, False], [False, True]], "has another length", 1),
        ("sessions", "clicks", [[True, None], [False]], "holds a null", 0),
        ("sessions", "clicks", [[True, False], None], "is null", 1),
        ("sessions", "doc_ids", [["d1", "d2"], [None]], "holds a null", 1),
        ("splits", "split", ["train", "dev"], "is none of train, validation, test", 1),
        ("splits", "bucket", ["high", "head"], "is none of high, medium, low", 1),
        ("splits", "supervised", [1, 2], "is a number other than 0 and 1", 1),
        ("splits", "supervised", [0.5, 1.0], "is a number other than 0 and 1", 0),
        ("click_labels", "impressions", [10, -4], "is below 0", 1),
        ("click_labels", "clicks", [-5, 1], "is below 0", 0),
        ("click_labels", "relevance", [float("inf"), 0.5], "is not finite", 0),
        ("click_labels", "relevance", [0.5, float("nan")], "is not finite", 1),
        ("candidates", "score", [float("nan"), 1.0], "is not finite", 0),
        ("candidates", "score", [1.0, float("-inf")], "is not finite", 1),
        ("judgments", "grade", [99, 0], "is above 10", 0),
        ("judgments", "grade", [0, -99], "is below -10", 1),
        ("annotations", "grade", [4, None], "is above 3", 0),
        ("annotations", "grade", [-1, None], "is below 0", 0),
        ("annotations", "expected_grade", [3.5, None], "is above 3", 0),
        ("annotations", "expected_grade", [None, -0.5], "is below 0", 1),
        ("annotations", "expected_grade", [float("nan"), None], "is not finite", 0),
        ("annotations", "confidence", [7.0, None], "is above 1", 0),
        ("annotations", "confidence", [0.0, None], "is not above 0", 0),
        ("annotations", "answered_mass", [1.5, None], "is above 1", 0),
        ("annotations", "answered_mass", [None, -0.5], "is below 0", 1),
        ("sessions", "sessions", [-5, 1], "is below 1", 0),
        ("sessions", "sessions", [1, None], "is null", 1),
        ("sessions", "sessions", [1.0, 0.0], "is below 1", 1),
    ],
)
def test_a_wrong_value_is_named(
    name: str, column: str, values: list[Any], reason: str, row: int
) -> None:
    message = refusal(lambda: check(name, **{column: values}))
    assert message.startswith(f"my.parquet: column '{column}' {reason}")
    assert f"in 1 of 2 rows; row {row}: {{" in message


@pytest.mark.parametrize("values", [["many", "3"], [1.5, 2.0], [[1], [2]]])
def test_a_column_sessions_that_counts_none_is_refused(values: list[Any]) -> None:
    message = refusal(lambda: check("sessions", sessions=values))
    assert message.startswith("my.parquet: column 'sessions' is ")
    assert "give it another name if it is something else; row 0: {'session_id': 's1'" in message


def test_a_column_sessions_counts_whole_numbers() -> None:
    assert check("sessions", sessions=[3.0, 1.0])["sessions"].to_pylist() == [3, 1]


def test_sums_of_probabilities_may_be_rounded() -> None:
    rounded = check("annotations", expected_grade=[3 + 1e-9, None], confidence=[1 + 1e-9, None])
    assert rounded.num_rows == 2


@pytest.mark.parametrize("column", ["query_id", "text"])
def test_text_that_is_not_utf_8_is_refused(column: str) -> None:
    raw = pa.array([b"fox", b"caf\xe9"])
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    message = refusal(lambda: check("queries", **{column: text}))
    assert message.startswith(
        f"my.parquet: column '{column}' holds text that is not UTF-8 in 1 of 2 rows; row 1: {{"
    )


def test_ids_are_no_truth_values_and_no_nan() -> None:
    message = refusal(lambda: check("queries", query_id=[True, False]))
    assert message.startswith("my.parquet: column 'query_id' is bool, which cannot be read as str")
    message = refusal(lambda: check("queries", query_id=[1.0, float("nan")]))
    assert message.startswith("my.parquet: column 'query_id' is not finite in 1 of 2 rows; row 1")
    assert check("queries", query_id=[1.0, 2.0])["query_id"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize("grades", [["3.0", "0"], [3.0, 0.0], ["3", "0."]])
def test_whole_numbers_may_be_written_as_fractions(grades: list[Any]) -> None:
    assert check("judgments", grade=grades)["grade"].to_pylist() == [3, 0]
    assert "cannot be read as int64" in refusal(lambda: check("judgments", grade=["1.5", "0"]))


def test_only_the_first_three_offending_rows_are_shown() -> None:
    bad = {"query_id": ["a", "b", "c", "d", "e"], "split": ["train", "w", "x", "y", "z"]}
    message = refusal(lambda: check_table(pa.table(bad), "splits", "my.parquet"))
    assert "in 4 of 5 rows" in message
    assert [f"row {row}" in message for row in range(5)] == [False, True, True, True, False]


@pytest.mark.parametrize("number", [pa.int64(), pa.int8(), pa.uint8(), pa.float64()])
def test_clicks_may_be_numbers_0_and_1(number: pa.DataType) -> None:
    clicks = pa.array([[1, 0], [0]], pa.list_(number))
    assert check("sessions", clicks=clicks)["clicks"].to_pylist() == [[True, False], [False]]


@given(
    clicks=st.lists(
        st.lists(st.integers(-2, 3) | st.just(2**40), max_size=3), min_size=1, max_size=8
    ),
    kind=st.sampled_from([pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.float64())]),
)
def test_other_numbers_are_no_clicks(clicks: list[list[int]], kind: pa.DataType) -> None:
    table = pa.table(
        {
            "session_id": [f"s{row}" for row in range(len(clicks))],
            "query_id": ["q1"] * len(clicks),
            "doc_ids": pa.array([["d1"] * len(page) for page in clicks], pa.list_(pa.string())),
            "clicks": pa.array(clicks, kind),
        }
    )
    bad = [row for row, page in enumerate(clicks) if not set(page) <= {0, 1}]
    if not bad:
        kept = check_table(table, "sessions", "my.parquet")["clicks"].to_pylist()
        assert kept == [[click == 1 for click in page] for page in clicks]
        return
    message = refusal(lambda: check_table(table, "sessions", "my.parquet"))
    assert message.startswith("my.parquet: column 'clicks' ")
    assert f"in {len(bad)} of {len(clicks)} rows; row {bad[0]}: {{'session_id': 's{bad[0]}'" in (
        message
    )


@pytest.mark.parametrize("value", [0.5, float("nan"), 7.0])
def test_other_fractions_are_no_clicks(value: float) -> None:
    message = refusal(lambda: check("sessions", clicks=[[1.0, 0.0], [value]]))
    assert "column 'clicks'" in message
    assert "row 1: {'session_id': 's2', 'query_id': 'q1', 'doc_ids': \"['d2']\"" in message
    assert f"'clicks': '[{value}]'" in message


def test_other_widths_and_encodings_are_brought_to_the_schema() -> None:
    checked = check(
        "candidates",
        query_id=pa.array(["q1", "q1"]).dictionary_encode(),
        doc_id=pa.array([184, 29]),
        rank=pa.array([1, 2], pa.uint8()),
        score=pa.array([2, 1], pa.int32()),
    )
    assert checked.schema == SCHEMAS["candidates"]
    assert checked["doc_id"].to_pylist() == ["184", "29"]
    sessions = check(
        "sessions", doc_ids=pa.array([["d1", "d2"], ["d2"]], pa.large_list(pa.large_string()))
    )
    assert sessions.schema == SCHEMAS["sessions"]


def test_a_slice_is_checked_by_its_own_rows() -> None:
    unequal = pa.table(ROWS["sessions"] | {"clicks": [[True], [False]]})
    assert check_table(unequal.slice(1), "sessions", "my.parquet").num_rows == 1
    assert "row 0: {'session_id': 's1'" in refusal(
        lambda: check_table(unequal.slice(0, 1), "sessions", "my.parquet")
    )


def test_repeated_keys_are_found_where_codes_would_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_checks, "MOST_CODES", 1)
    rows: list[tuple[object, ...]] = [("q1", "d1", 3), ("q1", "d2", 1), ("q2", "d1", 1)]
    check_table(make_table("judgments", rows), "judgments", "x")
    with pytest.raises(TableError, match="more than once in 1 of 4 rows; row 3"):
        check_table(make_table("judgments", [*rows, ("q1", "d2", 0)]), "judgments", "x")
