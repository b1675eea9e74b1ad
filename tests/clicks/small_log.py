"""A log of four sessions in a collection, and annotations of it."""

import pyarrow as pa

from corpus.places import Place
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection, write_collection, write_table

QUERIES = SCHEMAS["queries"]
ONE_QUERY = pa.table([["q"], ["tandem"], [4]], schema=QUERIES)


def write_log(folder: Place, sessions: pa.Table, queries: pa.Table = ONE_QUERY) -> Place:
    documents = [list("abc"), list("ABC"), [""] * 3]
    collection = Collection(
        queries=queries,
        documents=pa.table(documents, schema=SCHEMAS["documents"]),
        candidates=empty_table("candidates"),
        sessions=sessions,
        judgments=empty_table("judgments"),
        splits=empty_table("splits"),
    )
    write_collection(collection, folder)
    return folder


SESSIONS = pa.table(
    [
        ["1", "2", "3", "4"],
        ["q"] * 4,
        [["a", "b"], ["a", "b"], ["b", "a"], ["a"]],
        [[True, False], [True, True], [False, True], [False]],
    ],
    schema=SCHEMAS["sessions"],
)


def annotate(
    folder: Place, grades: dict[tuple[str, str], float | None], judge: str = "judge", tail: int = 0
) -> Place:
    """Annotations of one judge; of the last `tail` rows by another one."""
    count = len(grades)
    columns = {
        "query_id": [query_id for query_id, _ in grades],
        "doc_id": [doc_id for _, doc_id in grades],
        "annotator": [judge] * (count - tail) + ["another"] * tail,
        "strategy": ["pointwise"] * count,
        "prompt_id": ["p"] * count,
        "grade": [None if grade is None else round(grade) for grade in grades.values()],
        "expected_grade": list(grades.values()),
        "confidence": [None] * count,
        "error": [None] * count,
    }
    kept = SCHEMAS["annotations"]
    schema = pa.schema([kept.field(name) for name in columns])
    write_table(pa.table(columns, schema=schema), folder, "annotations")
    return folder


GRADES: dict[tuple[str, str], float | None] = {
    ("q", "a"): 2.8,
    ("q", "b"): 0.4,
    ("q", "c"): 2.5,
}
