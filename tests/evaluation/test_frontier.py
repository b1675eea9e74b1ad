import pandas as pd
import pytest

from corpus.errors import InputError
from evaluation.frontier import head_tail_frontier

# Means on head and tail.
POINTS = {
    "click": (0.9, 0.5),
    "annotation": (0.6, 0.8),
    "mix": (0.8, 0.8),
    "twin": (0.8, 0.8),
    "first stage": (0.6, 0.5),
    "near click": (0.9, 0.4),
}
GROUPS = pd.DataFrame(
    [("h1", "high"), ("h2", "high"), ("l1", "low")], columns=["query_id", "group"]
)


def _values() -> pd.DataFrame:
    rows = []
    for ranker, (head, tail) in POINTS.items():
        rows += [(ranker, "h1", head - 0.1), (ranker, "h2", head + 0.1), (ranker, "l1", tail)]
    return pd.DataFrame(rows, columns=["ranker", "query_id", "value"]).assign(measure="nDCG@10")


def test_what_no_other_beats_on_both_ends() -> None:
    points = head_tail_frontier(_values(), GROUPS, "nDCG@10").set_index("ranker")
    assert points.index[points["on_frontier"]].tolist() == ["click", "mix", "twin"]
    assert points.index[0] == "click"
    assert points[["head", "tail"]].to_dict("index")["mix"] == pytest.approx(
        {"head": 0.8, "tail": 0.8}
    )
    assert points.loc["mix", "head_low"] == pytest.approx(0.7)


def test_without_queries_at_an_end_there_is_no_frontier() -> None:
    with pytest.raises(InputError, match="the group 'rare' has no query with values of nDCG@10"):
        head_tail_frontier(_values(), GROUPS, "nDCG@10", tail="rare")
    with pytest.raises(InputError, match="no values of RR"):
        head_tail_frontier(_values(), GROUPS, "RR")
