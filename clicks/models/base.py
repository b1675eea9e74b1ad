"""What all click models share: fitting, predicting and sampling."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from clicks.inference.graded_prior import GradedPrior
from clicks.inference.rate_prior import PairRates, RatePrior
from clicks.log.click_log import ClickLog, PageBlock, Pairs, encode_sessions, read_click_log
from clicks.log.grades import add_grades
from clicks.log.large_arrays import large_zeros, pieces
from clicks.log.numbering import take_ids
from clicks.log.trials import Array
from clicks.models.files import read_model, write_model
from corpus.places import Place
from corpus.table_checks import check_table

# Fits do only small linear algebra. BLAS threads that wait for more of it spin, and would take the
# processors from the threads that count clicks.
BLAS = ThreadpoolController().select(user_api="blas")


class ClickModel(ABC):
    """A probabilistic model of the clicks on a page of results.

    Each query-document pair has rates to be learned: attractiveness and, in some models,
    satisfaction. Most pairs of a log have few impressions, so their rates are shrunk towards those
    of the same document under other queries, and these towards the mean of all documents, as
    strongly as the log shows documents to agree (`clicks.inference.rate_prior`). A pair that is not
    in the log has the expected rate of its document, or else the mean.

    Parameters of the whole log (examination, continuation) have one success and one failure more
    than the log, so that they stay inside (0, 1).

    `fit` does not merge equal sessions. Where there are many, give it the output of
    `distinct_sessions` or `clicks.log.distributed.count_sessions`.

    Attributes:
        pairs_: the query-document pairs of the fitted log, and those that a judge has graded, in
            the order of the rates.
        prior_: the prior of attractiveness that was learned; None where the model has none.
    """

    # Names of the attributes that `save` writes: parameters of the whole log, and rates of pairs.
    numbers: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[tuple[str, ...]] = ()
    pairs_: Pairs
    prior_: RatePrior | GradedPrior | None = None

    def fit(self, sessions: pa.Table, grades: pa.Table | None = None) -> Self:
        """Fits the model to sessions.

        Args:
            sessions: the table sessions of a collection (session_id, query_id, doc_ids, clicks). A
                column `sessions` (int64), as `distinct_sessions` adds it, says how many sessions
                each row stands for.
            grades: query_id, doc_id and a judge's expected grade (float64 from 0 to 3) of pairs,
                each once; they become the prior of a pair's rates
                (`clicks.inference.graded_prior`). Pairs that the sessions do not show then have
                rates, too.

        Returns:
            The model itself.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        log = read_click_log(sessions)
        return self.fit_log(log if grades is None else add_grades(log, grades))

    def fit_log(self, log: ClickLog) -> Self:
        """Fits the model to encoded sessions, so that several models share one encoding.

        Args:
            log: sessions encoded by `clicks.log.click_log.read_click_log`.

        Returns:
            The model itself.
        """
        self.pairs_ = log.pairs
        with BLAS.limit(limits=1):
            self._fit(log)
        return self

    def relevance(self) -> pa.Table:
        """The relevance that the model infers for each pair of the fitted log.

        Returns:
            query_id, doc_id (string), relevance (float64 in (0, 1)), sorted by both ids. Of a model
            that was fitted with grades also the precision of the relevance (float64 above 0): of
            how many trials a rate of this mean and variance would be known; and the pairs that were
            graded and not shown.
        """
        columns = {
            "query_id": take_ids(self.pairs_.queries, self.pairs_.query),
            "doc_id": take_ids(self.pairs_.documents, self.pairs_.document),
        }
        table = pa.table(columns | self.inferred())
        return table.sort_by([("query_id", "ascending"), ("doc_id", "ascending")])

    def inferred(self) -> dict[str, Array]:
        """The columns `relevance` and `precision` of `relevance`, in the order of `pairs_`."""
        inferred = {"relevance": self._relevance()}
        if self.pairs_.grade is not None and self.rates:
            inferred["precision"] = self._precision()
        return inferred

    def log_likelihood(self, sessions: pa.Table) -> float:
        """The mean log-likelihood of a session: of all its clicks and non-clicks together.

        Args:
            sessions: the table sessions of a collection, as in `fit`.

        Returns:
            Nats a session, at most 0. Minus infinity if the model holds a session to be impossible,
            as the cascade model does with two clicks.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        log = read_click_log(sessions)
        chance = large_zeros(len(log.pair), np.float64)
        for block, rates in self._blocks(log):
            chance[block.at[block.shown]] = self._click_given_earlier(block, *rates)[block.shown]
        weight = log.of_results(log.sessions)
        return float(weight @ _log_likelihood(chance, log) / log.sessions.sum())

    def perplexity(self, sessions: pa.Table, by_position: bool = False) -> float | Array:
        """The click perplexity, 2^(-mean log2-likelihood of the click at a position).

        Clicks are predicted without the session's other clicks (Chuklin, Markov & de Rijke, Click
        Models for Web Search, 2015, section 5.2).

        Args:
            sessions: the table sessions of a collection, as in `fit`.
            by_position: return the perplexity of each position instead of their mean.

        Returns:
            At least 1, which is perfect; a coin has 2. With `by_position` float64, shape
            (positions,).

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        return self.perplexity_of_log(read_click_log(sessions), by_position)

    def perplexity_of_log(self, log: ClickLog, by_position: bool = False) -> float | Array:
        """See `perplexity`; of encoded sessions."""
        chance = large_zeros(len(log.pair), np.float64)
        for block, rates in self._blocks(log):
            chance[block.at[block.shown]] = self._click(block, *rates)[block.shown]
        total = log.by_position(_log_likelihood(chance, log))
        perplexity: Array = np.exp(-total / log.by_position())
        return perplexity if by_position else float(perplexity.mean())

    def sample(self, pages: pa.Table, seed: int = 0) -> pa.Table:
        """Samples the clicks of one session for each page of results.

        Args:
            pages: query_id and doc_ids (list<string>) of each page. A session_id is kept; without
                one, sessions are numbered from "0".
            seed: seed of the random clicks.

        Returns:
            session_id, query_id, doc_ids and clicks (list<bool>), one row for each page.

        Raises:
            InputError: a column is missing or of another type.
        """
        lengths = [len(ids) for ids in pages["doc_ids"].to_pylist()]
        columns = {
            "session_id": pages["session_id"].to_pylist()
            if "session_id" in pages.column_names
            else [str(row) for row in range(pages.num_rows)],
            "query_id": pages["query_id"],
            "doc_ids": pages["doc_ids"],
            "clicks": [[False] * length for length in lengths],
        }
        table = check_table(pa.table(columns), "sessions", "pages")
        log = encode_sessions(table.append_column("sessions", pa.repeat(1, table.num_rows)))
        draws = np.random.default_rng(seed).random(len(log.pair))
        for block, rates in self._blocks(log):
            for position in range(block.pair.shape[1]):
                chance = self._click_given_earlier(block, *rates)[:, position]
                block.clicks[:, position] = draws[block.at[:, position]] < chance
            log.clicks[block.at[block.shown]] = block.clicks[block.shown]
        clicks = pa.ListArray.from_arrays(
            pa.array(log.starts.astype(np.int32)), pa.array(log.clicks)
        )
        return table.set_column(table.column_names.index("clicks"), "clicks", clicks)

    def save(self, folder: Place) -> None:
        """Writes the fitted model into a folder.

        Args:
            folder: where to write model.json (parameters of the whole log), pairs.parquet and
                documents.parquet (rates).
        """
        numbers = {name: np.asarray(getattr(self, name)) for name in self.numbers}
        rates: dict[str, PairRates] = {name: getattr(self, name) for name in self.rates}
        write_model(folder, type(self).__name__, numbers, rates, self.pairs_)

    @classmethod
    def load(cls, folder: Place) -> Self:
        """Loads a model of this class that `save` wrote.

        Args:
            folder: the folder that `save` wrote into.

        Raises:
            InputError: the folder holds no model, or one of another class.
        """
        pairs, learned = read_model(folder, cls.__name__)
        model = cls()
        model.pairs_ = pairs
        for name, value in learned.items():
            setattr(model, name, value)
        return model

    @abstractmethod
    def _fit(self, log: ClickLog) -> None:
        """Sets the parameters and rates; `pairs_` is set already."""

    @abstractmethod
    def _relevance(self) -> Array:
        """The relevance of each of `pairs_`, float64 in (0, 1), shape (pairs,)."""

    def _precision(self) -> Array:
        """The trials of a Beta distribution with the relevance's mean and variance, (pairs,).

        Relevance is one rate, or the product of several.
        """
        mean = square = np.ones(len(self.pairs_.query))
        for name in self.rates:
            rate: PairRates = getattr(self, name)
            assert rate.trials is not None
            mean = mean * rate.pair
            square = square * rate.pair * (1 + rate.pair * rate.trials) / (1 + rate.trials)
        return np.asarray((mean - square) / (square - mean * mean))

    @abstractmethod
    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        """The marginal probability of a click at each position, shape (pages, positions).

        Args:
            pages: a block of pages of any log.
            rates: the rates that `self.rates` names, of the pair at each position, each of shape
                (pages, positions); 0 beyond the end of a page.
        """

    @abstractmethod
    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        """P(click) at each position given the session's clicks above it; arguments as `_click`."""

    def _blocks(self, log: ClickLog) -> Iterator[tuple[PageBlock, list[Array]]]:
        """The pages of any log, with this model's rates at each position."""
        found = self.pairs_.find(log.pairs)
        known = [_rates_of(getattr(self, name), *found) for name in self.rates]
        for block in log.blocks():
            yield block, [np.where(block.shown, rate[block.pair], 0.0) for rate in known]


def _log_likelihood(chance: Array, log: ClickLog) -> Array:
    """Log-likelihood of each click and non-click in nats, shape (results,)."""
    found: Array = large_zeros(len(chance), np.float64)
    with np.errstate(divide="ignore"):
        for some in pieces(len(chance)):
            found[some] = np.log(np.where(log.clicks[some], chance[some], 1 - chance[some]))
    return found


def _rates_of(rates: PairRates, pair: NDArray[np.int64], document: NDArray[np.int64]) -> Array:
    found: Array = large_zeros(len(pair), np.float64)
    for some in pieces(len(pair)):
        found[some] = rates.of(pair[some], document[some])
    return found
