"""What a ranker's scores follow: relevance or quality, the relevant or the most relevant."""

import numpy as np
import pandas as pd

from evaluation.trec_writing import in_trec_order
from evaluation.yardstick import ndcg_of_gains

RELEVANT = 1  # the least relevance that counts as relevant
PAIR = ["query_id", "doc_id"]
ASPECTS = (("relevance", "quality"), ("quality", "relevance"))  # each where the other is equal


def diagnose(run: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """All that this file measures, for each query that it can be measured on.

    Args:
        run: query_id, doc_id and score of each ranked document.
        truth: query_id, doc_id and relevance of judged pairs, and quality where it is known; other
            pairs are passed over.

    Returns:
        query_id, measure and value, as `significance.compare` takes them (with a ranker): for each
        of relevance and quality "correlation with ..." (`correlation_given`) and "pairs by ..."
        (`pair_accuracy`), "AUC of relevant" and "nDCG@10 among relevant". Without quality, the last
        two alone.
    """
    measured = {}
    for of, given in ASPECTS if "quality" in truth else ():
        measured[f"correlation with {of}"] = correlation_given(run, truth, of, given)
        measured[f"pairs by {of}"] = pair_accuracy(run, truth, of, given)
    measured["AUC of relevant"] = auc_of_relevant(run, truth)
    measured["nDCG@10 among relevant"] = ndcg_among_relevant(run, truth)
    frames = [
        values.rename("value").rename_axis("query_id").reset_index().assign(measure=name)
        for name, values in measured.items()
    ]
    return pd.concat(frames, ignore_index=True)[["query_id", "measure", "value"]]


def correlation_given(
    run: pd.DataFrame, truth: pd.DataFrame, of: str, given: str
) -> "pd.Series[float]":
    """Rank correlation of score and `of` among documents of a query that are equal in `given`.

    Ranks are taken within each set of documents of equal `given` (ties have their mean rank) and
    centred there; their correlation over the sets of a query together is the value, so that with
    one set it is Spearman's.

    Args:
        run: query_id, doc_id and score of each ranked document.
        truth: query_id, doc_id and the columns `of` and `given`.
        of: the column to correlate with.
        given: the column to hold equal.

    Returns:
        From -1 to 1 by query_id, of queries where `of` differs within some set; 0 where all scores
        of such a query are equal within the sets, as they follow nothing.
    """
    pairs = run.merge(truth, on=PAIR)
    of_set = pairs.groupby(["query_id", given])
    centred = pd.DataFrame({"query_id": pairs["query_id"]})
    for name in ("score", of):
        rank = of_set[name].rank()
        centred[name] = rank - rank.groupby([pairs["query_id"], pairs[given]]).transform("mean")
    centred["product"] = centred["score"] * centred[of]
    centred[["score", of]] **= 2
    sums = centred.groupby("query_id")[["product", "score", of]].sum()
    sums = sums[sums[of] > 0]
    return (sums["product"] / np.sqrt(sums["score"] * sums[of])).where(sums["score"] > 0, 0.0)


def pair_accuracy(
    run: pd.DataFrame, truth: pd.DataFrame, of: str, given: str
) -> "pd.Series[float]":
    """The share of pairs of documents that differ in `of` alone whose better one scores higher.

    Args:
        run: query_id, doc_id and score of each ranked document.
        truth: query_id, doc_id and the columns `of` and `given`.
        of: the column that the two documents differ in.
        given: the column that they are equal in.

    Returns:
        From 0 to 1 by query_id, equal scores counting half, of queries with such a pair; 0.5 is
        what scores at random get.
    """
    pairs = run.merge(truth, on=PAIR)[["query_id", given, of, "score"]]
    both = pairs.merge(pairs, on=["query_id", given], suffixes=("_better", "_worse"))
    both = both[both[f"{of}_better"] > both[f"{of}_worse"]]
    above = (both["score_better"] > both["score_worse"]).astype(float)
    right = above.mask(both["score_better"] == both["score_worse"], 0.5)
    return right.groupby(both["query_id"]).mean()


def auc_of_relevant(run: pd.DataFrame, truth: pd.DataFrame) -> "pd.Series[float]":
    """The chance that a relevant document of a query scores above an irrelevant one.

    Relevant is a relevance of 1 and more; equal scores count half. It is the area under the ROC
    curve, from ranks (Mann & Whitney, 1947).

    Args:
        run: query_id, doc_id and score of each ranked document.
        truth: query_id, doc_id and relevance.

    Returns:
        From 0 to 1 by query_id, of queries with documents of both kinds.
    """
    pairs = run.merge(truth[[*PAIR, "relevance"]], on=PAIR)
    rank = pairs.groupby("query_id")["score"].rank()
    is_relevant = pairs["relevance"] >= RELEVANT
    ranks = rank.where(is_relevant, 0.0).groupby(pairs["query_id"]).sum()
    relevant = is_relevant.groupby(pairs["query_id"]).sum()
    irrelevant = (~is_relevant).groupby(pairs["query_id"]).sum()
    both = (relevant > 0) & (irrelevant > 0)
    relevant, irrelevant, ranks = relevant[both], irrelevant[both], ranks[both]
    return (ranks - relevant * (relevant + 1) / 2) / (relevant * irrelevant)


def ndcg_among_relevant(run: pd.DataFrame, truth: pd.DataFrame) -> "pd.Series[float]":
    """nDCG@10 of a query's ranking without its irrelevant and unjudged documents.

    The gain is the relevance, as in trec_eval. With `auc_of_relevant` it parts two skills: to tell
    relevant from irrelevant, and to order the relevant.

    Args:
        run: query_id, doc_id and score of each ranked document.
        truth: query_id, doc_id and relevance.

    Returns:
        From 0 to 1 by query_id, of queries whose relevant ranked documents differ in relevance.
    """
    gains = truth[truth["relevance"] >= RELEVANT].rename(columns={"relevance": "gain"})
    values = ndcg_of_gains(in_trec_order(run), gains)
    return values.set_index("query_id")["value"]
