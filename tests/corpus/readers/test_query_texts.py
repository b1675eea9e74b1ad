"""The texts of queries, counted part by part of a log."""

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpus.readers.query_texts import add_texts, collect_texts, count_texts, first_texts

Search = tuple[str, str]
searches = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", "z"])))


def table(rows: list[Search]) -> pa.Table:
    columns = [[row[place] for row in rows] for place in (0, 1)]
    return count_texts(
        pa.table([pa.array(column, pa.string()) for column in columns], ["query_id", "text"])
    )


@given(st.lists(searches, min_size=1))
def test_texts_are_those_of_the_log_however_it_is_parted(parts: list[list[Search]]) -> None:
    collected: list[pa.Table] = []
    for part in parts:
        collect_texts(collected, table(part))
    whole = table([search for part in parts for search in part])
    asides: list[Counter[str]] = [Counter(), Counter()]
    assert first_texts(add_texts(collected), asides[0]) == first_texts(whole, asides[1])
    assert asides[0] == asides[1]


def test_what_is_held_does_not_grow_with_the_parts() -> None:
    collected: list[pa.Table] = []
    for _ in range(1000):
        collect_texts(collected, table([("a", "x"), ("b", "y"), ("c", "z")]))
        assert sum(map(len, collected)) <= 2 * 3
    assert add_texts(collected)["searches"].to_pylist() == [1000] * 3
