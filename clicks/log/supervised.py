"""Leaves out the sessions and grades of queries that training may not read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from corpus.groups import query_groups
from corpus.schemas import empty_table
from corpus.tables import Collection, read_table, table_path


def keep_supervised(sessions: pa.Table, collection: Path) -> pa.Table:
    """The sessions that may shape click labels; prints how many are left out.

    Args:
        sessions: the sessions of a collection; a column `sessions` says how many each row stands
            for.
        collection: its folder; without a table splits all sessions are kept.

    Raises:
        InputError: a table of the collection is missing or broken.
    """
    dropped = pc.is_in(sessions["query_id"], value_set=withheld_queries(collection))
    if pc.any(dropped).as_py():
        rows = sessions.filter(dropped)
        count = pc.sum(rows["sessions"]).as_py() if "sessions" in rows.column_names else len(rows)
        queries = len(pc.unique(rows["query_id"]))
        print(f"left out: {count:,} sessions of {queries:,} queries that training may not read")
    return sessions.filter(pc.invert(dropped))


def withheld_queries(collection: Path) -> pa.Array:
    """The queries of which no session and no grade may shape click labels, strings.

    Queries that are not supervised are withheld if they are judged or for test, so that nothing of
    them reaches training. Other validation queries are not, since where humans judged none their
    labels are what validation measures by.

    Args:
        collection: its folder; without a table splits nothing is withheld.

    Raises:
        InputError: a table of the collection is missing or broken.
    """
    if not table_path(collection, "splits").exists():
        return pa.array([], pa.string())
    tables = Collection(
        **{
            name: read_table(collection, name)
            if table_path(collection, name).exists()
            else empty_table(name)
            for name in ("queries", "judgments", "splits")
        },
        **{name: empty_table(name) for name in ("documents", "candidates", "sessions")},
    )
    groups = query_groups(tables)
    judged = pc.is_in(groups["query_id"], value_set=pc.unique(tables.judgments["query_id"]))
    for_test = pc.fill_null(pc.equal(groups["split"], "test"), False)
    out = pc.and_(pc.invert(groups["supervised"]), pc.or_(judged, for_test))
    return groups["query_id"].filter(out).combine_chunks()
