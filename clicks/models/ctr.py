"""Click models that are click-through rates: of everything, of positions, of documents."""

import numpy as np

from clicks.inference.graded_prior import learn_pair_prior
from clicks.inference.rate_prior import PairRates
from clicks.log.click_log import ClickLog, PageBlock
from clicks.models.base import Array, ClickModel


class GlobalCTR(ClickModel):
    """Every result has the same click probability (the random click model).

        P(click) = rate

    (Chuklin, Markov & de Rijke, Click Models for Web Search, 2015, section 3.1.)

    Attributes:
        rate_: click-through rate of the whole log, in (0, 1).
    """

    numbers = ("rate_",)
    rate_: float

    def _fit(self, log: ClickLog) -> None:
        known = log.trials()
        self.rate_ = float((known.successes.sum() + 1) / (known.trials.sum() + 2))

    def _relevance(self) -> Array:
        return np.full(len(self.pairs_.query), self.rate_)

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        return np.where(pages.shown, self.rate_, 0.0)

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        return self._click(pages, *rates)


class RankCTR(ClickModel):
    """A click depends on the position alone (Chuklin et al. 2015, section 3.2).

        P(click at position k) = rates[k]

    It ignores documents, so `relevance` is the same for all pairs: the mean of the rates.

    Attributes:
        position_rates_: click-through rate of each position, float64 in (0, 1), shape
            (positions,). Positions beyond the longest page of the log have the rate of its last
            one.
    """

    numbers = ("position_rates_",)
    position_rates_: Array

    def _fit(self, log: ClickLog) -> None:
        clicks = log.by_position(log.clicks)
        self.position_rates_ = (clicks + 1) / (log.by_position() + 2)

    def _relevance(self) -> Array:
        return np.full(len(self.pairs_.query), self.position_rates_.mean())

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        position = np.minimum(np.arange(pages.pair.shape[1]), len(self.position_rates_) - 1)
        return np.where(pages.shown, self.position_rates_[position], 0.0)

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        return self._click(pages, *rates)


class DocumentCTR(ClickModel):
    """A click depends on the query and the document alone (Chuklin et al. 2015, section 3.2).

        P(click on d for q) = rate[q, d]

    Attributes:
        pair_rates_: posterior mean click-through rate of each pair, in (0, 1).
    """

    rates = ("pair_rates_",)
    pair_rates_: PairRates

    def _fit(self, log: ClickLog) -> None:
        known = log.trials()
        self.prior_ = learn_pair_prior(known)
        self.pair_rates_ = self.prior_.rates(known)

    def _relevance(self) -> Array:
        return self.pair_rates_.pair

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        return rates[0]

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        return self._click(pages, *rates)
