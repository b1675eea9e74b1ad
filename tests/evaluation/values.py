"""Values of rankers on queries, for comparisons."""

import pandas as pd

IDS = [f"q{number:03}" for number in range(400)]


def values_of(of_ranker: dict[str, list[float]], measure: str = "nDCG@10") -> pd.DataFrame:
    rows = [
        (ranker, IDS[place], measure, value)
        for ranker, listed in of_ranker.items()
        for place, value in enumerate(listed)
    ]
    return pd.DataFrame(rows, columns=["ranker", "query_id", "measure", "value"])


def groups_of(**sizes: int) -> pd.DataFrame:
    """Groups that each begin with the first query."""
    rows = [(query_id, group) for group, size in sizes.items() for query_id in IDS[:size]]
    return pd.DataFrame(rows, columns=["query_id", "group"])
