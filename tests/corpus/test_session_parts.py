"""Parts of sessions are numbers between Tandem's own steps, and strings to everyone else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.places import place_of
from corpus.schemas import SCHEMAS
from corpus.session_parts import read_session_part, write_session_part
from corpus.table_checks import check_table

CODED = pa.dictionary(pa.int32(), pa.string())


def test_coded_ids_are_strings_to_who_reads_them(tmp_path: Path) -> None:
    sessions = pa.table(
        {
            "session_id": ["a", "b", "c"],
            "query_id": pa.array(["q", "r", "q"], CODED),
            "doc_ids": pa.array([["x", "y"], [], ["y", "夜"]], pa.list_(CODED)),
            "clicks": pa.array([[True, False], [], [False, True]]),
            "time": pa.array([3, None, 2**60]),
            "device.of": ["tv", None, "tv"],
        }
    )
    path = place_of(tmp_path / "part.parquet")
    # A slice, whose dictionaries hold more than it shows.
    write_session_part(sessions.slice(1), path)
    read = pq.read_table(path)
    rows = sessions.slice(1).to_pylist()
    assert read.to_pylist() == rows
    assert check_table(read, "sessions", path).schema.types == read.schema.types
    assert read.schema.field("query_id").type == SCHEMAS["sessions"].field("query_id").type
    coded = read_session_part(path)
    assert coded["query_id"].type == CODED
    write_session_part(coded, path)  # over what was read
    assert pq.read_table(path).to_pylist() == rows
