"""What all click models have in common: fitting, predicting, simulating, saving."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from threadpoolctl import ThreadpoolController

from clicks.inference.rate_prior import PairRates
from clicks.log.click_log import ClickLog, PageBlock, Pairs, encode_sessions, read_click_log
from clicks.log.trials import Array
from corpus.errors import InputError
from corpus.table_checks import check_table
from corpus.tables import write_parquet

# A fit has linear algebra of a few numbers only. Threads of BLAS that wait for more of it, and spin
# while they do, would take the processors from the threads that count clicks.
BLAS = ThreadpoolController().select(user_api="blas")


class ClickModel(ABC):
    """A model of which results of a page are clicked.

    Every pair of a query and a document has rates that are learned: attractiveness and, in some
    models, satisfaction. Most pairs of a log are seen a few times only, so the rates are shrunk
    towards those of the same document under other queries, and these towards all, as far as the
    log itself shows documents to be alike (`clicks.inference.rate_prior`). A pair that the log does
    not show has the rate that its document would lead one to expect, or the mean of all.

    Numbers that all pages share (examination, continuation) have one success and one failure more
    than the log, so that they stay inside (0, 1).

    Sessions that are alike are not merged by `fit`; where many are, give it those that
    `distinct_sessions` or `clicks.log.distributed.count_sessions` has counted.

    Attributes:
        pairs_: the pairs of the log that was fitted, which the rates are aligned with.
    """

    # Names of the attributes that `save` writes: numbers of the whole log, and rates of pairs.
    numbers: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[tuple[str, ...]] = ()
    pairs_: Pairs

    def fit(self, sessions: pa.Table) -> Self:
        """Learns from sessions.

        Args:
            sessions: session_id, query_id, doc_ids and clicks, as in a collection; with a
                column `sessions`, as of `distinct_sessions`, each row stands for so many.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        return self.fit_log(read_click_log(sessions))

    def fit_log(self, log: ClickLog) -> Self:
        """Learns from sessions that are encoded already, so that many models share one encoding.

        Args:
            log: from `clicks.log.click_log.read_click_log`.
        """
        self.pairs_ = log.pairs
        with BLAS.limit(limits=1):
            self._fit(log)
        return self

    def relevance(self) -> pa.Table:
        """What the clicks say of each pair of the log: query_id, doc_id, relevance in (0, 1)."""
        table = pa.table(
            {
                "query_id": self.pairs_.queries.take(self.pairs_.query),
                "doc_id": self.pairs_.documents.take(self.pairs_.document),
                "relevance": self._relevance(),
            }
        )
        return table.sort_by([("query_id", "ascending"), ("doc_id", "ascending")])

    def log_likelihood(self, sessions: pa.Table) -> float:
        """The natural log-likelihood of all clicks and non-clicks of a session, mean of sessions.

        It is minus infinity if the model holds a session to be impossible, as the cascade model
        does with two clicks.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        log = read_click_log(sessions)
        chance = np.zeros(len(log.pair))
        for block, rates in self._blocks(log):
            chance[block.at[block.shown]] = self._click_given_earlier(block, *rates)[block.shown]
        weight = log.of_results(log.sessions)
        return float(weight @ _log_likelihood(chance, log) / log.sessions.sum())

    def perplexity(self, sessions: pa.Table, by_position: bool = False) -> float | Array:
        """How surprising the clicks at a position are: 2^(-mean log2-likelihood); 1 is perfect.

        Clicks are predicted without knowledge of the session's other clicks (Chuklin, Markov &
        de Rijke, Click Models for Web Search, 2015, section 5.2).

        Args:
            sessions: session_id, query_id, doc_ids and clicks, as in a collection.
            by_position: give the perplexity of each position, float64, shape (positions,), in
                place of their mean.

        Raises:
            InputError: there are no sessions, they show no documents, or they break the schema.
        """
        log = read_click_log(sessions)
        chance = np.zeros(len(log.pair))
        for block, rates in self._blocks(log):
            chance[block.at[block.shown]] = self._click(block, *rates)[block.shown]
        total = log.by_position(_log_likelihood(chance, log))
        perplexity: Array = np.exp(-total / log.by_position())
        return perplexity if by_position else float(perplexity.mean())

    def sample(self, pages: pa.Table, seed: int = 0) -> pa.Table:
        """Simulates a session on each page.

        Args:
            pages: query_id and doc_ids; where there is a session_id, it is kept.
            seed: of the clicks.

        Returns:
            session_id, query_id, doc_ids and clicks, one row for each page.

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

    def save(self, folder: Path) -> None:
        """Writes the fitted model into a folder: model.json, pairs.parquet, documents.parquet."""
        numbers = {name: _as_json(np.asarray(getattr(self, name))) for name in self.numbers}
        rates: dict[str, PairRates] = {name: getattr(self, name) for name in self.rates}
        means = {name: rate.mean for name, rate in rates.items()}
        document = self.pairs_.documents
        pairs = {"query_id": self.pairs_.queries.take(self.pairs_.query)}
        pairs |= {"doc_id": document.take(self.pairs_.document)}
        pairs |= {name: pa.array(rate.pair) for name, rate in rates.items()}
        documents = {"doc_id": document}
        documents |= {name: pa.array(rate.document) for name, rate in rates.items()}
        write_parquet(pa.table(pairs), folder / "pairs.parquet")
        write_parquet(pa.table(documents), folder / "documents.parquet")
        model = {"model": type(self).__name__, "numbers": numbers, "means": means}
        (folder / "model.json").write_text(json.dumps(model, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads a model of this class that `save` wrote.

        Raises:
            InputError: the folder holds no model, or one of another class.
        """
        path = folder / "model.json"
        if not path.is_file():
            raise InputError(f"{folder}: there is no click model in it ({path.name} is missing)")
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if saved["model"] != cls.__name__:
            raise InputError(f"{folder}: holds a {saved['model']}, not a {cls.__name__}")
        pairs = pq.read_table(folder / "pairs.parquet")
        documents = pq.read_table(folder / "documents.parquet")
        queries = pairs["query_id"].combine_chunks().dictionary_encode()
        names = documents["doc_id"].combine_chunks()
        document = pc.index_in(pairs["doc_id"], value_set=names).to_numpy()
        model = cls()
        model.pairs_ = Pairs(
            queries.dictionary,
            names,
            queries.indices.to_numpy().astype(np.int64),
            document.astype(np.int64),
        )
        for name, value in saved["numbers"].items():
            setattr(model, name, np.array(value, float) if isinstance(value, list) else value)
        for name, mean in saved["means"].items():
            of_pairs, of_documents = pairs[name].to_numpy(), documents[name].to_numpy()
            setattr(model, name, PairRates(of_pairs, of_documents, mean))
        return model

    @abstractmethod
    def _fit(self, log: ClickLog) -> None:
        """Learns the numbers and rates; `pairs_` is there."""

    @abstractmethod
    def _relevance(self) -> Array:
        """The relevance of each of `pairs_`, shape (pairs,)."""

    @abstractmethod
    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        """P(click) at each position, not knowing other clicks; shape of `pages.pair`.

        Args:
            pages: of any log.
            rates: those that `self.rates` names, of the document at each position; 0 beyond the
                end of a page.
        """

    @abstractmethod
    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        """P(click) at each position given the session's clicks at the positions before it."""

    def _blocks(self, log: ClickLog) -> Iterator[tuple[PageBlock, list[Array]]]:
        """The pages of another log, with the rates at each position."""
        found = self.pairs_.find(log.pairs)
        known = [getattr(self, name).of(*found) for name in self.rates]
        for block in log.blocks():
            yield block, [np.where(block.shown, rate[block.pair], 0.0) for rate in known]


def _log_likelihood(chance: Array, log: ClickLog) -> Array:
    """Natural log-likelihood of each click and non-click."""
    with np.errstate(divide="ignore"):
        return np.log(np.where(log.clicks, chance, 1 - chance))


def _as_json(numbers: Array) -> Any:
    """Nested lists, with null for what is NaN."""
    values = numbers.astype(object)
    values[np.isnan(numbers)] = None
    return values.tolist()
