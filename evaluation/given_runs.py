"""TREC runs of other systems, read to be measured beside rankers."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from corpus.errors import InputError
from corpus.tables import Collection
from evaluation.trec_run import read_trec_run


def read_runs(
    runs: Mapping[str, Path], collection: Collection, query_ids: set[str]
) -> dict[str, pd.DataFrame]:
    """Reads what each run ranks for some queries, and says what was set aside.

    Args:
        runs: the file of each run, by name.
        collection: the collection with the queries and documents.
        query_ids: the queries to be measured on.

    Returns:
        query_id, doc_id and score of each run, by name.

    Raises:
        InputError: as `read_trec_run`, or a run ranks nothing for any of the queries.
    """
    rankings = {}
    for name, path in runs.items():
        candidates, aside = read_trec_run(path, collection)
        ranking = candidates.select(["query_id", "doc_id", "score"]).to_pandas()
        of_queries = ranking[ranking["query_id"].isin(query_ids)].reset_index(drop=True)
        if of_queries.empty:
            raise InputError(
                f"{path}: ranks nothing for the {len(query_ids):,} queries to be measured on; give "
                "a run of them, or take another split"
            )
        if aside:
            counts = ", ".join(f"{count:,} {reason}" for reason, count in aside.items())
            print(f"{path}: set aside {counts}")
        rankings[name] = of_queries
    return rankings
