"""A collection where every answer can be counted by hand."""

import pyarrow as pa
import pytest

from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection

QUERIES = 10
DOCUMENTS = 4


@pytest.fixture(scope="module")
def tables() -> Collection:
    """Query i of ten has frequency 2 ** (10 - i) and four candidates; sessions show some of q0."""
    queries = [f"q{number}" for number in range(QUERIES)]
    documents = list("abcd")
    pairs = [(query, doc, rank) for query in queries for rank, doc in enumerate(documents, 1)]
    query_id, doc_id, rank = (list(column) for column in zip(*pairs, strict=True))
    frequency = [2 ** (10 - number) for number in range(QUERIES)]
    shown = [(["a", "b"], [True, False])] * 8 + [(["a", "c"], [False, True])] * 2
    sessions = [[f"s{n}" for n in range(10)], ["q0"] * 10, *map(list, zip(*shown, strict=True))]
    return Collection(
        queries=pa.table([queries, queries, frequency], schema=SCHEMAS["queries"]),
        documents=pa.table([documents, [""] * 4, ["x"] * 4], schema=SCHEMAS["documents"]),
        candidates=pa.table([query_id, doc_id, rank, [0.0] * 40], schema=SCHEMAS["candidates"]),
        sessions=pa.table(sessions, schema=SCHEMAS["sessions"]),
        judgments=empty_table("judgments"),
        splits=empty_table("splits"),
    )
