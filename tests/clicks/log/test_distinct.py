"""Compaction keeps what sessions say: impressions and clicks of each distinct page."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clicks import DocumentCTR, compact_sessions, distinct_sessions, list_results
from clicks.log import numbering
from corpus.errors import InputError
from corpus.schemas import SCHEMAS

Session = tuple[str, list[str], list[bool]]


def make_sessions(sessions: list[Session]) -> pa.Table:
    return pa.table(
        {
            "session_id": [f"s{row}" for row in range(len(sessions))],
            "query_id": [query_id for query_id, _, _ in sessions],
            "doc_ids": [doc_ids for _, doc_ids, _ in sessions],
            "clicks": [clicks for _, _, clicks in sessions],
        },
        schema=SCHEMAS["sessions"],
    )


# Ids with separators in them: a page must not be taken for another one.
ids = st.sampled_from(["1", "11", "1 1", "a,b", "文 é"])
results = st.lists(st.tuples(ids, st.booleans()), max_size=4)
logs = (
    st.lists(st.tuples(ids, results), min_size=1, max_size=30)
    .map(
        lambda log: [
            (query, [doc for doc, _ in page], [click for _, click in page]) for query, page in log
        ]
    )
    .filter(lambda log: any(doc_ids for _, doc_ids, _ in log))
)


def test_pages_differ_by_query_documents_and_order() -> None:
    pages = compact_sessions(
        make_sessions(
            [
                ("q2", ["a", "b"], [True, False]),
                ("q1", ["a", "b"], [False, False]),
                ("q2", ["b", "a"], [False, True]),
                ("q2", ["a", "b"], [True, True]),
                ("q2", ["a"], [False]),
            ]
        )
    )
    assert pages.to_pylist() == [
        {"query_id": "q2", "doc_ids": ["a", "b"], "impressions": 2, "clicks": [2, 1]},
        {"query_id": "q1", "doc_ids": ["a", "b"], "impressions": 1, "clicks": [0, 0]},
        {"query_id": "q2", "doc_ids": ["b", "a"], "impressions": 1, "clicks": [0, 1]},
        {"query_id": "q2", "doc_ids": ["a"], "impressions": 1, "clicks": [0]},
    ]
    assert pages.schema.types == [
        pa.string(),
        pa.list_(pa.string()),
        pa.int64(),
        pa.list_(pa.int64()),
    ]


@given(logs)
def test_compaction_counts_as_a_loop_over_sessions_does(log: list[Session]) -> None:
    impressions: Counter[tuple[str, tuple[str, ...]]] = Counter()
    clicks: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
    for query_id, doc_ids, clicked in log:
        page = (query_id, tuple(doc_ids))
        impressions[page] += 1
        clicks[page] = clicks.get(page, np.zeros(len(doc_ids), int)) + np.array(clicked, int)

    pages = compact_sessions(make_sessions(log)).to_pylist()

    found = [(page["query_id"], tuple(page["doc_ids"])) for page in pages]
    assert found == list(impressions)
    assert [page["impressions"] for page in pages] == list(impressions.values())
    assert [page["clicks"] for page in pages] == [clicks[page].tolist() for page in found]


@given(logs, st.integers(0, 5))
def test_chunks_and_slices_make_no_difference(log: list[Session], cut: int) -> None:
    sessions = make_sessions(log)
    chunked = pa.concat_tables([sessions.slice(0, cut), sessions.slice(cut)])
    assert compact_sessions(chunked).equals(compact_sessions(sessions))


def test_a_null_is_a_context_of_its_own_and_moves_no_session_to_another_query() -> None:
    log: list[Session] = [(f"q{n % 3}", ["a", "b"], [n % 2 == 0, False]) for n in range(12)]
    device = ["phone", None, "tv", None] * 3
    for values in (device, [{"phone": 1.0, "tv": 2.0}.get(str(name)) for name in device]):
        sessions = make_sessions(log).append_column("device", pa.array(values))
        found = distinct_sessions(sessions, by="device").to_pylist()
        columns = ("query_id", "clicks", "device")
        expected = Counter(str([row[name] for name in columns]) for row in sessions.to_pylist())
        assert {str([row[name] for name in columns]): row["sessions"] for row in found} == expected


def test_sessions_differ_by_clicks_far_down_a_page() -> None:
    clicked = [[60], [120], [60, 120], [60], [120], []]
    page = [str(n) for n in range(130)]
    log: list[Session] = [("q", page, [n in at for n in range(130)]) for at in clicked]
    assert distinct_sessions(make_sessions(log))["sessions"].to_pylist() == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (pa.array([1, -5]), "is below 1.*row 1"),
        (pa.array([0, 1]), "is below 1.*row 0"),
        (pa.array([1, None]), "is null.*row 1"),
        (pa.array(["1", "many"]), "is string.*row 1"),
        (pa.array([1.0, float("nan")]), "is double.*row 1"),
    ],
)
def test_counts_of_sessions_that_are_none_are_refused(counts: pa.Array, message: str) -> None:
    sessions = make_sessions([("q", ["a"], [True]), ("q", ["b"], [True])])
    with pytest.raises(InputError, match=message):
        compact_sessions(sessions.append_column("sessions", counts))


@given(logs)
def test_results_list_each_position_of_each_page(log: list[Session]) -> None:
    pages = compact_sessions(make_sessions(log))
    assert list_results(pages).to_pylist() == [
        {
            "query_id": page["query_id"],
            "doc_id": doc_id,
            "position": position,
            "impressions": page["impressions"],
            "clicks": clicks,
        }
        for page in pages.to_pylist()
        for position, (doc_id, clicks) in enumerate(
            zip(page["doc_ids"], page["clicks"], strict=True), start=1
        )
    ]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([], "no rows"),
        ([("q", [], [])], "doc_ids is empty in every row"),
        ([("q", ["a"], [True]), ("q", ["a", "b"], [True])], "another length than doc_ids.*row 1"),
    ],
)
def test_unusable_sessions_are_refused(log: list[Session], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compact_sessions(make_sessions(log))


@given(logs)
def test_ids_of_many_bytes_are_counted_in_chunks(log: list[Session]) -> None:
    sessions = make_sessions(log)
    counted = compact_sessions(sessions), distinct_sessions(sessions)
    lists = {
        name: sessions[name].cast(kind)
        for name, kind in (
            ("doc_ids", pa.large_list(pa.large_string())),
            ("query_id", pa.large_string()),
        )
    }
    large = pa.table({name: lists.get(name, sessions[name]) for name in sessions.column_names})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbering, "MOST_BYTES", 10)
        for table in (sessions, large):
            assert compact_sessions(table).equals(counted[0])
            assert distinct_sessions(table).equals(counted[1])


def test_models_are_fitted_to_ids_of_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = make_sessions(
        [(f"q{n % 5}", [f"d{n % 4}", f"d{n % 4 + 1}"], [n % 3 == 0, n % 4 == 0]) for n in range(60)]
    )
    relevance = DocumentCTR().fit(sessions).relevance()
    monkeypatch.setattr(numbering, "MOST_BYTES", 10)
    model = DocumentCTR().fit(sessions)
    assert model.pairs_.documents.type == pa.large_string()
    assert model.relevance().equals(relevance)
    assert model.perplexity(sessions) < 2
