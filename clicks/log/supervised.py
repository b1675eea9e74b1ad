"""The queries whose sessions and grades training may not read."""

import pyarrow as pa
import pyarrow.compute as pc

from corpus.groups import query_groups
from corpus.places import Place, is_there
from corpus.schemas import empty_table
from corpus.tables import Collection, read_table, table_path


def withheld_queries(collection: Place) -> pa.Array:
    """The queries of which no session and no grade may shape click labels, strings.

    Queries that are not supervised are withheld if they are judged or for test, so that nothing of
    them reaches training. Other validation queries are not, since where humans judged none their
    labels are what validation measures by.

    Args:
        collection: its folder; without a table splits nothing is withheld.

    Raises:
        InputError: a table of the collection is missing or broken.
    """
    if not is_there(table_path(collection, "splits")):
        return pa.array([], pa.string())
    tables = Collection(
        **{
            name: read_table(collection, name)
            if is_there(table_path(collection, name))
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
