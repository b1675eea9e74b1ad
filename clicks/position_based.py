"""The position-based click model, fitted by EM on counts."""

from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from clicks.compaction import compact_sessions, list_results
from corpus.errors import InputError

# Attractiveness takes one of these values. They are equally spaced in arcsin(sqrt(a)), the scale
# on which the standard error of a share is the same everywhere (half of 1/sqrt(impressions)), so
# the grid is finer than the sampling error up to about 4,000 impressions of a document.
LEVELS = np.sin(np.pi / 2 * (np.arange(100) + 0.5) / 100) ** 2


class PositionBasedModel:
    """A click is an examined position and an attractive document (Craswell et al., WSDM 2008).

        P(click on d at position k for q) = examination[k] * attractiveness[q, d]

    A log holds many documents that were seen once or twice, so attractiveness is not maximised
    but integrated out, and its prior is learned from the log itself (empirical Bayes): a weight
    for each of 100 levels, the nonparametric maximum likelihood estimate (Laird, JASA 1978).
    Examination and prior weights maximise that marginal likelihood by EM; given the levels, its
    steps are those of Chuklin, Markov & de Rijke, Click Models for Web Search (2015), ch. 4.
    The likelihood needs only counts, and documents with equal counts share their posterior.

    Only products examination * attractiveness can be seen in clicks. The scale is set by
    examination[1] = 1: the first position is always examined, and the attractiveness of a
    document is its click-through rate there. No position is examined more than the first.

    Two weak priors keep all probabilities inside (0, 1): each later position has one examined
    and one unexamined impression more than the log, and the prior on attractiveness one
    document more, spread over the levels evenly (Jeffreys' prior, Beta(1/2, 1/2)).

    Attributes:
        examination_: by position, float64 in (0, 1], shape (positions,). A position beyond
            those of the log is taken to be examined as the last one.
        prior_: the weight of each of `LEVELS` of attractiveness, float64, shape (100,), sum 1.
        prior_mean_: the attractiveness expected of a document that the log does not show for
            the query.
        attractiveness_: query_id, doc_id, attractiveness (float64 in (0, 1), posterior mean),
            impressions, clicks (int64); one row for each pair of the log, sorted by both ids.
        objective_: the marginal log-likelihood with the two weak priors, natural logarithm, a
            session's mean, after each iteration; it never decreases.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.

    >>> sessions = pa.table(
    ...     {
    ...         "session_id": ["s1", "s2", "s3"],
    ...         "query_id": ["q", "q", "q"],
    ...         "doc_ids": [["a", "b"], ["a", "b"], ["b", "a"]],
    ...         "clicks": [[True, False], [True, False], [False, True]],
    ...     }
    ... )
    >>> PositionBasedModel().fit(sessions).relevance()["doc_id"].to_pylist()
    ['a', 'b']
    """

    examination_: NDArray[np.float64]
    prior_: NDArray[np.float64]
    prior_mean_: float
    attractiveness_: pa.Table
    objective_: NDArray[np.float64]
    converged_: bool

    def __init__(self, max_iterations: int = 500, tolerance: float = 1e-6) -> None:
        """Sets how long to fit.

        Args:
            max_iterations: the most iterations of EM, at least 1.
            tolerance: stop once an iteration gains less than this in `objective_`, in nats a
                session.
        """
        if max_iterations < 1:
            raise InputError(f"max_iterations must be at least 1, not {max_iterations}")
        self.max_iterations = max_iterations
        self.tolerance = tolerance

    def fit(self, sessions: pa.Table) -> Self:
        """Learns examination and attractiveness from sessions.

        Args:
            sessions: session_id, query_id, doc_ids and clicks, as in a collection.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        results = list_results(compact_sessions(sessions))
        pairs = (
            results.group_by(["query_id", "doc_id"])
            .aggregate([("impressions", "sum"), ("clicks", "sum")])
            .sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
        )
        impressions, clicks = _count_by_position(results, _find_pairs(results, pairs))
        evidence, same_evidence, pair_count = np.unique(
            np.column_stack([clicks.sum(axis=1), impressions - clicks]),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        posterior = self._run_em(
            evidence[:, 0],
            evidence[:, 1:],
            pair_count,
            clicks.sum(axis=0),
            impressions.sum(axis=0),
            sessions.num_rows,
        )
        self.prior_mean_ = float(self.prior_ @ LEVELS)
        self.attractiveness_ = pa.table(
            {
                "query_id": pairs["query_id"],
                "doc_id": pairs["doc_id"],
                "attractiveness": (posterior @ LEVELS)[same_evidence.ravel()],
                "impressions": pairs["impressions_sum"],
                "clicks": pairs["clicks_sum"],
            }
        )
        return self

    def relevance(self) -> pa.Table:
        """The attractiveness of each pair of the log: query_id, doc_id, relevance (float64)."""
        return self.attractiveness_.select(["query_id", "doc_id", "attractiveness"]).rename_columns(
            ["query_id", "doc_id", "relevance"]
        )

    def log_likelihood(self, sessions: pa.Table) -> float:
        """The natural log-likelihood of all clicks and non-clicks of a session, mean of sessions.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        results = list_results(compact_sessions(sessions))
        return float(self._log_likelihood(results).sum() / sessions.num_rows)

    def perplexity(
        self, sessions: pa.Table, by_position: bool = False
    ) -> float | NDArray[np.float64]:
        """How surprising the clicks at a position are: 2^(-mean log2-likelihood); 1 is perfect.

        Clicks are predicted without knowledge of the session's other clicks (Chuklin, Markov &
        de Rijke 2015, section 5.2).

        Args:
            sessions: session_id, query_id, doc_ids and clicks, as in a collection.
            by_position: give the perplexity of each position, float64, shape (positions,), in
                place of their mean.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        results = list_results(compact_sessions(sessions))
        position = results["position"].to_numpy() - 1
        log_likelihood = np.bincount(position, weights=self._log_likelihood(results))
        impressions = np.bincount(position, weights=results["impressions"].to_numpy())
        perplexity = np.exp(-log_likelihood / impressions)
        return perplexity if by_position else float(perplexity.mean())

    def _run_em(
        self,
        clicks: NDArray[np.float64],
        non_clicks: NDArray[np.float64],
        pair_count: NDArray[np.int64],
        position_clicks: NDArray[np.float64],
        position_impressions: NDArray[np.float64],
        session_count: int,
    ) -> NDArray[np.float64]:
        """Learns `examination_` and `prior_`; returns the posterior of each evidence's level.

        Evidence is the clicks, shape (evidence,), and the non-clicks by position, shape
        (evidence, positions), of the `pair_count` pairs that have just these.
        """
        examination = np.full(len(position_clicks), 0.5)
        examination[0] = 1.0
        prior = np.full(len(LEVELS), 1 / len(LEVELS))
        objective = []
        self.converged_ = False
        for iteration in range(self.max_iterations + 1):
            # E-step: each evidence's posterior over the levels, shape (evidence, levels).
            log_joint: NDArray[np.float64] = np.outer(clicks, np.log(LEVELS)) + np.log(prior)
            log_joint += non_clicks @ np.log1p(-np.outer(examination, LEVELS))
            peak = log_joint.max(axis=1)
            posterior: NDArray[np.float64] = np.exp(log_joint - peak[:, None])
            marginal = posterior.sum(axis=1)
            posterior /= marginal[:, None]
            objective.append(
                pair_count @ (np.log(marginal) + peak)
                + position_clicks @ np.log(examination)
                + np.sum(np.log(examination[1:] * (1 - examination[1:])))
                + np.mean(np.log(prior))
            )
            gain = (objective[-1] - objective[-2]) / session_count if iteration else np.inf
            self.converged_ = bool(gain < self.tolerance)
            if self.converged_ or iteration == self.max_iterations:
                break
            # M-step: a click was examined; so were some of the others, the more, the less
            # attractive the document: P(examined | no click) = e (1 - a) / (1 - e a).
            passed_over = np.outer(examination, 1 - LEVELS) / (1 - np.outer(examination, LEVELS))
            level_non_clicks = non_clicks.T @ (pair_count[:, None] * posterior)
            examined = position_clicks + (level_non_clicks * passed_over).sum(axis=1)
            examination = (examined + 1) / (position_impressions + 2)
            examination[0] = 1.0
            prior = (pair_count @ posterior + 1 / len(LEVELS)) / (pair_count.sum() + 1)
        self.examination_ = examination
        self.prior_ = prior
        self.objective_ = np.array(objective[1:]) / session_count
        return posterior

    def _log_likelihood(self, results: pa.Table) -> NDArray[np.float64]:
        """Natural log-likelihood of the clicks and non-clicks of each result."""
        pair = _find_pairs(results, self.attractiveness_)
        known = self.attractiveness_["attractiveness"].to_numpy()
        attractiveness = np.where(pair >= 0, known[pair], self.prior_mean_)
        position = np.minimum(results["position"].to_numpy(), len(self.examination_))
        probability = self.examination_[position - 1] * attractiveness
        clicks = results["clicks"].to_numpy()
        non_clicks = results["impressions"].to_numpy() - clicks
        log_likelihood: NDArray[np.float64] = clicks * np.log(probability) + (
            non_clicks * np.log1p(-probability)
        )
        return log_likelihood


def _find_pairs(results: pa.Table, pairs: pa.Table) -> NDArray[np.int64]:
    """The row of `pairs` that each result's (query_id, doc_id) has; -1 where there is none."""
    key = ["query_id", "doc_id"]
    index = pd.MultiIndex.from_frame(pairs.select(key).to_pandas())
    rows: NDArray[np.int64] = index.get_indexer(
        pd.MultiIndex.from_frame(results.select(key).to_pandas())
    )
    return rows


def _count_by_position(
    results: pa.Table, pair: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impressions and clicks of each pair at each position, both of shape (pairs, positions)."""
    position = results["position"].to_numpy() - 1
    impressions = np.zeros((int(pair.max()) + 1, int(position.max()) + 1))
    clicks = np.zeros_like(impressions)
    np.add.at(impressions, (pair, position), results["impressions"].to_numpy())
    np.add.at(clicks, (pair, position), results["clicks"].to_numpy())
    return impressions, clicks
