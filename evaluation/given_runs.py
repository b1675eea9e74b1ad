"""What is compared: rankers, TREC runs of other systems, and which of them is the baseline."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from corpus.errors import InputError
from corpus.names import check_names
from corpus.tables import Collection
from evaluation.trec_run import read_trec_run

FIRST_STAGE = "first stage"


def check_compared(rankers: Iterable[str], runs: Iterable[str], baseline: str) -> None:
    """Refuses names that are taken twice or cannot be files, and a baseline that is none of them.

    Args:
        rankers: names of rankers.
        runs: names of TREC runs.
        baseline: the name of what the others are compared with.

    Raises:
        InputError: naming it, or there is nothing to compare.
    """
    rankers, runs = list(rankers), list(runs)
    if not rankers and not runs:
        raise InputError("give at least one: --rankers.NAME FOLDER or --runs.NAME FILE")
    both = sorted(set(rankers).intersection(runs))
    if both:
        raise InputError(f"{both[0]!r} names a ranker and a run; give one of them another name")
    check_names([*rankers, *runs], "ranker" if rankers else "run", taken=[FIRST_STAGE])
    names = [FIRST_STAGE, *rankers, *runs]
    if baseline not in names:
        raise InputError(f"the baseline {baseline!r} is none of {', '.join(names)}")


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
